package cuda

import (
	"cmp"
	"math"
	"slices"
	"unsafe"

	"radish/kernels"
	"radish/kernels/cuda/driver"
)

// The structs below are those of src/sample.cu.

type sampleRow struct {
	bias, by, counts, masked driver.Ptr
	raw, tops                driver.Ptr
	u                        float64
	temperature, topp, minp  float32
	repetition, presence     float32
	frequency                float32
	forced, topk, logprobs   int32
	biases, tokens, masks    int32
	slot, _                  int32
}

type sampleOut struct {
	token    int32
	logit    float32 // of token, raw
	rank     int32
	top, sum float32 // largest raw logit; sum of exp(logit - top)
	listed   int32
}

type sampleTop struct {
	id    int32
	logit float32
}

type sampleArgs struct {
	logits    view
	rows, out driver.Ptr
	last      driver.Ptr
}

// Sample queues one choice for each row. It may overwrite logits.
func (b *Backend) Sample(out []kernels.SampleOut, logits kernels.Tensor, rows []kernels.SampleRow, last kernels.Tensor, slots []int32) {
	v := see("sample logits", logits, len(rows), -1, kernels.F32)
	must(len(out) == len(rows), "sample: %d results for %d rows", len(out), len(rows))
	must(slots == nil || len(slots) == len(rows), "sample: %d slots for %d rows", len(slots), len(rows))
	must(v.cols > 0 || len(rows) == 0, "sample: empty vocabulary")
	if len(rows) == 0 {
		return
	}
	b.room()
	l := &b.list
	// What is the same size in every step of a shape comes first, so that its address is too.
	device, at := placed[sampleRow](l, len(rows))
	results := reserve[sampleOut](l, len(rows))
	a := sampleArgs{logits: v, rows: at, out: results}
	if slots != nil {
		a.last = see("sample last", last, 1, -1, kernels.I32).p
	}
	tops := b.sampleTables(device, rows, int(v.cols))
	for i := range device {
		device[i].slot = -1
		if slots != nil {
			must(slots[i] < int32(last.Cols), "sample: slot %d of %d", slots[i], last.Cols)
			device[i].slot = slots[i]
		}
	}
	launch(b, "sample", grid{x: len(rows), threads: 1024}, a)
	got := fetch[sampleOut](l, results, len(rows))
	lists := make([][]sampleTop, len(rows))
	for i, n := range tops {
		if n > 0 {
			lists[i] = fetch[sampleTop](l, device[i].tops, n)
		}
	}
	l.after = append(l.after, func() {
		for i := range out {
			out[i] = got[i].read(&rows[i], lists[i])
		}
	})
}

// sampleTables fills the rows' parameters and the tables that they refer to; it returns how many alternatives each asks
// for.
func (b *Backend) sampleTables(device []sampleRow, rows []kernels.SampleRow, vocab int) []int {
	l, tops, raws := &b.list, make([]int, len(rows)), 0
	for i := range rows {
		r, d := &rows[i], &device[i]
		*d = sampleRow{u: r.U, temperature: r.Temperature, topp: r.TopP, minp: r.MinP, repetition: r.Repetition, presence: r.Presence,
			frequency: r.Frequency, forced: r.Forced, topk: int32(min(r.TopK, math.MaxInt32)), logprobs: int32(min(r.Logprobs, vocab))}
		if tops[i] = max(0, min(r.Logprobs, vocab)); tops[i] > 0 {
			d.tops = reserve[sampleTop](l, tops[i])
		}
		if r.Forced >= 0 {
			continue
		}
		tokens, values := merged(r.BiasToken, r.BiasValue)
		if d.biases = int32(len(tokens)); d.biases > 0 {
			d.bias, d.by = place(l, tokens), place(l, values)
		}
		if d.tokens = int32(len(r.Counts)); d.tokens > 0 {
			d.counts = place(l, r.Counts)
		}
		if d.masks = int32(len(r.Masked)); d.masks > 0 {
			d.masked = place(l, r.Masked)
		}
		if r.Logprobs >= 0 && d.biases+d.tokens+d.masks > 0 {
			d.raw = driver.Ptr(raws * vocab * 4)
			raws++
		}
	}
	if raws > 0 {
		base := b.mem.rawLogits(int64(raws) * int64(vocab) * 4)
		for i := range device {
			if rows[i].Logprobs >= 0 {
				device[i].raw += base
			}
		}
	}
	return tops
}

// merged adds up the biases of a token that stands more than once, because the device applies them side by side.
func merged(tokens []int32, values []float32) ([]int32, []float32) {
	at := make(map[int32]int, len(tokens))
	var t []int32
	var v []float32
	for i, id := range tokens {
		if j, twice := at[id]; twice {
			v[j] += values[i]
			continue
		}
		at[id] = len(t)
		t, v = append(t, id), append(v, values[i])
	}
	return t, v
}

// read turns what the device left into the answer for a row.
func (o *sampleOut) read(r *kernels.SampleRow, list []sampleTop) kernels.SampleOut {
	out := kernels.SampleOut{Token: o.token}
	if r.Logprobs < 0 {
		return out
	}
	logprob := func(logit float32) float32 {
		if logit == o.top {
			return float32(-math.Log(float64(o.sum)))
		}
		return float32(float64(logit) - float64(o.top) - math.Log(float64(o.sum)))
	}
	out.Logprob, out.Rank = logprob(o.logit), o.rank
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b sampleTop) int {
		if a.logit != b.logit {
			return cmp.Compare(b.logit, a.logit)
		}
		return cmp.Compare(a.id, b.id)
	})
	for _, t := range list {
		out.TopID, out.TopLog = append(out.TopID, t.id), append(out.TopLog, logprob(t.logit))
	}
	return out
}

// placed is place for values that are filled in later, until the submission.
func placed[T any](l *list, n int) ([]T, driver.Ptr) {
	s := &l.stages[l.stage]
	at := s.arenaUsed
	p := reserve[T](l, n)
	return unsafe.Slice((*T)(unsafe.Pointer(&s.arena[at])), n), p
}
