package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// record measures f and gives what a result file and its raw file would hold.
func record(t *testing.T, f *fake, o Options) (*Result, Raw) {
	t.Helper()
	var lines, file bytes.Buffer
	enc := json.NewEncoder(&lines)
	o.Hooks.Observe = func(r Request) { _ = enc.Encode(r) }
	_, res := measure(t, f, o)
	if err := json.NewEncoder(&file).Encode(res); err != nil {
		t.Fatal(err)
	}
	back, err := ReadResult(&file)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := ReadRaw(&lines)
	if err != nil {
		t.Fatal(err)
	}
	return back, raw
}

func wordsOf(t *testing.T, c *Comparison, level int) map[string]Compared {
	t.Helper()
	m := map[string]Compared{}
	for _, f := range c.Levels[level].Figures {
		m[f.Name] = f
	}
	return m
}

func TestCompare(t *testing.T) {
	o := Options{Users: []int{2, 8}, Requests: 150, Repeats: 3}
	a, rawA := record(t, &fake{jitter: 0.1}, o)
	slow, rawSlow := record(t, &fake{jitter: 0.1, slower: 1.2}, o)
	o.Users = []int{8}
	again, rawAgain := record(t, &fake{jitter: 0.1, offset: 3}, o)

	c, err := Compare(a, slow, rawA, rawSlow, false)
	if err != nil {
		t.Fatal(err)
	}
	for level := range 2 {
		w := wordsOf(t, c, level)
		for _, f := range []string{"output_tokens_per_second", "ttft_p50_seconds", "tpot_p50_seconds", "e2e_p99_seconds"} {
			if w[f].Word != Worse || w[f].By != "repeats" {
				t.Errorf("20 %% slower: %+v", w[f])
			}
		}
		near(t, "change", 1+*w["ttft_p50_seconds"].Change, 1.2)
	}
	if c, err = Compare(slow, a, rawSlow, rawA, false); err != nil || wordsOf(t, c, 1)["e2e_p50_seconds"].Word != Better {
		t.Errorf("the other way round: %v %+v", err, wordsOf(t, c, 1)["e2e_p50_seconds"])
	}
	if c, err = Compare(a, again, rawA, rawAgain, false); err != nil || len(c.Levels) != 1 || c.Levels[0].Users != 8 {
		t.Fatalf("%v %+v", err, c)
	}
	differ := 0
	for _, f := range c.Levels[0].Figures {
		if f.Word != Same {
			differ++
		}
	}
	if differ > 1 {
		t.Errorf("one server twice: %+v", c.Levels[0].Figures)
	}
}

// TestCompareSingleRuns falls back to the raw records, and to saying that it cannot say.
func TestCompareSingleRuns(t *testing.T) {
	o := Options{Users: []int{8}, Requests: 400}
	a, rawA := record(t, &fake{jitter: 0.1}, o)
	b, rawB := record(t, &fake{jitter: 0.1, slower: 1.05}, o)
	c, err := Compare(a, b, rawA, rawB, false)
	if err != nil {
		t.Fatal(err)
	}
	w := wordsOf(t, c, 0)
	if x := w["ttft_p50_seconds"]; x.Word != Worse || x.By != "requests" {
		t.Errorf("%+v", x)
	}
	if x := w["output_tokens_per_second"]; x.By != "parts" {
		t.Errorf("%+v", x)
	}
	if !strings.Contains(strings.Join(c.Notes, ";"), "three repeats") {
		t.Error(c.Notes)
	}
	if c, err = Compare(a, b, nil, rawB, false); err != nil || wordsOf(t, c, 0)["ttft_p50_seconds"].Word != CannotSay {
		t.Errorf("without raw records: %v %+v", err, wordsOf(t, c, 0)["ttft_p50_seconds"])
	}
	b.Levels[0].Valid = false
	if c, _ = Compare(a, b, rawA, rawB, false); wordsOf(t, c, 0)["ttft_p50_seconds"].Word != NotValid {
		t.Error("a level that is not valid is judged")
	}
}

