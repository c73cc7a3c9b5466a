package weights

import (
	"fmt"
	"io/fs"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"radish/kernels"
)

// maxConfig bounds config.json and generation_config.json.
const maxConfig = 4 << 20

// Config is what config.json says of a decoder-only transformer, with the defaults of Hugging Face transformers filled
// in and every number inside its range. Whether the architecture is one we run is the model's question.
type Config struct {
	Architectures    []string
	ModelType        string // "llama", "mistral", "qwen2", "qwen3", ...
	HiddenSize       int
	IntermediateSize int
	Layers           int
	VocabSize        int
	Heads            kernels.Heads // num_attention_heads, num_key_value_heads, head_dim
	NormEps          float32
	Rope             Rope
	TieEmbeddings    bool
	Bias             Bias
	Windows          []int         // for each layer: positions seen, itself included; 0: all
	MaxPositions     int           // 0: not stated
	DType            kernels.DType // of the file's weights as stated; 0: not stated
	Special          Special
}

// Bias says which projections have one. Qwen2 has it on q, k and v whatever its file says.
type Bias struct{ QKV, O, MLP bool }

// Special are the ids that begin and end text; empty: not stated.
type Special struct{ BOS, EOS []int32 }

// rawConfig is config.json as written. Pointers tell absent (and null) from zero.
type rawConfig struct {
	Architectures []string `json:"architectures"`
	ModelType     string   `json:"model_type"`
	HiddenAct     *string  `json:"hidden_act"`

	rawSizes
	Eps           *float64 `json:"rms_norm_eps"`
	Tie           *bool    `json:"tie_word_embeddings"`
	AttentionBias *bool    `json:"attention_bias"`
	MLPBias       *bool    `json:"mlp_bias"`

	rawWindow
	rawRope
	rawDType
	rawSpecial

	Quantization jsontext.Value `json:"quantization_config"`
}

type rawSizes struct {
	Hidden       *int `json:"hidden_size"`
	Intermediate *int `json:"intermediate_size"`
	Layers       *int `json:"num_hidden_layers"`
	Heads        *int `json:"num_attention_heads"`
	KVHeads      *int `json:"num_key_value_heads"`
	HeadDim      *int `json:"head_dim"`
	Vocab        *int `json:"vocab_size"`
	MaxPositions *int `json:"max_position_embeddings"`
}

type rawDType struct {
	Torch *string `json:"torch_dtype"`
	DType *string `json:"dtype"`
}

type rawSpecial struct {
	BOS jsontext.Value `json:"bos_token_id"`
	EOS jsontext.Value `json:"eos_token_id"`
}

// ReadConfig reads config.json.
func ReadConfig(fsys fs.FS) (*Config, error) {
	const name = "config.json"
	raw, err := readSmall(fsys, name, maxConfig)
	if err != nil {
		return nil, err
	}
	c, err := parseConfig(raw)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return c, nil
}

