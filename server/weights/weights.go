// Package weights reads what a model directory holds: config.json, generation_config.json, and the tensors of
// safetensors files, single or sharded. Every byte of it may come from a stranger.
//
// A Source hands out tensors by name. There are two: a Checkpoint reads files, Dummy makes random numbers of the shapes
// that a Config asks for, so that speed can be measured without a download.
//
//	dir, err := weights.OpenDir("/models/some-model")   // jailed to the directory
//	cfg, err := weights.ReadConfig(dir)                 // range-checked
//	src, err := weights.OpenFS(dir)                     // all headers verified before it returns
//	m, err := src.Matrix("model.embed_tokens.weight", cfg.VocabSize, cfg.HiddenSize)
//
// What is promised of a hostile directory: a wrong file is refused with an error that names the file and, where there
// is one, the tensor; no memory is reserved in proportion to a number that was not checked against the size of the
// file; no file outside the directory is opened; files are read with pread, never mapped, so a file that shrinks is an
// error and not a signal.
package weights

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"radish/kernels"
)

// Errors that callers tell apart with errors.Is.
var (
	ErrMissing     = errors.New("no such tensor")
	ErrMalformed   = errors.New("malformed")
	ErrUnsupported = errors.New("not supported")
)

// Source gives the tensors of one model by their Hugging Face names.
type Source interface {
	// Matrix is the tensor name, which must have the shape [rows, cols] and be BF16, F16 or F32. Its bytes are read
	// when it is packed.
	Matrix(name string, rows, cols int) (kernels.Matrix, error)
	// Vector is the tensor name, which must have the shape [n], widened to float32; every element is finite.
	Vector(name string, n int) ([]float32, error)
	// Has reports whether the tensor exists.
	Has(name string) bool
	// Names are all tensors, sorted.
	Names() []string
	// Close closes the files behind the source; matrices can no longer be read.
	Close() error
}

// Dir is a model directory as an fs.FS that cannot be left, neither by names nor by symbolic links.
type Dir struct {
	fs.FS
	root *os.Root
}

// OpenDir opens a model directory. When it is a snapshot of the Hugging Face cache (models--x/snapshots/revision), whose
// files are links to ../../blobs, the jail is the model's part of the cache.
func OpenDir(dir string) (*Dir, error) {
	path, err := filepath.EvalSymlinks(dir)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return nil, fmt.Errorf("open model directory: %w", err)
	}
	jail, sub := path, "."
	if up := filepath.Dir(path); filepath.Base(up) == "snapshots" {
		jail, sub = filepath.Dir(up), "snapshots/"+filepath.Base(path)
	}
	root, err := os.OpenRoot(jail)
	if err != nil {
		return nil, fmt.Errorf("open model directory: %w", err)
	}
	view, err := fs.Sub(root.FS(), sub)
	if err != nil {
		root.Close()
		return nil, fmt.Errorf("open model directory: %w", err)
	}
	return &Dir{FS: view, root: root}, nil
}

// Close ends the use of the directory; files opened from it stay open.
func (d *Dir) Close() error { return d.root.Close() }

// file is an open regular file with its size.
type file struct {
	name string
	size int64
	r    io.ReaderAt
	io.Closer
}

// openFile opens a regular file for reading at offsets. It looks before it opens, because opening a named pipe waits.
func openFile(fsys fs.FS, name string) (*file, error) {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("open %s: %w: not a regular file", name, ErrMalformed)
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	r, ok := f.(io.ReaderAt)
	if !ok {
		f.Close()
		return nil, fmt.Errorf("open %s: %w: cannot be read at an offset", name, ErrUnsupported)
	}
	return &file{name: name, size: info.Size(), r: r, Closer: f}, nil
}

// readSmall reads a whole file of at most limit bytes.
func readSmall(fsys fs.FS, name string, limit int64) ([]byte, error) {
	f, err := openFile(fsys, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if f.size > limit {
		return nil, fmt.Errorf("read %s: %w: %d bytes, more than %d", name, ErrMalformed, f.size, limit)
	}
	b, err := io.ReadAll(io.NewSectionReader(f.r, 0, f.size))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return b, nil
}
