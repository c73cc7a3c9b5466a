package hubtest

import "math/rand/v2"

// Noise is n bytes that a seed gives.
func Noise(seed uint64, n int) []byte {
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(b) // never fails
	return b
}

// SampleFiles are a model in small: two shards of weights, what goes with them, a second copy of the weights in another
// format, and names that are hard to get right.
func SampleFiles() map[string]*File {
	return map[string]*File{
		".gitattributes":                   Bytes(false, []byte("*.safetensors filter=lfs diff=lfs merge=lfs -text\n")),
		"README.md":                        Bytes(false, []byte("# a model\n")),
		"config.json":                      Bytes(false, []byte(`{"model_type": "llama"}`)),
		"generation_config.json":           Bytes(false, []byte("{}")),
		"tokenizer.json":                   Bytes(true, Noise(1, 300<<10)),
		"tokenizer_config.json":            Bytes(false, []byte(`{"chat_template": "x"}`)),
		"chat_template.jinja":              Bytes(false, []byte("{{ messages }}\n")),
		"model-00001-of-00002.safetensors": Bytes(true, Noise(2, 3<<20)),
		"model-00002-of-00002.safetensors": Bytes(true, Noise(3, 1<<20+17)),
		"model.safetensors.index.json":     Bytes(false, []byte(`{"metadata": {}, "weight_map": {}}`)),
		"original/consolidated.00.pth":     Bytes(true, Noise(4, 1000)),
		"pytorch_model.bin":                Bytes(true, Noise(5, 1000)),
		"extra/with space, 100%#é.json":    Bytes(false, []byte(`"hard to escape"`)),
		"extra/empty.json":                 Bytes(false, nil),
		"extra/same.json":                  Bytes(false, []byte("{}")),
	}
}

// Sample are repositories for all the answers that a hub gives.
func Sample() []*Repo {
	gated := NewRepo("org/gated", SampleFiles())
	gated.Gated = true
	private := NewRepo("org/private", SampleFiles())
	private.Private = true
	disabled := NewRepo("org/disabled", SampleFiles())
	disabled.Disabled = true
	model := NewRepo("org/model", SampleFiles())
	older := SampleFiles()
	older["config.json"] = Bytes(false, []byte(`{"model_type": "gpt2"}`))
	model.Commit("v1", older)
	model.Commit("refs/pr/1", older)
	return []*Repo{model, gated, private, disabled}
}
