package cuda

import (
	"cmp"
	"math/bits"
	"slices"

	"radish/kernels"
	"radish/kernels/cuda/driver"
)

// The plan of a step's attention says which block reads which keys for which rows. It depends on the layout alone, so it
// is made once a step, on the host, and read by every layer.
//
// A short sequence (decoding, or a few rows) is cut along its keys into chunks whose borders its positions fix; only where
// a step has too little work to fill the card, and invariance was not asked for, are all its chunks made smaller. A tall
// one (prefill) is cut into tiles of rows, and along the keys only when there are fewer tiles than the card has
// multiprocessors. Pages at the head of several short sequences are read once, by a tile of all their rows.

// item is Item in src/attn.cuh.
type item struct{ first, n, table, from, end, part, _, _ int32 }

// rowItem is Row in src/attn.cuh.
type rowItem struct{ row, pos, slot, parts int32 }

// pass is the items of one launch: where they lie and, rounded up, how many; the surplus has nothing to do.
type pass struct {
	items []item
	at    driver.Ptr
	count int
}

// wave is what may be in the scratch at one time.
type wave struct{ tall, short pass }

// plan is a step's attention over one kind of layer.
type plan struct {
	heads  kernels.Heads
	window int32
	size   int // positions of a page
	rows   driver.Ptr
	slots  int // of partial results in the scratch
	waves  []wave
}

const (
	tileRows  = 128  // query rows of a tall tile
	shortTile = 16   // and of a short one
	shortRows = 32   // sequences of at most this many query rows are short
	mostKeys  = 1024 // of a short tile: MOST in src/attn_decode.cu

	keyBlock    = 128 // tall tiles' keys come in blocks
	leastBlocks = 4   // and a piece of a tile has so many, or it is not worth its partial result
)

// chunk is how many keys one block of the decode kernel takes for a row at a position: fixed by that alone. 256 keeps 32
// blocks busy at 1k; longer memory needs fewer partial results more than it needs blocks.
func chunk(pos int32) int32 {
	switch {
	case pos < 4096:
		return 256
	case pos < 16384:
		return 512
	}
	return mostKeys
}

// leastChunk is the smallest chunk that a step with little work is cut into.
const leastChunk = 64

// chunk is the chunk of a row at a position in this step.
func (o *planner) chunk(pos int32) int32 { return max(leastChunk, chunk(pos)>>o.finer) }

// refine halves the chunks of a step as long as its blocks stay within one and a half for each multiprocessor: a single
// sequence of a thousand keys would keep 32 of them busy, each with 128 KiB to read.
func (o *planner) refine() {
	if o.finer = 0; o.invariant {
		return
	}
	blocks := func() (n int) {
		r := &o.step.ragged
		for i := range r.Start {
			if rows := r.RowStart[i+1] - r.RowStart[i]; rows > 0 && rows*o.group <= shortRows {
				end := r.Start[i] + rows
				n += int((end-1)/o.chunk(end-1)+1) * o.heads.KV
			}
		}
		return n
	}
	for o.finer < 2 && blocks() > 0 {
		o.finer++
		if 2*blocks() > 3*o.sms {
			o.finer--
			return
		}
	}
}

// plan is the step's plan for a kind of layer, made and placed with the first attention that asks for it.
func (b *Backend) plan(k *kv, h kernels.Heads, window int32) *plan {
	at := &b.attention
	if !b.step.planned {
		at.live, b.step.planned = 0, true
	}
	for _, p := range at.plans[:at.live] {
		if p.heads == h && p.window == window && p.size == k.shape.PageSize {
			return p
		}
	}
	if at.live == len(at.plans) {
		at.plans = append(at.plans, &plan{})
	}
	p := at.plans[at.live]
	at.live++
	p.heads, p.window, p.size = h, window, k.shape.PageSize
	p.slots = min(scratchBytes/(4*h.Q*(h.Dim+2)), ticketCount/h.KV)
	at.order.make(p, &b.step, b.card.SMs, b.opt.Invariant)
	b.placePlan(p)
	return p
}

// placePlan copies the plan to where the kernels find it.
func (b *Backend) placePlan(p *plan) {
	o := &b.attention.order
	p.rows = place(&b.list, o.rows)
	for i := range p.waves {
		for _, s := range []*pass{&p.waves[i].tall, &p.waves[i].short} {
			if len(s.items) > 0 {
				s.count = roomy(len(s.items))
				// Blocks that stay look for their next item until they find one without rows.
				end := s.count + over(2*b.card.SMs, p.heads.KV)
				for len(s.items) < end {
					s.items = append(s.items, item{})
				}
				s.at = place(&b.list, s.items)
			}
		}
	}
}

// roomy rounds up to a quarter of the power of two below, so that sequences that grow seldom change a launch, and a graph
// that was captured can be replayed.
func roomy(n int) int {
	if n <= 4 {
		return n
	}
	step := 1 << (bits.Len(uint(n-1)) - 3)
	return (n + step - 1) / step * step
}

// planner makes plans. Its slices are kept from step to step.
type planner struct {
	*plan
	step      *step
	group     int32 // query heads of a key-value head
	sms       int
	invariant bool
	finer     int       // the step's chunks are halved so often
	gain      int64     // bytes that a shared pass must save
	rows      []rowItem // in the order of the items
	listed    []int32   // of each row of the step, where in rows it is
	short     []int     // sequences
	prefix    []int32   // of each sequence: positions that a shared pass covers
	before    []int32   // and its number of partial results from there
	used      int       // slots of the last wave
	segments  []segment
	order     []int
	tall      []int // sequences
	cuts      []tile
	blocks    []int32 // of keys, of each tile
}

