package model

import (
	"fmt"
	"strings"

	"radish/kernels"
	"radish/server/weights"
)

// loader reads from a source, remembers what it read and keeps the first error, so that loading reads as a list.
type loader struct {
	src   weights.Source
	b     kernels.Backend
	seen  map[string]bool
	bytes int64
	err   error
}

// Load packs a checkpoint's weights layer by layer. Errors name the tensor, or the tensors that the family has no
// place for.
func Load(b kernels.Backend, spec *Spec, src weights.Source) (*Model, error) {
	l := &loader{src: src, b: b, seen: map[string]bool{}}
	m := &Model{spec: spec, b: b, layers: make([]layer, spec.Layers)}
	m.fused, _ = b.(kernels.Fused)
	m.embed = l.pack(spec.Hidden, part{"model.embed_tokens.weight", spec.Vocab})
	for i := range m.layers {
		l.layer(&m.layers[i], spec, i)
		if l.err != nil {
			return nil, fmt.Errorf("load layer %d: %w", i, l.err)
		}
	}
	m.norm = l.vector(part{"model.norm.weight", spec.Hidden})
	if m.head = m.embed; !spec.Tied {
		m.head = l.pack(spec.Hidden, part{"lm_head.weight", spec.Vocab})
	}
	m.invFreq = l.upload(spec.InvFreq)
	m.bytes = l.bytes
	if l.err != nil {
		return nil, fmt.Errorf("load model: %w", l.err)
	}
	if err := l.leftOver(spec.Tied); err != nil {
		return nil, fmt.Errorf("load model: %w", err)
	}
	return m, b.Run()
}

// part is one tensor of a fused one: its name and rows.
type part struct {
	name string
	rows int
}

func (l *loader) layer(to *layer, s *Spec, i int) {
	at := fmt.Sprintf("model.layers.%d.", i)
	attn, mlp := at+"self_attn.", at+"mlp."
	q, kv := s.Heads.Q*s.Heads.Dim, s.Heads.KV*s.Heads.Dim
	to.window = s.Windows[i]
	to.attnNorm = l.vector(part{at + "input_layernorm.weight", s.Hidden})
	to.mlpNorm = l.vector(part{at + "post_attention_layernorm.weight", s.Hidden})
	to.qkv = l.pack(s.Hidden, part{attn + "q_proj.weight", q}, part{attn + "k_proj.weight", kv}, part{attn + "v_proj.weight", kv})
	to.out = l.pack(q, part{attn + "o_proj.weight", s.Hidden})
	to.gateUp = l.pack(s.Hidden, part{mlp + "gate_proj.weight", s.Inter}, part{mlp + "up_proj.weight", s.Inter})
	to.down = l.pack(s.Inter, part{mlp + "down_proj.weight", s.Hidden})
	if s.Bias.QKV {
		to.qkvBias = l.vector(part{attn + "q_proj.bias", q}, part{attn + "k_proj.bias", kv}, part{attn + "v_proj.bias", kv})
	}
	if s.Bias.O {
		to.outBias = l.vector(part{attn + "o_proj.bias", s.Hidden})
	}
	if s.Bias.MLP {
		to.gateUpBias = l.vector(part{mlp + "gate_proj.bias", s.Inter}, part{mlp + "up_proj.bias", s.Inter})
		to.downBias = l.vector(part{mlp + "down_proj.bias", s.Hidden})
	}
	if s.QKNorm {
		to.queryNorm = l.vector(part{attn + "q_norm.weight", s.Heads.Dim})
		to.keyNorm = l.vector(part{attn + "k_norm.weight", s.Heads.Dim})
	}
}

// pack reads the parts, all of cols columns, into one Weight.
func (l *loader) pack(cols int, parts ...part) kernels.Weight {
	if l.err != nil {
		return nil
	}
	matrices := make([]kernels.Matrix, len(parts))
	for i, p := range parts {
		l.seen[p.name] = true
		if matrices[i], l.err = l.src.Matrix(p.name, p.rows, cols); l.err != nil {
			return nil
		}
	}
	w, err := l.b.Pack(matrices...)
	if err != nil {
		l.err = fmt.Errorf("pack %s: %w", parts[0].name, err)
		return nil
	}
	l.bytes += w.Bytes()
	return w
}

// vector reads the parts, one after the other, into one [1 x n] tensor.
func (l *loader) vector(parts ...part) kernels.Tensor {
	var all []float32
	for _, p := range parts {
		if l.err != nil {
			return kernels.Tensor{}
		}
		var v []float32
		l.seen[p.name] = true
		v, l.err = l.src.Vector(p.name, p.rows)
		all = append(all, v...)
	}
	return l.upload(all)
}

func (l *loader) upload(v []float32) kernels.Tensor {
	if l.err != nil {
		return kernels.Tensor{}
	}
	var t kernels.Tensor
	t, l.err = vector(l.b, v)
	l.bytes += int64(len(v)) * 4
	return t
}

// leftOver reports tensors that nothing asked for: the checkpoint is then of another architecture than it says. Known
// to be harmless are old checkpoints' rotary tables and, where the embedding is tied, a copy of it as head.
func (l *loader) leftOver(tied bool) error {
	var extra []string
	for _, name := range l.src.Names() {
		harmless := strings.HasSuffix(name, ".rotary_emb.inv_freq") || tied && name == "lm_head.weight"
		if !l.seen[name] && !harmless {
			extra = append(extra, name)
		}
	}
	if len(extra) == 0 {
		return nil
	}
	return fmt.Errorf("checkpoint holds %d tensors that the model has no place for, such as %s", len(extra), extra[0])
}
