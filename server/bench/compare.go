package bench

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ErrIncomparable says that two results did not measure the same thing.
var ErrIncomparable = errors.New("results are not comparable")

// Comparison sets two results side by side. Change is B over A, minus 1.
type Comparison struct {
	Schema      int             `json:"schema"`
	A           Side            `json:"a"`
	B           Side            `json:"b"`
	Differences []string        `json:"differences,omitempty"` // why a comparison had to be forced
	Notes       []string        `json:"notes,omitempty"`
	Levels      []ComparedLevel `json:"levels"`
}

// Side is one of two results.
type Side struct {
	Endpoint
	Started time.Time `json:"started"`
	Version string    `json:"version"`
}

// ComparedLevel is a load that both results have.
type ComparedLevel struct {
	Users   int        `json:"users,omitempty"`
	Rate    float64    `json:"rate,omitempty"`
	Figures []Compared `json:"figures"`
}

// Compared is one figure of both. A null one has no value.
type Compared struct {
	Name   string   `json:"name"`
	A      *float64 `json:"a"`
	B      *float64 `json:"b"`
	Change *float64 `json:"change"`
	Word   Word     `json:"word"`
	By     string   `json:"by,omitempty"` // the test: repeats (Welch), requests (Mann-Whitney or bootstrap), parts (Mann-Whitney)
}

// Word is what may be said of a difference, at 95 %: of twenty words about nothing, one is chance.
type Word string

// The words. NotValid: a level is not valid. CannotSay: one run each, and no raw records.
const (
	Better    Word = "better"
	Worse     Word = "worse"
	Same      Word = "no difference seen"
	CannotSay Word = "cannot say"
	NotValid  Word = "not valid"
)

// Compare compares b with a, level by level. The raw records may be nil. Results of different workloads, lengths or
// loops are ErrIncomparable unless forced; then the comparison says so.
func Compare(a, b *Result, rawA, rawB Raw, force bool) (*Comparison, error) {
	c := &Comparison{Schema: Schema, A: sideOf(a), B: sideOf(b), Differences: differences(a, b)}
	if len(c.Differences) > 0 && !force {
		return nil, fmt.Errorf("%w: %s", ErrIncomparable, c.Differences[0])
	}
	for i := range a.Levels {
		for j := range b.Levels {
			if la, lb := &a.Levels[i], &b.Levels[j]; la.Users == lb.Users && la.Rate == lb.Rate {
				l := ComparedLevel{Users: la.Users, Rate: la.Rate}
				l.fill(sample{la, rawA[a.level(la)]}, sample{lb, rawB[b.level(lb)]})
				c.Levels = append(c.Levels, l)
			}
		}
	}
	if len(c.Levels) == 0 {
		return nil, fmt.Errorf("%w: no load is in both", ErrIncomparable)
	}
	c.note(a, b)
	return c, nil
}

func sideOf(r *Result) Side { return Side{r.Endpoint, r.Started, r.Version} }

// level is a level's number in the raw records: its place in the plan, for an interrupted run may lack some.
func (r *Result) level(l *Level) int {
	if l.Users > 0 {
		return slices.Index(r.Plan.Users, l.Users)
	}
	return slices.Index(r.Plan.Rates, l.Rate)
}

func differences(a, b *Result) []string {
	var all []string
	for _, d := range []struct {
		what string
		a, b any
	}{
		{"workload", a.Workload.Hash, b.Workload.Hash}, {"loop", a.Plan.Loop, b.Plan.Loop},
		{"output length", a.Endpoint.MaxTokens, b.Endpoint.MaxTokens}, {"natural length", a.Endpoint.Natural, b.Endpoint.Natural},
		{"burstiness", a.Plan.Burstiness, b.Plan.Burstiness}, {"cache between levels", a.Plan.Cache, b.Plan.Cache},
	} {
		if d.a != d.b {
			all = append(all, fmt.Sprintf("%s differs: %v and %v", d.what, d.a, d.b))
		}
	}
	return all
}

func (c *Comparison) note(a, b *Result) {
	if a.Endpoint.Model != b.Endpoint.Model {
		c.Notes = append(c.Notes, fmt.Sprintf("the models are called %q and %q", a.Endpoint.Model, b.Endpoint.Model))
	}
	if a.Client != b.Client {
		c.Notes = append(c.Notes, "the clients' machines differ")
	}
	if min(a.Plan.Repeats, b.Plan.Repeats) < enough {
		c.Notes = append(c.Notes, "fewer than three repeats each: what differs from run to run is not covered")
	}
}

// enough repeats carry a test of their own.
const enough = 3

// sample is one side of a compared level.
type sample struct {
	*Level
	raw *rawTimes
}

func (l *ComparedLevel) fill(a, b sample) {
	for _, f := range figures {
		x := Compared{Name: f.name, Word: CannotSay}
		va, okA := f.of(&a.Measures)
		vb, okB := f.of(&b.Measures)
		if okA {
			x.A = &va
		}
		if okB {
			x.B = &vb
		}
		switch {
		case !okA || !okB:
		case !a.Valid || !b.Valid:
			x.Word = NotValid
		default:
			change := vb/va - 1
			x.Change = &change
			d, by := a.differs(b, f.name, f.of)
			x.By = by
			x.Word = d.word(change, f.higher)
		}
		l.Figures = append(l.Figures, x)
	}
}

// verdict is what a test found.
type verdict int

const (
	untested verdict = iota
	unlike
	alike
)

func (d verdict) word(change float64, higherIsBetter bool) Word {
	switch {
	case d == untested:
		return CannotSay
	case d == alike || change == 0:
		return Same
	case (change > 0) == higherIsBetter:
		return Better
	}
	return Worse
}

func verdictOf(differs bool) verdict {
	if differs {
		return unlike
	}
	return alike
}

// differs tests by the best that there is: repeats cover what differs from run to run, requests and the parts of a
// window only what differs within one.
func (a sample) differs(b sample, name string, of func(*Measures) (float64, bool)) (verdict, string) {
	if ra, rb := a.repeated(of), b.repeated(of); len(ra) >= enough && len(rb) >= enough {
		return verdictOf(welch(ra, rb)), "repeats"
	}
	if name == "output_tokens_per_second" {
		return verdictOf(mannWhitney(a.parts(), b.parts()) < 0.05), "parts"
	}
	ta, tb := a.raw.of(name), b.raw.of(name)
	if len(ta) < 2*batches || len(tb) < 2*batches {
		return untested, ""
	}
	if strings.HasSuffix(name, "p99_seconds") {
		return verdictOf(quantilesDiffer(ta, tb, 0.99)), "requests"
	}
	return verdictOf(mannWhitney(ta, tb) < 0.05), "requests"
}

func (a sample) repeated(of func(*Measures) (float64, bool)) (v []float64) {
	for i := range a.Repeats {
		if x, ok := of(&a.Repeats[i].Measures); ok {
			v = append(v, x)
		}
	}
	return v
}

func (a sample) parts() (v []float64) {
	for i := range a.Repeats {
		v = append(v, a.Repeats[i].Batches...)
	}
	return v
}
