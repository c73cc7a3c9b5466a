package ref

import (
	"math"

	"radish/kernels"
)

// kv is the paged memory. Keys and values of one position of one layer lie together: all KV heads' keys, then values.
type kv struct {
	shape kernels.KVShape
	pages map[int32][]float32 // made when first touched: layers x PageSize x 2 x KVHeads x HeadDim
}

func (k *kv) PageSize() int { return k.shape.PageSize }
func (k *kv) width() int    { return k.shape.KVHeads * k.shape.HeadDim }

func (k *kv) Bytes() int64 {
	s := k.shape
	return 2 * int64(s.Layers) * int64(s.Pages) * int64(s.PageSize) * int64(k.width()) * int64(s.DType.Size())
}

// page is the memory of page p.
func (k *kv) page(p int32) []float32 {
	must(p >= 0 && int(p) < k.shape.Pages, "page %d of %d", p, k.shape.Pages)
	if k.pages[p] == nil {
		k.pages[p] = make([]float32, 2*k.shape.Layers*k.shape.PageSize*k.width())
	}
	return k.pages[p]
}

// at is the key and the value of all heads at position pos of the sequence with the given page table.
func (k *kv) at(layer, pos int, table []int32) (key, value []float32) {
	must(layer >= 0 && layer < k.shape.Layers, "layer %d of %d", layer, k.shape.Layers)
	w, size := k.width(), k.shape.PageSize
	both := k.page(table[pos/size])[2*w*(layer*size+pos%size):]
	return both[:w], both[w : 2*w]
}

// NewKV reserves the pool. KV memory is F32 or BF16.
func (b *Backend) NewKV(s kernels.KVShape) (kernels.KV, error) {
	must(s.Layers > 0 && s.Pages > 0 && s.PageSize > 0 && s.KVHeads > 0 && s.HeadDim > 0, "kv: bad shape %+v", s)
	must(s.DType == kernels.F32 || s.DType == kernels.BF16, "kv: bad type %v", s.DType)
	return &kv{shape: s, pages: map[int32][]float32{}}, nil
}

// Begin copies the layout of the step.
func (b *Backend) Begin(r *kernels.Ragged) {
	n := r.Seqs()
	must(len(r.RowStart) == n+1 && len(r.PageStart) == n+1, "begin: %d sequences, %d row and %d page starts",
		n, len(r.RowStart), len(r.PageStart))
	clone := func(s []int32) []int32 { return append([]int32(nil), s...) }
	b.ragged = kernels.Ragged{RowStart: clone(r.RowStart), Start: clone(r.Start),
		PageStart: clone(r.PageStart), Pages: clone(r.Pages)}
}

// CopyPages copies positions of all layers, one copy after the other.
func (b *Backend) CopyPages(dst kernels.KV, copies []kernels.PageCopy) {
	k := dst.(*kv)
	for _, c := range copies {
		must(c.Tokens >= 0 && int(c.Tokens) <= k.shape.PageSize, "copy %d tokens of a page of %d", c.Tokens, k.shape.PageSize)
		for layer := range k.shape.Layers {
			at, n := 2*k.width()*layer*k.shape.PageSize, 2*k.width()*int(c.Tokens)
			copy(k.page(c.Dst)[at:at+n], k.page(c.Src)[at:at+n])
		}
	}
}

// eachRow calls f for every row of the step with its position and its sequence's page table.
func (b *Backend) eachRow(f func(row, pos int, table []int32)) {
	r := &b.ragged
	for s := range r.Seqs() {
		table := r.Pages[r.PageStart[s]:r.PageStart[s+1]]
		for i := r.RowStart[s]; i < r.RowStart[s+1]; i++ {
			f(int(i), int(r.Start[s]+i-r.RowStart[s]), table)
		}
	}
}

// Rotary fills the tables. The angle is rounded to float32 before its cosine is taken, as torch does: at position
// 100,000 that rounding is worth several thousandths, and models were trained with it.
func (b *Backend) Rotary(cos, sin, invFreq kernels.Tensor, scale float32) {
	n := b.ragged.NumRows()
	view("rotary cos", cos, n, invFreq.Cols, kernels.F32)
	view("rotary sin", sin, n, invFreq.Cols, kernels.F32)
	view("rotary invFreq", invFreq, 1, -1, kernels.F32)
	b.eachRow(func(i, pos int, _ []int32) {
		for j, f := range row(invFreq, 0) {
			angle := float64(float32(pos) * f)
			row(cos, i)[j] = float32(math.Cos(angle)) * scale
			row(sin, i)[j] = float32(math.Sin(angle)) * scale
		}
	})
}

