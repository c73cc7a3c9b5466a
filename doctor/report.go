package doctor

import (
	_ "embed"
	"encoding/xml"
	"fmt"
	"strings"
)

// Schema names the shape of a report in JSON. It grows by additions only; what would break a reader gets a new number.
const Schema = "radish.doctor/1"

// JSONSchema describes Report as JSON, in JSON Schema draft 2020-12.
//
//go:embed report.schema.json
var JSONSchema []byte

// Report is everything one run found.
type Report struct {
	Schema   string        `json:"schema"`
	Time     string        `json:"time"` // RFC 3339, UTC
	Verdict  State         `json:"verdict"`
	Counts   map[State]int `json:"counts"`
	Findings []Finding     `json:"findings"`
}

var states = []State{OK, Warn, Fail, Unknown, Skipped, Crashed}

// count sets Counts and Verdict: fail if anything failed or crashed, else warn if anything warned, else unknown if
// anything but a minor check is unknown or nothing at all was seen to be well, else ok.
func (r *Report) count() {
	r.Counts = make(map[State]int, len(states))
	for _, s := range states {
		r.Counts[s] = 0
	}
	unknown := 0
	for _, f := range r.Findings {
		r.Counts[f.State]++
		if f.State == Unknown && !f.Minor {
			unknown++
		}
	}
	switch {
	case r.Counts[Fail]+r.Counts[Crashed] > 0:
		r.Verdict = Fail
	case r.Counts[Warn] > 0:
		r.Verdict = Warn
	case unknown > 0 || r.Counts[OK] == 0:
		r.Verdict = Unknown
	default:
		r.Verdict = OK
	}
}

// marks are ASCII and carry the state without colour.
var marks = map[State]string{OK: "[ok]", Warn: "[warn]", Fail: "[FAIL]", Unknown: "[?]", Skipped: "[skip]", Crashed: "[crash]"}

// Text is the report for a person: each family in one line while it is well, and every problem with its evidence, rule
// and fix. With all, every finding is told in full.
func (r *Report) Text(all bool) string {
	var b strings.Builder
	for i := 0; i < len(r.Findings); {
		j := i
		for j < len(r.Findings) && r.Findings[j].Family == r.Findings[i].Family {
			j++
		}
		writeFamily(&b, r.Findings[i:j], all)
		i = j
	}
	fmt.Fprintf(&b, "\nverdict: %s (", r.Verdict)
	sep := ""
	for _, s := range states {
		if n := r.Counts[s]; n > 0 {
			fmt.Fprintf(&b, "%s%d %s", sep, n, s)
			sep = ", "
		}
	}
	b.WriteString(")\n")
	return b.String()
}

func writeFamily(b *strings.Builder, family []Finding, all bool) {
	n := map[State]int{}
	for _, f := range family {
		n[f.State]++
	}
	fmt.Fprintf(b, "%s: %d ok", family[0].Family, n[OK])
	if n[Skipped] > 0 {
		fmt.Fprintf(b, ", %d skipped", n[Skipped])
	}
	b.WriteByte('\n')
	toldSkip := false
	for _, f := range family {
		switch {
		case all || (f.State != OK && f.State != Skipped):
			writeFinding(b, f)
		case f.State == Skipped && !toldSkip:
			fmt.Fprintf(b, "  %-7s %s: %s\n", marks[f.State], f.ID, f.Summary)
			toldSkip = true
		}
	}
}

func writeFinding(b *strings.Builder, f Finding) {
	fmt.Fprintf(b, "  %-7s %s: %s\n", marks[f.State], f.ID, f.Summary)
	for _, e := range f.Evidence {
		fmt.Fprintf(b, "          %s = %s\n", e.Source, e.Value)
	}
	if f.Rule != "" {
		fmt.Fprintf(b, "          rule: %s\n", f.Rule)
	}
	if f.Fix != nil {
		fmt.Fprintf(b, "          fix:  %s\n", f.Fix.Text)
		if len(f.Fix.Argv) > 0 {
			fmt.Fprintf(b, "                %s\n", strings.Join(f.Fix.Argv, " "))
		}
	}
}

// Changes tells, one line each, the findings whose state differs from an earlier report's; empty if none does.
func (r *Report) Changes(earlier *Report) string {
	was := make(map[string]State, len(earlier.Findings))
	for _, f := range earlier.Findings {
		was[f.ID] = f.State
	}
	var b strings.Builder
	for _, f := range r.Findings {
		if before, known := was[f.ID]; known && before != f.State {
			fmt.Fprintf(&b, "%s %s: %s -> %s: %s\n", r.Time, f.ID, before, f.State, f.Summary)
		}
	}
	return b.String()
}

type suite struct {
	XMLName  xml.Name   `xml:"testsuite"`
	Name     string     `xml:"name,attr"`
	Tests    int        `xml:"tests,attr"`
	Failures int        `xml:"failures,attr"`
	Errors   int        `xml:"errors,attr"`
	Skipped  int        `xml:"skipped,attr"`
	Time     string     `xml:"timestamp,attr"`
	Cases    []testcase `xml:"testcase"`
}

type testcase struct {
	Class   string   `xml:"classname,attr"`
	Name    string   `xml:"name,attr"`
	Failure *message `xml:"failure,omitempty"`
	Error   *message `xml:"error,omitempty"`
	Skipped *message `xml:"skipped,omitempty"`
	Out     string   `xml:"system-out,omitempty"`
}

type message struct {
	Text string `xml:"message,attr"`
}

// JUnit is the report as one JUnit testsuite: fail becomes a failure, unknown and crashed become errors, skipped stays
// skipped, and a warning passes with its text in system-out. A minor check's unknown, which does not decide the verdict,
// is skipped with its reason: JUnit has no word for it that neither fails a build nor passes.
func (r *Report) JUnit() ([]byte, error) {
	s := suite{Name: "radish doctor", Tests: len(r.Findings), Time: r.Time}
	for _, f := range r.Findings {
		c := testcase{Class: f.Family, Name: f.ID}
		switch {
		case f.State == Fail:
			c.Failure = &message{f.Summary}
			s.Failures++
		case f.State == Unknown && f.Minor:
			c.Skipped = &message{"unknown: " + f.Summary}
			s.Skipped++
		case f.State == Unknown || f.State == Crashed:
			c.Error = &message{string(f.State) + ": " + f.Summary}
			s.Errors++
		case f.State == Skipped:
			c.Skipped = &message{f.Summary}
			s.Skipped++
		default:
			c.Out = string(f.State) + ": " + f.Summary
		}
		s.Cases = append(s.Cases, c)
	}
	b, err := xml.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode junit: %w", err)
	}
	return append([]byte(xml.Header), append(b, '\n')...), nil
}
