package explain

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// fixture is one log of testdata/fixtures.txt.
type fixture struct {
	rule  string
	match bool
	facts Facts
	log   string
	line  int
}

func loadFixtures(t testing.TB) []fixture {
	t.Helper()
	f, err := os.Open("testdata/fixtures.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []fixture
	rule := ""
	sc := bufio.NewScanner(f)
	for n := 1; sc.Scan(); n++ {
		line := sc.Text()
		switch {
		case strings.HasPrefix(line, "  "):
			all[len(all)-1].log += line[2:] + "\n"
		case strings.HasPrefix(line, "["):
			rule = strings.Trim(line, "[]")
		case line != "":
			words := strings.Fields(line)
			if words[0] != "match" && words[0] != "miss" {
				t.Fatalf("fixtures.txt:%d: %q", n, line)
			}
			all = append(all, fixture{rule: rule, match: words[0] == "match", facts: parseFacts(t, words[1:]), line: n})
		}
	}
	if err := sc.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func parseFacts(t testing.TB, words []string) (f Facts) {
	t.Helper()
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		var err error
		switch key {
		case "sm":
			f.SM, err = strconv.Atoi(value)
		case "oom":
			f.OOMKnown = true
			f.OOMKills, err = strconv.ParseInt(value, 10, 64)
		case "idle":
			f.Idle, err = time.ParseDuration(value)
		case "driver":
			f.Driver = value
		default:
			t.Fatalf("fact %q", w)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func explainString(t testing.TB, log string, facts Facts) *Report {
	t.Helper()
	rep, err := Read(strings.NewReader(log), facts)
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

func (r *Report) all() []Finding {
	var fs []Finding
	if r.Cause != nil {
		fs = append(fs, *r.Cause)
	}
	fs = append(append(append(fs, r.Also...), r.Echoes...), r.Benign...)
	return fs
}

func (r *Report) get(id string) *Finding {
	for _, f := range r.all() {
		if f.ID == id {
			return &f
		}
	}
	return nil
}

func TestEveryRuleMatchesAndMisses(t *testing.T) {
	matched, missed := map[string]int{}, map[string]int{}
	for _, fx := range loadFixtures(t) {
		got := explainString(t, fx.log, fx.facts).get(fx.rule)
		if fx.match != (got != nil) {
			t.Errorf("fixtures.txt:%d: %s spoke: %v, want %v", fx.line, fx.rule, got != nil, fx.match)
		}
		if fx.match {
			matched[fx.rule]++
		} else {
			missed[fx.rule]++
		}
	}
	for _, r := range Rules() {
		if matched[r.ID] == 0 || missed[r.ID] == 0 {
			t.Errorf("%s has %d matching logs and %d near misses", r.ID, matched[r.ID], missed[r.ID])
		}
		delete(matched, r.ID)
		delete(missed, r.ID)
	}
	if len(matched)+len(missed) > 0 {
		t.Errorf("fixtures of no rule: %v %v", matched, missed)
	}
}

// TestTableIsWhole: every number of the catalogue, 1 to 68, has a rule, ids are unique, and a rule says all it should.
func TestTableIsWhole(t *testing.T) {
	numbers, ids := map[int]bool{}, map[string]bool{}
	for _, r := range Rules() {
		numbers[r.Signature] = true
		if ids[r.ID] {
			t.Errorf("%s twice", r.ID)
		}
		ids[r.ID] = true
		if r.Title == "" || r.Why == "" || r.Source == "" || len(r.Patterns) == 0 || !strings.HasSuffix(r.Why, ".") {
			t.Errorf("%s is not complete", r.ID)
		}
		if r.Class != Benign && len(r.Fix) == 0 {
			t.Errorf("%s has no fix", r.ID)
		}
	}
	for n := 1; n <= 68; n++ {
		if !numbers[n] {
			t.Errorf("signature %d has no rule", n)
		}
	}
	parks := map[int]bool{}
	for _, r := range Rules() {
		parks[r.Signature] = parks[r.Signature] || r.Parks
	}
	for _, n := range []int{4, 5, 6, 14, 15, 16, 36, 46, 50, 51, 59} {
		if !parks[n] {
			t.Errorf("signature %d does not park", n)
		}
	}
}

// TestSieveLosesNothing compares with every pattern on every line.
func TestSieveLosesNothing(t *testing.T) {
	for _, fx := range loadFixtures(t) {
		for _, line := range strings.Split(fx.log, "\n") {
			checkSieve(t, line)
		}
	}
}

func checkSieve(t testing.TB, line string) {
	t.Helper()
	found := newCandidates(theSieve.ids)
	theSieve.scan(line, &found)
	for i := range rules {
		if rules[i].match(line) != nil && !found.seen[i] {
			t.Errorf("the sieve loses %s on %q", rules[i].ID, line)
		}
	}
	for i := range markers {
		if markers[i].re.MatchString(line) && !found.seen[len(rules)+i] {
			t.Errorf("the sieve loses %s on %q", markers[i].re, line)
		}
	}
}
