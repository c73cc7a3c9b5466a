package cuda

import (
	"math/bits"

	"radish/kernels"
	"radish/kernels/cuda/driver"
)

// The operations that work row by row; their kernels are in src/rows.cu, and the structs are their parameters.

type resolveArgs struct {
	ids, last driver.Ptr
	n, slots  int32
}

// Resolve queues the replacement of the ids -1-s.
func (b *Backend) Resolve(ids, last kernels.Tensor) {
	i, l := see("resolve ids", ids, 1, -1, kernels.I32), see("resolve last", last, 1, -1, kernels.I32)
	launch(b, "resolve", grid{x: over(int(i.cols), 256), threads: 256}, resolveArgs{i.p, l.p, i.cols, l.cols})
}

type embedArgs struct {
	dst    view
	table  driver.Ptr
	ids    driver.Ptr
	in     int64
	vocab  int32
	isBF16 int32
}

// Embed queues a gather of rows of table.
func (b *Backend) Embed(dst kernels.Tensor, table kernels.Weight, ids kernels.Tensor) {
	w := table.(*weight)
	d, i := see("embed dst", dst, ids.Cols, w.in, kernels.F32), see("embed ids", ids, 1, -1, kernels.I32)
	launch(b, "embed", grid{x: int(d.rows), threads: 256}, embedArgs{d, w.at, i.p, int64(w.in), int32(w.out), b.isBF16()})
}

type normArgs struct {
	dst, x, add view
	weight      driver.Ptr
	eps         float32
	dstBF16     int32
}

// RMSNorm queues the addition and the norm.
func (b *Backend) RMSNorm(dst, x, add, weight kernels.Tensor, eps float32) {
	a := normArgs{dst: see("rmsnorm dst", dst, x.Rows, x.Cols, kernels.F32, b.opt.Act), x: see("rmsnorm x", x, -1, -1, kernels.F32),
		weight: see("rmsnorm weight", weight, 1, x.Cols, kernels.F32).p, eps: eps}
	if !add.Absent() {
		a.add = see("rmsnorm add", add, x.Rows, x.Cols, kernels.F32)
	}
	if typeOf(dst) == kernels.BF16 {
		a.dstBF16 = 1
	}
	wide := a.x.aligned(16, 4) && a.x.cols%4 == 0 && a.dst.aligned(16, 4-2*int(a.dstBF16)) && a.weight%16 == 0 &&
		(a.add.p == 0 || a.add.aligned(16, 4)) && a.x.cols <= 4*8*1024
	name, threads := "rmsnorm", 256
	if wide {
		name, threads = "rmsnorm4", min(1024, (over(int(a.x.cols), 4)+31)&^31)
	}
	launch(b, name, grid{x: x.Rows, threads: threads}, a)
}

type rotaryArgs struct {
	cos, sin view
	freq     driver.Ptr
	pos      driver.Ptr
	scale    float32
	_        int32
}

// Rotary queues the tables of the step's positions.
func (b *Backend) Rotary(cos, sin, invFreq kernels.Tensor, scale float32) {
	b.room()
	n := len(b.step.pos)
	a := rotaryArgs{cos: see("rotary cos", cos, n, invFreq.Cols, kernels.F32), sin: see("rotary sin", sin, n, invFreq.Cols, kernels.F32),
		freq: see("rotary invFreq", invFreq, 1, -1, kernels.F32).p, pos: b.layout().pos, scale: scale}
	launch(b, "rotary", grid{x: n, threads: (invFreq.Cols + 31) &^ 31}, a)
}

type ropeArgs struct {
	q, qkv       view
	cos, sin     view
	qnorm, knorm driver.Ptr
	cells        driver.Ptr // [rows]: page, and place in it
	pool         pool
	heads        int32 // of queries
	eps          float32
	kvBF16, _    int32
}

// RopeAppend queues norms, rotation and the append.
func (b *Backend) RopeAppend(q, qkv kernels.Tensor, mem kernels.KV, r kernels.Rope) {
	b.room()
	k, h, n := mem.(*kv), r.Heads, len(b.step.pos)
	b.fits(k, h)
	must(h.Dim%2 == 0, "rope: odd head of %d", h.Dim)
	a := ropeArgs{q: see("rope q", q, n, h.Q*h.Dim, kernels.F32), qkv: see("rope qkv", qkv, n, (h.Q+2*h.KV)*h.Dim, kernels.F32),
		cos: see("rope cos", r.Cos, n, h.Dim/2, kernels.F32), sin: see("rope sin", r.Sin, n, h.Dim/2, kernels.F32),
		qnorm: seeOr("rope qnorm", r.QNorm, h.Dim).p, knorm: seeOr("rope knorm", r.KNorm, h.Dim).p,
		cells: b.cells(k), pool: k.layer(r.Layer), heads: int32(h.Q), eps: r.Eps, kvBF16: b.isBF16()}
	name, heads := "rope_append", 8
	if lanes := h.Dim / 8; h.Dim%8 == 0 && bits.OnesCount(uint(lanes)) == 1 && a.q.aligned(16, 4) && a.qkv.aligned(16, 4) &&
		a.cos.aligned(16, 4) && a.sin.aligned(16, 4) && a.qnorm%16 == 0 && a.knorm%16 == 0 {
		name, heads = "rope_append4", 256/lanes
	}
	launch(b, name, grid{x: n, y: over(h.Q+2*h.KV, heads), threads: 256}, a)
}

type swigluArgs struct {
	dst, gateUp view
	dstBF16     int32
	wide        int32
}

// SwiGLU queues silu of the left half times the right half.
func (b *Backend) SwiGLU(dst, gateUp kernels.Tensor) {
	a := swigluArgs{dst: see("swiglu dst", dst, gateUp.Rows, -1, b.opt.Act), gateUp: see("swiglu gateUp", gateUp, -1, 2*dst.Cols, kernels.F32), dstBF16: b.isBF16()}
	per := 256
	if a.dst.cols%4 == 0 && a.dst.aligned(16, 2) && a.gateUp.aligned(16, 4) {
		a.wide, per = 1, 1024
	}
	launch(b, "swiglu", grid{x: over(dst.Cols, per), y: dst.Rows, threads: 256}, a)
}

type gatherArgs struct {
	dst, src view
	rows     driver.Ptr
	size     int32
	_        int32
}

// Gather queues a copy of rows.
func (b *Backend) Gather(dst, src kernels.Tensor, rows []int32) {
	types := []kernels.DType{kernels.F32, kernels.BF16, kernels.I32}
	must(typeOf(dst) == typeOf(src), "gather: from %v to %v", typeOf(src), typeOf(dst))
	a := gatherArgs{dst: see("gather dst", dst, len(rows), src.Cols, types...), src: see("gather src", src, -1, -1, types...), size: int32(typeOf(dst).Size())}
	for _, r := range rows {
		must(r >= 0 && int(r) < src.Rows, "gather: row %d of %d", r, src.Rows)
	}
	a.rows = place(&b.list, rows)
	launch(b, "gather", grid{x: len(rows), threads: 256}, a)
}

func (b *Backend) isBF16() int32 {
	if b.opt.Act == kernels.BF16 {
		return 1
	}
	return 0
}

// room makes sure that the step's tables fit beside what this submission already holds: tests queue many steps in one.
func (b *Backend) room() {
	if s := &b.list.stages[b.list.stage]; !b.step.placed && s.arenaUsed > arenaBytes/2 {
		b.flush()
	}
}
