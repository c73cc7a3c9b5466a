package engine

import (
	"fmt"
	"slices"
	"time"

	"radish/server/sched"
	"radish/server/seq"
)

// read turns one step's result into tokens, events and ends.
func (e *Engine) read(c collected) error {
	st := e.sched.Oldest()
	if c.err != nil {
		return fmt.Errorf("collect step %d: %w", st.Number, c.err)
	}
	if c.res == nil || c.res.Step != st.Number {
		return fmt.Errorf("collect step %d: the runner returned another", st.Number)
	}
	now := time.Now()
	outs := c.res.Outputs
	for i := range st.Rows {
		row := &st.Rows[i]
		var out *seq.Output
		if len(outs) > 0 && outs[0].ID == row.Task.ID {
			out, outs = &outs[0], outs[1:]
		}
		if row.Sample && (out == nil || !out.Sampled) {
			return fmt.Errorf("collect step %d: sequence %d has no token", st.Number, row.Task.ID)
		}
		e.readRow(row, out, now)
	}
	if len(outs) > 0 {
		return fmt.Errorf("collect step %d: output of sequence %d was not asked for", st.Number, outs[0].ID)
	}
	e.tally.step(st, c.res, now)
	info := e.stepInfo(st, c.res, now)
	e.sched.Collected()
	e.mirror.snapshot(e)
	if e.obs != nil {
		info.Pages = e.pages()
		e.obs.Step(info)
	}
	return nil
}

// readRow handles one row; a panic in it ends its request only.
func (e *Engine) readRow(row *sched.StepRow, out *seq.Output, now time.Time) {
	t := row.Task
	if t.Ended() {
		if row.Sample {
			e.tally.tokens.Wasted++
		}
		return
	}
	r := e.live[t.ID]
	defer func() {
		if p := recover(); p != nil && !t.Ended() {
			e.end(r, Finish{Reason: ReasonError, Err: fmt.Errorf("handle sequence %d: panic: %v", t.ID, p)})
		} else if p != nil {
			panic(p)
		}
	}()
	if out != nil && len(out.Prompt) > 0 {
		r.stream.scores(out.Prompt, t.Cached)
	}
	if row.Sample {
		e.append(r, out.Next, now)
	} else if row.Done {
		e.end(r, Finish{Reason: ReasonLength})
	}
}

// append adds a sampled token to r and ends it if that was its last.
func (e *Engine) append(r *request, next seq.Scored, now time.Time) {
	t := &r.task
	t.Pending--
	t.Tokens = append(t.Tokens, next.Token)
	e.tally.tokens.Generated++
	if r.first.IsZero() {
		r.first = now
	} else {
		r.itl = append(r.itl, now.Sub(r.latest))
	}
	r.latest = now
	r.stream.token(next, t.Cached)
	switch {
	case t.Generated() > t.Params.MinTokens && slices.Contains(t.Params.Stop, next.Token):
		e.end(r, Finish{Reason: ReasonStop, Stop: next.Token})
	case t.Generated() >= t.Params.MaxTokens:
		e.end(r, Finish{Reason: ReasonLength})
	}
}

func (e *Engine) stepInfo(st *sched.Step, res *seq.Result, now time.Time) StepInfo {
	return StepInfo{Step: st.Number, NewSeqs: st.NewSeqs, PrefillRows: st.PrefillRows, PrefillTokens: st.PrefillTokens,
		CachedTokens: st.CachedTokens, DecodeRows: len(st.Rows) - st.PrefillRows, Retracted: st.Retracted,
		Running: e.sched.RunningCount(), Queued: e.sched.Waiting(), QueuedTokens: e.sched.QueuedTokens(),
		Device: res.Device, Wall: e.tally.wall}
}

func (e *Engine) pages() PageStats {
	free, cached, held := e.sched.PageCounts()
	return PageStats{Size: e.cfg.PageSize, Total: e.cfg.Pages, Free: free, Cached: cached, Held: held}
}