func TestIncomparable(t *testing.T) {
	o := Options{Users: []int{2}, Requests: 20}
	a, _ := record(t, &fake{}, o)
	o.Workload = &Workload{Kind: Diverse, Words: 20, Turns: 1, Seed: 2}
	b, _ := record(t, &fake{}, o)
	if _, err := Compare(a, b, nil, nil, false); !errors.Is(err, ErrIncomparable) || !strings.Contains(err.Error(), "workload differs") {
		t.Errorf("another seed: %v", err)
	}
	if c, err := Compare(a, b, nil, nil, true); err != nil || len(c.Differences) != 1 {
		t.Errorf("forced: %v %+v", err, c)
	}
	o.Workload, o.Users = nil, []int{3}
	other, _ := record(t, &fake{}, o)
	if _, err := Compare(a, other, nil, nil, false); !errors.Is(err, ErrIncomparable) {
		t.Errorf("no common load: %v", err)
	}
	for _, bad := range []string{"", "{}", `{"schema":1}`, `{"schema":2,"workload":{"hash":"x"}}`} {
		if _, err := ReadResult(strings.NewReader(bad)); err == nil {
			t.Errorf("%q is a result", bad)
		}
	}
}

// TestMannWhitney compares with scipy 1.17.1's mannwhitneyu(a, b, method="asymptotic").
func TestMannWhitney(t *testing.T) {
	for _, c := range []struct {
		a, b []float64
		p    float64
	}{
		{[]float64{1, 2, 3, 4, 5}, []float64{6, 7, 8, 9, 10}, 0.012185780355344813},
		{[]float64{1, 2, 2, 3, 9}, []float64{2, 3, 4, 4, 8, 10}, 0.19504039754870217},
		{[]float64{5, 5}, []float64{5, 5, 5}, 1},
	} {
		if p := mannWhitney(c.a, c.b); math.Abs(p-c.p) > 1e-9 {
			t.Errorf("%v %v: p = %v, want %v", c.a, c.b, p, c.p)
		}
	}
}

// TestWordsAreRarelyWrong: of runs that do not differ, about one in twenty is said to.
func TestWordsAreRarelyWrong(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	draw := func(n int) (v []float64) {
		for range n {
			v = append(v, 100+5*rng.NormFloat64())
		}
		return v
	}
	for _, c := range []struct {
		name    string
		runs    int
		differs func() bool
	}{
		{"welch", 400, func() bool { return welch(draw(3), draw(3)) }},
		{"mann-whitney", 400, func() bool { return mannWhitney(draw(40), draw(40)) < 0.05 }},
		{"bootstrap", 40, func() bool { return quantilesDiffer(draw(200), draw(200), 0.99) }},
	} {
		wrong := 0
		for range c.runs {
			if c.differs() {
				wrong++
			}
		}
		if wrong > c.runs/10 {
			t.Errorf("%s calls %d of %d equal pairs different", c.name, wrong, c.runs)
		}
	}
}

// TestWelch compares with scipy 1.17.1's ttest_ind(a, b, equal_var=False) at 5 %.
func TestWelch(t *testing.T) {
	for _, c := range []struct {
		a, b []float64
		p    float64
	}{
		{[]float64{100, 101, 102}, []float64{101.5, 102.5, 104}, 0.1506},
		{[]float64{100, 101, 102}, []float64{103, 104, 105.5}, 0.0291},
		{[]float64{10, 11, 12, 13}, []float64{12.5, 13, 16}, 0.1532},
		{[]float64{10, 11, 12, 13}, []float64{14.5, 15, 16}, 0.0058},
	} {
		if welch(c.a, c.b) != (c.p < 0.05) {
			t.Errorf("%v %v: p is %v", c.a, c.b, c.p)
		}
	}
}
