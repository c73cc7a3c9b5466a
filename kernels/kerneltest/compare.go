package kerneltest

import (
	"fmt"
	"math"

	"radish/kernels"
)

// tolerance is how far a row may lie from the oracle's: norm bounds |got-want| / |want| (Euclidean, over the row), elem
// bounds every element's difference relative to its own size plus the row's root mean square. Where terms may cancel,
// floor is the size of a typical element, which the error hangs on and a single small result does not show.
type tolerance struct{ norm, elem, floor float64 }

var (
	// exact is for what is copied or chosen.
	exact = tolerance{}
	// oneOp is a float32 formula of a few operations with exp or a square root in it: some units of 2^-24.
	oneOp = tolerance{norm: 2e-6, elem: 4e-6}
	// sums is a float32 dot product of up to 4,096 terms in any order, fused or not; the error of a random sum grows
	// like the root of its length times 2^-24 = 4e-6, while a missing term of 4,096 is worth 1.6e-2.
	sums = tolerance{norm: 8e-6, elem: 5e-5}
	// softmaxed adds float32 exp of scores up to about 20, whose absolute error becomes a relative one.
	softmaxed = tolerance{norm: 2e-5, elem: 1e-4}
	// attentionBF16 is for backends with BF16 activations, which may round queries and probabilities to BF16 before
	// they multiply (2^-9 each, averaging out over the heads of a row; see of).
	attentionBF16 = tolerance{norm: 8e-3, elem: 3e-2}
)

// of is the tolerance for a row of so many heads. A head's rounded probabilities move all its columns together, so errors
// average over heads, not columns, and a row of fewer than four has less to average: the oracle itself, with queries and
// probabilities rounded, lies 1.04e-2 from its own answer on a row of one head.
func (t tolerance) of(heads int) tolerance {
	if heads < 4 {
		t.norm *= math.Sqrt(4 / float64(heads))
	}
	return t
}

// stored is tol for a result that is rounded to d when it is stored: two float32 results a hair apart may round to
// neighbouring BF16 values, 2^-7 of the element apart, but few do.
func stored(d kernels.DType, tol tolerance) tolerance {
	if d == kernels.BF16 {
		return tolerance{norm: max(tol.norm, 2e-3), elem: max(tol.elem, 1.0/128)}
	}
	return tol
}

// compare checks a tensor after an operation: the view against the oracle's, or against what was put there if it is an
// input, and what lies around it against the poison.
func (r *rig) compare(m *mem) error {
	if m.ints != nil {
		return r.compareInts(m)
	}
	got, want := make([]float32, len(m.floats)), make([]float32, len(m.floats))
	if err := r.got.Download(got, kernels.Whole(m.gotBuf, 1, len(got))); err != nil {
		return err
	}
	no(r.want.Download(want, kernels.Whole(m.wantBuf, 1, len(want))))
	if !m.out {
		want = m.floats
	}
	for i, v := range got {
		if row, col := m.at(i); row < 0 && !same(v, m.floats[i]) {
			return fmt.Errorf("element %d of the buffer, outside the view %+v, changed from %v to %v", i, m.view, m.floats[i], v)
		} else if row >= 0 && !m.out && !same(v, want[i]) {
			return fmt.Errorf("input [%d,%d] changed from %v to %v", row, col, want[i], v)
		}
	}
	if !m.out {
		return nil
	}
	for i := range m.view.Rows {
		at := m.view.Off + i*m.view.Stride
		if err := compareRow(got[at:at+m.view.Cols], want[at:at+m.view.Cols], m.tol); err != nil {
			return fmt.Errorf("row %d of %dx%d: %w", i, m.view.Rows, m.view.Cols, err)
		}
	}
	return nil
}

// at is the row and column of element i of the buffer, or -1 when it lies outside the view.
func (m *mem) at(i int) (row, col int) {
	i -= m.view.Off
	if i < 0 || m.view.Stride == 0 {
		return -1, 0
	}
	if row, col = i/m.view.Stride, i%m.view.Stride; row >= m.view.Rows || col >= m.view.Cols {
		return -1, 0
	}
	return row, col
}

// same is equality that lets NaN equal NaN.
func same(a, b float32) bool { return a == b || a != a && b != b }

// compareRow applies a tolerance to one row.
func compareRow(got, want []float32, tol tolerance) error {
	diff, size := 0.0, 0.0
	for i := range got {
		d := float64(got[i]) - float64(want[i])
		diff += d * d
		size += float64(want[i]) * float64(want[i])
	}
	rms := math.Sqrt(size/float64(len(want))) + tol.floor
	for i := range got {
		if tol == exact && math.Float32bits(got[i]) == math.Float32bits(want[i]) {
			continue
		}
		d := math.Abs(float64(got[i]) - float64(want[i]))
		if !(d <= tol.elem*(math.Abs(float64(want[i]))+rms)) {
			return fmt.Errorf("column %d is %v, want %v (allowed %.2g)", i, got[i], want[i], tol.elem*(math.Abs(float64(want[i]))+rms))
		}
	}
	if size = math.Sqrt(size) + tol.floor*math.Sqrt(float64(len(want))); !(math.Sqrt(diff) <= tol.norm*size) {
		return fmt.Errorf("relative error %.3g, allowed %.3g", math.Sqrt(diff)/size, tol.norm)
	}
	return nil
}

func (r *rig) compareInts(m *mem) error {
	got, want := make([]int32, len(m.ints)), make([]int32, len(m.ints))
	if err := r.got.Download(got, kernels.Whole(m.gotBuf, 1, len(got))); err != nil {
		return err
	}
	no(r.want.Download(want, kernels.Whole(m.wantBuf, 1, len(want))))
	for i := range got {
		if got[i] != want[i] {
			return fmt.Errorf("element %d of the buffer (view %+v) is %d, want %d", i, m.view, got[i], want[i])
		}
	}
	return nil
}

// sumsOf is sums for dot products of n terms of about 1 times weights of about weightSize.
func sumsOf(n int) tolerance {
	t := sums
	t.floor = weightSize * math.Sqrt(float64(n))
	return t
}
