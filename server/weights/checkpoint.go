package weights

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"sort"

	"radish/kernels"
)

// The two names that Hugging Face gives to a checkpoint's entry.
const (
	singleName = "model.safetensors"
	indexName  = "model.safetensors.index.json"
)

// Checkpoint is a Source over safetensors files.
type Checkpoint struct {
	tensors map[string]*tensor
	files   []*file
	dir     *Dir // set when Open opened it
}

// Open opens the checkpoint in a directory. See OpenFS.
func Open(dir string) (*Checkpoint, error) {
	d, err := OpenDir(dir)
	if err != nil {
		return nil, err
	}
	c, err := OpenFS(d)
	if err != nil {
		d.Close()
		return nil, err
	}
	c.dir = d
	return c, nil
}

// OpenFS opens model.safetensors.index.json and its shards if the index exists, model.safetensors otherwise. All headers
// are read and verified; data is not touched. The files of fsys must implement io.ReaderAt, as those of os, embed and
// fstest do.
func OpenFS(fsys fs.FS) (*Checkpoint, error) {
	c := &Checkpoint{tensors: map[string]*tensor{}}
	err := c.open(fsys)
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Checkpoint) open(fsys fs.FS) error {
	_, err := fs.Stat(fsys, indexName)
	if err == nil {
		return c.openShards(fsys)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("open %s: %w", indexName, err)
	}
	c.tensors, err = c.openShard(fsys, singleName)
	return err
}

// openShard opens one file and reads its header.
func (c *Checkpoint) openShard(fsys fs.FS, name string) (map[string]*tensor, error) {
	f, err := openFile(fsys, name)
	if err != nil {
		return nil, err
	}
	c.files = append(c.files, f)
	return readHeader(f)
}

// openShards reads the index, then every shard, and checks that they agree: each mapped tensor is where the map says,
// no shard holds another, and the sizes add up to total_size.
func (c *Checkpoint) openShards(fsys fs.FS) error {
	ix, err := readIndex(fsys)
	if err != nil {
		return err
	}
	total := int64(0)
	for _, shard := range ix.shards {
		tensors, err := c.openShard(fsys, shard)
		if err != nil {
			return err
		}
		for name, t := range tensors {
			if ix.files[name] != shard {
				return fmt.Errorf("read %s: %w", shard, within(name, fmt.Errorf("%w: %s does not map it here", ErrMalformed, indexName)))
			}
			c.tensors[name] = t
			if total += t.bytes(); total < 0 {
				return fmt.Errorf("read %s: %w: sizes overflow", indexName, ErrMalformed)
			}
		}
	}
	for name, shard := range ix.files {
		if c.tensors[name] == nil {
			return fmt.Errorf("read %s: %w", indexName, within(name, fmt.Errorf("%w: %s does not hold it", ErrMalformed, shard)))
		}
	}
	if ix.total >= 0 && ix.total != total {
		return fmt.Errorf("read %s: %w: total_size is %d, the shards hold %d bytes", indexName, ErrMalformed, ix.total, total)
	}
	return nil
}

// Names are all tensors, sorted.
func (c *Checkpoint) Names() []string { return sorted(c.tensors) }

// sorted is the keys of m in order.
func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// Has reports whether the tensor exists.
func (c *Checkpoint) Has(name string) bool { return c.tensors[name] != nil }

// dtypes are the types that weights may have.
var dtypes = map[string]kernels.DType{"F32": kernels.F32, "BF16": kernels.BF16, "F16": kernels.F16}

// find looks a tensor up and checks type and shape.
func (c *Checkpoint) find(name string, shape ...int) (*tensor, kernels.DType, error) {
	t := c.tensors[name]
	if t == nil {
		return nil, 0, within(name, ErrMissing)
	}
	bad := len(t.shape) != len(shape)
	for i := 0; !bad && i < len(shape); i++ {
		bad = t.shape[i] != int64(shape[i])
	}
	if bad {
		return nil, 0, fmt.Errorf("read %s: %w", t.file.name, within(name, fmt.Errorf("%w: shape is %v, the model needs %v", ErrMalformed, t.shape, shape)))
	}
	d, ok := dtypes[t.dtype]
	if !ok {
		return nil, 0, fmt.Errorf("read %s: %w", t.file.name, within(name, fmt.Errorf("%w: dtype %s for weights", ErrUnsupported, t.dtype)))
	}
	return t, d, nil
}

// Matrix is the tensor name as [rows, cols].
func (c *Checkpoint) Matrix(name string, rows, cols int) (kernels.Matrix, error) {
	t, d, err := c.find(name, rows, cols)
	if err != nil {
		return kernels.Matrix{}, err
	}
	return kernels.Matrix{DType: d, Rows: rows, Cols: cols, Data: &data{name, t}}, nil
}

// Vector is the tensor name as [n], widened.
func (c *Checkpoint) Vector(name string, n int) ([]float32, error) {
	t, d, err := c.find(name, n)
	if err != nil {
		return nil, err
	}
	raw := make([]byte, t.bytes()) // as long as a part of the file that was checked to exist
	if _, err := (&data{name, t}).ReadAt(raw, 0); err != nil {
		return nil, err
	}
	out := widen(d, raw)
	for i, v := range out {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return nil, fmt.Errorf("read %s: %w", t.file.name, within(name, fmt.Errorf("%w: element %d is %v", ErrMalformed, i, v)))
		}
	}
	return out, nil
}

// widen converts raw little-endian elements to float32.
func widen(d kernels.DType, raw []byte) []float32 {
	out := make([]float32, len(raw)/d.Size())
	for i := range out {
		switch d {
		case kernels.F32:
			out[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		case kernels.BF16:
			out[i] = kernels.BF16ToF32(binary.LittleEndian.Uint16(raw[2*i:]))
		case kernels.F16:
			out[i] = kernels.F16ToF32(binary.LittleEndian.Uint16(raw[2*i:]))
		}
	}
	return out
}

// Close closes the files.
func (c *Checkpoint) Close() error {
	var errs []error
	for _, f := range c.files {
		errs = append(errs, f.Close())
	}
	c.files = nil
	if c.dir != nil {
		errs = append(errs, c.dir.Close())
		c.dir = nil
	}
	return errors.Join(errs...)
}

// data is the bytes of one tensor as an io.ReaderAt that cannot leave them and whose errors name it.
type data struct {
	name string
	t    *tensor
}

func (d *data) ReadAt(p []byte, off int64) (int, error) {
	size := d.t.bytes()
	if off < 0 || off > size {
		return 0, fmt.Errorf("read %s: %w", d.t.file.name, within(d.name, fmt.Errorf("offset %d of %d", off, size)))
	}
	want := min(int64(len(p)), size-off)
	n, err := d.t.file.r.ReadAt(p[:want], d.t.off+off)
	if int64(n) < want {
		return n, fmt.Errorf("read %s: %w", d.t.file.name, within(d.name, truncated(err)))
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
