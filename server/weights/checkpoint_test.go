package weights

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"radish/kernels"
)

// build lays a safetensors file out by the format's description: length, header, data.
func build(header string, data []byte) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), data...)
}

// counting is n bytes 0, 1, 2, ...
func counting(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

func mapFS(files map[string]string) fstest.MapFS {
	m := fstest.MapFS{}
	for name, data := range files {
		m[name] = &fstest.MapFile{Data: []byte(data)}
	}
	return m
}

const twoTensors = `{"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[3],"data_offsets":[8,14]},` +
	`"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"empty":{"dtype":"F16","shape":[0,7],"data_offsets":[8,8]}}   `

func TestSingleFile(t *testing.T) {
	var data []byte
	data = binary.LittleEndian.AppendUint32(data, math.Float32bits(1.5))
	data = binary.LittleEndian.AppendUint32(data, math.Float32bits(-2))
	for _, f := range []float32{1, 0.5, -3} {
		data = binary.LittleEndian.AppendUint16(data, uint16(math.Float32bits(f)>>16))
	}
	c, err := OpenFS(mapFS(map[string]string{"model.safetensors": string(build(twoTensors, data))}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.Names(); !slices.Equal(got, []string{"a", "b", "empty"}) || !c.Has("a") || c.Has("c") {
		t.Errorf("names %v", got)
	}
	if v, err := c.Vector("b", 3); err != nil || !slices.Equal(v, []float32{1, 0.5, -3}) {
		t.Errorf("vector %v, %v", v, err)
	}
	m, err := c.Matrix("a", 1, 2)
	if err != nil || m.DType != kernels.F32 || m.Rows != 1 || m.Cols != 2 {
		t.Fatalf("matrix %+v, %v", m, err)
	}
	got := make([]byte, 8)
	if n, err := m.Data.ReadAt(got, m.Off); n != 8 || err != nil || string(got) != string(data[:8]) {
		t.Errorf("read %d, %v: %v", n, err, got)
	}
	if n, err := m.Data.ReadAt(got, 4); n != 4 || err != io.EOF {
		t.Errorf("a matrix can be read past its end: %d, %v", n, err)
	}
	if _, err := m.Data.ReadAt(got, -4); err == nil {
		t.Error("a matrix can be read before its start")
	}
	for what, err := range map[string]error{
		"shape":   second(c.Matrix("a", 2, 1)),
		"rank":    second(c.Vector("a", 2)),
		"missing": second(c.Matrix("c", 2, 1)),
	} {
		if err == nil || !strings.Contains(err.Error(), `tensor "`) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := c.Vector("c", 1); !errors.Is(err, ErrMissing) {
		t.Error(err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestVectorMustBeFinite(t *testing.T) {
	for _, bits := range []uint32{0x7fc00000, 0x7f800000, 0xff800000} {
		data := binary.LittleEndian.AppendUint32(nil, bits)
		c, err := OpenFS(mapFS(map[string]string{"model.safetensors": string(build(`{"n":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, data))}))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Vector("n", 1); !errors.Is(err, ErrMalformed) {
			t.Errorf("%#x: %v", bits, err)
		}
	}
}

func TestFileThatShrinks(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "model.safetensors")
	write(t, path, string(build(`{"n":{"dtype":"F32","shape":[64,64],"data_offsets":[0,16384]}}`, counting(16384))))
	c, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	m, err := c.Matrix("n", 64, 64)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 1000); err != nil {
		t.Fatal(err)
	}
	_, err = m.Data.ReadAt(make([]byte, 16384), 0)
	if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), `model.safetensors: tensor "n"`) {
		t.Errorf("read of a file cut short: %v", err)
	}
}

func write(t *testing.T, path, data string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

const tiny = `{"n":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`

func TestCacheSnapshotOpens(t *testing.T) {
	hub := filepath.Join(t.TempDir(), "models--x--y")
	write(t, filepath.Join(hub, "blobs", "abc"), string(build(tiny, counting(1))))
	snap := filepath.Join(hub, "snapshots", "0123")
	if err := os.MkdirAll(snap, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../blobs/abc", filepath.Join(snap, "model.safetensors")); err != nil {
		t.Fatal(err)
	}
	c, err := Open(snap)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestLinksOutOfTheDirectoryAreRefused(t *testing.T) {
	top := t.TempDir()
	write(t, filepath.Join(top, "secret"), string(build(tiny, counting(1))))
	dir := filepath.Join(top, "model")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../secret", filepath.Join(dir, "model.safetensors")); err != nil {
		t.Fatal(err)
	}
	if c, err := Open(dir); err == nil {
		c.Close()
		t.Error("a link out of the directory was followed")
	}
}

func TestDirectoryInPlaceOfFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "model.safetensors"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); !errors.Is(err, ErrMalformed) {
		t.Errorf("a directory named like a file: %v", err)
	}
	if _, err := Open(filepath.Join(dir, "nowhere")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	if _, err := Open(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("empty directory: %v", err)
	}
}

// shards is a good sharded checkpoint; tests change one thing in it.
func shards() map[string]string {
	return map[string]string{
		"one.safetensors":              string(build(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, make([]byte, 8))),
		"two.safetensors":              string(build(`{"b":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,8]},"c":{"dtype":"U8","shape":[],"data_offsets":[8,9]}}`, make([]byte, 9))),
		"model.safetensors.index.json": `{"metadata":{"total_size":17},"weight_map":{"a":"one.safetensors","b":"two.safetensors","c":"two.safetensors"}}`,
	}
}

func TestShards(t *testing.T) {
	for _, total := range []string{`{"total_size":17}`, `{"total_size":17.0}`, `{}`, `{"total_size":null,"other":[1]}`} {
		files := shards()
		files[indexName] = strings.Replace(files[indexName], `{"total_size":17}`, total, 1)
		c, err := OpenFS(mapFS(files))
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Names(); !slices.Equal(got, []string{"a", "b", "c"}) {
			t.Errorf("names %v", got)
		}
		if v, err := c.Vector("a", 2); err != nil || len(v) != 2 {
			t.Errorf("vector %v, %v", v, err)
		}
		if _, err := c.Matrix("c", 1, 1); err == nil {
			t.Error("a scalar passes for a matrix")
		}
		c.Close()
	}
}
