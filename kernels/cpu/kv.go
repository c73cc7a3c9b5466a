package cpu

import (
	"fmt"
	"unsafe"

	"radish/kernels"
)

// kv is paged memory: [layer][page][key, value][head][position][dim rounded up to 16]. It is reserved at once and
// resident only where written.
type kv struct {
	region
	shape kernels.KVShape
}

func (k *kv) Bytes() int64  { return int64(len(k.data)) }
func (k *kv) PageSize() int { return k.shape.PageSize }

func (k *kv) mem() kvmem {
	s := k.shape
	return kvmem{p: k.ptr(), layers: int32(s.Layers), pages: int32(s.Pages), size: int32(s.PageSize), heads: int32(s.KVHeads),
		dim: int32(s.HeadDim), dimp: int32(s.HeadDim+15) &^ 15, dtype: int32(s.DType)}
}

// maxDim bounds a head, so that a worker's scratch holds a tile of attention.
const maxDim = 512

// NewKV reserves the pool. Heads of more than 512 elements are an error.
func (b *Backend) NewKV(s kernels.KVShape) (kernels.KV, error) {
	want(s.Layers > 0 && s.Pages > 0 && s.PageSize > 0 && s.KVHeads > 0 && s.HeadDim > 0, "kv: bad shape %+v", s)
	want(s.DType == kernels.F32 || s.DType == kernels.BF16, "kv: bad type %v", s.DType)
	if s.HeadDim > maxDim || s.Layers > 1<<16 || s.Pages > 1<<30 || s.PageSize > 1<<16 || s.KVHeads > 1<<16 {
		return nil, fmt.Errorf("reserve kv %+v: too large", s)
	}
	k := &kv{shape: s}
	elements := 2 * float64(s.Layers) * float64(s.Pages) * float64(s.PageSize) * float64(s.KVHeads) * float64((s.HeadDim+15)&^15)
	if elements > 1<<44 {
		return nil, fmt.Errorf("reserve kv %+v: too large", s)
	}
	var err error
	if k.region, err = b.mem.take(int64(elements)*int64(s.DType.Size()), false); err != nil {
		return nil, fmt.Errorf("reserve kv: %w", err)
	}
	return k, nil
}

// step is the layout of the step, kept by the Backend and placed into the arena of each queue that needs it.
type step struct {
	ragged     kernels.Ragged
	pos, table []int32 // of each row: its position, where its page table begins
	placed     bool
	at         layout
	items      unsafe.Pointer // attention's shares, for heads
	nitems     int
	heads      kernels.Heads
	last       int // largest page number, plus one
}

// Begin copies the layout.
func (b *Backend) Begin(r *kernels.Ragged) {
	n := r.Seqs()
	want(len(r.RowStart) == n+1 && len(r.PageStart) == n+1 && r.RowStart[0] == 0 && r.PageStart[0] == 0,
		"begin: %d sequences, %d row and %d page starts", n, len(r.RowStart), len(r.PageStart))
	s := &b.step
	s.ragged.RowStart = append(s.ragged.RowStart[:0], r.RowStart...)
	s.ragged.Start = append(s.ragged.Start[:0], r.Start...)
	s.ragged.PageStart = append(s.ragged.PageStart[:0], r.PageStart...)
	s.ragged.Pages = append(s.ragged.Pages[:0], r.Pages...)
	s.pos, s.table, s.placed, s.last = s.pos[:0], s.table[:0], false, 0
	for i := range n {
		want(r.RowStart[i] <= r.RowStart[i+1] && r.PageStart[i] <= r.PageStart[i+1] && r.Start[i] >= 0, "begin: sequence %d runs backwards", i)
		for j := r.RowStart[i]; j < r.RowStart[i+1]; j++ {
			s.pos = append(s.pos, r.Start[i]+j-r.RowStart[i])
			s.table = append(s.table, r.PageStart[i])
		}
	}
	want(int(r.PageStart[n]) <= len(r.Pages), "begin: page table ends at %d of %d", r.PageStart[n], len(r.Pages))
	for _, p := range r.Pages {
		want(p >= 0, "begin: page %d", p)
		s.last = max(s.last, int(p)+1)
	}
}

// layout places the step into the arena, once per queue.
func (b *Backend) layout() layout {
	s := &b.step
	if !s.placed {
		s.at = layout{place(&b.mem, s.pos), place(&b.mem, s.table), place(&b.mem, s.ragged.Pages)}
		s.placed, s.items = true, nil
	}
	return s.at
}

// fits checks the step's page tables against a pool.
func (b *Backend) fits(k *kv, h kernels.Heads, layer int) {
	s := &b.step
	want(h.KV == k.shape.KVHeads && h.Dim == k.shape.HeadDim && h.KV > 0 && h.Q%h.KV == 0, "heads %+v in %+v", h, k.shape)
	want(layer >= 0 && layer < k.shape.Layers, "layer %d of %d", layer, k.shape.Layers)
	want(s.last <= k.shape.Pages, "page %d of %d", s.last-1, k.shape.Pages)
	r := &s.ragged
	for i := range r.Start {
		rows, have := r.RowStart[i+1]-r.RowStart[i], r.PageStart[i+1]-r.PageStart[i]
		want(rows == 0 || int(r.Start[i]+rows) <= int(have)*k.shape.PageSize, "sequence %d: %d positions in %d pages", i, r.Start[i]+rows, have)
	}
}

