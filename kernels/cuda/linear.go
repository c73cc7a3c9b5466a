package cuda

import (
	"fmt"

	"radish/kernels"
	"radish/kernels/cuda/driver"
)

// gemm is what matrix products share.
type gemm struct {
	tickets driver.Ptr // [mostTickets] I32, zero between products
	maps    map[mapKey]driver.TensorMap
	ring    ring8 // how far the Hopper kernels read ahead
	only    only
	noPairs bool     // the driver does not take the map of the fused form
	lib     *library // nil: own kernels only
}

// only restricts the choice of kernels, for tests and benchmarks.
type only uint8

const (
	plainOnly only = iota + 1
	mmaOnly
)

// mostTickets bounds the tiles that several blocks may share in one product.
const mostTickets = 1 << 16

func (g *gemm) open(b *Backend) (err error) {
	g.maps = map[mapKey]driver.TensorMap{}
	if g.tickets, err = b.mem.take(4 * mostTickets); err != nil {
		return err
	}
	b.list.zero(g.tickets, 4*mostTickets)
	if g.lib, err = openLibrary(b.opt); err != nil || g.lib == nil || g.lib.always {
		return err
	}
	g.lib.tuned = readTuned(b.opt.Tuning, b.card, g.lib.lt)
	g.lib.tuned.room, err = b.mem.take(trySums + tryFused)
	return err
}

func (g *gemm) close() {
	if g.lib != nil {
		g.lib.close()
	}
}

func (g *gemm) name() string { return g.lib.name() }

// packed notes a weight for tuning.
func (g *gemm) packed(w *weight) {
	if g.lib != nil {
		s := [2]int{w.out, w.in}
		g.lib.shapes[s] = append(g.lib.shapes[s], w)
	}
}

// form is what a product does with its sums.
type form uint8

const (
	assign form = iota // dst = sums
	add                // dst += sums
	swiglu             // dst = silu(first half of the sums) * second half, in the activation type
)

// Linear queues dst = x times w transposed, plus bias.
func (b *Backend) Linear(dst, x kernels.Tensor, w kernels.Weight, bias kernels.Tensor) {
	p := b.product("linear", x, w, bias)
	p.dst = see("linear dst", dst, x.Rows, p.w.out, kernels.F32)
	if !b.library(p) && !b.fast(p) {
		b.linearPlain(p)
	}
}

// LinearAdd queues dst += x times w transposed, plus bias. It reports whether this backend does; if not, nothing is
// queued.
func (b *Backend) LinearAdd(dst, x kernels.Tensor, w kernels.Weight, bias kernels.Tensor) bool {
	p := b.product("linear add", x, w, bias)
	p.dst, p.form = see("linear add dst", dst, x.Rows, p.w.out, kernels.F32), add
	if b.prefersLibrary(p) {
		return b.library(p)
	}
	return b.fast(p)
}

// LinearSwiGLU queues dst = silu(gate) * up, where gate and up are x times the first and the last half of w's rows,
// transposed, plus bias. It reports whether this backend does; if not, nothing is queued.
func (b *Backend) LinearSwiGLU(dst, x kernels.Tensor, w kernels.Weight, bias kernels.Tensor) bool {
	p := b.product("linear swiglu", x, w, bias)
	must(p.w.out%2 == 0, "linear swiglu: %d features", p.w.out)
	p.dst, p.form = see("linear swiglu dst", dst, x.Rows, p.w.out/2, b.opt.Act), swiglu
	return !b.prefersLibrary(p) && b.fast(p)
}

// product is one matrix product.
type product struct {
	dst, x view
	w      *weight
	bias   driver.Ptr
	form   form
}

// product checks the operands that all forms share.
func (b *Backend) product(what string, x kernels.Tensor, w kernels.Weight, bias kernels.Tensor) product {
	m, ok := w.(*weight)
	must(ok, "%s: not a weight of this backend: %T", what, w)
	return product{x: see(what+" x", x, -1, m.in, b.opt.Act), w: m, bias: seeOr(what+" bias", bias, m.out).p}
}

// fast queues a product on the tensor cores, where one of their kernels fits.
func (b *Backend) fast(p product) bool {
	if b.gemm.only == plainOnly || b.opt.Act != kernels.BF16 || p.w.in%8 != 0 {
		return false
	}
	if p.x.rows == 0 {
		return true
	}
	if !b.align(&p) {
		return false
	}
	if b.hopper() && b.gemm.only != mmaOnly {
		return b.hopperProduct(p)
	}
	b.pieces(p, b.mmaTiles)
	return true
}

type alignArgs struct{ dst, src view }

// alignBytes is the end of the scratch memory, where rows are copied that lie on odd addresses: only tests have such.
const alignBytes = 16 << 20

// align makes x's rows begin on 16 bytes, by copying them if need be and if they fit.
func (b *Backend) align(p *product) bool {
	if p.x.aligned(16, 2) {
		return true
	}
	if int64(p.x.rows)*int64(p.x.cols)*2 > alignBytes {
		return false
	}
	to := view{b.mem.scratch + scratchBytes - alignBytes, int64(p.x.cols), p.x.rows, p.x.cols}
	launch(b, "align_rows", grid{x: int(p.x.rows), threads: 256}, alignArgs{to, p.x})
	p.x = to
	return true
}

// linearArgs is Linear in src/plain.cu.
type linearArgs struct {
	dst, x  view
	w, bias driver.Ptr
	bf16    int32
	_       int32
}

// linearPlain queues a product with any shape and type.
func (b *Backend) linearPlain(p product) {
	launch(b, "linear_plain", grid{x: over(p.w.out, 8), y: int(p.x.rows), threads: 256},
		linearArgs{dst: p.dst, x: p.x, w: p.w.at, bias: p.bias, bf16: b.isBF16()})
}

// mapKey identifies a tensor map of activations.
type mapKey struct {
	at   view
	rows int // of a box
}

// mostMaps bounds the maps kept: some thousand fit the steps of a server, and an entry costs a microsecond to make.
const mostMaps = 1 << 13

// activations is the map of x, in boxes of rows rows and 64 columns.
func (b *Backend) activations(x view, rows int) driver.TensorMap {
	g, key := &b.gemm, mapKey{x, rows}
	m, ok := g.maps[key]
	if !ok {
		if len(g.maps) >= mostMaps {
			clear(g.maps)
		}
		stride := int(x.stride)
		if x.rows == 1 {
			stride = (int(x.cols) + 7) &^ 7 // never used, but must be a multiple of 16 bytes
		}
		m = mapped(driver.NewTensorMap(x.p, int(x.rows), int(x.cols), stride, rows, 64, driver.Swizzle128))
		g.maps[key] = m
	}
	return m
}

// mapped is a tensor map; an error in making one is a programming error, because shapes were checked before.
func mapped(m driver.TensorMap, err error) driver.TensorMap {
	if err != nil {
		panic(fmt.Sprintf("cuda: describe a matrix to the copy engine: %v", err))
	}
	return m
}
