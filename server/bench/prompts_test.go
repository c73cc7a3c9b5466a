package bench

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestReadWorkload(t *testing.T) {
	w, err := ReadWorkload(strings.NewReader("{\"prompt\":\"a\"}\n\n{\"turns\":[\"b\",\"c\"]}\n{\"prompt\":\"d\",\"turns\":[\"e\"]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if w.Prompts != 3 || w.Turns != 2 || !slices.Equal(w.Session(4), []string{"b", "c"}) || !slices.Equal(w.Session(2), []string{"d", "e"}) {
		t.Errorf("%+v %v", w, w.sessions)
	}
	other, _ := ReadWorkload(strings.NewReader("{\"prompt\":\"a\"}\n{\"turns\":[\"b\",\"x\"]}\n{\"prompt\":\"d\",\"turns\":[\"e\"]}\n"))
	if w.Hash() == other.Hash() {
		t.Error("another second turn, the same hash")
	}
	for _, bad := range []string{"", "{}\n", "{\"prompt\":\"\"}", "not json", "{\"prompt\":3}"} {
		if _, err := ReadWorkload(strings.NewReader(bad)); !errors.Is(err, ErrOptions) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestReadShareGPT(t *testing.T) {
	const file = `[{"id":"1","conversations":[{"from":"human","value":"a"},{"from":"gpt","value":"x"},{"from":"human","value":"b"},{"from":"human","value":"c"}]},
		{"id":"2","conversations":[{"from":"gpt","value":"x"}]},
		{"id":"3","conversations":[{"from":"user","value":"d"}]}]`
	w, err := ReadShareGPT(strings.NewReader(file), 2, 1)
	if err != nil {
		t.Fatal(err)
	}
	both := [][]string{w.Session(0), w.Session(1)}
	slices.SortFunc(both, slices.Compare)
	if w.Prompts != 2 || w.Turns != 2 || !slices.Equal(both[0], []string{"a", "b"}) || !slices.Equal(both[1], []string{"d"}) {
		t.Errorf("%+v %v", w, both)
	}
	for _, bad := range []string{"", "{}", "[1]", "[]", `[{"conversations":[]}]`, `[{"conversations":[{"from":"human","value":"a"}]`} {
		if _, err := ReadShareGPT(strings.NewReader(bad), 1, 1); !errors.Is(err, ErrOptions) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestJSONIsAskedAndJudged: the format goes out with each request, and an answer that is no JSON is not complete.
func TestJSONIsAskedAndJudged(t *testing.T) {
	w, err := NewWorkload(JSON, 20, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Workload: w, Users: []int{2}, Requests: 10}
	if _, err := measureUntil(t, &fake{}, o, 0); !errors.Is(err, ErrOptions) {
		t.Errorf("a fixed length: %v", err)
	}
	o.Target.Natural = true
	f := &fake{}
	l, _ := measure(t, f, o)
	if l.Valid || l.Failures["incomplete: not JSON"] != l.Counts.Measured {
		t.Errorf("%v %v", l.Valid, l.Failures)
	}
	if !strings.Contains(f.last, `"response_format":{"type":"json_schema"`) || strings.Contains(f.last, "ignore_eos") {
		t.Errorf("sent %s", f.last)
	}
	if l, _ := measure(t, &fake{answer: "7"}, o); !l.Valid {
		t.Errorf("a number is JSON: %v", l.Reasons)
	}
}

// TestTurnsGoTogether: a turn carries the answers before it, and no session is sent twice.
func TestTurnsGoTogether(t *testing.T) {
	w, err := NewWorkload(MultiTurn, 10, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	type turn struct{ level, repeat, number, turn int }
	seen := map[turn]bool{}
	numbers := map[int]turn{}
	o := Options{Workload: w, Users: []int{2, 3}, Requests: 30, Repeats: 2}
	o.Hooks.Observe = func(r Request) {
		k := turn{r.Level, r.Repeat, r.Number, r.Turn}
		if seen[k] || (r.Turn > 0 && !seen[turn{r.Level, r.Repeat, r.Number, r.Turn - 1}]) {
			t.Errorf("%+v comes twice, or before its history", k)
		}
		seen[k] = true
		k.turn = 0
		if before, ok := numbers[r.Number]; ok && before != k {
			t.Errorf("session %d is in %+v and %+v", r.Number, before, k)
		}
		numbers[r.Number] = k
	}
	f := &fake{}
	if l, _ := measure(t, f, o); !l.Valid {
		t.Error(l.Reasons)
	}
	o.Users, o.Rates = nil, []float64{1}
	if _, err := measureUntil(t, f, o, 0); !errors.Is(err, ErrOptions) {
		t.Errorf("turns in an open loop: %v", err)
	}
}
