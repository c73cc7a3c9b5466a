package weights

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"radish/kernels"
)

// llama32 is the config.json of a published model (Llama 3.2 1B), shortened to what is read.
const llama32 = `{
  "architectures": ["LlamaForCausalLM"], "attention_bias": false, "bos_token_id": 128000,
  "eos_token_id": [128001, 128008, 128009], "head_dim": 64, "hidden_act": "silu", "hidden_size": 2048,
  "intermediate_size": 8192, "max_position_embeddings": 131072, "mlp_bias": false, "model_type": "llama",
  "num_attention_heads": 32, "num_hidden_layers": 16, "num_key_value_heads": 8, "rms_norm_eps": 1e-05,
  "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
    "original_max_position_embeddings": 8192, "rope_type": "llama3"},
  "rope_theta": 500000.0, "tie_word_embeddings": true, "torch_dtype": "bfloat16", "vocab_size": 128256}`

// qwen25 is that of Qwen2.5 0.5B, which states no head_dim and a window that is not used.
const qwen25 = `{"architectures": ["Qwen2ForCausalLM"], "bos_token_id": 151643, "eos_token_id": 151645, "hidden_act": "silu",
  "hidden_size": 896, "intermediate_size": 4864, "max_position_embeddings": 32768, "max_window_layers": 21,
  "model_type": "qwen2", "num_attention_heads": 14, "num_hidden_layers": 24, "num_key_value_heads": 2,
  "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": true,
  "torch_dtype": "bfloat16", "use_sliding_window": false, "vocab_size": 151936}`

// mistral is that of Mistral 7B v0.1, in the layout of transformers 5.
const mistral = `{"architectures": ["MistralForCausalLM"], "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
  "head_dim": null, "hidden_size": 4096, "intermediate_size": 14336, "max_position_embeddings": 32768,
  "model_type": "mistral", "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8,
  "rms_norm_eps": 1e-05, "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
  "sliding_window": 4096, "tie_word_embeddings": false, "dtype": "float32", "vocab_size": 32000}`

