package model

import "radish/server/weights"

// qwen3 norms each query and key head before the rotation and has no biases unless attention_bias brings them back;
// its head_dim is a number of its own (Yang et al. 2025).
var qwen3 = family{
	architecture: "Qwen3ForCausalLM",
	bias:         func(stated weights.Bias) weights.Bias { return weights.Bias{QKV: stated.QKV, O: stated.O} },
	qkNorm:       true,
	windows:      true,
}
