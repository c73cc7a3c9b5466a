package cuda

import (
	"fmt"

	"radish/kernels/cuda/driver"
)

// hopperArgs is Gemm in src/gemm_hopper.cu.
type hopperArgs struct {
	w, x driver.TensorMap
	work work
	box  int32
	pad  [7]int32
}

// wgmma is what the Hopper kernels can do.
var wgmma = family{narrow: []int{8, 16, 32, 64, 128}, wide: 256, unit: 128}

// ring8 says how far ahead the weights are read; zeros mean the default.
type ring8 struct{ stages, ahead int }

// ring is the stages that fit, and the bytes of one: a whole unit where tiles are narrow, else half of one. The number of
// half stages is even.
func (t tiling) ring() (stages, bytes int) {
	bytes = t.boxBytes()
	if t.box <= 64 {
		bytes *= 2
		return (mostShared - ringExtra) / bytes, bytes
	}
	return (mostShared - ringExtra) / bytes &^ 1, bytes
}

// mostShared is what a block can have on Hopper; ringExtra is beside the ring: barriers, and room to align it.
const (
	mostShared = 227 << 10
	ringExtra  = 1536
)

func (b *Backend) hopperTiles(p product, w driver.TensorMap) {
	t := divide(wgmma, int(p.x.rows), p.w, b.card.SMs)
	r := b.gemm.ring
	stages, bytes := t.ring()
	if r.stages == 0 || r.stages > stages {
		r.stages = stages
	}
	box := min(int(p.x.rows), t.box)
	a := hopperArgs{w: w, x: b.activations(p.x, box), work: b.work(p, t), box: int32(box)}
	a.work.stages, a.work.ahead = int32(r.stages), int32(r.ahead)
	if t.tokens == 1 {
		a.work.stream = 1
	}
	name, threads := fmt.Sprintf("gemm_%d", t.box), 288
	if t.box == wgmma.wide {
		threads = 384
	}
	launch(b, name, grid{x: t.blocks, threads: threads, shared: ringExtra + r.stages*bytes}, a)
}

// almostWide is the number of rows of a last tile from which on it is cheaper to read rows that are not there (see
// gemm_hopper.cu) than to read the weight once more for them.
const almostWide = 224

// hopperProduct queues a product on wgmma, where the copy engine can read the weight.
func (b *Backend) hopperProduct(p product) bool {
	w, ok := b.weights(p)
	if ok {
		b.pieces(p, func(p product) {
			if n := p.x.rows % int32(wgmma.wide); p.x.rows > int32(wgmma.wide) && n > 0 && n < almostWide {
				b.hopperTiles(p.head(p.x.rows-n), w)
				p = p.tail(p.x.rows-n, b.opt.Act)
			}
			b.hopperTiles(p, w)
		})
	}
	return ok
}

// weights is the map of a weight: boxes of 128 rows, or of 64 gates and the 64 rows that belong to them, eight by eight.
func (b *Backend) weights(p product) (driver.TensorMap, bool) {
	box := [2]int{tileFeatures, boxDepth}
	if p.form == swiglu {
		box[0] /= 2
	}
	m, ok := p.w.maps[box]
	if ok {
		return m, true
	}
	if p.form != swiglu {
		m = mapped(driver.NewTensorMap(p.w.at, p.w.out, p.w.in, p.w.in, box[0], box[1], driver.Swizzle128))
	} else if m, ok = b.pairs(p.w, box); !ok {
		return m, false
	}
	if p.w.maps == nil {
		p.w.maps = map[[2]int]driver.TensorMap{}
	}
	p.w.maps[box] = m
	return m, true
}

// pairs is the map that takes gates and what belongs to them together. Its rows lie in an order that NVIDIA's manual does
// not promise to support, though the hardware does: a driver that refuses it costs the fused form, no more.
func (b *Backend) pairs(w *weight, box [2]int) (m driver.TensorMap, ok bool) {
	if w.out%16 != 0 || b.gemm.noPairs {
		return m, false
	}
	m, err := driver.NewPairMap(w.at, w.out/2, w.in, box[0], box[1], driver.Swizzle128)
	b.gemm.noPairs = err != nil
	return m, err == nil
}
