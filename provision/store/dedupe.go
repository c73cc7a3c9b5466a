package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// Share is a file that got its bytes from another.
type Share struct {
	File  string `json:"file"`
	With  string `json:"with"`
	How   string `json:"how"` // reflink, hardlink, or "not possible" with the bytes left alone
	Bytes int64  `json:"bytes"`
}

// Deduped is what a Dedupe did, or would do.
type Deduped struct {
	Shared []Share `json:"shared"`
	Bytes  int64   `json:"bytes"`
}

const (
	byReflink  = "reflink"
	byHardlink = "hardlink"
	byNothing  = "not possible"
)

// Dedupe lets blobs of the same name in different repositories share their bytes, and files in the directories given
// with blobs that they equal. Bytes are compared before anything is replaced, and replaced by a rename. With dry nothing
// is changed.
func (s *Store) Dedupe(ctx context.Context, dirs []string, dry bool) (Deduped, error) {
	got := Deduped{Shared: []Share{}}
	blobs, err := s.allBlobs()
	if err != nil {
		return got, err
	}
	bySize := map[int64][]string{}
	for _, h := range sortedKeys(blobs) {
		paths := blobs[h]
		for _, p := range paths[1:] {
			if err := got.share(ctx, p, paths[0], true, dry); err != nil {
				return got, err
			}
		}
		if info, err := os.Stat(paths[0]); err == nil {
			bySize[info.Size()] = append(bySize[info.Size()], paths[0])
		}
	}
	for _, dir := range dirs {
		if err := got.walk(ctx, dir, bySize, dry); err != nil {
			return got, err
		}
	}
	return got, nil
}

func sortedKeys(m map[Hash][]string) []Hash {
	var all []Hash
	for h := range m {
		all = append(all, h)
	}
	slices.Sort(all)
	return all
}

// allBlobs gives, for each name, the regular files that have it.
func (s *Store) allBlobs() (map[Hash][]string, error) {
	paths, err := filepath.Glob(filepath.Join(s.Dir, "models--*", "blobs", "*"))
	if err != nil {
		return nil, fmt.Errorf("list blobs: %w", err)
	}
	all := map[Hash][]string{}
	for _, p := range paths {
		info, err := os.Lstat(p)
		if h, bad := ParseHash(filepath.Base(p)); bad == nil && err == nil && info.Mode().IsRegular() && info.Size() > 0 {
			all[h] = append(all[h], p)
		}
	}
	return all, nil
}

func (d *Deduped) walk(ctx context.Context, dir string, bySize map[int64][]string, dry bool) error {
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
			return err
		}
		for _, blob := range bySize[info.Size()] {
			n := len(d.Shared)
			if err := d.share(ctx, p, blob, false, dry); err != nil {
				return err
			}
			if len(d.Shared) > n {
				break
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("search %s: %w", dir, err)
	}
	return nil
}

// share replaces file by the bytes of with, if they are equal and not one already.
func (d *Deduped) share(ctx context.Context, file, with string, mayLink, dry bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	a, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("stat file: %w", err)
	}
	b, err := os.Stat(with)
	if err != nil {
		return fmt.Errorf("stat file: %w", err)
	}
	if os.SameFile(a, b) {
		return nil
	}
	if same, err := sameBytes(file, with); err != nil || !same {
		return err
	}
	how, err := replaceBy(file, with, a, mayLink, dry)
	if err != nil {
		return fmt.Errorf("share %s: %w", file, err)
	}
	s := Share{File: file, With: with, How: how}
	if how != byNothing {
		s.Bytes = onDisk(a)
		d.Bytes += s.Bytes
	}
	d.Shared = append(d.Shared, s)
	return nil
}

func sameBytes(x, y string) (bool, error) {
	a, err := os.Open(x)
	if err != nil {
		return false, fmt.Errorf("compare files: %w", err)
	}
	defer a.Close()
	b, err := os.Open(y)
	if err != nil {
		return false, fmt.Errorf("compare files: %w", err)
	}
	defer b.Close()
	p, q := make([]byte, readBlock), make([]byte, readBlock)
	for {
		n, err1 := io.ReadFull(a, p)
		m, err2 := io.ReadFull(b, q)
		if n != m || !bytes.Equal(p[:n], q[:m]) {
			return false, nil
		}
		if err1 != nil || err2 != nil {
			ended := errors.Is(err1, io.EOF) || errors.Is(err1, io.ErrUnexpectedEOF)
			if !ended {
				return false, fmt.Errorf("compare files: %w", errors.Join(err1, err2))
			}
			return true, nil
		}
	}
}

// replaceBy makes a new file beside the old one, of the other's bytes, and renames it over the old one. Mode and times
// stay those of the old one where the new file is one of its own.
func replaceBy(file, with string, was fs.FileInfo, mayLink, dry bool) (string, error) {
	fresh := file + ".radish-dedupe"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	how := byReflink
	err := reflink(with, fresh, was.Mode().Perm())
	if err == nil {
		err = os.Chtimes(fresh, was.ModTime(), was.ModTime())
	} else if mayLink {
		how = byHardlink
		err = os.Link(with, fresh)
	}
	if err != nil {
		if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.EXDEV) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTTY) || errors.Is(err, syscall.EPERM) {
			return byNothing, nil
		}
		return "", err
	}
	if dry {
		return how, os.Remove(fresh)
	}
	return how, os.Rename(fresh, file)
}

// reflink lets a new file share another's blocks until one of them is written: FICLONE, ioctl_ficlone(2).
func reflink(from, to string, mode fs.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	err = unix.IoctlFileClone(int(out.Fd()), int(in.Fd()))
	if err = errors.Join(err, out.Close()); err != nil {
		return errors.Join(err, os.Remove(to))
	}
	return nil
}
