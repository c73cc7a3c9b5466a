package runner

import (
	"radish/kernels"
	"radish/server/model"
	"radish/server/seq"
)

// asks are the rows of a step whose logits are needed, in the batch's order: for each batch row first its targets, then
// its sample. The slices run in parallel.
type asks struct {
	rows  []int32 // row of the step
	how   []kernels.SampleRow
	slots []int32 // where the token goes, -1 for a scored one
	out   []kernels.SampleOut
}

func (a *asks) add(row int, how kernels.SampleRow, slot int32) {
	a.rows = append(a.rows, int32(row))
	a.how = append(a.how, how)
	a.slots = append(a.slots, slot)
}

// ask lists what the batch wants to know.
func (w *worker) ask(b *seq.Batch) {
	a := &w.asks
	a.rows, a.how, a.slots = a.rows[:0], a.how[:0], a.slots[:0]
	for i := range b.Rows {
		row := &b.Rows[i]
		s := &w.slots[row.Slot]
		if row.Fresh != nil {
			s.begin(row.Fresh)
		}
		first := int(w.ragged.RowStart[i])
		for j, t := range row.Targets {
			a.add(first+j, kernels.SampleRow{Forced: int32(t), Logprobs: s.params.PromptLogprobs}, -1)
		}
		if row.Sample {
			a.add(first+row.N-1, s.sampleRow(row.Start+row.N), int32(row.Slot))
		}
	}
	if cap(a.out) < len(a.rows) {
		a.out = make([]kernels.SampleOut, cap(a.rows))
	}
	a.out = a.out[:len(a.rows)]
	clear(a.out)
}

// score queues final norm, output head and choice, a slice of model.LogitRows rows at a time; each slice overwrites the
// logits of the one before, which the queue's order allows.
func (w *worker) score() {
	a := &w.asks
	for i := 0; i < len(a.rows); i += model.LogitRows {
		end := min(i+model.LogitRows, len(a.rows))
		logits := w.model.Logits(w.ws, a.rows[i:end])
		w.b.Sample(a.out[i:end], logits, a.how[i:end], w.last, a.slots[i:end])
	}
}

// answer turns what was chosen into outputs and counts the chosen tokens for the penalties of the next step.
func (w *worker) answer(b *seq.Batch) []seq.Output {
	var outputs []seq.Output
	next := 0
	take := func(asked int) seq.Scored {
		next++
		return scored(&w.asks.out[next-1], asked)
	}
	for i := range b.Rows {
		row := &b.Rows[i]
		if !row.Sample && len(row.Targets) == 0 {
			continue
		}
		s := &w.slots[row.Slot]
		out := seq.Output{ID: row.ID, Sampled: row.Sample}
		if len(row.Targets) > 0 {
			out.Prompt = make([]seq.Scored, len(row.Targets))
		}
		for j := range row.Targets {
			out.Prompt[j] = take(s.params.PromptLogprobs)
		}
		if row.Sample {
			out.Next = take(s.params.Logprobs)
			if s.penalised() {
				s.count(out.Next.Token, false)
			}
		}
		outputs = append(outputs, out)
	}
	return outputs
}

// scored is o in the engine's nouns; asked is the number of alternatives, -1 for no log-probability at all.
func scored(o *kernels.SampleOut, asked int) seq.Scored {
	s := seq.Scored{Token: seq.Token(o.Token)}
	if asked < 0 {
		return s
	}
	s.Logprob, s.Rank = o.Logprob, int(o.Rank)
	if len(o.TopID) > 0 {
		s.Top = make([]seq.Alternative, len(o.TopID))
		for i, id := range o.TopID {
			s.Top[i] = seq.Alternative{Token: seq.Token(id), Logprob: o.TopLog[i]}
		}
	}
	return s
}
