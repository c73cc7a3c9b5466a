package weights

import (
	"testing"
	"testing/fstest"

	"radish/kernels"
)

// llama32 is the config.json of a published model family (Llama 3.2 1B), shortened to what is read.
const llama32 = `{
  "architectures": ["LlamaForCausalLM"], "attention_bias": false, "bos_token_id": 128000,
  "eos_token_id": [128001, 128008, 128009], "head_dim": 64, "hidden_act": "silu", "hidden_size": 2048,
  "intermediate_size": 8192, "max_position_embeddings": 131072, "mlp_bias": false, "model_type": "llama",
  "num_attention_heads": 32, "num_hidden_layers": 16, "num_key_value_heads": 8, "rms_norm_eps": 1e-05,
  "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
    "original_max_position_embeddings": 8192, "rope_type": "llama3"},
  "rope_theta": 500000.0, "tie_word_embeddings": true, "torch_dtype": "bfloat16", "vocab_size": 128256}`

func TestReadConfig(t *testing.T) {
	c, err := ReadConfig(fstest.MapFS{"config.json": {Data: []byte(llama32)}})
	if err != nil {
		t.Fatal(err)
	}
	if c.HiddenSize != 2048 || c.Heads != (kernels.Heads{Q: 32, KV: 8, Dim: 64}) || c.Layers != 16 || !c.TieEmbeddings ||
		c.Rope != (Rope{Theta: 500000, Type: "llama3", Factor: 32, LowFreq: 1, HighFreq: 4, Original: 8192}) ||
		c.NormEps != 1e-5 || c.DType != kernels.BF16 || len(c.Special.EOS) != 3 || c.Windows[15] != 0 {
		t.Errorf("%+v", c)
	}
}
