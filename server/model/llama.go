package model

import "radish/server/weights"

// llama is Llama 1 to 3.2 and everything published in its form (Touvron et al. 2023; Grattafiori et al. 2024). Biases
// are options of its config that few checkpoints use.
var llama = family{
	architecture: "LlamaForCausalLM",
	bias:         func(stated weights.Bias) weights.Bias { return stated },
}
