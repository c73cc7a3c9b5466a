package main

import (
	"math"
	"testing"
	"testing/fstest"
)

// TestShapeOfLlama3 compares with figures worked out elsewhere: 8.03 B parameters, 15.01 GB read in a step of bf16, a KV
// cache of 131,072 bytes a token, 13.96 GFLOP for a prompt token.
func TestShapeOfLlama3(t *testing.T) {
	files := fstest.MapFS{"config.json": {Data: []byte(`{"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_act":"silu",
		"hidden_size":4096,"intermediate_size":14336,"num_hidden_layers":32,"num_attention_heads":32,"num_key_value_heads":8,
		"vocab_size":128256,"rms_norm_eps":1e-5,"rope_theta":500000.0,"max_position_embeddings":8192,"torch_dtype":"bfloat16",
		"tie_word_embeddings":false,"bos_token_id":128000,"eos_token_id":128001}`)}}
	f := benchDeviceFlags{bits: 16}
	s, err := f.readShape(files)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what      string
		got, want float64
	}{
		{"bytes of a step", s.WeightBytes, 15.01e9}, {"parameters", s.Parameters + s.Head, 8.03e9}, {"KV bytes", s.KVBytes, 131072},
		{"FLOP of a prompt token", 2 * (s.Parameters - s.Head), 13.96e9}, {"attention width", s.Attention, 32 * 32 * 128},
	} {
		if math.Abs(c.got/c.want-1) > 0.001 {
			t.Errorf("%s: %v, want %v", c.what, c.got, c.want)
		}
	}
}

func TestIsHere(t *testing.T) {
	for address, want := range map[string]bool{
		"http://127.0.0.1:30000": true, "http://localhost:1": true, "http://[::1]:1": true, "http://10.0.0.7:30000": false, "https://pod.example": false, "::": false,
	} {
		if isHere(address) != want {
			t.Errorf("%s: %v", address, !want)
		}
	}
}
