package runner

import (
	"fmt"
	"sync/atomic"

	"radish/kernels"
	"radish/server/model"
	"radish/server/seq"
)

// worker is everything that belongs to the goroutine that talks to the backend. Its slices are reused from step to
// step; what a step in flight still needs is in its frame.
type worker struct {
	b     kernels.Backend
	model *model.Model
	kv    kernels.KV
	ws    *model.Workspace
	last  kernels.Tensor // [1 x MaxSeqs] I32: the token that each slot sampled last
	pages int
	slots []slot

	ids    []int32
	ragged kernels.Ragged
	copies []kernels.PageCopy

	frames [MaxInFlight + 1]frame
	next   int         // the frame that the next step takes
	behind []*frame    // launched, and their tokens not counted yet; oldest first
	broken atomic.Bool // a step failed: no later one is submitted
}

func newWorker(b kernels.Backend, o Options) (*worker, error) {
	if o.Pages < 1 || o.PageSize < 1 || o.MaxSeqs < 1 || o.ChunkTokens < 1 {
		return nil, fmt.Errorf("start runner: %d pages of %d, %d sequences, %d tokens a chunk: all must be positive",
			o.Pages, o.PageSize, o.MaxSeqs, o.ChunkTokens)
	}
	m, err := model.Load(b, o.Spec, o.Source)
	if err != nil {
		return nil, err
	}
	w := &worker{b: b, model: m, pages: o.Pages, slots: make([]slot, o.MaxSeqs)}
	if w.kv, err = w.b.NewKV(m.KVShape(o.Pages, o.PageSize)); err != nil {
		return nil, fmt.Errorf("allocate key-value pool of %d pages: %w", o.Pages, err)
	}
	if w.ws, err = m.NewWorkspace(model.Room{Rows: o.ChunkTokens + o.MaxSeqs, Logits: o.LogitRows}); err != nil {
		return nil, err
	}
	buf, err := w.b.Alloc(kernels.I32, o.MaxSeqs)
	if err != nil {
		return nil, fmt.Errorf("allocate %d slots: %w", o.MaxSeqs, err)
	}
	w.last = kernels.Whole(buf, 1, o.MaxSeqs)
	return w, nil
}

func (w *worker) memory() Memory {
	return Memory{
		Weights: w.model.Bytes(), KV: w.kv.Bytes(),
		Workspace: w.ws.Bytes() + int64(w.last.Cols*kernels.I32.Size()),
	}
}

func (w *worker) copyPages(copies []seq.PageCopy) {
	if len(copies) == 0 {
		return
	}
	w.copies = w.copies[:0]
	for _, c := range copies {
		w.copies = append(w.copies, kernels.PageCopy{Src: int32(c.Src), Dst: int32(c.Dst), Tokens: int32(c.Tokens)})
	}
	w.b.CopyPages(w.kv, w.copies)
}

// layOut fills ids and ragged. The id of a row without tokens is -1-slot, which Resolve replaces on the device.
func (w *worker) layOut(b *seq.Batch) {
	r := &w.ragged
	w.ids = w.ids[:0]
	r.RowStart, r.Start = append(r.RowStart[:0], 0), r.Start[:0]
	r.PageStart, r.Pages = append(r.PageStart[:0], 0), r.Pages[:0]
	for i := range b.Rows {
		row := &b.Rows[i]
		if row.Tokens == nil {
			w.ids = append(w.ids, -1-int32(row.Slot))
		}
		for _, t := range row.Tokens {
			w.ids = append(w.ids, int32(t))
		}
		for _, p := range row.Pages[:w.pagesOf(row)] {
			r.Pages = append(r.Pages, int32(p))
		}
		r.RowStart = append(r.RowStart, int32(len(w.ids)))
		r.Start = append(r.Start, int32(row.Start))
		r.PageStart = append(r.PageStart, int32(len(r.Pages)))
	}
}

// pagesOf is the number of pages that hold a row's sequence up to the row's end.
func (w *worker) pagesOf(row *seq.Row) int {
	size := w.kv.PageSize()
	return (row.Start + row.N + size - 1) / size
}

func (w *worker) forward() {
	ids := w.ws.IDs(len(w.ids))
	w.b.Upload(ids, w.ids)
	w.b.Resolve(ids, w.last)
	w.b.Begin(&w.ragged)
	w.model.Forward(w.ws, w.kv, len(w.ids))
}
