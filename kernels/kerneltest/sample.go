package kerneltest

import (
	"errors"
	"fmt"
	"math"

	"radish/kernels"
	"radish/kernels/ref"
)

// chosen runs Sample on rows of logits in both backends and compares tokens and the slots they go to.
func (r *rig) chosen(what string, logits [][]float32, rows []kernels.SampleRow) (got, want []kernels.SampleOut) {
	n, vocab := len(rows), len(logits[0])
	var flat []float32
	for _, l := range logits {
		flat = append(flat, l...)
	}
	m := r.put("logits", kernels.F32, n, vocab, flat)
	last := r.ids("last", make([]int32, 2*n+3))
	slots := make([]int32, n)
	for i, p := range r.rng.Perm(2*n + 3)[:n] {
		if slots[i] = int32(p); r.rng.IntN(5) == 0 {
			slots[i] = -1
		}
	}
	if r.rng.IntN(4) == 0 {
		slots = nil
	}
	got, want = make([]kernels.SampleOut, n), make([]kernels.SampleOut, n)
	r.mems = []*mem{last} // logits may be overwritten
	r.do(what, func(b kernels.Backend, t side) {
		out, to := got, t(last)
		if b == r.want {
			out = want
		}
		if slots == nil {
			to = kernels.Tensor{}
		}
		b.Sample(out, t(m), rows, to, slots)
	})
	for i := range got {
		if got[i].Token != want[i].Token {
			no(fmt.Errorf("%s: row %d of %d, %s: token %d, want %d", what, i, n, describe(&rows[i]), got[i].Token, want[i].Token))
		}
	}
	return got, want
}

func describe(r *kernels.SampleRow) string {
	return fmt.Sprintf("forced %d, temperature %g, top-k %d, top-p %g, min-p %g, penalties %g %g %g over %d, %d biases, %d masked, u %g",
		r.Forced, r.Temperature, r.TopK, r.TopP, r.MinP, r.Repetition, r.Presence, r.Frequency, len(r.Counts), len(r.BiasToken), len(r.Masked), r.U)
}

// normal is vocab random logits.
func (r *rig) normal(vocab int) []float32 {
	l := make([]float32, vocab)
	for i := range l {
		l[i] = float32(r.rng.NormFloat64() * 3)
	}
	return l
}

// anyRow is a random way to choose.
func (r *rig) anyRow(vocab int) kernels.SampleRow {
	maybe := func(n int) bool { return r.rng.IntN(n) == 0 }
	s := kernels.SampleRow{Forced: -1, Temperature: 0.3 + r.rng.Float32()*1.5, TopP: 1, Repetition: 1, U: r.rng.Float64(), Logprobs: -1}
	if maybe(4) {
		s.Temperature = 0
	}
	if maybe(2) {
		s.TopK = 1 + r.rng.IntN(50)
	}
	if maybe(2) {
		s.TopP = 0.05 + 0.95*r.rng.Float32()
	}
	if maybe(2) {
		s.MinP = r.rng.Float32() * 0.3
	}
	if maybe(2) {
		s.Repetition, s.Presence, s.Frequency = 0.8+r.rng.Float32(), r.rng.Float32()*2-0.5, r.rng.Float32()-0.2
		for _, t := range r.rng.Perm(vocab)[:vocab/2] {
			s.Counts = append(s.Counts, kernels.Count{Token: int32(t), Prompt: r.rng.Int32N(3), Output: r.rng.Int32N(4)})
		}
	}
	if maybe(3) {
		for range 1 + r.rng.IntN(5) {
			s.BiasToken, s.BiasValue = append(s.BiasToken, r.rng.Int32N(int32(vocab))), append(s.BiasValue, r.rng.Float32()*20-10)
		}
	}
	if maybe(3) {
		for _, t := range r.rng.Perm(vocab)[:r.rng.IntN(vocab)] {
			s.Masked = append(s.Masked, int32(t))
		}
	}
	if maybe(20) {
		s.Forced = r.rng.Int32N(int32(vocab))
	}
	return s
}

