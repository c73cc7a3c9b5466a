package runner

import (
	"radish/kernels"
	"radish/server/seq"
)

// wanted is how many alternatives a sequence asked for, -1 for no log-probability at all: of what it samples, and of its
// prompt.
type wanted struct{ sampled, prompt int }

// asks are the rows of a step whose logits are needed, in the batch's order: for each batch row first its targets, then
// its sample. The slices run in parallel.
type asks struct {
	rows  []int32 // row of the step
	how   []kernels.SampleRow
	slots []int32  // where the token goes, -1 for a scored one
	want  []wanted // of each batch row
	out   []kernels.SampleOut
}

func (a *asks) clear() {
	a.rows, a.how, a.slots, a.want, a.out = a.rows[:0], a.how[:0], a.slots[:0], a.want[:0], a.out[:0]
}

func (a *asks) add(row int, how kernels.SampleRow, slot int32) {
	a.rows = append(a.rows, int32(row))
	a.how = append(a.how, how)
	a.slots = append(a.slots, slot)
}

// ask lists what the batch wants to know.
func (w *worker) ask(f *frame) {
	a, b := &f.asks, f.batch
	for i := range b.Rows {
		row := &b.Rows[i]
		s := &w.slots[row.Slot]
		if row.Fresh != nil {
			s.begin(row.Fresh)
		}
		a.want = append(a.want, wanted{s.params.Logprobs, s.params.PromptLogprobs})
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

// score queues final norm, output head and choice, a slice of the workspace's logit rows at a time; each slice overwrites the
// logits of the one before, which the queue's order allows.
func (w *worker) score(a *asks) {
	for i, most := 0, w.ws.LogitRows(); i < len(a.rows); i += most {
		end := min(i+most, len(a.rows))
		logits := w.model.Logits(w.ws, a.rows[i:end])
		w.b.Sample(a.out[i:end], logits, a.how[i:end], w.last, a.slots[i:end])
	}
}

// answer turns what was chosen into outputs.
func (f *frame) answer() []seq.Output {
	var outputs []seq.Output
	next := 0
	take := func(asked int) seq.Scored {
		next++
		return scored(&f.asks.out[next-1], asked)
	}
	for i := range f.batch.Rows {
		row := &f.batch.Rows[i]
		if !row.Sample && len(row.Targets) == 0 {
			continue
		}
		want := f.asks.want[i]
		out := seq.Output{ID: row.ID, Sampled: row.Sample}
		if len(row.Targets) > 0 {
			out.Prompt = make([]seq.Scored, len(row.Targets))
		}
		for j := range row.Targets {
			out.Prompt[j] = take(want.prompt)
		}
		if row.Sample {
			out.Next = take(want.sampled)
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
