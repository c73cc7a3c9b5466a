package cuda

import (
	"fmt"

	"radish/kernels"
	"radish/kernels/cuda/driver"
)

// step is the layout of the step that Begin set, and where kernels find it once an operation needed it.
type step struct {
	ragged   kernels.Ragged
	pos, seq []int32 // of each row: its position, its sequence
	last     int     // largest page number, plus one
	placed   bool
	at       layout
	planned  bool   // attention's plans were made, with the first attention of the step
	place    []cell // of each row, in pages of placeOf positions
	placeAt  driver.Ptr
	placeOf  int
}

// cell is where a row's key and value go: a page and a place in it.
type cell struct{ page, at int32 }

// layout is Layout in step.cuh: device tables of the step.
type layout struct {
	pos, seq         driver.Ptr // [rows] I32
	rowStart, start  driver.Ptr // [seqs+1], [seqs] I32
	pageStart, pages driver.Ptr // [seqs+1], [...] I32
	rows, seqs       int32
}

// Begin copies the layout.
func (b *Backend) Begin(r *kernels.Ragged) {
	n := r.Seqs()
	must(len(r.RowStart) == n+1 && len(r.PageStart) == n+1 && r.RowStart[0] == 0 && r.PageStart[0] == 0,
		"begin: %d sequences, %d row and %d page starts", n, len(r.RowStart), len(r.PageStart))
	s := &b.step
	s.ragged.RowStart = append(s.ragged.RowStart[:0], r.RowStart...)
	s.ragged.Start = append(s.ragged.Start[:0], r.Start...)
	s.ragged.PageStart = append(s.ragged.PageStart[:0], r.PageStart...)
	s.ragged.Pages = append(s.ragged.Pages[:0], r.Pages...)
	s.pos, s.seq, s.last, s.placed, s.planned = s.pos[:0], s.seq[:0], 0, false, false
	for i := range n {
		must(r.RowStart[i] <= r.RowStart[i+1] && r.PageStart[i] <= r.PageStart[i+1] && r.Start[i] >= 0, "begin: sequence %d runs backwards", i)
		for j := r.RowStart[i]; j < r.RowStart[i+1]; j++ {
			s.pos = append(s.pos, r.Start[i]+j-r.RowStart[i])
			s.seq = append(s.seq, int32(i))
		}
	}
	must(int(r.PageStart[n]) <= len(r.Pages), "begin: page table ends at %d of %d", r.PageStart[n], len(r.Pages))
	for _, p := range r.Pages {
		must(p >= 0, "begin: page %d", p)
		s.last = max(s.last, int(p)+1)
	}
}

// layout places the step's tables, once per submission.
func (b *Backend) layout() layout {
	s, l := &b.step, &b.list
	if !s.placed {
		r := &s.ragged
		s.at = layout{pos: place(l, s.pos), seq: place(l, s.seq), rowStart: place(l, r.RowStart), start: place(l, r.Start),
			pageStart: place(l, r.PageStart), pages: place(l, r.Pages), rows: int32(len(s.pos)), seqs: int32(r.Seqs())}
		s.placed, s.planned, s.placeOf = true, false, 0
	}
	return s.at
}

// cells places where each row's key and value go, once per submission and page size.
func (b *Backend) cells(k *kv) driver.Ptr {
	b.layout()
	s, size := &b.step, int32(k.shape.PageSize)
	if s.placeOf != k.shape.PageSize {
		s.place = s.place[:0]
		for i, pos := range s.pos {
			s.place = append(s.place, cell{s.ragged.Pages[s.ragged.PageStart[s.seq[i]]+pos/size], pos % size})
		}
		s.placeAt, s.placeOf = place(&b.list, s.place), k.shape.PageSize
	}
	return s.placeAt
}

// kv is the paged memory of all layers: [layer][page][key, value][head][position][dim].
type kv struct {
	at      driver.Ptr
	shape   kernels.KVShape
	boxes   []driver.TensorMap // of each layer, made with the first attention that can use them
	noBoxes bool
}

func (k *kv) PageSize() int { return k.shape.PageSize }

func (k *kv) Bytes() int64 {
	s := k.shape
	return 2 * int64(s.Layers) * int64(s.Pages) * int64(s.PageSize) * int64(s.KVHeads) * int64(s.HeadDim) * int64(s.DType.Size())
}

// pool is Pool in step.cuh: one layer of a kv.
type pool struct {
	p                       driver.Ptr
	pages, size, heads, dim int32
}

