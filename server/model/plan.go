package model

import "radish/kernels"

// Plan is the memory that a model needs, in bytes, known from its Spec alone. A backend may round rows of weights up to
// its panels, which is under 2 % for any model worth planning for, and a head_dim that is no multiple of 16 up to its
// vectors, which no published model of these families has. Scratch that a backend keeps for itself is not in it.
type Plan struct {
	Weights    int64 // packed weights, norms, biases
	KVPerToken int64 // keys and values of one position in all layers
	Workspace  int64 // for one step
}

// Plan tells the memory on a backend whose activation type is act, with steps that fit room.
func (s *Spec) Plan(act kernels.DType, room Room) Plan {
	p := Plan{
		Weights:    s.matrixElements()*int64(act.Size()) + s.vectorElements()*4,
		KVPerToken: 2 * int64(s.Layers) * int64(s.Heads.KV) * int64(s.Heads.Dim) * int64(act.Size()),
		Workspace:  int64(room.logits()) * int64(s.Vocab) * 4,
	}
	for _, a := range s.arenas(act, room) {
		p.Workspace += a.bytes()
	}
	return p
}

// Parameters is the number of trained numbers.
func (s *Spec) Parameters() int64 {
	return s.matrixElements() + s.vectorElements() - int64(len(s.InvFreq))
}

func (s *Spec) matrixElements() int64 {
	h, q := int64(s.Hidden), int64(s.Heads.Q*s.Heads.Dim)
	perLayer := h*int64(s.qkvRows()) + h*q + 3*h*int64(s.Inter)
	tables := int64(2)
	if s.Tied {
		tables = 1
	}
	return tables*h*int64(s.Vocab) + int64(s.Layers)*perLayer
}

func (s *Spec) vectorElements() int64 {
	perLayer := 2 * s.Hidden
	if s.Bias.QKV {
		perLayer += s.qkvRows()
	}
	if s.Bias.O {
		perLayer += s.Hidden
	}
	if s.Bias.MLP {
		perLayer += 2*s.Inter + s.Hidden
	}
	if s.QKNorm {
		perLayer += 2 * s.Heads.Dim
	}
	return int64(s.Layers)*int64(perLayer) + int64(s.Hidden) + int64(len(s.InvFreq))
}
