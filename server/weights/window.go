package weights

import "fmt"

// rawWindow is everything that says how far a layer looks back.
type rawWindow struct {
	Size       *int     `json:"sliding_window"`
	Use        *bool    `json:"use_sliding_window"`
	MaxLayers  *int     `json:"max_window_layers"`
	LayerTypes []string `json:"layer_types"`
}

// windows fills Windows. Families differ: Mistral's window holds for every layer; Qwen's for layers from
// max_window_layers on and only with use_sliding_window; Llama has none. layer_types, where it stands, says it layer by
// layer (transformers since 4.53).
func (c *Config) windows(raw *rawConfig) error {
	c.Windows = make([]int, c.Layers) // num_hidden_layers was bounded
	size, first := 0, 0
	var err error
	switch c.ModelType {
	case "qwen2", "qwen3":
		if !is(raw.Use) {
			break
		}
		if first, err = bounded("max_window_layers", raw.MaxLayers, 28, 0, 1<<20); err != nil {
			return err
		}
		fallthrough
	case "mistral":
		if raw.Size == nil {
			break
		}
		if size, err = bounded("sliding_window", raw.Size, 0, 1, 1<<28); err != nil {
			return err
		}
	}
	for i := first; i < c.Layers; i++ {
		c.Windows[i] = size
	}
	return c.layerTypes(raw.LayerTypes, size)
}

// layerTypes applies layer_types.
func (c *Config) layerTypes(types []string, size int) error {
	if types == nil {
		return nil
	}
	if len(types) != c.Layers {
		return fmt.Errorf("layer_types: %w: %d entries for %d layers", ErrMalformed, len(types), c.Layers)
	}
	for i, t := range types {
		switch {
		case t == "full_attention":
			c.Windows[i] = 0
		case t == "sliding_attention" && size > 0:
			c.Windows[i] = size
		case t == "sliding_attention":
			return fmt.Errorf("layer_types: %w: layer %d slides without a sliding_window", ErrMalformed, i)
		default:
			return fmt.Errorf("layer_types: %w: %.40q", ErrUnsupported, t)
		}
	}
	return nil
}
