package supervise

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Tail gives the last n lines of the output that is kept, rotated files included where the newest is too short.
func Tail(p Place, n int) ([]byte, error) {
	names, err := rotated(p.Logs, logPrefix)
	if err != nil {
		return nil, err
	}
	names = append(names, p.Log())
	var text []byte
	for _, name := range slices.Backward(names) {
		b, err := readLog(name)
		if err != nil {
			return nil, err
		}
		if text = append(b, text...); bytes.Count(text, []byte("\n")) >= n {
			break
		}
	}
	return lastLines(text, n), nil
}

// FirstLines gives the beginning of the output of the newest start.
func FirstLines(p Place) ([]byte, error) {
	names, err := rotated(p.Logs, headPrefix)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	return readLog(names[len(names)-1])
}

func lastLines(b []byte, n int) []byte {
	end := len(b)
	if end > 0 && b[end-1] == '\n' {
		end--
	}
	for i := end; n > 0; n-- {
		if i = bytes.LastIndexByte(b[:i], '\n'); i < 0 {
			return b
		}
		if n == 1 {
			return b[i+1:]
		}
	}
	return nil
}

// rotated lists the files with prefix, oldest first.
func rotated(dir, prefix string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list logs: %w", err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) && !strings.HasSuffix(e.Name(), ".tmp") {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	return names, nil // ReadDir sorts, and the names sort by time
}

// readLog reads a log, compressed or not; one that was rotated away meanwhile is empty.
func readLog(name string) ([]byte, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(name, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			return nil, fmt.Errorf("read log %s: %w", name, err)
		}
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read log %s: %w", name, err)
	}
	return b, nil
}

// Follow hands what is written to the log from now on to emit until ctx ends, across rotations and restarts.
func Follow(ctx context.Context, p Place, emit func([]byte)) error {
	var f *os.File
	defer func() {
		if f != nil {
			f.Close()
		}
	}()
	whence := io.SeekEnd
	for {
		if f == nil {
			if g, err := os.Open(p.Log()); err == nil {
				f = g
				if _, err := f.Seek(0, whence); err != nil {
					return fmt.Errorf("follow log: %w", err)
				}
			}
			whence = io.SeekStart // the next file is read from its beginning
		}
		if f != nil {
			moved := moved(f, p.Log()) // before reading: what comes after is in the new file
			b, err := io.ReadAll(f)
			if err != nil {
				return fmt.Errorf("follow log: %w", err)
			}
			if len(b) > 0 {
				emit(b)
			}
			if moved {
				f.Close()
				f = nil
				continue
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func moved(f *os.File, name string) bool {
	ours, err := f.Stat()
	if err != nil {
		return true
	}
	named, err := os.Stat(name)
	return err == nil && !os.SameFile(ours, named)
}
