package cuda

import "radish/kernels"

// splits is attention's plan for a step.
type splits struct{}

// attnArgs is Attn in src/plain.cu.
type attnArgs struct {
	dst, q        view
	layout        layout
	pool          pool
	heads, window int32
	scale         float32
	bf16          int32
}

// Attention queues causal attention over the step's sequences.
func (b *Backend) Attention(dst, q kernels.Tensor, mem kernels.KV, a kernels.Attn) {
	b.room()
	k, h, n := mem.(*kv), a.Heads, len(b.step.pos)
	b.fits(k, h)
	args := attnArgs{dst: see("attention dst", dst, n, h.Q*h.Dim, b.opt.Act), q: see("attention q", q, n, h.Q*h.Dim, kernels.F32),
		layout: b.layout(), pool: k.layer(a.Layer), heads: int32(h.Q), window: int32(max(0, min(a.Window, 1<<30))), scale: a.Scale, bf16: b.isBF16()}
	launch(b, "attention_plain", grid{x: n, y: over(h.Q, 8), threads: 256}, args)
}