// layer is where a layer's pages lie.
func (k *kv) layer(i int) pool {
	s := k.shape
	must(i >= 0 && i < s.Layers, "layer %d of %d", i, s.Layers)
	return pool{k.at + driver.Ptr(int64(i)*(k.Bytes()/int64(s.Layers))), int32(s.Pages), int32(s.PageSize), int32(s.KVHeads), int32(s.HeadDim)}
}

// NewKV reserves the pool. Heads of more than 256 elements are an error.
func (b *Backend) NewKV(s kernels.KVShape) (kernels.KV, error) {
	must(s.Layers > 0 && s.Pages > 0 && s.PageSize > 0 && s.KVHeads > 0 && s.HeadDim > 0, "kv: bad shape %+v", s)
	must(s.DType == b.opt.Act, "kv: type %v, activations are %v", s.DType, b.opt.Act)
	if s.HeadDim > 256 || s.Layers > 1<<16 || s.Pages > 1<<30 || s.PageSize > 1<<16 || s.KVHeads > 1<<16 {
		return nil, fmt.Errorf("reserve kv %+v: too large", s)
	}
	k := &kv{shape: s}
	if float64(s.Layers)*float64(s.Pages)*float64(s.PageSize)*float64(s.KVHeads)*float64(s.HeadDim) > 1<<44 {
		return nil, fmt.Errorf("reserve kv %+v: too large", s)
	}
	var err error
	if k.at, err = b.mem.take(k.Bytes()); err != nil {
		return nil, fmt.Errorf("reserve kv of %d pages: %w", s.Pages, err)
	}
	// Rows beyond a sequence's end are masked by weight zero, and zero times NaN is NaN: memory starts as zeros.
	b.list.zero(k.at, k.Bytes())
	return k, nil
}

// fits checks the step's page tables against a pool.
func (b *Backend) fits(k *kv, h kernels.Heads) {
	s := &b.step
	must(h.KV == k.shape.KVHeads && h.Dim == k.shape.HeadDim && h.KV > 0 && h.Q%h.KV == 0, "heads %+v in %+v", h, k.shape)
	must(s.last <= k.shape.Pages, "page %d of %d", s.last-1, k.shape.Pages)
	r := &s.ragged
	for i := range r.Start {
		rows, have := r.RowStart[i+1]-r.RowStart[i], r.PageStart[i+1]-r.PageStart[i]
		must(rows == 0 || int(r.Start[i]+rows) <= int(have)*k.shape.PageSize, "sequence %d: %d positions in %d pages", i, r.Start[i]+rows, have)
	}
}

// copyArgs is the parameter of copy_pages.
type copyArgs struct {
	pool   driver.Ptr
	copies driver.Ptr // [n] PageCopy
	half   int64      // bytes of one page's keys (or values) in one layer
	layer  int64      // bytes of a layer
	run    int64      // bytes of one position of one head
	size   int32      // positions of a page
	heads  int32
	n      int32
	layers int32
}

// CopyPages queues the copies, one after the other where one reads what another wrote.
func (b *Backend) CopyPages(mem kernels.KV, copies []kernels.PageCopy) {
	k := mem.(*kv)
	s := k.shape
	for _, c := range copies {
		must(c.Tokens >= 0 && int(c.Tokens) <= s.PageSize, "copy %d tokens of a page of %d", c.Tokens, s.PageSize)
		must(c.Src >= 0 && int(c.Src) < s.Pages && c.Dst >= 0 && int(c.Dst) < s.Pages, "copy page %d to %d of %d", c.Src, c.Dst, s.Pages)
	}
	for len(copies) > 0 {
		n := independent(copies)
		run := int64(s.HeadDim * s.DType.Size())
		half := run * int64(s.PageSize*s.KVHeads)
		launch(b, "copy_pages", grid{x: s.Layers, y: n, threads: 256}, copyArgs{pool: k.at, copies: place(&b.list, copies[:n]),
			half: half, layer: 2 * half * int64(s.Pages), run: run, size: int32(s.PageSize), heads: int32(s.KVHeads), n: int32(n), layers: int32(s.Layers)})
		copies = copies[n:]
	}
}

// independent is how many copies at the head of the list touch no page that one before them wrote, or write one that one
// before them reads.
func independent(copies []kernels.PageCopy) int {
	read, written := map[int32]bool{}, map[int32]bool{}
	for i, c := range copies {
		if written[c.Src] || written[c.Dst] || read[c.Dst] || i == 1<<15 {
			return i
		}
		read[c.Src], written[c.Dst] = true, true
	}
	return len(copies)
}
