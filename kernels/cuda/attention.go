package cuda

import (
	"fmt"
	"math"
	"math/bits"

	"radish/kernels"
	"radish/kernels/cuda/driver"
)

// attention is what the attention kernels keep beside the scratch that they share with others.
type attention struct {
	tickets driver.Ptr // counters of arrived partial results, all zero between launches
	plans   []*plan    // the first `live` are of the step: one for each window that its layers have
	live    int
	order   planner
}

// ticketCount bounds the rows, times key-value heads, that may have several partial results in one launch.
const ticketCount = 1 << 18

func (a *attention) open(m *memory, l *list) (err error) {
	a.order.gain = shareGain
	if a.tickets, err = m.take(4 * ticketCount); err == nil {
		l.zero(a.tickets, 4*ticketCount)
	}
	return err
}

// attentionArgs is Attention in src/attn.cuh.
type attentionArgs struct {
	dst, q               view
	layout               layout
	pool                 pool
	items, rows          driver.Ptr
	sums, stats, tickets driver.Ptr
	group, window        int32
	scale                float32
	wide                 int32
	shift, _             int32
}

// Attention queues causal attention over the step's sequences: sequences with few rows through the decode kernel, others
// in tiles, what several sequences share once. What those cannot do (F32, odd widths) runs as one plain kernel.
func (b *Backend) Attention(dst, q kernels.Tensor, mem kernels.KV, a kernels.Attn) {
	b.room()
	k, h, n := mem.(*kv), a.Heads, len(b.step.pos)
	b.fits(k, h)
	d, x := see("attention dst", dst, n, h.Q*h.Dim, b.opt.Act), see("attention q", q, n, h.Q*h.Dim, kernels.F32)
	window := int32(max(0, min(a.Window, 1<<30)))
	if n == 0 {
		return
	}
	if !b.tiled(k, h, a.Scale) {
		b.attendPlainly(d, x, k, a, window)
		return
	}
	args := attentionArgs{dst: d, q: x, layout: b.layout(), pool: k.layer(a.Layer), group: int32(h.Q / h.KV), window: window,
		scale: a.Scale * math.Log2E, shift: -1}
	if size := uint(k.shape.PageSize); bits.OnesCount(size) == 1 {
		args.shift = int32(bits.Len(size) - 1)
	}
	if x.aligned(16, 4) {
		args.wide |= 1
	}
	if d.aligned(8, 2) {
		args.wide |= 2
	}
	p := b.plan(k, h, window)
	args.rows, args.tickets = p.rows, b.attention.tickets
	args.sums, args.stats = b.mem.scratch, b.mem.scratch+driver.Ptr(4*p.slots*h.Q*h.Dim)
	for i := range p.waves {
		w := &p.waves[i]
		b.attendTall(w, k, h, a.Layer, args)
		if w.short.count > 0 {
			args.items = w.short.at
			b.launchDecode(k, h, args, w.short.count)
		}
	}
}

// attendPlainly queues attention_plain.
func (b *Backend) attendPlainly(dst, q view, k *kv, a kernels.Attn, window int32) {
	args := plainArgs{dst: dst, q: q, layout: b.layout(), pool: k.layer(a.Layer), heads: int32(a.Heads.Q), window: window, scale: a.Scale, bf16: b.isBF16()}
	launch(b, "attention_plain", grid{x: len(b.step.pos), y: over(a.Heads.Q, 8), threads: 256}, args)
}

// plainArgs is Attn in src/plain.cu.
type plainArgs struct {
	dst, q        view
	layout        layout
	pool          pool
	heads, window int32
	scale         float32
	bf16          int32
}

// padded is the width that kernels were compiled for and that holds a head of dim elements.
func padded(dim int) int {
	for _, d := range []int{32, 64, 96, 128} {
		if dim <= d {
			return d
		}
	}
	return 256
}

// tiled reports whether the tensor core kernels can take an attention: bfloat16, heads of whole 16 byte pieces, keys that
// 32 bits can number, and shared memory for the tiles.
func (b *Backend) tiled(k *kv, h kernels.Heads, scale float32) bool {
	group, positions := h.Q/h.KV, 2*int64(k.shape.Pages)*int64(k.shape.KVHeads)*int64(k.shape.PageSize)
	return b.opt.Act == kernels.BF16 && h.Dim%8 == 0 && h.Dim <= 256 && scale > 0 && group <= mostGroup && positions < 1<<32 &&
		max(decodeShared(padded(h.Dim)), tallShared(padded(h.Dim))) <= b.card.Shared
}

// mostGroup is how many query heads of one key-value head the decode kernel takes: one tensor core tile.
const mostGroup = 16

// apart is the distance of rows of dim elements in shared memory, bytes: an odd number of 16 byte pieces, or a swizzle of
// eight, keeps eight rows in eight different banks.
func apart(dim int) int {
	pieces := dim / 8
	if pieces%8 != 0 {
		pieces++
	}
	return 16 * pieces
}

// decodeShared is the shared memory of a block of attn_decode_*: the places of its keys and a ring for each warp, as many
// of both as the last lines of src/attn_decode.cu say.
func decodeShared(dim int) int {
	warps, stages := 4, 2
	switch {
	case dim > 128:
		warps = 2
	case dim <= 32:
		stages = 4
	case dim <= 64:
		stages = 3
	}
	return 4*mostKeys + warps*stages*2*16*apart(dim)
}

// tallShared is that of attn_prefill_*: queries, and two stages of keys and values.
func tallShared(dim int) int { return 128*apart(dim) + 2*2*tallKeys(dim)*apart(dim) }

// tallKeys is how many keys attn_prefill_* takes at a time.
func tallKeys(dim int) int {
	if dim > 128 {
		return 32
	}
	return 64
}

func (b *Backend) launchDecode(k *kv, h kernels.Heads, args attentionArgs, items int) {
	dim, threads := padded(h.Dim), 128
	if dim > 128 {
		threads = 64
	}
	launch(b, fmt.Sprintf("attn_decode_%d", dim), grid{x: items * h.KV, threads: threads, shared: decodeShared(dim)}, args)
}