// make fills p.
func (o *planner) make(p *plan, s *step, sms int, invariant bool) {
	n := s.ragged.Seqs()
	o.plan, o.step, o.sms, o.invariant, o.group = p, s, sms, invariant, int32(p.heads.Q/p.heads.KV)
	o.rows, o.short, o.used = o.rows[:0], o.short[:0], 0
	o.listed = append(o.listed[:0], make([]int32, len(s.pos))...)
	o.prefix = append(o.prefix[:0], make([]int32, n)...)
	o.before = append(o.before[:0], make([]int32, n)...)
	p.waves = p.waves[:0]
	o.nextWave()
	o.refine()
	o.tall = o.tall[:0]
	for i := range n {
		switch rows := s.ragged.RowStart[i+1] - s.ragged.RowStart[i]; {
		case rows == 0:
		case (invariant || rows*o.group <= shortRows) && int(o.partsOf(i, s.ragged.Start[i], s.ragged.Start[i]+rows)) <= p.slots:
			o.short = append(o.short, i)
		default:
			o.tall = append(o.tall, i)
		}
	}
	o.share()
	for _, i := range o.short {
		o.decode(i)
	}
	o.cascade()
	o.tiles()
}

// nextWave begins a wave, in the memory of one of an earlier step where there is one.
func (o *planner) nextWave() {
	if len(o.waves) < cap(o.waves) {
		o.waves = o.waves[:len(o.waves)+1]
		w := o.wave()
		w.tall = pass{items: w.tall.items[:0]}
		w.short = pass{items: w.short.items[:0]}
	} else {
		o.waves = append(o.waves, wave{})
	}
	o.used = 0
}

// wave is the one being filled.
func (o *planner) wave() *wave { return &o.waves[len(o.waves)-1] }

// take reserves the slots of n rows of the step from row on, each with parts partial results, and says which row list
// entry is the first of theirs.
func (o *planner) take(row, n, parts int32) int32 {
	first := int32(len(o.rows))
	if need := int(n * parts); parts > 1 && o.used+need > o.slots {
		o.nextWave()
	}
	for i := range n {
		o.listed[row+i] = int32(len(o.rows))
		o.rows = append(o.rows, rowItem{row + i, o.step.pos[row+i], int32(o.used), parts})
		if parts > 1 {
			o.used += int(parts)
		}
	}
	return first
}

// decode cuts a short sequence into tiles of rows and chunks of keys.
func (o *planner) decode(i int) {
	r := &o.step.ragged
	most := max(1, shortTile/o.group)
	for row, end := r.RowStart[i], r.RowStart[i+1]; row < end; {
		pos := o.step.pos[row]
		n := min(most, end-row)
		for n > 1 && (o.chunk(pos+n-1) != o.chunk(pos) || n*o.partsOf(i, pos, pos+n) > int32(o.slots)) {
			n--
		}
		o.chunks(i, row, n)
		row += n
	}
}

// start is the first key that a row of sequence i at a position reads beside the shared ones.
func (o *planner) start(i int, pos int32) int32 {
	if size := o.chunk(pos); o.window > 0 {
		return max(0, (pos+1-o.window)/size*size)
	}
	return o.prefix[i]
}

// partsOf is the number of partial results of rows of sequence i from a position on, which read the keys up to end.
func (o *planner) partsOf(i int, pos, end int32) int32 {
	size := o.chunk(pos)
	return o.before[i] + (end-1)/size - o.start(i, pos)/size + 1
}

// chunks plans n rows of sequence i from row on.
func (o *planner) chunks(i int, row, n int32) {
	pos := o.step.pos[row]
	size, end, before := o.chunk(pos), pos+n, o.before[i]
	from := o.start(i, pos)
	first := o.take(row, n, o.partsOf(i, pos, end))
	w := o.wave()
	for part := before; from < end; part++ {
		to := min(from/size*size+size, end)
		w.short.items = append(w.short.items, item{first: first, n: n, table: o.step.ragged.PageStart[i], from: from, end: to, part: part})
		from = to
	}
}

// tile is some rows of a tall sequence and the keys that they see.
type tile struct{ seq, row, n, from, end int32 }

// tiles plans tall sequences. Heavy tiles come first, so that the card does not wait for one at the end.
func (o *planner) tiles() {
	r, each := &o.step.ragged, max(1, tileRows/o.group)
	all := o.cuts[:0]
	o.blocks = o.blocks[:0]
	for _, i := range o.tall {
		for row := r.RowStart[i]; row < r.RowStart[i+1]; row += each {
			n := min(each, r.RowStart[i+1]-row)
			from := int32(0)
			if o.window > 0 {
				from = max(0, o.step.pos[row]+1-o.window) / keyBlock * keyBlock
			}
			t := tile{int32(i), row, n, from, o.step.pos[row] + n}
			o.blocks = append(o.blocks, (t.end-t.from+keyBlock-1)/keyBlock)
			all = append(all, t)
		}
	}
	o.cuts = all
	slices.SortStableFunc(all, func(a, b tile) int { return cmp.Compare(b.end-b.from, a.end-a.from) })
	share := o.fair()
	for _, t := range all {
		o.tile(t, share*keyBlock)
	}
}

// tile plans one tile, in pieces of about most keys.
func (o *planner) tile(t tile, most int32) {
	n := pieces(t.end-t.from, most)
	if o.used+int(t.n*n) > o.slots {
		n = 1
	}
	first := o.take(t.row, t.n, n)
	o.wave().tall.cut(item{first: first, n: t.n, table: o.step.ragged.PageStart[t.seq], from: t.from, end: t.end}, n)
}
