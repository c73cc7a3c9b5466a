package runner

import (
	"radish/kernels"
	"radish/server/seq"
)

// slot is the sampling state of one running sequence.
type slot struct {
	params    seq.Params
	prompt    int // length of the prompt
	stop      []int32
	biasToken []int32
	biasValue []float32
	counts    []kernels.Count   // kept only while a penalty is on
	where     map[seq.Token]int // token -> its place in counts
}

// begin makes the slot serve a sequence. Memory of the one before is reused.
func (s *slot) begin(f *seq.Fresh) {
	s.params, s.prompt = f.Params, f.Prompt
	s.stop, s.biasToken, s.biasValue = s.stop[:0], s.biasToken[:0], s.biasValue[:0]
	for _, t := range f.Params.Stop {
		s.stop = append(s.stop, int32(t))
	}
	for _, b := range f.Params.Bias {
		s.biasToken = append(s.biasToken, int32(b.Token))
		s.biasValue = append(s.biasValue, b.Value)
	}
	s.counts = s.counts[:0]
	clear(s.where)
	if !penalised(&f.Params) {
		return
	}
	if s.where == nil {
		s.where = map[seq.Token]int{}
	}
	for i, t := range f.History {
		s.count(t, i < f.Prompt)
	}
}

// penalised reports whether the choice depends on the tokens so far.
func penalised(p *seq.Params) bool {
	return p.Repetition != 0 && p.Repetition != 1 || p.Presence != 0 || p.Frequency != 0
}

// count adds one occurrence of t.
func (s *slot) count(t seq.Token, inPrompt bool) {
	i, ok := s.where[t]
	if !ok {
		i = len(s.counts)
		s.where[t] = i
		s.counts = append(s.counts, kernels.Count{Token: int32(t)})
	}
	if inPrompt {
		s.counts[i].Prompt++
	} else {
		s.counts[i].Output++
	}
}

// sampleRow says how to choose the token at position pos.
func (s *slot) sampleRow(pos int) kernels.SampleRow {
	p := &s.params
	row := kernels.SampleRow{
		Forced: -1, Temperature: p.Temperature, TopK: p.TopK, TopP: p.TopP, MinP: p.MinP,
		Repetition: p.Repetition, Presence: p.Presence, Frequency: p.Frequency, Counts: s.counts,
		BiasToken: s.biasToken, BiasValue: s.biasValue, Logprobs: p.Logprobs,
		U: uniform(p.Seed, pos),
	}
	if pos-s.prompt < p.MinTokens {
		row.Masked = s.stop
	}
	return row
}

// uniform is the random number in [0,1) that decides the token at position pos of a sequence: a function of seed and
// position alone, so that neither batch nor preemption changes an answer. The mixing is SplitMix64's finaliser (Steele,
// Lea and Flood 2014), once over each.
func uniform(seed uint64, pos int) float64 {
	x := mix(mix(seed+0x9e3779b97f4a7c15) + uint64(pos)*0x9e3779b97f4a7c15)
	return float64(x>>11) / (1 << 53)
}

func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
