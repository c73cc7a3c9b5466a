package weights

import (
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Rope is the rotary position embedding: base frequency and how it is scaled beyond the trained length.
type Rope struct {
	Theta float64
	Type  string // "default", "linear" or "llama3"
	// Factor is the ratio of lengths, 1 for "default".
	Factor float64
	// LowFreq, HighFreq and Original (positions trained at first) are for "llama3" alone.
	LowFreq, HighFreq float64
	Original          int
}

// rawRope is the old layout, rope_theta beside rope_scaling, and that of transformers 5, all in rope_parameters.
type rawRope struct {
	Theta      *float64       `json:"rope_theta"`
	Scaling    jsontext.Value `json:"rope_scaling"`
	Parameters jsontext.Value `json:"rope_parameters"`
	Partial    *float64       `json:"partial_rotary_factor"`
}

// rawScaling is either of the two objects. Older files say type for rope_type.
type rawScaling struct {
	RopeType *string  `json:"rope_type"`
	OldType  *string  `json:"type"`
	Theta    *float64 `json:"rope_theta"`
	Factor   *float64 `json:"factor"`
	Low      *float64 `json:"low_freq_factor"`
	High     *float64 `json:"high_freq_factor"`
	Original *int     `json:"original_max_position_embeddings"`
	Partial  *float64 `json:"partial_rotary_factor"`
	// One object for each type of layer, as models with two rotary embeddings have it.
	Full    jsontext.Value `json:"full_attention"`
	Sliding jsontext.Value `json:"sliding_attention"`
}

// rope reads whichever layout is there; a file with both is read by the new one, as transformers does.
func (r *rawRope) rope(maxPositions int) (Rope, error) {
	key, v := "rope_scaling", r.Scaling
	if present(r.Parameters) {
		key, v = "rope_parameters", r.Parameters
	}
	var s rawScaling
	if present(v) {
		if err := json.Unmarshal(v, &s); err != nil {
			return Rope{}, fmt.Errorf("%s: %w: %w", key, ErrMalformed, err)
		}
	}
	if present(s.Full) || present(s.Sliding) {
		return Rope{}, fmt.Errorf("%s: %w: one rotary embedding for each type of layer", key, ErrUnsupported)
	}
	if s.Theta == nil {
		s.Theta = r.Theta
	}
	for _, p := range []*float64{s.Partial, r.Partial} {
		if p != nil && *p != 1 {
			return Rope{}, fmt.Errorf("partial_rotary_factor: %w: %g", ErrUnsupported, *p)
		}
	}
	theta, err := boundedFloat("rope_theta", s.Theta, 10000, 1, 1e12)
	if err != nil {
		return Rope{}, err
	}
	out, err := s.scaling(maxPositions)
	if err != nil {
		return Rope{}, fmt.Errorf("%s: %w", key, err)
	}
	out.Theta = theta
	return out, nil
}

// scaling reads the type and its numbers.
func (s *rawScaling) scaling(maxPositions int) (Rope, error) {
	out := Rope{Type: "default", Factor: 1}
	if s.RopeType != nil {
		out.Type = *s.RopeType
	} else if s.OldType != nil {
		out.Type = *s.OldType
	}
	var err error
	read := func(to *float64, key string, v *float64, lo, hi float64) {
		if err == nil {
			*to, err = boundedFloat(key, v, 0, lo, hi)
		}
	}
	switch out.Type {
	case "default":
	case "linear":
		read(&out.Factor, "factor", s.Factor, 1, 1e6)
	case "llama3":
		read(&out.Factor, "factor", s.Factor, 1, 1e6)
		read(&out.LowFreq, "low_freq_factor", s.Low, 1e-3, 1e6)
		read(&out.HighFreq, "high_freq_factor", s.High, 1e-3, 1e6)
		if err == nil && out.HighFreq <= out.LowFreq {
			err = fmt.Errorf("high_freq_factor: %w: %g is not above low_freq_factor %g", ErrMalformed, out.HighFreq, out.LowFreq)
		}
		if err == nil {
			out.Original, err = bounded("original_max_position_embeddings", s.Original, maxPositions, 1, 1<<28)
		}
	default:
		err = fmt.Errorf("rope_type: %w: %.40q, only default, linear and llama3", ErrUnsupported, out.Type)
	}
	return out, err
}
