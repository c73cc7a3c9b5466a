package model

import (
	"fmt"
	"math"

	"radish/server/weights"
)

// inverseFrequencies is the angle per position of each pair of a head's elements (Su et al. 2021), stretched as the
// checkpoint says: not at all, "linear" (Chen et al. 2023), or "llama3" (transformers' modeling_rope_utils.py).
func inverseFrequencies(r *weights.Rope, dim int) ([]float32, error) {
	if !(r.Theta > 0) || math.IsInf(r.Theta, 0) {
		return nil, fmt.Errorf("check config: rope_theta is %v", r.Theta)
	}
	stretch, err := stretching(r)
	if err != nil {
		return nil, err
	}
	freq := make([]float32, dim/2)
	for j := range freq {
		freq[j] = float32(stretch(math.Pow(r.Theta, -2*float64(j)/float64(dim))))
	}
	return freq, nil
}

func stretching(r *weights.Rope) (func(freq float64) float64, error) {
	switch r.Type {
	case "", "default":
		return func(freq float64) float64 { return freq }, nil
	case "linear":
		if !(r.Factor >= 1) {
			return nil, fmt.Errorf("check config: rope scaling factor is %v, not >= 1", r.Factor)
		}
		return func(freq float64) float64 { return freq / r.Factor }, nil
	case "llama3":
		if !(r.Factor >= 1 && r.LowFreq > 0 && r.HighFreq > r.LowFreq && r.Original > 0) {
			return nil, fmt.Errorf("check config: llama3 rope scaling contradicts itself: %+v", *r)
		}
		return func(freq float64) float64 { return llama3(r, freq) }, nil
	}
	return nil, fmt.Errorf("%w: rope scaling %q is not one of default, linear, llama3", ErrUnsupported, r.Type)
}

// llama3 keeps fast rotations, slows the slow ones by Factor, and blends between: smooth runs from 0 where a turn takes
// Original/LowFreq positions to 1 where it takes Original/HighFreq.
func llama3(r *weights.Rope, freq float64) float64 {
	turns := float64(r.Original) * freq / (2 * math.Pi)
	smooth := (turns - r.LowFreq) / (r.HighFreq - r.LowFreq)
	smooth = min(1, max(0, smooth))
	return (1-smooth)*freq/r.Factor + smooth*freq
}
