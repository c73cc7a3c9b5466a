package runner

import (
	"fmt"

	"radish/server/seq"
)

// check refuses a batch that would reach outside the runner's memory. A backend panics over wrong shapes, but not every
// backend can look at every index.
func (w *worker) check(b *seq.Batch) error {
	if n := b.Tokens(); n > w.ws.Rows() {
		return fmt.Errorf("batch has %d rows, more than %d", n, w.ws.Rows())
	}
	for _, c := range b.Copies {
		if !w.isPage(c.Src) || !w.isPage(c.Dst) || c.Tokens < 0 || c.Tokens > w.kv.PageSize() {
			return fmt.Errorf("copy of %d tokens from page %d to %d is outside the pool", c.Tokens, c.Src, c.Dst)
		}
	}
	for i := range b.Rows {
		if err := w.checkRow(&b.Rows[i]); err != nil {
			return fmt.Errorf("sequence %d: %w", b.Rows[i].ID, err)
		}
	}
	return nil
}

func (w *worker) isPage(p seq.Page) bool { return p >= 0 && int(p) < w.pages }

func (w *worker) checkRow(row *seq.Row) error {
	switch {
	case row.Slot < 0 || row.Slot >= len(w.slots):
		return fmt.Errorf("slot %d of %d", row.Slot, len(w.slots))
	case row.N < 1 || row.Start < 0:
		return fmt.Errorf("%d positions from %d", row.N, row.Start)
	case row.Tokens == nil && row.N != 1, row.Tokens != nil && len(row.Tokens) != row.N:
		return fmt.Errorf("%d tokens for %d positions", len(row.Tokens), row.N)
	case len(row.Targets) > row.N:
		return fmt.Errorf("%d targets for %d positions", len(row.Targets), row.N)
	case len(row.Pages) < w.pagesOf(row):
		return fmt.Errorf("%d pages for %d positions", len(row.Pages), row.Start+row.N)
	}
	for _, p := range row.Pages[:w.pagesOf(row)] {
		if !w.isPage(p) {
			return fmt.Errorf("page %d of %d", p, w.pages)
		}
	}
	for _, list := range [][]seq.Token{row.Tokens, row.Targets} {
		for _, t := range list {
			if t < 0 || int(t) >= w.model.Spec().Vocab {
				return fmt.Errorf("token %d of %d", t, w.model.Spec().Vocab)
			}
		}
	}
	return nil
}
