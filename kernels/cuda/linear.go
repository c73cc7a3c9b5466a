package cuda

import (
	"radish/kernels"
	"radish/kernels/cuda/driver"
)

// gemm is what matrix products share.
type gemm struct{}

func (g *gemm) open(b *Backend) error { return nil }
func (g *gemm) close()                {}
func (g *gemm) name() string          { return "own" }

// linearArgs is Linear in src/plain.cu.
type linearArgs struct {
	dst, x  view
	w, bias driver.Ptr
	bf16    int32
	_       int32
}

// Linear queues dst = x times w transposed, plus bias.
func (b *Backend) Linear(dst, x kernels.Tensor, w kernels.Weight, bias kernels.Tensor) {
	m := w.(*weight)
	a := linearArgs{dst: see("linear dst", dst, x.Rows, m.out, kernels.F32), x: see("linear x", x, -1, m.in, b.opt.Act),
		w: m.at, bias: seeOr("linear bias", bias, m.out).p, bf16: b.isBF16()}
	launch(b, "linear_plain", grid{x: over(m.out, 8), y: x.Rows, threads: 256}, a)
}
