package weights

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"runtime"
	"strings"
	"testing"
	"time"
)

// endless is a file system with one file: a header that begins in some way, is as long as a header may be, and goes on
// with the same few bytes. It stands for a sparse file, which costs a stranger nothing to make.
type endless struct {
	head, body string
	read       int64
}

const endlessSize = 8 + maxHeader + 1<<40

func (e *endless) Open(name string) (fs.File, error) {
	if name != singleName {
		return nil, fs.ErrNotExist
	}
	return e, nil
}

func (e *endless) ReadAt(p []byte, off int64) (int, error) {
	start := append(binary.LittleEndian.AppendUint64(nil, maxHeader), e.head...)
	for i := range p {
		at := off + int64(i)
		if at >= endlessSize {
			return i, io.EOF
		}
		if at < int64(len(start)) {
			p[i] = start[at]
		} else {
			p[i] = e.body[int(at-int64(len(start)))%len(e.body)]
		}
	}
	e.read += int64(len(p))
	return len(p), nil
}

func (e *endless) Stat() (fs.FileInfo, error) { return e, nil }
func (e *endless) Read([]byte) (int, error)   { return 0, errors.ErrUnsupported }
func (e *endless) Close() error               { return nil }
func (e *endless) Name() string               { return singleName }
func (e *endless) Size() int64                { return endlessSize }
func (e *endless) Mode() fs.FileMode          { return 0o644 }
func (e *endless) ModTime() time.Time         { return time.Time{} }
func (e *endless) IsDir() bool                { return false }
func (e *endless) Sys() any                   { return nil }

// TestEndlessHeaders: a wrong header of 100 MB is refused after a small part of it.
func TestEndlessHeaders(t *testing.T) {
	for name, e := range map[string]*endless{
		"name":         {head: `{"`, body: "a"},
		"escaped name": {head: `{"`, body: `\"`},
		"metadata":     {head: `{"__metadata__":{"a":"`, body: "a"},
		"number":       {head: `{"t":{"shape":[`, body: "1"},
		"blanks":       {head: `{`, body: " \n"},
		"shape":        {head: `{"t":{"shape":[1`, body: ",1"},
		"depth":        {head: `{"__metadata__":`, body: `{"a":`},
		"one tensor":   {head: `{`, body: `"t":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},`},
		"holes":        {head: `{`, body: "\x00"},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := OpenFS(e)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), singleName) || len(err.Error()) > 500 {
			t.Errorf("%s: %v", name, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 || e.read > 1<<20 {
			t.Errorf("%s: allocated %d bytes, read %d", name, n, e.read)
		}
	}
}
