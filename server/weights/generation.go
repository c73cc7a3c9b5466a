package weights

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/go-json-experiment/json"
)

// Generation is what generation_config.json recommends for sampling. What the file does not state is neutral.
type Generation struct {
	Temperature float32 // 1: neutral
	TopP        float32 // 1: off
	TopK        int     // 0: off
	Repetition  float32 // 1: off
	EOS         []int32 // empty: not stated
}

// ReadGeneration reads generation_config.json; without that file everything is neutral. Ids must be below vocab.
func ReadGeneration(fsys fs.FS, vocab int) (*Generation, error) {
	const name = "generation_config.json"
	raw, err := readSmall(fsys, name, maxConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return &Generation{Temperature: 1, TopP: 1, Repetition: 1}, nil
	}
	if err != nil {
		return nil, err
	}
	g, err := parseGeneration(raw, vocab)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return g, nil
}

func parseGeneration(b []byte, vocab int) (*Generation, error) {
	var raw struct {
		Temperature *float64 `json:"temperature"`
		TopP        *float64 `json:"top_p"`
		TopK        *int     `json:"top_k"`
		Repetition  *float64 `json:"repetition_penalty"`
		rawSpecial
	}
	err := json.Unmarshal(b, &raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	g := &Generation{}
	read := func(to *float32, key string, v *float64, lo, hi float64) {
		var f float64
		if err == nil {
			f, err = boundedFloat(key, v, 1, lo, hi)
			*to = float32(f)
		}
	}
	read(&g.Temperature, "temperature", raw.Temperature, 0, 1000)
	read(&g.TopP, "top_p", raw.TopP, 0, 1)
	read(&g.Repetition, "repetition_penalty", raw.Repetition, 1e-3, 1000)
	if err != nil {
		return nil, err
	}
	if g.TopK, err = bounded("top_k", raw.TopK, 0, -1, 1<<30); err != nil {
		return nil, err
	}
	g.TopK = max(g.TopK, 0)
	g.EOS, err = ids("eos_token_id", raw.EOS, vocab)
	return g, err
}
