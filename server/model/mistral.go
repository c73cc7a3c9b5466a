package model

import "radish/server/weights"

// mistral is Llama's block without biases, with a sliding window when the config sets one (Jiang et al. 2023).
var mistral = family{
	architecture: "MistralForCausalLM",
	bias:         func(weights.Bias) weights.Bias { return weights.Bias{} },
	windows:      true,
}
