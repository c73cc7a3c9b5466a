package cpu

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"radish/kernels"
)

// sampling is one queued call of Sample.
type sampling struct {
	out    []kernels.SampleOut
	logits view
	rows   []kernels.SampleRow
	last   view
	slots  []int32
}

// Sample queues a choice for each row. It overwrites logits where penalties apply.
func (b *Backend) Sample(out []kernels.SampleOut, logits kernels.Tensor, rows []kernels.SampleRow, last kernels.Tensor, slots []int32) {
	s := sampling{out: out, rows: rows, slots: slots, logits: see("sample logits", logits, len(rows), -1, kernels.F32)}
	want(len(out) == len(rows), "sample: %d results for %d rows", len(out), len(rows))
	want(slots == nil || len(slots) == len(rows), "sample: %d slots for %d rows", len(slots), len(rows))
	want(logits.Cols > 0 || len(rows) == 0, "sample: empty vocabulary")
	if slots != nil {
		s.last = see("sample last", last, 1, -1, kernels.I32)
		for _, slot := range slots {
			want(slot < s.last.cols, "sample: slot %d of %d", slot, s.last.cols)
		}
	}
	b.samples = append(b.samples, s)
	b.ops = append(b.ops, op{kind: kindSample, chunks: int32(len(b.samples) - 1)})
}

// sample runs one call, its rows claimed one by one by goroutines.
func (b *Backend) sample(s *sampling) {
	workers := max(1, min(b.threads, len(s.rows)))
	for len(b.choosers) < workers {
		b.choosers = append(b.choosers, &chooser{scan: b.exec.scans()})
	}
	var next atomic.Int32
	var wg sync.WaitGroup
	work := func(c *chooser) {
		for i := int(next.Add(1)) - 1; i < len(s.rows); i = int(next.Add(1)) - 1 {
			s.out[i] = c.choose(elements[float32](s.logits, i), &s.rows[i])
		}
	}
	for _, c := range b.choosers[1:workers] {
		wg.Go(func() { work(c) })
	}
	work(b.choosers[0])
	wg.Wait()
	for i, slot := range s.slots {
		if slot >= 0 {
			elements[int32](s.last, 0)[slot] = s.out[i].Token
		}
	}
}

// elements is row i of a view.
func elements[T float32 | uint16 | int32](v view, i int) []T {
	p := unsafe.Add(v.p, int64(i)*v.stride*int64(unsafe.Sizeof(*new(T))))
	return unsafe.Slice((*T)(p), int(v.cols))
}
