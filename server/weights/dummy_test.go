package weights

import (
	"bytes"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"testing"

	"radish/kernels"
)

func TestDummyIsTheSameAtEveryOffset(t *testing.T) {
	c := config(t, qwen25)
	rng := rand.New(rand.NewPCG(1, 1))
	for _, d := range []kernels.DType{kernels.F32, kernels.BF16, kernels.F16} {
		m, err := Dummy(c, 7, d).Matrix("model.layers.3.mlp.up_proj.weight", 4864, 896)
		if err != nil {
			t.Fatal(err)
		}
		whole := make([]byte, 4864*896*d.Size())
		if n, err := m.Data.ReadAt(whole, 0); n != len(whole) || err != nil {
			t.Fatal(n, err)
		}
		for range 2000 {
			part := make([]byte, rng.IntN(70))
			off := rng.IntN(len(whole) - len(part))
			if n, err := m.Data.ReadAt(part, int64(off)); n != len(part) || err != nil || !bytes.Equal(part, whole[off:off+n]) {
				t.Fatalf("%v: %d bytes at %d differ: %v", d, len(part), off, err)
			}
		}
		if n, err := m.Data.ReadAt(make([]byte, 50), int64(len(whole)-9)); n != 9 || err != io.EOF {
			t.Errorf("at the end: %d, %v", n, err)
		}
		if _, err := m.Data.ReadAt(make([]byte, 5), -1); err == nil {
			t.Error("negative offset accepted")
		}
	}
}

func TestDummyIsNormal(t *testing.T) {
	c := config(t, qwen25)
	for _, d := range []kernels.DType{kernels.F32, kernels.BF16, kernels.F16} {
		m, err := Dummy(c, 7, d).Matrix("model.layers.0.self_attn.q_proj.weight", 896, 896)
		if err != nil {
			t.Fatal(err)
		}
		raw := make([]byte, 896*896*d.Size())
		if _, err := m.Data.ReadAt(raw, 0); err != nil {
			t.Fatal(err)
		}
		var sum, square, lag float64
		inside, v := 0, widen(d, raw)
		for i, x := range v {
			sum += float64(x)
			square += float64(x) * float64(x)
			if math.Abs(float64(x)) < 0.02 {
				inside++
			}
			lag += float64(x) * float64(v[(i+1)%len(v)])
		}
		n := float64(len(v)) // standard errors: 0.02/sqrt(n) = 2.2e-5 for the mean, 1.6e-5 for the deviation
		if math.Abs(sum/n) > 1.2e-4 || math.Abs(math.Sqrt(square/n)-0.02) > 2e-4 || math.Abs(lag/square) > 0.006 {
			t.Errorf("%v: mean %g, deviation %g, correlation %g", d, sum/n, math.Sqrt(square/n), lag/square)
		}
		if p := float64(inside) / n; math.Abs(p-0.6827) > 0.006 {
			t.Errorf("%v: %g within one deviation", d, p)
		}
	}
}

func TestDummyDependsOnSeedAndName(t *testing.T) {
	c := config(t, qwen25)
	first := func(seed uint64, name string) [32]byte {
		m, err := Dummy(c, seed, kernels.BF16).Matrix(name, 4864, 896)
		if err != nil {
			t.Fatal(err)
		}
		var b [32]byte
		_, _ = m.Data.ReadAt(b[:], 0)
		return b
	}
	const up, gate = "model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.gate_proj.weight"
	if first(1, up) != first(1, up) || first(1, up) == first(2, up) || first(1, up) == first(1, gate) {
		t.Error("seed and name do not decide")
	}
}

func TestDummyHasTheModelsTensors(t *testing.T) {
	s := Dummy(config(t, llama32), 1, kernels.BF16)
	// 16 layers of 9 tensors, the embedding and the last norm; tied, so no lm_head; no biases.
	if n := len(s.Names()); n != 16*9+2 || s.Has("lm_head.weight") || s.Has("model.layers.0.self_attn.q_proj.bias") {
		t.Errorf("%d tensors", n)
	}
	s = Dummy(config(t, qwen25), 1, kernels.BF16)
	if n := len(s.Names()); n != 24*12+2 || !s.Has("model.layers.23.self_attn.v_proj.bias") || s.Has("model.layers.0.self_attn.o_proj.bias") {
		t.Errorf("%d tensors", n)
	}
	if v, err := s.Vector("model.norm.weight", 896); err != nil || v[0] != 1 || v[895] != 1 {
		t.Errorf("norm: %v", err)
	}
	if v, err := s.Vector("model.layers.0.self_attn.q_proj.bias", 896); err != nil || v[0] == 1 || v[0] == v[1] {
		t.Errorf("bias: %v", err)
	}
	if _, err := s.Matrix("model.embed_tokens.weight", 151936, 897); !errors.Is(err, ErrMalformed) {
		t.Errorf("wrong shape: %v", err)
	}
	if _, err := s.Vector("other", 1); !errors.Is(err, ErrMissing) {
		t.Errorf("unknown name: %v", err)
	}
}

func BenchmarkDummy(b *testing.B) {
	for _, d := range []kernels.DType{kernels.BF16, kernels.F32} {
		b.Run(d.String(), func(b *testing.B) {
			c, err := parseConfig([]byte(qwen25))
			if err != nil {
				b.Fatal(err)
			}
			m, _ := Dummy(c, 1, d).Matrix("model.embed_tokens.weight", 151936, 896)
			p := make([]byte, 1<<20)
			b.SetBytes(int64(len(p)))
			for i := range b.N {
				_, _ = m.Data.ReadAt(p, int64(i%200)<<20)
			}
		})
	}
}
