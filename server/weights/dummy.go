package weights

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strings"

	"radish/kernels"
)

// initRange is the standard deviation of dummy weights, transformers' initializer_range.
const initRange = 0.02

// dummy is a Source of random numbers with the tensors that a Config implies.
type dummy struct {
	seed   uint64
	dtype  kernels.DType
	shapes map[string][2]int // cols 0: a vector
	table  [4096]byte4       // quantiles of the normal distribution, encoded
}

// byte4 is one element, little endian, in its first Size bytes.
type byte4 [4]byte

// Dummy makes a Source of seeded random weights of type dtype (BF16, F16 or F32) for the shapes of cfg, by the names of
// the Llama family: normal with standard deviation 0.02, norm vectors 1. The same seed gives the same weights, whatever
// the order in which they are read.
func Dummy(cfg *Config, seed uint64, dtype kernels.DType) Source {
	d := &dummy{seed: seed, dtype: dtype, shapes: shapes(cfg)}
	for i := range d.table {
		v := float32(initRange * math.Sqrt2 * math.Erfinv((float64(i)+0.5)/float64(len(d.table)/2)-1))
		d.table[i] = encode(dtype, v)
	}
	return d
}

// encode is v as a file would hold it.
func encode(d kernels.DType, v float32) (b byte4) {
	switch d {
	case kernels.F32:
		binary.LittleEndian.PutUint32(b[:], math.Float32bits(v))
	case kernels.BF16:
		binary.LittleEndian.PutUint16(b[:], kernels.F32ToBF16(v))
	case kernels.F16:
		binary.LittleEndian.PutUint16(b[:], kernels.F32ToF16(v))
	default:
		panic(fmt.Sprintf("weights: no dummy weights of type %v", d))
	}
	return b
}

// shapes lists the tensors of a model of the Llama family: Llama, Mistral, Qwen2, Qwen3.
func shapes(c *Config) map[string][2]int {
	q, kv := c.Heads.Q*c.Heads.Dim, c.Heads.KV*c.Heads.Dim
	m := map[string][2]int{
		"model.embed_tokens.weight": {c.VocabSize, c.HiddenSize},
		"model.norm.weight":         {c.HiddenSize},
	}
	if !c.TieEmbeddings {
		m["lm_head.weight"] = [2]int{c.VocabSize, c.HiddenSize}
	}
	for i := range c.Layers {
		at := fmt.Sprintf("model.layers.%d.", i)
		linear := func(name string, out, in int, bias bool) {
			m[at+name+".weight"] = [2]int{out, in}
			if bias {
				m[at+name+".bias"] = [2]int{out}
			}
		}
		linear("self_attn.q_proj", q, c.HiddenSize, c.Bias.QKV)
		linear("self_attn.k_proj", kv, c.HiddenSize, c.Bias.QKV)
		linear("self_attn.v_proj", kv, c.HiddenSize, c.Bias.QKV)
		linear("self_attn.o_proj", c.HiddenSize, q, c.Bias.O)
		linear("mlp.gate_proj", c.IntermediateSize, c.HiddenSize, c.Bias.MLP)
		linear("mlp.up_proj", c.IntermediateSize, c.HiddenSize, c.Bias.MLP)
		linear("mlp.down_proj", c.HiddenSize, c.IntermediateSize, c.Bias.MLP)
		m[at+"input_layernorm.weight"] = [2]int{c.HiddenSize}
		m[at+"post_attention_layernorm.weight"] = [2]int{c.HiddenSize}
		if c.ModelType == "qwen3" {
			m[at+"self_attn.q_norm.weight"] = [2]int{c.Heads.Dim}
			m[at+"self_attn.k_norm.weight"] = [2]int{c.Heads.Dim}
		}
	}
	return m
}

func (d *dummy) Names() []string { return sorted(d.shapes) }
func (d *dummy) Close() error    { return nil }

func (d *dummy) Has(name string) bool {
	_, ok := d.shapes[name]
	return ok
}

// find checks the shape that is asked for.
func (d *dummy) find(name string, shape [2]int) error {
	have, ok := d.shapes[name]
	if !ok {
		return within(name, ErrMissing)
	}
	if have != shape {
		return within(name, fmt.Errorf("%w: shape is %v, the model needs %v", ErrMalformed, have, shape))
	}
	return nil
}

func (d *dummy) Matrix(name string, rows, cols int) (kernels.Matrix, error) {
	if err := d.find(name, [2]int{rows, cols}); err != nil {
		return kernels.Matrix{}, err
	}
	return kernels.Matrix{DType: d.dtype, Rows: rows, Cols: cols, Data: d.stream(name, int64(rows)*int64(cols))}, nil
}

func (d *dummy) Vector(name string, n int) ([]float32, error) {
	if err := d.find(name, [2]int{n}); err != nil {
		return nil, err
	}
	if strings.HasSuffix(name, "norm.weight") {
		ones := make([]float32, n)
		for i := range ones {
			ones[i] = 1
		}
		return ones, nil
	}
	raw := make([]byte, n*d.dtype.Size())
	if _, err := d.stream(name, int64(n)).ReadAt(raw, 0); err != nil {
		return nil, err
	}
	return widen(d.dtype, raw), nil
}

// stream is n elements of random numbers that depend on the seed and the name.
func (d *dummy) stream(name string, n int64) *stream {
	key := mix(d.seed)
	for _, c := range []byte(name) {
		key = mix(key ^ uint64(c))
	}
	return &stream{table: &d.table, width: d.dtype.Size(), key: key, size: n * int64(d.dtype.Size())}
}

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection that scatters every bit.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// stream computes bytes from their offset. Elements come in groups of four: one mix of the group's number gives four
// 12-bit indices into the table of quantiles.
type stream struct {
	table *[4096]byte4
	width int
	key   uint64
	size  int64
}

func (s *stream) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read dummy weights: offset %d", off)
	}
	if off >= s.size {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), s.size-off))
	group := int64(4 * s.width)
	at := 0
	if head := int(off % group); head > 0 {
		at = s.part(p[:n], off/group, head)
	}
	at += s.fill(p[at:n], uint64((off+int64(at))/group))
	if at < n {
		s.part(p[at:n], (off+int64(at))/group, 0)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// part copies from a group beginning at one of its bytes, and returns how many.
func (s *stream) part(p []byte, group int64, from int) int {
	var whole [16]byte
	s.fill(whole[:4*s.width], uint64(group))
	return copy(p, whole[from:4*s.width])
}

// fill writes as many whole groups as p holds, and returns the bytes written.
func (s *stream) fill(p []byte, group uint64) int {
	size, done := 4*s.width, 0
	for ; len(p) >= size; p = p[size:] {
		x := mix(s.key + group)
		a, b, c, d := &s.table[x>>52], &s.table[x>>40&0xfff], &s.table[x>>28&0xfff], &s.table[x>>16&0xfff]
		if s.width == 2 {
			binary.LittleEndian.PutUint64(p, uint64(word(a))&0xffff|uint64(word(b)&0xffff)<<16|
				uint64(word(c)&0xffff)<<32|uint64(word(d))<<48)
		} else {
			binary.LittleEndian.PutUint64(p, uint64(word(a))|uint64(word(b))<<32)
			binary.LittleEndian.PutUint64(p[8:], uint64(word(c))|uint64(word(d))<<32)
		}
		group++
		done += size
	}
	return done
}

func word(b *byte4) uint32 { return binary.LittleEndian.Uint32(b[:]) }
