package cuda

import "slices"

// Sequences that continue one prefix have its pages at the head of their tables. Their queries against those pages make
// one tall tile, so that the pages are read once for all of them ("cascade", Ye et al. 2024); what each has beyond goes
// the usual way, and the partial results of both meet in the same sum.

// segment is a run of positions that several short sequences have in the same pages.
type segment struct {
	seqs     []int // of the step
	from, to int32
	pieces   int32 // that it is cut into along its keys
}

const (
	shareLeast = 256      // positions worth a tile
	shareGain  = 48 << 20 // bytes that need not be read twice, for a launch more to pay
)

// share finds what short sequences have in common, in time proportional to the page tables, and plans to read it once
// where that gains more than the launch costs.
func (o *planner) share() {
	o.segments = o.segments[:0]
	if o.invariant || o.window > 0 || len(o.short) < 2 {
		return
	}
	o.descend(append(o.order[:0], o.short...), 0, 0)
	saved, each := int64(0), max(1, tileRows/o.group)
	o.blocks = o.blocks[:0]
	for _, s := range o.segments {
		saved += int64(s.to-s.from) * int64(len(s.seqs)-1) * int64(4*o.heads.KV*o.heads.Dim)
		for range (o.rowsOf(s) + each - 1) / each {
			o.blocks = append(o.blocks, (s.to-s.from+keyBlock-1)/keyBlock)
		}
	}
	if saved < o.gain {
		o.segments = o.segments[:0]
		return
	}
	most := keyBlock * o.fair()
	for i := range o.segments { // a segment comes after those that it continues
		s := &o.segments[i]
		s.pieces = pieces(s.to-s.from, most)
		for _, q := range s.seqs {
			o.prefix[q] = s.to
			o.before[q] += s.pieces
		}
	}
	if o.slotsNeeded() > o.slots {
		o.segments = o.segments[:0]
		clear(o.prefix)
		clear(o.before)
	}
}

// descend splits sequences whose tables agree on the first `at` pages, of which `done` are in segments already, by how
// they go on. It reorders seqs.
func (o *planner) descend(seqs []int, done, at int32) {
	if len(seqs) < 2 {
		return
	}
	for o.together(seqs, at) {
		at++
	}
	size := int32(o.size)
	if (at-done)*size >= shareLeast {
		o.segments = append(o.segments, segment{seqs: seqs, from: done * size, to: at * size})
		done = at
		seqs = append([]int(nil), seqs...)
	}
	slices.SortStableFunc(seqs, func(a, b int) int { return int(o.pageAt(a, at) - o.pageAt(b, at)) })
	for from := 0; from < len(seqs); {
		to, page := from+1, o.pageAt(seqs[from], at)
		for to < len(seqs) && o.pageAt(seqs[to], at) == page {
			to++
		}
		if page >= 0 {
			o.descend(seqs[from:to], done, at)
		}
		from = to
	}
}

// pageAt is page number at of a sequence's table, -1 where it holds new rows or ends: those every sequence has its own.
func (o *planner) pageAt(seq int, at int32) int32 {
	r := &o.step.ragged
	if (at+1)*int32(o.size) > r.Start[seq] || at >= r.PageStart[seq+1]-r.PageStart[seq] {
		return -1
	}
	return r.Pages[r.PageStart[seq]+at]
}

func (o *planner) together(seqs []int, at int32) bool {
	page := o.pageAt(seqs[0], at)
	for _, s := range seqs[1:] {
		if o.pageAt(s, at) != page {
			return false
		}
	}
	return page >= 0
}

// rowsOf is the number of rows of a segment's sequences.
func (o *planner) rowsOf(s segment) (n int32) {
	for _, q := range s.seqs {
		n += o.step.ragged.RowStart[q+1] - o.step.ragged.RowStart[q]
	}
	return n
}

// slotsNeeded is how many partial results the short sequences have, shared segments included.
func (o *planner) slotsNeeded() (n int) {
	r := &o.step.ragged
	for _, q := range o.short {
		rows := r.RowStart[q+1] - r.RowStart[q]
		n += int(rows * (o.partsOf(q, r.Start[q], r.Start[q]+rows) + 1)) // one more: rows may fall into different chunks
	}
	return n
}

// cascade plans the segments' tiles, once the rows have their slots.
func (o *planner) cascade() {
	each := max(1, tileRows/o.group)
	w := o.wave()
	clear(o.before)
	for _, s := range o.segments {
		first := int32(len(o.rows))
		for _, q := range s.seqs {
			for row := o.step.ragged.RowStart[q]; row < o.step.ragged.RowStart[q+1]; row++ {
				o.rows = append(o.rows, o.rows[o.listed[row]])
			}
		}
		part, table := o.before[s.seqs[0]], o.step.ragged.PageStart[s.seqs[0]]
		for at := first; at < int32(len(o.rows)); at += each {
			w.tall.cut(item{first: at, n: min(each, int32(len(o.rows))-at), table: table, from: s.from, end: s.to, part: part}, s.pieces)
		}
		for _, q := range s.seqs {
			o.before[q] += s.pieces
		}
	}
}

// fair is how many blocks of keys a piece of a tile may have for the tiles in o.blocks to keep all multiprocessors busy:
// the mean, or a little more where that puts all pieces into one round.
func (o *planner) fair() int32 {
	total, longest := 0, int32(0)
	for _, n := range o.blocks {
		total += int(n)
		longest = max(longest, n)
	}
	share := max(leastBlocks, int32(over(total*o.heads.KV, o.sms)))
	for len(o.blocks)*o.heads.KV <= o.sms && share < longest {
		n := int32(0)
		for _, b := range o.blocks {
			n += (b + share - 1) / share
		}
		if int(n)*o.heads.KV <= o.sms {
			break
		}
		share++
	}
	return share
}

// pieces is into how many pieces of about most keys to cut n.
func pieces(n, most int32) int32 {
	size := pieceOf(n, (n+most-1)/most)
	return (n + size - 1) / size
}

// pieceOf is the length of the pieces when n keys are cut into some: whole blocks.
func pieceOf(n, pieces int32) int32 {
	return ((n+pieces-1)/pieces + keyBlock - 1) / keyBlock * keyBlock
}

// cut appends an item in pieces.
func (p *pass) cut(it item, pieces int32) {
	size, end := pieceOf(it.end-it.from, pieces), it.end
	for ; it.from < end; it.part++ {
		it.end = min(it.from+size, end)
		p.items = append(p.items, it)
		it.from = it.end
	}
}