// RopeAppend normalises, rotates and stores.
func (b *Backend) RopeAppend(q, qkv kernels.Tensor, mem kernels.KV, r kernels.Rope) {
	k, h, n := mem.(*kv), r.Heads, b.ragged.NumRows()
	must(h.KV == k.shape.KVHeads && h.Dim == k.shape.HeadDim && h.Dim%2 == 0, "rope: heads %+v in %+v", h, k.shape)
	view("rope q", q, n, h.Q*h.Dim, kernels.F32)
	view("rope qkv", qkv, n, (h.Q+2*h.KV)*h.Dim, kernels.F32)
	view("rope cos", r.Cos, n, h.Dim/2, kernels.F32)
	view("rope sin", r.Sin, n, h.Dim/2, kernels.F32)
	b.eachRow(func(i, pos int, table []int32) {
		in := row(qkv, i)
		for head := range h.Q {
			at := head * h.Dim
			turn(row(q, i)[at:at+h.Dim], in[at:at+h.Dim], r.QNorm, i, r)
		}
		key, value := k.at(r.Layer, pos, table)
		for head := range h.KV {
			at := head * h.Dim
			turn(key[at:at+h.Dim], in[(h.Q*h.Dim)+at:][:h.Dim], r.KNorm, i, r)
		}
		copy(value, in[(h.Q+h.KV)*h.Dim:])
		for j := range key {
			key[j], value[j] = round(k.shape.DType, float64(key[j])), round(k.shape.DType, float64(value[j]))
		}
	})
}

// turn writes one head, normalised if norm is present, rotated by row i of the tables: element j pairs with j+Dim/2.
func turn(dst, src []float32, norm kernels.Tensor, i int, r kernels.Rope) {
	x := make([]float64, len(src))
	for j, v := range src {
		x[j] = float64(v)
	}
	if !norm.Absent() {
		view("rope norm", norm, 1, len(src), kernels.F32)
		size := rms(src, r.Eps)
		for j, w := range row(norm, 0) {
			x[j] = x[j] / size * float64(w)
		}
	}
	half := len(src) / 2
	for j := range half {
		cos, sin := float64(row(r.Cos, i)[j]), float64(row(r.Sin, i)[j])
		dst[j] = float32(x[j]*cos - x[j+half]*sin)
		dst[j+half] = float32(x[j+half]*cos + x[j]*sin)
	}
}

// Attention looks, for each row and head, at the positions up to its own, or at the last Window of them.
func (b *Backend) Attention(dst, q kernels.Tensor, mem kernels.KV, a kernels.Attn) {
	k, h, n := mem.(*kv), a.Heads, b.ragged.NumRows()
	must(h.KV == k.shape.KVHeads && h.Dim == k.shape.HeadDim && h.Q%h.KV == 0, "attention: heads %+v in %+v", h, k.shape)
	to := view("attention dst", dst, n, h.Q*h.Dim, b.act)
	view("attention q", q, n, h.Q*h.Dim, kernels.F32)
	b.eachRow(func(i, pos int, table []int32) {
		first := 0
		if a.Window > 0 {
			first = max(0, pos+1-a.Window)
		}
		for head := range h.Q {
			at, shared := head*h.Dim, head/(h.Q/h.KV)*h.Dim
			sum := attend(row(q, i)[at:at+h.Dim], float64(a.Scale), pos+1-first, func(p int) (key, value []float32) {
				key, value = k.at(a.Layer, first+p, table)
				return key[shared : shared+h.Dim], value[shared : shared+h.Dim]
			})
			for j, v := range sum {
				row(dst, i)[at+j] = round(to.dtype, v)
			}
		}
	})
}

// attend is the softmax-weighted mean of n values.
func attend(q []float32, scale float64, n int, at func(p int) (key, value []float32)) []float64 {
	score, top := make([]float64, n), math.Inf(-1)
	for p := range score {
		key, _ := at(p)
		score[p] = scale * dot(q, key)
		top = max(top, score[p])
	}
	sum, total := make([]float64, len(q)), 0.0
	for p, s := range score {
		w := math.Exp(s - top)
		total += w
		_, value := at(p)
		for j, v := range value {
			sum[j] += w * float64(v)
		}
	}
	for j := range sum {
		sum[j] /= total
	}
	return sum
}
