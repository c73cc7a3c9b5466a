// Package model is the forward pass of decoder-only transformers: Llama, Mistral, Qwen2 and Qwen3.
//
// A family is data (a file per family: which biases, norms and windows it has); the pass itself is written once, here
// and in forward.go, over the operations of kernels.Backend:
//
//	x = embed(ids)                                 residual stream, F32
//	each layer:
//	  h = rmsnorm(x += d)     qkv = h Wqkv + b     d is what the part before left, added by the norm that follows
//	  q, kv = rope(qkv)       a = attention(q, kv)
//	  d = a Wo
//	  h = rmsnorm(x += d)     gu = h Wgateup
//	  d = (silu(g) * u) Wdown
//	logits = rmsnorm(x + d) Whead                  only for the rows that are asked for, a slice at a time
//
// On a backend that fuses (kernels.Fused) the products add to x themselves, and d is absent.
//
// How it is used: New turns a checkpoint's weights.Config into a Spec or refuses it; Spec.Plan tells the bytes before anything
// is allocated; Load packs the weights; NewWorkspace reserves what a step needs; Forward and Logits queue one step.
//
// Names of tensors are those of Hugging Face transformers (github.com/huggingface/transformers, src/transformers/models),
// and the tests compare with its answers.
package model

import (
	"fmt"

	"radish/kernels"
)

// LogitRows is how many rows' logits exist at one time where Room does not say.
const LogitRows = 64

// Model is a loaded model on one backend.
type Model struct {
	spec    *Spec
	b       kernels.Backend
	fused   kernels.Fused // nil where b has none
	embed   kernels.Weight
	head    kernels.Weight // embed itself when tied
	norm    kernels.Tensor
	invFreq kernels.Tensor
	layers  []layer
	bytes   int64
}

// layer holds one decoder block's weights; an absent Tensor is a bias or norm that the family does not have.
type layer struct {
	attnNorm, mlpNorm      kernels.Tensor // [1 x Hidden]
	qkv, out, gateUp, down kernels.Weight
	qkvBias, outBias       kernels.Tensor
	gateUpBias, downBias   kernels.Tensor
	queryNorm, keyNorm     kernels.Tensor // [1 x Dim]
	window                 int
}

// Spec is what the model was made from.
func (m *Model) Spec() *Spec { return m.spec }

// Bytes is the size of the packed weights, norms and biases as the backend holds them.
func (m *Model) Bytes() int64 { return m.bytes }

// KVShape is the key-value memory for pages pages of pageSize positions, in the backend's activation type.
func (m *Model) KVShape(pages, pageSize int) kernels.KVShape {
	return kernels.KVShape{
		Layers: m.spec.Layers, Pages: pages, PageSize: pageSize,
		KVHeads: m.spec.Heads.KV, HeadDim: m.spec.Heads.Dim, DType: m.b.Act(),
	}
}

// vector uploads v as a [1 x len] F32 tensor.
func vector(b kernels.Backend, v []float32) (kernels.Tensor, error) {
	buf, err := b.Alloc(kernels.F32, len(v))
	if err != nil {
		return kernels.Tensor{}, fmt.Errorf("allocate vector: %w", err)
	}
	t := kernels.Whole(buf, 1, len(v))
	b.Upload(t, v)
	return t, nil
}
