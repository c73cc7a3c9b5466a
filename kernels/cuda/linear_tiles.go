package cuda

import (
	"radish/kernels"
	"radish/kernels/cuda/driver"
)

// work is Work in src/gemm.cuh.
type work struct {
	dst                     view
	bias, partial, tickets  driver.Ptr
	features, tokens, depth int32
	split, share, rest      int32
	out, accumulate         int32
	stages, ahead, stream   int32
	swiglu                  int32
}

// family is a set of kernels: the widths of their tiles, in tokens, and their unit along the shared dimension. One narrow
// tile takes a whole step; a step that is wider than the widest of them goes in several wide tiles.
type family struct {
	narrow []int
	wide   int
	unit   int
}

// tiling is how a product is cut: tiles of 128 features (or 64 pairs) by box tokens, in units along the shared dimension.
// src/gemm.cuh says what a split tile is.
type tiling struct {
	box                     int // tokens of a tile
	features, tokens, depth int // tiles, tiles, units
	split, blocks           int // tiles that are cut; thread blocks
}

const (
	tileFeatures = 128
	boxDepth     = 64  // elements of a row that lie together in shared memory
	widestNarrow = 128 // tokens of the widest tile whose division depends on the weight alone
)

// divide plans a product of rows rows with w on sms multiprocessors.
func divide(f family, rows int, w *weight, sms int) tiling {
	t := tiling{box: f.wide, features: over(w.out, tileFeatures), depth: over(w.in, f.unit)}
	for _, n := range f.narrow {
		if rows <= n {
			t.box = n
			break
		}
	}
	t.tokens = over(rows, t.box)
	all := t.features * t.tokens
	t.split = all
	if rows > widestNarrow {
		t.split = splitWide(all, t.depth, sms)
	}
	t.blocks = min(sms, all*t.depth)
	return t
}

// splitWide is how many of the tiles are cut: none, those of the last round, or those of the last two, whichever ends
// first. Summing parts costs about as much as mergeUnits units.
func splitWide(all, depth, sms int) (best int) {
	const (
		mergeUnits = 8 // fits what was measured at 256 tokens
		fewRounds  = 4
	)
	cost := func(split int) int {
		n := over(all-split, sms) * depth
		if split > 0 {
			n += over(split*depth, sms) + mergeUnits
		}
		return n
	}
	if all > fewRounds*sms {
		return 0 // there is little to gain, and blocks at different places along K share less in L2: 14 % lost at 8 rounds
	}
	for _, split := range []int{all % sms, min(all, all%sms+sms)} {
		if cost(split) < cost(best) {
			best = split
		}
	}
	return best
}

// boxBytes is shared memory for 64 elements of every row of a tile, of both operands.
func (t tiling) boxBytes() int { return (tileFeatures + t.box) * boxDepth * 2 }

// work is what the kernels of every family are told.
func (b *Backend) work(p product, t tiling) work {
	must(t.split <= mostTickets, "linear: %d features by %d rows: too many tiles", p.w.out, p.x.rows)
	w := work{dst: p.dst, bias: p.bias, partial: b.mem.scratch, tickets: b.gemm.tickets, features: int32(t.features), tokens: int32(t.tokens),
		depth: int32(t.depth), split: int32(t.split), share: int32(t.split * t.depth / t.blocks), rest: int32(t.split * t.depth % t.blocks),
		out: p.dst.cols}
	switch p.form {
	case add:
		w.accumulate = 1
	case swiglu:
		w.swiglu = 1
	}
	return w
}

// pieces calls do for the product, in the invariant mode for every widestNarrow rows of it: so a wide product is cut as a
// narrow one is.
func (b *Backend) pieces(p product, do func(product)) {
	for n := int32(widestNarrow); b.opt.Invariant && p.x.rows > n; p = p.tail(n, b.opt.Act) {
		do(p.head(n))
	}
	do(p)
}

// head is the product of the first n rows.
func (p product) head(n int32) product {
	p.dst.rows, p.x.rows = n, n
	return p
}

// tail is the product without its first n rows.
func (p product) tail(n int32, act kernels.DType) product {
	size := kernels.F32.Size()
	if p.form == swiglu {
		size = act.Size()
	}
	p.dst.p += driver.Ptr(int64(n) * p.dst.stride * int64(size))
	p.x.p += driver.Ptr(int64(n) * p.x.stride * int64(act.Size()))
	p.dst.rows, p.x.rows = p.dst.rows-n, p.x.rows-n
	return p
}
