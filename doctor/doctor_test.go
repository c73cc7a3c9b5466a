package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"radish/doctor/host"
)

func says(s State) func(context.Context, *host.Facts) Finding {
	return func(context.Context, *host.Facts) Finding {
		return Finding{State: s, Summary: string(s), Rule: "1 = 1"}
	}
}

func stateOf(r *Report, id string) State {
	for _, f := range r.Findings {
		if f.ID == id {
			return f.State
		}
	}
	return "missing"
}

func TestEachCheckIsIsolated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := Run(t.Context(), &host.Facts{}, []Check{
			{ID: "a.panics", Run: func(context.Context, *host.Facts) Finding { panic("boom") }},
			{ID: "a.hangs", Timeout: time.Second, Run: func(context.Context, *host.Facts) Finding { <-release; return Finding{State: OK} }},
			{ID: "a.well", Run: says(OK)},
			{ID: "a.empty", Run: says("")},
			{ID: "a.after_hang", DependsOn: []string{"a.hangs"}, Run: says(OK)},
			{ID: "a.after_well", DependsOn: []string{"a.well", "not.there"}, Run: says(OK)},
			{ID: "a.circle", DependsOn: []string{"a.circle2"}, Run: says(OK)},
			{ID: "a.circle2", DependsOn: []string{"a.circle"}, Run: says(OK)},
		})
		close(release)
		for id, want := range map[string]State{"a.panics": Crashed, "a.hangs": Unknown, "a.well": OK, "a.empty": Crashed,
			"a.after_hang": Skipped, "a.after_well": OK, "a.circle": Crashed, "a.circle2": Crashed} {
			if got := stateOf(r, id); got != want {
				t.Errorf("%s is %s, want %s", id, got, want)
			}
		}
		if r.Verdict != Fail {
			t.Errorf("verdict %s", r.Verdict)
		}
	})
}

// TestDependenciesRunFirst gives the checks in the wrong order.
func TestDependenciesRunFirst(t *testing.T) {
	var order []string
	note := func(id string) func(context.Context, *host.Facts) Finding {
		return func(context.Context, *host.Facts) Finding { order = append(order, id); return Finding{State: Warn} }
	}
	Run(t.Context(), &host.Facts{}, []Check{
		{ID: "c", DependsOn: []string{"b"}, Run: note("c")},
		{ID: "b", DependsOn: []string{"a"}, Run: note("b")},
		{ID: "a", Run: note("a")},
	})
	if !slices.Equal(order, []string{"a", "b", "c"}) {
		t.Errorf("ran %v", order)
	}
}

func TestUnknownIsNeverGreen(t *testing.T) {
	for _, c := range []struct {
		states []State
		want   State
	}{
		{[]State{OK, Skipped}, OK},
		{[]State{OK, Unknown}, Unknown},
		{[]State{OK, Unknown, Warn}, Warn},
		{[]State{Warn, Fail}, Fail},
		{[]State{OK, Crashed}, Fail},
		{[]State{Skipped}, Unknown},
		{nil, Unknown},
	} {
		var checks []Check
		for i, s := range c.states {
			run := says(s)
			if s == Crashed {
				run = func(context.Context, *host.Facts) Finding { panic(1) }
			}
			checks = append(checks, Check{ID: fmt.Sprint(i), Run: run})
		}
		if r := Run(t.Context(), &host.Facts{}, checks); r.Verdict != c.want {
			t.Errorf("%v gives %s, want %s", c.states, r.Verdict, c.want)
		}
	}
}

func TestSelect(t *testing.T) {
	all := []Check{{ID: "a.one", Family: "a"}, {ID: "a.two", Family: "a", DependsOn: []string{"b.one"}}, {ID: "b.one", Family: "b"}}
	for _, c := range []struct {
		only, skip []string
		want       string
	}{
		{nil, nil, "a.one a.two b.one"},
		{[]string{"a.two"}, nil, "a.two b.one"},
		{[]string{"*.one"}, nil, "a.one b.one"},
		{[]string{"b"}, nil, "b.one"},
		{nil, []string{"a"}, "b.one"},
		{[]string{"a.two"}, []string{"b"}, "a.two"},
	} {
		got, err := Select(all, c.only, c.skip)
		var ids []string
		for _, k := range got {
			ids = append(ids, k.ID)
		}
		if err != nil || strings.Join(ids, " ") != c.want {
			t.Errorf("only %v skip %v: %v, %v", c.only, c.skip, ids, err)
		}
	}
	if _, err := Select(all, nil, []string{"c"}); !errors.Is(err, ErrNoSuchCheck) {
		t.Errorf("an unknown name: %v", err)
	}
}

func full(t *testing.T) *Report {
	t.Helper()
	return Run(t.Context(), &host.Facts{Time: time.Unix(0, 0)}, []Check{
		{ID: "a.ok", Family: "a", Title: "fine", Run: says(OK)},
		{ID: "a.skipped", Family: "a", Run: says(Skipped)},
		{ID: "b.unknown", Family: "b", Run: says(Unknown)},
		{ID: "b.fail", Family: "b", Run: func(context.Context, *host.Facts) Finding {
			return Finding{State: Fail, Summary: "bad \x1b[31m<name>", Rule: "at most 1", Evidence: []Evidence{{"/proc/x\n", "2"}},
				Fix: &Fix{Kind: RunCommand, Text: "do", Argv: []string{"chmod", "600", "x"}}}
		}},
		{ID: "b.warn", Family: "b", Run: says(Warn)},
		{ID: "b.crash", Family: "b", Run: func(context.Context, *host.Facts) Finding { panic("x") }},
	})
}

