package model

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"radish/kernels"
	"radish/server/weights"
)

// ErrUnsupported marks a checkpoint that is well formed but that this package cannot run.
var ErrUnsupported = errors.New("model is not supported")

// Spec is everything that the forward pass needs to know of a checkpoint.
type Spec struct {
	Family               string
	Vocab, Hidden, Inter int // Inter: width of the feed-forward
	Layers               int
	Heads                kernels.Heads
	Eps                  float32
	MaxPositions         int // what the checkpoint was trained for; 0 when it does not say
	Bias                 weights.Bias
	QKNorm               bool      // RMS norm of each query and key head before the rotation
	Windows              []int     // per layer: positions seen, itself included; 0: all
	InvFreq              []float32 // [Dim/2] radians per position
	Tied                 bool      // the output head is the embedding table
}

// family is what tells one architecture from another: the parts it has, given what the checkpoint's config says.
type family struct {
	architecture string // as in config.json
	bias         func(stated weights.Bias) weights.Bias
	qkNorm       bool
	windows      bool // whether a sliding window may be set
}

// families lists every architecture; each stands in the file of its name.
var families = []family{llama, mistral, qwen2, qwen3}

// Architectures lists the supported values of config.json's architectures.
func Architectures() []string {
	names := make([]string, len(families))
	for i, f := range families {
		names[i] = f.architecture
	}
	return names
}

func findFamily(architectures []string) (*family, error) {
	for i := range families {
		if slices.Equal(architectures, []string{families[i].architecture}) {
			return &families[i], nil
		}
	}
	name := strings.Join(architectures, "+")
	return nil, fmt.Errorf("%w: architecture %.80q is not one of %s", ErrUnsupported, name, strings.Join(Architectures(), ", "))
}

// New makes a Spec. It refuses what cannot be run (ErrUnsupported) and sizes that are out of bounds.
func New(c *weights.Config) (*Spec, error) {
	f, err := findFamily(c.Architectures)
	if err != nil {
		return nil, err
	}
	s := &Spec{
		Family: f.architecture, Vocab: c.VocabSize, Hidden: c.HiddenSize, Inter: c.IntermediateSize,
		Layers: c.Layers, Heads: c.Heads, Eps: c.NormEps, MaxPositions: c.MaxPositions,
		Bias: f.bias(c.Bias), QKNorm: f.qkNorm, Tied: c.TieEmbeddings,
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	s.Windows = make([]int, s.Layers)
	if f.windows {
		copy(s.Windows, c.Windows)
	}
	s.InvFreq, err = inverseFrequencies(&c.Rope, s.Heads.Dim)
	return s, err
}

// limits bound what a config may ask for, so that no product of two sizes overflows.
var limits = []struct {
	name string
	get  func(*Spec) int
	most int
}{
	{"vocab_size", func(s *Spec) int { return s.Vocab }, 1 << 24},
	{"hidden_size", func(s *Spec) int { return s.Hidden }, 1 << 20},
	{"intermediate_size", func(s *Spec) int { return s.Inter }, 1 << 22},
	{"num_hidden_layers", func(s *Spec) int { return s.Layers }, 1 << 12},
	{"num_attention_heads", func(s *Spec) int { return s.Heads.Q }, 1 << 12},
	{"num_key_value_heads", func(s *Spec) int { return s.Heads.KV }, 1 << 12},
	{"head_dim", func(s *Spec) int { return s.Heads.Dim }, 1 << 12},
}

func (s *Spec) check() error {
	for _, l := range limits {
		if v := l.get(s); v < 1 || v > l.most {
			return fmt.Errorf("check config: %s is %d, not in 1..%d", l.name, v, l.most)
		}
	}
	if s.Heads.Q%s.Heads.KV != 0 {
		return fmt.Errorf("check config: %d attention heads cannot share %d key-value heads", s.Heads.Q, s.Heads.KV)
	}
	if s.Heads.Dim%2 != 0 {
		return fmt.Errorf("check config: head_dim %d is odd", s.Heads.Dim)
	}
	if !(s.Eps > 0 && s.Eps < 1) {
		return fmt.Errorf("check config: rms_norm_eps is %v, not in (0,1)", s.Eps)
	}
	return nil
}

// qkvRows is the number of rows of the fused query, key and value projection.
func (s *Spec) qkvRows() int { return (s.Heads.Q + 2*s.Heads.KV) * s.Heads.Dim }

func (s *Spec) attentionScale() float32 { return float32(1 / math.Sqrt(float64(s.Heads.Dim))) }