// shareRows is how many query rows (tokens x heads) share the keys and values that are loaded: QROWS in attn.h.
const shareRows = 64

// attnItems divides the step's attention into shares, once per queue.
func (b *Backend) attnItems(h kernels.Heads) (unsafe.Pointer, int) {
	s := &b.step
	if s.items != nil && s.heads == h {
		return s.items, s.nitems
	}
	group := h.Q / h.KV
	heads := min(group, 16)
	tokens := int32(shareRows / heads)
	var list []item
	for i := range s.ragged.Start {
		// Last rows first: they see most, and a long share claimed late would leave the other workers waiting.
		first, end := s.ragged.RowStart[i], s.ragged.RowStart[i+1]
		for r := first + (end-first-1)/tokens*tokens; r >= first && end > first; r -= tokens {
			for head := 0; head < h.Q; {
				n := min(heads, group-head%group)
				list = append(list, item{row: r, rows: min(tokens, end-r), head: int32(head), heads: int32(n), kv: int32(head / group)})
				head += n
			}
		}
	}
	s.items, s.nitems, s.heads = place(&b.mem, list), len(list), h
	return s.items, s.nitems
}

// Rotary queues the tables of the step's positions.
func (b *Backend) Rotary(cos, sin, invFreq kernels.Tensor, scale float32) {
	n := len(b.step.pos)
	push(b, kindRotary, b.shares(n, 8*invFreq.Cols), rotaryArgs{
		cos: see("rotary cos", cos, n, invFreq.Cols, kernels.F32), sin: see("rotary sin", sin, n, invFreq.Cols, kernels.F32),
		freq: see("rotary invFreq", invFreq, 1, -1, kernels.F32), at: b.layout(), scale: scale})
}

// RopeAppend queues norms, rotation and the append.
func (b *Backend) RopeAppend(q, qkv kernels.Tensor, mem kernels.KV, r kernels.Rope) {
	k, h, n := mem.(*kv), r.Heads, len(b.step.pos)
	b.fits(k, h, r.Layer)
	want(h.Dim%2 == 0, "rope: odd head of %d", h.Dim)
	push(b, kindRope, b.shares(n, qkv.Cols), ropeArgs{
		q: see("rope q", q, n, h.Q*h.Dim, kernels.F32), qkv: see("rope qkv", qkv, n, (h.Q+2*h.KV)*h.Dim, kernels.F32),
		qnorm: seeOr("rope qnorm", r.QNorm, 1, h.Dim), knorm: seeOr("rope knorm", r.KNorm, 1, h.Dim),
		cos: see("rope cos", r.Cos, n, h.Dim/2, kernels.F32), sin: see("rope sin", r.Sin, n, h.Dim/2, kernels.F32),
		at: b.layout(), kv: k.mem(), heads: int32(h.Q), layer: int32(r.Layer), eps: r.Eps})
}

// Attention queues causal attention over the step's sequences.
func (b *Backend) Attention(dst, q kernels.Tensor, mem kernels.KV, a kernels.Attn) {
	k, h, n := mem.(*kv), a.Heads, len(b.step.pos)
	b.fits(k, h, a.Layer)
	at := b.layout()
	args := attnArgs{dst: see("attention dst", dst, n, h.Q*h.Dim, b.act), q: see("attention q", q, n, h.Q*h.Dim, kernels.F32),
		at: at, kv: k.mem(), heads: int32(h.Q), layer: int32(a.Layer), window: int32(max(0, min(a.Window, 1<<30))), scale: a.Scale}
	items, chunks := b.attnItems(h)
	if args.items = items; chunks > 0 {
		push(b, kindAttn, chunks, args)
	}
}

// CopyPages queues copies of positions, one after the other, all layers.
func (b *Backend) CopyPages(mem kernels.KV, copies []kernels.PageCopy) {
	k := mem.(*kv)
	flat := make([]int32, 0, 3*len(copies))
	for _, c := range copies {
		want(c.Tokens >= 0 && int(c.Tokens) <= k.shape.PageSize, "copy %d tokens of a page of %d", c.Tokens, k.shape.PageSize)
		want(c.Src >= 0 && int(c.Src) < k.shape.Pages && c.Dst >= 0 && int(c.Dst) < k.shape.Pages, "copy page %d to %d of %d", c.Src, c.Dst, k.shape.Pages)
		flat = append(flat, c.Src, c.Dst, c.Tokens)
	}
	if len(copies) > 0 {
		push(b, kindPages, k.shape.Layers, pagesArgs{k.mem(), place(&b.mem, flat), int64(len(copies))})
	}
}