func parseConfig(b []byte) (*Config, error) {
	var raw rawConfig
	if err := json.Unmarshal(b, &raw); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if present(raw.Quantization) {
		return nil, fmt.Errorf("quantization_config: %w: quantised checkpoints cannot be read, only bfloat16, float16 and float32", ErrUnsupported)
	}
	if raw.HiddenAct != nil && *raw.HiddenAct != "silu" {
		return nil, fmt.Errorf("hidden_act: %w: %.40q, only silu", ErrUnsupported, *raw.HiddenAct)
	}
	c := &Config{Architectures: raw.Architectures, ModelType: raw.ModelType, TieEmbeddings: is(raw.Tie)}
	c.Bias = Bias{QKV: is(raw.AttentionBias), O: is(raw.AttentionBias), MLP: is(raw.MLPBias)}
	if c.ModelType == "qwen2" {
		c.Bias = Bias{QKV: true}
	}
	for _, step := range []func(*rawConfig) error{c.sizes, c.numbers, c.windows, c.special} {
		if err := step(&raw); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func present(v jsontext.Value) bool { return len(v) > 0 && string(v) != "null" }
func is(b *bool) bool               { return b != nil && *b }

// bounded is an integer of the file, or def if it is absent (def < lo: it must be there).
func bounded(key string, v *int, def, lo, hi int) (int, error) {
	n := def
	if v != nil {
		n = *v
	} else if def < lo {
		return 0, fmt.Errorf("%s: %w: missing", key, ErrMalformed)
	}
	if n < lo || n > hi {
		return 0, fmt.Errorf("%s: %w: %d is not in [%d, %d]", key, ErrMalformed, n, lo, hi)
	}
	return n, nil
}

// boundedFloat is the same for other numbers; def 0: it must be there.
func boundedFloat(key string, v *float64, def, lo, hi float64) (float64, error) {
	f := def
	if v != nil {
		f = *v
	} else if def == 0 {
		return 0, fmt.Errorf("%s: %w: missing", key, ErrMalformed)
	}
	if !(f >= lo && f <= hi) {
		return 0, fmt.Errorf("%s: %w: %g is not in [%g, %g]", key, ErrMalformed, f, lo, hi)
	}
	return f, nil
}

// sizes fills the shape of the model. The limits are several times the largest published models'.
func (c *Config) sizes(raw *rawConfig) (err error) {
	read := func(to *int, key string, v *int, def, lo, hi int) {
		if err == nil {
			*to, err = bounded(key, v, def, lo, hi)
		}
	}
	read(&c.HiddenSize, "hidden_size", raw.Hidden, 0, 8, 1<<17)
	read(&c.IntermediateSize, "intermediate_size", raw.Intermediate, 0, 8, 1<<20)
	read(&c.Layers, "num_hidden_layers", raw.Layers, 0, 1, 1024)
	read(&c.VocabSize, "vocab_size", raw.Vocab, 0, 2, 1<<24)
	read(&c.Heads.Q, "num_attention_heads", raw.Heads, 0, 1, 1024)
	read(&c.Heads.KV, "num_key_value_heads", raw.KVHeads, c.Heads.Q, 1, 1024)
	if err != nil {
		return err
	}
	read(&c.Heads.Dim, "head_dim", raw.HeadDim, c.HiddenSize/c.Heads.Q, 8, 1024)
	read(&c.MaxPositions, "max_position_embeddings", raw.MaxPositions, 0, 0, 1<<28)
	switch {
	case err != nil:
		return err
	case c.Heads.Q%c.Heads.KV != 0:
		return fmt.Errorf("num_attention_heads: %w: %d is not a multiple of num_key_value_heads %d", ErrMalformed, c.Heads.Q, c.Heads.KV)
	case raw.HeadDim == nil && c.HiddenSize%c.Heads.Q != 0:
		return fmt.Errorf("hidden_size: %w: %d is not a multiple of num_attention_heads %d", ErrMalformed, c.HiddenSize, c.Heads.Q)
	}
	for _, s := range []struct {
		key string
		n   int
	}{{"hidden_size", c.HiddenSize}, {"intermediate_size", c.IntermediateSize}, {"head_dim", c.Heads.Dim}} {
		if s.n%8 != 0 {
			return fmt.Errorf("%s: %w: %d is not a multiple of 8", s.key, ErrUnsupported, s.n)
		}
	}
	return nil
}

// numbers fills norm, rotary embedding and type.
func (c *Config) numbers(raw *rawConfig) error {
	eps, err := boundedFloat("rms_norm_eps", raw.Eps, 1e-6, 1e-12, 1)
	if err != nil {
		return err
	}
	c.NormEps = float32(eps)
	if c.Rope, err = raw.rope(c.MaxPositions); err != nil {
		return err
	}
	c.DType, err = raw.dtype()
	return err
}

// dtype is the stated type of the weights; transformers 5 renamed the key.
func (r *rawDType) dtype() (kernels.DType, error) {
	name := "auto"
	if r.DType != nil {
		name = *r.DType
	} else if r.Torch != nil {
		name = *r.Torch
	}
	switch name {
	case "auto":
		return 0, nil
	case "bfloat16":
		return kernels.BF16, nil
	case "float16":
		return kernels.F16, nil
	case "float32":
		return kernels.F32, nil
	}
	return 0, fmt.Errorf("dtype: %w: %.40q", ErrUnsupported, name)
}

// special fills the ids that begin and end text.
func (c *Config) special(raw *rawConfig) (err error) {
	if c.Special.BOS, err = ids("bos_token_id", raw.BOS, c.VocabSize); err != nil {
		return err
	}
	c.Special.EOS, err = ids("eos_token_id", raw.EOS, c.VocabSize)
	return err
}

// maxIDs is the most end-of-text ids that a model may have.
const maxIDs = 1024

// ids reads an id, a list of ids or null; each must be below vocab.
func ids(key string, v jsontext.Value, vocab int) ([]int32, error) {
	if !present(v) {
		return nil, nil
	}
	var list []int32
	if v.Kind() == '[' {
		if err := json.Unmarshal(v, &list); err != nil {
			return nil, fmt.Errorf("%s: %w: %w", key, ErrMalformed, err)
		}
	} else {
		list = []int32{-1}
		if err := json.Unmarshal(v, &list[0]); err != nil {
			return nil, fmt.Errorf("%s: %w: %w", key, ErrMalformed, err)
		}
	}
	if len(list) > maxIDs {
		return nil, fmt.Errorf("%s: %w: %d ids", key, ErrMalformed, len(list))
	}
	for _, id := range list {
		if id < 0 || int(id) >= vocab {
			return nil, fmt.Errorf("%s: %w: %d is not below vocab_size %d", key, ErrMalformed, id, vocab)
		}
	}
	return list, nil
}
