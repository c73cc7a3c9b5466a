package cpu

import (
	"math"
	"sync"
	"sync/atomic"
	"unsafe"

	"radish/kernels"
)

// goEngine runs the queue in Go: the same structs, the same packed layouts, the same division into chunks.
type goEngine struct{ threads int }

func (goEngine) close() {}

func (goEngine) scans() scans { return goScans{} }

func (e goEngine) run(ops []op) {
	for i := range ops {
		o := &ops[i]
		if o.chunks <= 1 {
			execute(o, 0)
			continue
		}
		var next atomic.Int32
		var wg sync.WaitGroup
		for range min(e.threads, int(o.chunks)) {
			wg.Go(func() {
				for c := next.Add(1) - 1; c < o.chunks; c = next.Add(1) - 1 {
					execute(o, c)
				}
			})
		}
		wg.Wait()
	}
}

// execute runs one chunk of an operation.
func execute(o *op, chunk int32) {
	switch o.kind {
	case kindCopy:
		a := (*copyArgs)(o.arg)
		eachRow(a.dst.rows, o, chunk, func(r int) { copyRow(a.dst, r, a.src, r) })
	case kindResolve:
		resolveGo((*resolveArgs)(o.arg))
	case kindEmbed:
		a := (*embedArgs)(o.arg)
		eachRow(a.ids.cols, o, chunk, a.row)
	case kindNorm:
		a := (*normArgs)(o.arg)
		eachRow(a.x.rows, o, chunk, a.row)
	case kindWiden:
		a := (*widenArgs)(o.arg)
		eachRow(a.src.rows, o, chunk, a.row)
	case kindLinear:
		(*linearArgs)(o.arg).chunk(int(chunk))
	case kindRotary:
		a := (*rotaryArgs)(o.arg)
		eachRow(a.cos.rows, o, chunk, a.row)
	case kindRope:
		a := (*ropeArgs)(o.arg)
		eachRow(a.q.rows, o, chunk, a.row)
	case kindAttn:
		(*attnArgs)(o.arg).chunk(int(chunk))
	case kindSwiGLU:
		a := (*swigluArgs)(o.arg)
		eachRow(a.dst.rows, o, chunk, a.row)
	case kindGather:
		a := (*gatherArgs)(o.arg)
		rows := unsafe.Slice((*int32)(a.rows), a.dst.rows)
		eachRow(a.dst.rows, o, chunk, func(r int) { copyRow(a.dst, r, a.src, int(rows[r])) })
	case kindPages:
		(*pagesArgs)(o.arg).layer(int64(chunk))
	}
}

// eachRow calls f for the rows of a chunk.
func eachRow(rows int32, o *op, chunk int32, f func(r int)) {
	n, c := int64(rows), int64(o.chunks)
	for r := n * int64(chunk) / c; r < n*int64(chunk+1)/c; r++ {
		f(int(r))
	}
}

func bytesOf(v view, i int) []byte {
	size := int64(kernels.DType(v.dtype).Size())
	return unsafe.Slice((*byte)(unsafe.Add(v.p, int64(i)*v.stride*size)), int64(v.cols)*size)
}

func copyRow(dst view, i int, src view, j int) { copy(bytesOf(dst, i), bytesOf(src, j)) }

// read widens row i into dst.
func (v view) read(dst []float32, i int) {
	if v.dtype == int32(kernels.F32) {
		copy(dst, elements[float32](v, i))
		return
	}
	for j, h := range elements[uint16](v, i) {
		dst[j] = kernels.BF16ToF32(h)
	}
}

// set stores one element of row i.
func (v view) set(i, j int, x float32) {
	if v.dtype == int32(kernels.F32) {
		elements[float32](v, i)[j] = x
	} else {
		elements[uint16](v, i)[j] = kernels.F32ToBF16(x)
	}
}

func resolveGo(a *resolveArgs) {
	ids, last := elements[int32](a.ids, 0), elements[int32](a.last, 0)
	for i, id := range ids {
		if s := -1 - int(id); id < 0 && s < len(last) {
			ids[i] = last[s]
		}
	}
}

func (a *embedArgs) row(r int) {
	id, to := elements[int32](a.ids, 0)[r], elements[float32](a.dst, r)
	clear(to)
	if id < 0 || id >= a.w.out {
		return
	}
	for k := range to {
		to[k] = a.w.at(int(id), k)
	}
}

// inverseRMS is 1 / sqrt(mean(x^2) + eps).
func inverseRMS(x []float32, eps float32) float32 {
	sum := 0.0
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	return float32(1 / math.Sqrt(sum/float64(len(x))+float64(eps)))
}

func (a *normArgs) row(r int) {
	x, w := elements[float32](a.x, r), elements[float32](a.w, 0)
	if a.add.p != nil {
		for j, v := range elements[float32](a.add, r) {
			x[j] += v
		}
	}
	by := inverseRMS(x, a.eps)
	for j, v := range x {
		a.dst.set(r, j, v*by*w[j])
	}
}

func (a *widenArgs) row(r int) {
	to := unsafe.Slice((*float32)(unsafe.Add(a.dst, int64(r)*a.stride*4)), a.stride)
	a.src.read(to, r)
	clear(to[a.src.cols:])
}

func (a *swigluArgs) row(r int) {
	in := elements[float32](a.in, r)
	n := int(a.dst.cols)
	for j, g := range in[:n] {
		a.dst.set(r, j, g/(1+float32(math.Exp(-float64(g))))*in[n+j])
	}
}

// chunk computes a share of the panels: for each panel and row 16 chains of multiply-adds over k.
func (a *linearArgs) chunk(c int) {
	out, total := int(a.w.out), (int(a.w.out)+15)/16
	for p := c * int(a.panels); p < min(total, (c+1)*int(a.panels)); p++ {
		lanes := min(16, out-p*16)
		for r := range int(a.n) {
			x := unsafe.Slice((*float32)(unsafe.Add(a.a, int64(r)*a.stride*4)), a.w.in)
			var acc [16]float32
			if a.bias.p != nil {
				copy(acc[:lanes], elements[float32](a.bias, 0)[p*16:])
			}
			a.w.multiply(&acc, x, p)
			copy(elements[float32](a.dst, r)[p*16:][:lanes], acc[:])
		}
	}
}

// multiply adds x times panel p to acc.
func (w *mat) multiply(acc *[16]float32, x []float32, p int) {
	in := int(w.in)
	if w.dtype == int32(kernels.F32) {
		panel := unsafe.Slice((*[16]float32)(unsafe.Add(w.p, p*in*64)), in)
		for k, v := range x {
			for j, y := range &panel[k] {
				acc[j] += float32(v * y)
			}
		}
		return
	}
	pairs := (in + 1) / 2
	panel := unsafe.Slice((*[16]uint32)(unsafe.Add(w.p, p*pairs*64)), pairs)
	for k, v := range x {
		// Even inputs are the low half of each pair, odd ones the high half.
		shift := uint(16 * (1 - k%2))
		for j, y := range &panel[k/2] {
			acc[j] += float32(v * math.Float32frombits(y<<shift&0xffff0000))
		}
	}
}