func TestText(t *testing.T) {
	const want = `a: 1 ok, 1 skipped
  [skip]  a.skipped: skipped
b: 0 ok
  [?]     b.unknown: unknown
          rule: 1 = 1
  [FAIL]  b.fail: bad ?[31m<name>
          /proc/x? = 2
          rule: at most 1
          fix:  do
                chmod 600 x
  [warn]  b.warn: warn
          rule: 1 = 1
  [crash] b.crash: the check itself crashed: x

verdict: fail (1 ok, 1 warn, 1 fail, 1 unknown, 1 skipped, 1 crashed)
`
	if got := full(t).Text(false); got != want {
		t.Errorf("text\n%s", got)
	}
	if !strings.Contains(full(t).Text(true), "[ok]    a.ok") {
		t.Error("all leaves a check out")
	}
}

func TestJUnit(t *testing.T) {
	b, err := full(t).JUnit()
	if err != nil {
		t.Fatal(err)
	}
	var s suite
	if err := xml.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	if s.Tests != 6 || s.Failures != 1 || s.Errors != 2 || s.Skipped != 1 || s.Cases[3].Failure == nil || s.Cases[0].Error != nil {
		t.Errorf("junit %s", b)
	}
}

func TestChanges(t *testing.T) {
	at := func(second int64, states ...State) *Report {
		var checks []Check
		for i, s := range states {
			checks = append(checks, Check{ID: fmt.Sprintf("a.%d", i), Run: says(s)})
		}
		return Run(t.Context(), &host.Facts{Time: time.Unix(second, 0)}, checks)
	}
	if got := at(60, OK, Fail, Warn).Changes(at(0, OK, OK)); got != "1970-01-01T00:01:00Z a.1: ok -> fail: fail\n" {
		t.Errorf("changes %q", got)
	}
}

func TestSafe(t *testing.T) {
	for _, c := range []struct {
		fix  *Fix
		want bool
	}{
		{nil, false},
		{&Fix{Kind: RunCommand, Argv: []string{"true"}}, true},
		{&Fix{Kind: RunCommand}, false},
		{&Fix{Kind: RunCommand, Argv: []string{"rm"}, Destructive: true}, false},
		{&Fix{Kind: RunCommand, Argv: []string{"sysctl"}, NeedsRoot: true}, false},
		{&Fix{Kind: SetFlag, Argv: []string{"radish"}}, false},
	} {
		if c.fix.Safe() != c.want {
			t.Errorf("%+v safe %t", c.fix, !c.want)
		}
	}
}

func TestJSONKeepsTheSchema(t *testing.T) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(JSONSchema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("doctor.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("doctor.json")
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(full(t))
	if err != nil {
		t.Fatal(err)
	}
	check := func(change func(map[string]any)) error {
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		change(v.(map[string]any))
		return schema.Validate(v)
	}
	if err := check(func(map[string]any) {}); err != nil {
		t.Error(err)
	}
	first := func(v map[string]any) map[string]any { return v["findings"].([]any)[0].(map[string]any) }
	for name, change := range map[string]func(map[string]any){
		"extra field":    func(v map[string]any) { v["token"] = "x" },
		"missing field":  func(v map[string]any) { delete(v, "verdict") },
		"other schema":   func(v map[string]any) { v["schema"] = "radish.doctor/2" },
		"seventh state":  func(v map[string]any) { first(v)["state"] = "fine" },
		"null evidence":  func(v map[string]any) { first(v)["evidence"] = nil },
		"minor in words": func(v map[string]any) { first(v)["minor"] = "yes" },
		"fraction count": func(v map[string]any) { v["counts"].(map[string]any)["ok"] = json.Number("0.5") },
	} {
		if check(change) == nil {
			t.Errorf("%s passes the schema", name)
		}
	}
}

// TestMinor: what could not be told by a minor check is told, counted, and decides nothing; what it warns of counts.
func TestMinor(t *testing.T) {
	for _, c := range []struct {
		major, minor, want State
	}{{OK, Unknown, OK}, {Unknown, OK, Unknown}, {Skipped, Unknown, Unknown}, {OK, Warn, Warn}, {OK, Fail, Fail}, {OK, Crashed, Fail}} {
		r := Run(t.Context(), &host.Facts{}, []Check{{ID: "a.a", Run: says(c.major)}, {ID: "a.b", Minor: true, Run: says(c.minor)}})
		if r.Verdict != c.want || !r.Findings[1].Minor || r.Findings[0].Minor || r.Counts[c.minor] == 0 {
			t.Errorf("%s and a minor %s: %s", c.major, c.minor, r.Verdict)
		}
		b, err := r.JUnit()
		if red := strings.Contains(string(b), "<error") || strings.Contains(string(b), "<failure"); err != nil || red != (c.want == Fail || c.major == Unknown) {
			t.Errorf("%s and a minor %s as JUnit: %v\n%s", c.major, c.minor, err, b)
		}
		if c.minor == Unknown && !strings.Contains(r.Text(false), "[?]") {
			t.Errorf("an unknown is not told: %s", r.Text(false))
		}
	}
}
