package cuda

import (
	"fmt"

	"radish/kernels/cuda/driver"
)

// mmaArgs is GemmMma in src/gemm_mma.cu.
type mmaArgs struct {
	work work
	x    view
	w    driver.Ptr
	up   int64
}

// mma is what the kernels for cards before and after Hopper can do.
var mma = family{narrow: []int{16, 32, 64, 128}, wide: 128, unit: 64}

func (b *Backend) mmaTiles(p product) {
	t := divide(mma, int(p.x.rows), p.w, b.card.SMs)
	stages, name := 4, fmt.Sprintf("mma_%d", t.box)
	if t.box == mma.wide {
		stages = 3
	}
	a := mmaArgs{work: b.work(p, t), x: p.x, w: p.w.at}
	if p.form == swiglu {
		a.up = int64(p.w.out / 2)
	}
	launch(b, name, grid{x: t.blocks, threads: 256, shared: stages * t.boxBytes()}, a)
}