func config(t *testing.T, doc string) *Config {
	t.Helper()
	c, err := ReadConfig(fstest.MapFS{"config.json": {Data: []byte(doc)}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPublishedConfigs(t *testing.T) {
	c := config(t, llama32)
	if c.Architectures[0] != "LlamaForCausalLM" || c.ModelType != "llama" || c.HiddenSize != 2048 || c.IntermediateSize != 8192 ||
		c.Layers != 16 || c.VocabSize != 128256 || c.Heads != (kernels.Heads{Q: 32, KV: 8, Dim: 64}) || c.NormEps != 1e-5 ||
		c.Rope != (Rope{Theta: 500000, Type: "llama3", Factor: 32, LowFreq: 1, HighFreq: 4, Original: 8192}) || !c.TieEmbeddings ||
		c.Bias != (Bias{}) || c.MaxPositions != 131072 || c.DType != kernels.BF16 ||
		!slices.Equal(c.Special.BOS, []int32{128000}) || !slices.Equal(c.Special.EOS, []int32{128001, 128008, 128009}) {
		t.Errorf("llama: %+v", c)
	}
	c = config(t, qwen25)
	if c.Heads != (kernels.Heads{Q: 14, KV: 2, Dim: 64}) || c.Bias != (Bias{QKV: true}) || slices.Max(c.Windows) != 0 ||
		c.Rope != (Rope{Theta: 1e6, Type: "default", Factor: 1}) || !slices.Equal(c.Special.EOS, []int32{151645}) {
		t.Errorf("qwen: %+v", c)
	}
	c = config(t, mistral)
	if c.Heads.Dim != 128 || slices.Min(c.Windows) != 4096 || len(c.Windows) != 32 || c.DType != kernels.F32 ||
		c.Rope != (Rope{Theta: 10000, Type: "default", Factor: 1}) || c.TieEmbeddings {
		t.Errorf("mistral: %+v", c)
	}
}

// TestOneKeyChanged changes one key of a published file and looks at one result.
func TestOneKeyChanged(t *testing.T) {
	for _, x := range []struct {
		name, doc, old, new string
		ok                  func(c *Config) bool
	}{
		{"no kv heads means as many as query heads", llama32, `"num_key_value_heads": 8,`, ``, func(c *Config) bool { return c.Heads.KV == 32 }},
		{"llama's attention bias is on all four", llama32, `"attention_bias": false`, `"attention_bias": true`, func(c *Config) bool { return c.Bias == Bias{QKV: true, O: true} }},
		{"mlp bias", llama32, `"mlp_bias": false`, `"mlp_bias": true`, func(c *Config) bool { return c.Bias.MLP }},
		{"llama ignores a window", llama32, `"mlp_bias"`, `"sliding_window": 5, "mlp_bias"`, func(c *Config) bool { return c.Windows[0] == 0 }},
		{"no window", mistral, `"sliding_window": 4096`, `"sliding_window": null`, func(c *Config) bool { return c.Windows[0] == 0 }},
		{"qwen's window begins at a layer", qwen25, `"use_sliding_window": false`, `"use_sliding_window": true`, func(c *Config) bool { return c.Windows[20] == 0 && c.Windows[21] == 32768 }},
		{"linear scaling, old name", qwen25, `"rope_theta"`, `"rope_scaling": {"type": "linear", "factor": 2}, "rope_theta"`, func(c *Config) bool { return c.Rope == Rope{Theta: 1e6, Type: "linear", Factor: 2} }},
		{"null scaling", qwen25, `"rope_theta"`, `"rope_scaling": null, "rope_theta"`, func(c *Config) bool { return c.Rope.Type == "default" }},
		{"llama3 in the new layout", mistral, `"rope_type": "default"`, `"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 8192`,
			func(c *Config) bool {
				return c.Rope.Type == "llama3" && c.Rope.Original == 8192 && c.Rope.Theta == 10000
			}},
		{"default theta", qwen25, `"rope_theta": 1000000.0,`, ``, func(c *Config) bool { return c.Rope.Theta == 10000 }},
		{"no dtype", qwen25, `"torch_dtype": "bfloat16",`, ``, func(c *Config) bool { return c.DType == 0 }},
		{"no ids", qwen25, `"eos_token_id": 151645`, `"eos_token_id": null`, func(c *Config) bool { return c.Special.EOS == nil }},
		{"unknown keys are ignored", qwen25, `{"arch`, `{"auto_map": {"x": [1, {}]}, "arch`, func(c *Config) bool { return true }},
	} {
		if c := config(t, change(t, x.doc, x.old, x.new)); !x.ok(c) {
			t.Errorf("%s: %+v", x.name, c)
		}
	}
}

func change(t *testing.T, doc, old, new string) string {
	t.Helper()
	if !strings.Contains(doc, old) {
		t.Fatalf("%q is not in the document", old)
	}
	return strings.Replace(doc, old, new, 1)
}

func TestLayerTypes(t *testing.T) {
	small := change(t, mistral, `"num_hidden_layers": 32`, `"layer_types": ["full_attention", "sliding_attention"], "num_hidden_layers": 2`)
	if c := config(t, small); !slices.Equal(c.Windows, []int{0, 4096}) {
		t.Errorf("windows %v", c.Windows)
	}
}

// TestRefusedConfigs: each names the file and the key.
func TestRefusedConfigs(t *testing.T) {
	for _, x := range []struct{ doc, old, new, key string }{
		{llama32, `"hidden_size": 2048,`, ``, "hidden_size"},
		{llama32, `"hidden_size": 2048`, `"hidden_size": 0`, "hidden_size"},
		{llama32, `"hidden_size": 2048`, `"hidden_size": -2048`, "hidden_size"},
		{llama32, `"hidden_size": 2048`, `"hidden_size": 2050`, "hidden_size"},
		{llama32, `"hidden_size": 2048`, `"hidden_size": 2048.5`, "hidden_size"},
		{llama32, `"hidden_size": 2048`, `"hidden_size": 1e9`, "hidden_size"},
		{llama32, `"hidden_size": 2048`, `"hidden_size": 4611686018427387904`, "hidden_size"},
		{llama32, `"hidden_size": 2048`, `"hidden_size": "2048"`, "hidden_size"},
		{llama32, `"hidden_size": 2048`, `"hidden_size": 2048, "hidden_size": 4096`, "hidden_size"},
		{llama32, `"intermediate_size": 8192`, `"intermediate_size": 99999999`, "intermediate_size"},
		{llama32, `"num_hidden_layers": 16`, `"num_hidden_layers": 1000000000`, "num_hidden_layers"},
		{llama32, `"num_hidden_layers": 16`, `"num_hidden_layers": 0`, "num_hidden_layers"},
		{llama32, `"num_attention_heads": 32`, `"num_attention_heads": 0`, "num_attention_heads"},
		{llama32, `"num_attention_heads": 32`, `"num_attention_heads": 33`, "num_attention_heads"},
		{llama32, `"num_key_value_heads": 8`, `"num_key_value_heads": 64`, "num_key_value_heads"},
		{llama32, `"num_key_value_heads": 8`, `"num_key_value_heads": 0`, "num_key_value_heads"},
		{llama32, `"head_dim": 64`, `"head_dim": 63`, "head_dim"},
		{llama32, `"head_dim": 64`, `"head_dim": 100000`, "head_dim"},
		{qwen25, `"num_attention_heads": 14`, `"num_attention_heads": 10`, "hidden_size"},
		{llama32, `"vocab_size": 128256`, `"vocab_size": 2000000000`, "vocab_size"},
		{llama32, `"max_position_embeddings": 131072`, `"max_position_embeddings": -1`, "max_position_embeddings"},
		{llama32, `1e-05`, `0`, "rms_norm_eps"},
		{llama32, `1e-05`, `-1`, "rms_norm_eps"},
		{llama32, `1e-05`, `1e999`, "rms_norm_eps"},
		{llama32, `500000.0`, `0`, "rope_theta"},
		{llama32, `500000.0`, `1e300`, "rope_theta"},
		{llama32, `"factor": 32.0, `, ``, "factor"},
		{llama32, `"factor": 32.0`, `"factor": 0.5`, "factor"},
		{llama32, `"high_freq_factor": 4.0`, `"high_freq_factor": 1.0`, "high_freq_factor"},
		{llama32, `"rope_type": "llama3"`, `"rope_type": "yarn"`, `"yarn"`},
		{llama32, `"rope_type": "llama3"`, `"rope_type": "dynamic"`, `"dynamic"`},
		{llama32, `"rope_type": "llama3"`, `"rope_type": 3`, "rope_scaling"},
		{mistral, `{"rope_theta": 10000.0, "rope_type": "default"}`, `{"full_attention": {"rope_type": "yarn"}}`, "rope_parameters"},
		{mistral, `"rope_type": "default"`, `"rope_type": "default", "partial_rotary_factor": 0.5`, "partial_rotary_factor"},
		{mistral, `"sliding_window": 4096`, `"sliding_window": -4096`, "sliding_window"},
		{mistral, `"sliding_window": 4096`, `"sliding_window": 0`, "sliding_window"},
		{mistral, `"num_hidden_layers": 32`, `"layer_types": ["full_attention"], "num_hidden_layers": 2`, "layer_types"},
		{mistral, `"num_hidden_layers": 32`, `"layer_types": ["linear_attention"], "num_hidden_layers": 1`, "linear_attention"},
		{llama32, `"silu"`, `"gelu"`, "hidden_act"},
		{llama32, `"bfloat16"`, `"float8_e4m3fn"`, "dtype"},
		{llama32, `"bos_token_id": 128000`, `"bos_token_id": -1`, "bos_token_id"},
		{llama32, `128009]`, `128256]`, "eos_token_id"},
		{llama32, `[128001, 128008, 128009]`, `[` + strings.Repeat("1,", 2000) + `1]`, "eos_token_id"},
		{llama32, `[128001, 128008, 128009]`, `"x"`, "eos_token_id"},
		{llama32, `"mlp_bias"`, `"quantization_config": {"quant_method": "awq"}, "mlp_bias"`, "quantization_config"},
		{llama32, `"llama"`, "\"\xff\"", ""},
		{llama32, `{`, ``, ""},
		{llama32, `{`, strings.Repeat(`{"x":`, 100000), ""},
		{llama32, `"llama"`, `"` + strings.Repeat("a", maxConfig) + `"`, ""},
	} {
		_, err := ReadConfig(fstest.MapFS{"config.json": {Data: []byte(change(t, x.doc, x.old, x.new))}})
		if err == nil {
			t.Errorf("%.60s: accepted", x.new)
			continue
		}
		if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnsupported) {
			t.Errorf("%.60s: neither malformed nor unsupported: %v", x.new, err)
		}
		if !strings.Contains(err.Error(), "config.json") || !strings.Contains(err.Error(), x.key) {
			t.Errorf("%.60s: %q does not name config.json and %s", x.new, err, x.key)
		}
	}
	if _, err := ReadConfig(fstest.MapFS{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no config.json: %v", err)
	}
}

func TestGeneration(t *testing.T) {
	read := func(doc string) (*Generation, error) {
		return ReadGeneration(fstest.MapFS{"generation_config.json": {Data: []byte(doc)}}, 200000)
	}
	// Qwen2.5's published file.
	g, err := read(`{"bos_token_id": 151643, "pad_token_id": 151643, "do_sample": true, "eos_token_id": [151645, 151643],
		"repetition_penalty": 1.1, "temperature": 0.7, "top_p": 0.8, "top_k": 20, "transformers_version": "4.37.0"}`)
	if err != nil || g.Temperature != 0.7 || g.TopP != 0.8 || g.TopK != 20 || g.Repetition != 1.1 || !slices.Equal(g.EOS, []int32{151645, 151643}) {
		t.Errorf("%+v, %v", g, err)
	}
	if g, err = read(`{}`); err != nil || g.Temperature != 1 || g.TopP != 1 || g.TopK != 0 || g.Repetition != 1 || g.EOS != nil {
		t.Errorf("%+v, %v", g, err)
	}
	if g, err = ReadGeneration(fstest.MapFS{}, 10); err != nil || g.Temperature != 1 || g.TopP != 1 || g.Repetition != 1 {
		t.Errorf("without a file: %+v, %v", g, err)
	}
	for _, doc := range []string{`{"temperature": -1}`, `{"temperature": "x"}`, `{"top_p": 1.5}`, `{"top_k": 1.5}`, `{"top_k": -2}`,
		`{"repetition_penalty": 0}`, `{"eos_token_id": 200000}`, `{"top_p": 1, "top_p": 1}`, `[]`, ``} {
		if _, err := read(doc); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "generation_config.json") {
			t.Errorf("%s: %v", doc, err)
		}
	}
}
