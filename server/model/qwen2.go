package model

import "radish/server/weights"

// qwen2 is Qwen2 and Qwen2.5: biases on queries, keys and values alone, whatever the config says (Yang et al. 2024).
var qwen2 = family{
	architecture: "Qwen2ForCausalLM",
	bias:         func(weights.Bias) weights.Bias { return weights.Bias{QKV: true} },
	windows:      true,
}