// stable reports whether the choice stands clear of every threshold: a hair more or less of U, top-p or min-p, or of
// the temperature that the probabilities hang on, chooses the same. Then exact equality may be asked for.
func stable(logits []float32, s kernels.SampleRow) bool {
	const hair = 1e-4
	if s.Forced >= 0 {
		return true
	}
	base := ref.Draw(ref.Candidates(logits, &s), s.U)
	for _, f := range []float32{1 - hair, 1 + hair} {
		p, m, t := s, s, s
		if p.TopP < 1 {
			p.TopP = min(p.TopP*f, 0.999999)
		}
		m.MinP *= f
		t.Temperature *= f
		for _, x := range []kernels.SampleRow{p, m, t} {
			for _, u := range []float64{s.U - hair, s.U + hair} {
				if u >= 0 && u < 1 && ref.Draw(ref.Candidates(logits, &x), u) != base {
					return false
				}
			}
		}
	}
	return true
}

func checkSample(r *rig) error {
	for _, vocab := range []int{2, 7, 64, 333, 1000, 4099} {
		for _, n := range []int{1, 5, 17} {
			var logits [][]float32
			var rows []kernels.SampleRow
			for len(rows) < n {
				l, s := r.normal(vocab), r.anyRow(vocab)
				if stable(l, s) {
					logits, rows = append(logits, l), append(rows, s)
				}
			}
			r.chosen(fmt.Sprintf("sample %d of %d", n, vocab), logits, rows)
		}
	}
	return nil
}

// checkOddLogits: ties, infinities and NaN. See kernels.SampleRow for the rules.
func checkOddLogits(r *rig) error {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	all := func(n int, v float32) []float32 {
		l := make([]float32, n)
		for i := range l {
			l[i] = v
		}
		return l
	}
	with := func(l []float32, v float32, at ...int) []float32 {
		for _, i := range at {
			l[i] = v
		}
		return l
	}
	cases := map[string][]float32{
		"all equal":            all(40, 1.5),
		"ties at the top":      with(all(40, 0), 3, 7, 8, 39),
		"one NaN":              with(r.normal(40), nan, 11),
		"NaN first":            with(r.normal(40), nan, 0),
		"NaN but one":          with(all(40, nan), -5, 23),
		"all NaN":              all(40, nan),
		"all -Inf":             all(40, -inf),
		"-Inf but one":         with(all(40, -inf), -1e30, 31),
		"one +Inf":             with(r.normal(40), inf, 20),
		"two +Inf":             with(r.normal(40), inf, 20, 30),
		"+Inf and NaN":         with(all(40, nan), inf, 39),
		"largest and smallest": with(all(40, -math.MaxFloat32), math.MaxFloat32, 5),
		"zeros of both signs":  with(all(40, float32(math.Copysign(0, -1))), 0, 3, 4),
	}
	for name, l := range cases {
		base := kernels.SampleRow{Forced: -1, TopP: 1, Repetition: 1, Logprobs: -1}
		hot, tight, nucleus, masked := base, base, base, base
		hot.Temperature, tight.Temperature, nucleus.Temperature = 1, 0.7, 1
		hot.U, tight.U, nucleus.U = 0.613, 0.42, 0.3
		tight.TopK, nucleus.TopP = 5, 0.5001
		masked.Masked = []int32{3, 5, 7, 20, 23, 31, 39}
		r.chosen("sample from "+name, [][]float32{l, l, l, l, l}, []kernels.SampleRow{base, hot, tight, nucleus, masked})
	}
	return nil
}

