package weights

import (
	"errors"
	"testing"
	"testing/fstest"
)

// FuzzSafetensors: whatever is accepted can be read to the last byte of every tensor, and the tensors add up to the file.
func FuzzSafetensors(f *testing.F) {
	f.Add(build(twoTensors, counting(14)))
	for _, family := range []func() []mutant{lengths, entries, tilings} {
		for _, m := range family() {
			f.Add([]byte(m.files[singleName]))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := OpenFS(fstest.MapFS{singleName: {Data: raw}})
		if err != nil {
			return
		}
		total := int64(0)
		for _, name := range c.Names() {
			x := c.tensors[name]
			total += x.bytes()
			p := make([]byte, x.bytes())
			if _, err := (&data{name, x}).ReadAt(p, 0); err != nil {
				t.Fatalf("%q: %v", name, err)
			}
		}
		if total >= int64(len(raw)) {
			t.Fatalf("tensors of %d bytes in a file of %d", total, len(raw))
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzIndex: an accepted index maps every tensor to a plain file name.
func FuzzIndex(f *testing.F) {
	for _, m := range indexes() {
		if raw := m.files[indexName]; len(raw) < 1000 {
			f.Add([]byte(raw))
		}
	}
	f.Add([]byte(shards()[indexName]))
	f.Fuzz(func(t *testing.T, raw []byte) {
		files := mapFS(shards())
		files[indexName] = &fstest.MapFile{Data: raw}
		if c, err := OpenFS(files); err == nil {
			c.Close()
		}
		ix, err := parseIndex(raw)
		if err != nil {
			return
		}
		for name, shard := range ix.files {
			if shard == ".." || shard == "" || len(shard) > 255 {
				t.Fatalf("%q is in %q", name, shard)
			}
			for _, c := range []byte(shard) {
				if c == '/' || c == '\\' || c == 0 {
					t.Fatalf("%q is in %q", name, shard)
				}
			}
		}
	})
}

// FuzzConfig: an accepted config is small enough to multiply, and everything refused says why.
func FuzzConfig(f *testing.F) {
	for _, doc := range []string{llama32, qwen25, mistral} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		_, _ = parseGeneration(raw, 1000)
		c, err := parseConfig(raw)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnsupported) {
				t.Fatalf("neither malformed nor unsupported: %v", err)
			}
			return
		}
		h := c.Heads
		if h.KV < 1 || h.Q%h.KV != 0 || h.Q*h.Dim > 1<<20 || c.HiddenSize*c.IntermediateSize > 1<<37 || len(c.Windows) != c.Layers ||
			c.VocabSize < 1 || !(c.NormEps > 0) || !(c.Rope.Theta >= 1) || !(c.Rope.Factor >= 1) {
			t.Fatalf("%+v", c)
		}
		for _, w := range c.Windows {
			if w < 0 {
				t.Fatalf("window %d", w)
			}
		}
	})
}
