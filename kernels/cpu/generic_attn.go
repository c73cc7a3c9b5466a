package cpu

import (
	"math"
	"unsafe"

	"radish/kernels"
)

// table is row r's position and page table.
func (l *layout) row(r int) (pos int, table unsafe.Pointer) {
	pos = int(*(*int32)(unsafe.Add(l.pos, 4*r)))
	return pos, unsafe.Add(l.pages, 4*int(*(*int32)(unsafe.Add(l.table, 4*r))))
}

// at views the key (which 0) or value (1) of one head at position pos as a row of dim elements.
func (k *kvmem) at(table unsafe.Pointer, layer, head, pos, which int) view {
	page := int64(layer)*int64(k.pages) + int64(*(*int32)(unsafe.Add(table, 4*(pos/int(k.size)))))
	row := ((page*2+int64(which))*int64(k.heads)+int64(head))*int64(k.size) + int64(pos%int(k.size))
	size := int64(kernels.DType(k.dtype).Size())
	return view{p: unsafe.Add(k.p, row*int64(k.dimp)*size), rows: 1, cols: k.dim, dtype: k.dtype}
}

func (a *rotaryArgs) row(r int) {
	pos, _ := a.at.row(r)
	cos, sin := elements[float32](a.cos, r), elements[float32](a.sin, r)
	for j, f := range elements[float32](a.freq, 0) {
		// The angle is rounded to float32 first, as torch does; its cosine is then taken in float64.
		angle := float64(float32(pos) * f)
		cos[j], sin[j] = float32(math.Cos(angle))*a.scale, float32(math.Sin(angle))*a.scale
	}
}

func (a *ropeArgs) row(r int) {
	pos, table := a.at.row(r)
	in, q := elements[float32](a.qkv, r), elements[float32](a.q, r)
	dim, heads := int(a.kv.dim), int(a.heads)
	for h := range heads {
		a.turn(q[h*dim:][:dim], in[h*dim:], a.qnorm, r)
	}
	key := make([]float32, dim)
	for h := range int(a.kv.heads) {
		a.turn(key, in[(heads+h)*dim:], a.knorm, r)
		k, v := a.kv.at(table, int(a.layer), h, pos, 0), a.kv.at(table, int(a.layer), h, pos, 1)
		for d, x := range key {
			k.set(0, d, x)
			v.set(0, d, in[(heads+int(a.kv.heads)+h)*dim+d])
		}
	}
}

// turn writes one head, normalised if norm is present, rotated: element j pairs with j + dim/2.
func (a *ropeArgs) turn(to, x []float32, norm view, r int) {
	x = append([]float32(nil), x[:len(to)]...)
	if norm.p != nil {
		by := inverseRMS(x, a.eps)
		for j, w := range elements[float32](norm, 0) {
			x[j] = x[j] * by * w
		}
	}
	half := len(to) / 2
	cos, sin := elements[float32](a.cos, r), elements[float32](a.sin, r)
	for j := range half {
		to[j] = x[j]*cos[j] - x[j+half]*sin[j]
		to[j+half] = x[j+half]*cos[j] + x[j]*sin[j]
	}
}

// chunk computes one share of the attention, row by row and head by head.
func (a *attnArgs) chunk(c int) {
	it := (*item)(unsafe.Add(a.items, c*int(unsafe.Sizeof(item{}))))
	for r := int(it.row); r < int(it.row+it.rows); r++ {
		for h := int(it.head); h < int(it.head+it.heads); h++ {
			a.head(r, h, int(it.kv))
		}
	}
}

// head is the softmax-weighted mean of the values that row r sees with one query head.
func (a *attnArgs) head(r, h, shared int) {
	pos, table := a.at.row(r)
	dim, first := int(a.kv.dim), 0
	if a.window > 0 {
		first = max(0, pos+1-int(a.window))
	}
	q := elements[float32](a.q, r)[h*dim:][:dim]
	x, score, top := make([]float32, dim), make([]float64, pos+1-first), math.Inf(-1)
	for i := range score {
		a.kv.at(table, int(a.layer), shared, first+i, 0).read(x, 0)
		for d, v := range x {
			score[i] += float64(q[d]) * float64(v)
		}
		score[i] *= float64(a.scale)
		top = max(top, score[i])
	}
	sum, total := make([]float64, dim), 0.0
	for i, s := range score {
		w := math.Exp(s - top)
		total += w
		a.kv.at(table, int(a.layer), shared, first+i, 1).read(x, 0)
		for d, v := range x {
			sum[d] += w * float64(v)
		}
	}
	for d, v := range sum {
		a.dst.set(r, h*dim+d, float32(v/total))
	}
}

// layer does all copies of one layer, in order.
func (a *pagesArgs) layer(layer int64) {
	k := &a.kv
	one := int64(k.dimp) * int64(kernels.DType(k.dtype).Size())
	head := one * int64(k.size)
	page := head * int64(k.heads) * 2
	base := unsafe.Add(k.p, layer*int64(k.pages)*page)
	for _, c := range unsafe.Slice((*[3]int32)(a.copies), a.n) {
		for h := range 2 * int64(k.heads) {
			n := int64(c[2]) * one
			copy(unsafe.Slice((*byte)(unsafe.Add(base, int64(c[1])*page+h*head)), n),
				unsafe.Slice((*byte)(unsafe.Add(base, int64(c[0])*page+h*head)), n))
		}
	}
}
