// Package doctor judges a machine before a server is started on it. A check is declared data: an id, a title, what it
// depends on, a deadline and a function from the machine's facts to a finding. Run takes the checks in the order of
// their dependencies, side by side where they can be, each in isolation: one that panics is "crashed", one that does
// not answer is "unknown", and neither hides the others.
//
// Six states: ok, warn, fail, unknown, skipped, crashed. Unknown is a state of its own and never counts as ok: a doctor
// that could not look has not seen health. Skipped means that the check does not apply here, or that what it depends on
// is not well.
//
//	facts := host.Read(ctx, host.Options{Environ: os.Environ()})
//	report := doctor.Run(ctx, facts, check.All())
//
// The package changes nothing and ends no process. A finding carries what a person needs to disbelieve it: the path or
// call and its raw value, the rule with its number, and the fix as an argument vector.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"path"
	"time"

	"radish/doctor/host"
)

// State is a verdict.
type State string

// The six states.
const (
	OK      State = "ok"
	Warn    State = "warn"
	Fail    State = "fail"
	Unknown State = "unknown"
	Skipped State = "skipped"
	Crashed State = "crashed"
)

// Check is one question about a machine.
type Check struct {
	ID        string // "family.name", stable across releases
	Title     string
	Family    string
	DependsOn []string      // ids; a check is skipped unless all of them are ok or warn
	Minor     bool          // that it could not tell does not make the report's verdict unknown
	Timeout   time.Duration // 0 means two seconds
	Run       func(context.Context, *host.Facts) Finding
}

// Finding is a check's answer. Run fills in ID, Title, Family and Minor.
type Finding struct {
	ID       string     `json:"id"`
	Title    string     `json:"title"`
	Family   string     `json:"family"`
	State    State      `json:"state"`
	Minor    bool       `json:"minor,omitempty"`
	Summary  string     `json:"summary"`
	Evidence []Evidence `json:"evidence"`
	Rule     string     `json:"rule"` // with its number
	Fix      *Fix       `json:"fix,omitempty"`
}

// Evidence is one raw value and the path or call it came from.
type Evidence struct {
	Source string `json:"source"`
	Value  string `json:"value"`
}

// FixKind says who has to act, and where.
type FixKind string

// The kinds of fix. On a rented machine nobody can restart the host: the pod is made anew or moved.
const (
	RunCommand   FixKind = "RUN_COMMAND"
	SetFlag      FixKind = "SET_FLAG"
	EditTemplate FixKind = "EDIT_TEMPLATE"
	RecreatePod  FixKind = "RECREATE_POD"
	ChangeHost   FixKind = "CHANGE_HOST"
)

// Fix is what to do about a finding.
type Fix struct {
	Kind        FixKind  `json:"kind"`
	Text        string   `json:"text"`
	Argv        []string `json:"argv,omitempty"`
	Destructive bool     `json:"destructive"`
	NeedsRoot   bool     `json:"needs_root"`
}

// Safe says whether the fix may be applied after showing it: a command that destroys nothing and needs no root.
func (f *Fix) Safe() bool {
	return f != nil && f.Kind == RunCommand && len(f.Argv) > 0 && !f.Destructive && !f.NeedsRoot
}

// ErrNoSuchCheck says that a name given to Select matches no check.
var ErrNoSuchCheck = errors.New("no such check")

// Select keeps the checks that only names, and drops those that skip names. A name is an id, a family or a pattern of
// path.Match; an empty only means all. What a kept check depends on is kept with it.
func Select(checks []Check, only, skip []string) ([]Check, error) {
	for _, name := range append(append([]string{}, only...), skip...) {
		if !anyNamed(checks, name) {
			return nil, fmt.Errorf("select %q: %w", name, ErrNoSuchCheck)
		}
	}
	keep := map[string]bool{}
	for _, c := range checks {
		if len(only) == 0 || named(c, only) {
			keepWithCauses(checks, c.ID, keep)
		}
	}
	var kept []Check
	for _, c := range checks {
		if keep[c.ID] && !named(c, skip) {
			kept = append(kept, c)
		}
	}
	return kept, nil
}

func keepWithCauses(checks []Check, id string, keep map[string]bool) {
	if keep[id] {
		return
	}
	keep[id] = true
	for _, c := range checks {
		if c.ID == id {
			for _, d := range c.DependsOn {
				keepWithCauses(checks, d, keep)
			}
		}
	}
}

func anyNamed(checks []Check, name string) bool {
	for _, c := range checks {
		if named(c, []string{name}) {
			return true
		}
	}
	return false
}

func named(c Check, names []string) bool {
	for _, n := range names {
		if hit, err := path.Match(n, c.ID); n == c.Family || (err == nil && hit) {
			return true
		}
	}
	return false
}