// checkScores compares log-probabilities, ranks and alternatives with the oracle's. Logits are float32, sums of up to
// 4,099 exponentials: 1e-4 is far above their error and far below what a wrong token or temperature would make.
func checkScores(r *rig) error {
	near := func(a, b float32) bool {
		return a == b || math.Abs(float64(a)-float64(b)) <= 1e-4*(1+math.Abs(float64(b)))
	}
	for _, vocab := range []int{2, 64, 1000, 4099} {
		var logits [][]float32
		var rows []kernels.SampleRow
		for len(rows) < 9 {
			l, s := r.normal(vocab), r.anyRow(vocab)
			s.Logprobs = []int{0, 1, 5, 20, vocab + 3, -1}[len(rows)%6]
			if len(rows)%3 == 0 {
				s.Forced = r.rng.Int32N(int32(vocab))
			}
			if len(rows)%4 == 3 { // ties: the lower id comes first
				for i := range l {
					l[i] = float32(math.Round(float64(l[i])))
				}
				l[vocab/2] = float32(math.NaN())
			}
			if stable(l, s) {
				logits, rows = append(logits, l), append(rows, s)
			}
		}
		got, want := r.chosen(fmt.Sprintf("scores of %d", vocab), logits, rows)
		for i, g := range got {
			w := want[i]
			if rows[i].Logprobs < 0 {
				continue
			}
			if !near(g.Logprob, w.Logprob) || g.Rank != w.Rank {
				return fmt.Errorf("row %d of vocabulary %d: token %d has logprob %v rank %d, want %v rank %d", i, vocab, g.Token, g.Logprob, g.Rank, w.Logprob, w.Rank)
			}
			if len(g.TopID) != len(w.TopID) || len(g.TopLog) != len(w.TopLog) {
				return fmt.Errorf("row %d of vocabulary %d: %d alternatives and %d logprobs, want %d", i, vocab, len(g.TopID), len(g.TopLog), len(w.TopID))
			}
			for j := range g.TopID {
				if g.TopID[j] != w.TopID[j] || !near(g.TopLog[j], w.TopLog[j]) {
					return fmt.Errorf("row %d of vocabulary %d: alternative %d is %d (%v), want %d (%v)", i, vocab, j, g.TopID[j], g.TopLog[j], w.TopID[j], w.TopLog[j])
				}
			}
		}
	}
	return nil
}

// checkDistribution draws 8,000 times with random U and compares the counts with probabilities computed here, from the
// definition of softmax, by Pearson's chi-square. Its mean is the number of degrees of freedom f and its variance 2f;
// a right sampler exceeds f + 10 sqrt(2f) about once in a million runs, one that ignores the temperature always does.
func checkDistribution(r *rig) error {
	const vocab, draws, batch = 24, 8000, 500
	logits := r.normal(vocab)
	for i := range logits {
		logits[i] /= 2
	}
	const temperature = 0.8
	p, sum := make([]float64, vocab), 0.0
	for i, l := range logits {
		p[i] = math.Exp(float64(l) / temperature)
		sum += p[i]
	}
	counts := make([]float64, vocab)
	for range draws / batch {
		rows, all := make([]kernels.SampleRow, batch), make([]float32, 0, batch*vocab)
		for i := range rows {
			rows[i] = kernels.SampleRow{Forced: -1, Temperature: temperature, TopP: 1, Repetition: 1, U: r.rng.Float64(), Logprobs: -1}
			all = append(all, logits...)
		}
		m := r.put("logits", kernels.F32, batch, vocab, all)
		r.mems = nil
		out := make([]kernels.SampleOut, batch)
		r.got.Sample(out, left(m), rows, kernels.Tensor{}, nil)
		no(r.got.Run())
		for _, o := range out {
			if o.Token < 0 || o.Token >= vocab {
				return errors.New("a token outside the vocabulary")
			}
			counts[o.Token]++
		}
	}
	chi := 0.0
	for i := range p {
		e := p[i] / sum * draws
		chi += (counts[i] - e) * (counts[i] - e) / e
	}
	if f := float64(vocab - 1); chi > f+10*math.Sqrt(2*f) {
		return fmt.Errorf("chi-square of %d draws is %.1f with %g degrees of freedom", draws, chi, f)
	}
	return nil
}
