package pep440

import (
	"fmt"
	"regexp"
	"strings"
)

// Requirement is one Requires-Dist line: a name, what versions of it, and when.
type Requirement struct {
	Name   string // normalised
	Extras []string
	Set    Set
	URL    string // instead of a set
	Marker *Marker
}

var (
	requirementHead = regexp.MustCompile(`^\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[([^\]]*)\])?\s*(.*)$`)
	separators      = regexp.MustCompile(`[-_.]+`)
)

// Normal is a distribution's name as the index compares it: lower case, "-" for every run of "-", "_" and ".".
func Normal(name string) string {
	return strings.ToLower(separators.ReplaceAllString(strings.TrimSpace(name), "-"))
}

// ParseRequirement reads a PEP 508 requirement.
func ParseRequirement(text string) (Requirement, error) {
	if len(text) > maxText {
		return Requirement{}, fmt.Errorf("parse requirement of %d bytes: %w", len(text), ErrInvalid)
	}
	m := requirementHead.FindStringSubmatch(text)
	if m == nil {
		return Requirement{}, fmt.Errorf("parse requirement %q: %w", text, ErrInvalid)
	}
	r := Requirement{Name: Normal(m[1])}
	for e := range strings.SplitSeq(m[2], ",") {
		if e = strings.TrimSpace(e); e != "" {
			r.Extras = append(r.Extras, Normal(e))
		}
	}
	rest, marker, marked := strings.Cut(m[3], ";")
	if at, url := strings.CutPrefix(m[3], "@"); url {
		rest, marker, marked = strings.Cut(at, " ;")
		r.URL = strings.TrimSpace(rest)
		rest = ""
	}
	rest = strings.TrimSpace(rest)
	if open, ok := strings.CutPrefix(rest, "("); ok { // the older form, "numpy (>=1.2)"
		if rest, ok = strings.CutSuffix(open, ")"); !ok {
			return Requirement{}, fmt.Errorf("parse requirement %q: %w", text, ErrInvalid)
		}
	}
	var err error
	if r.Set, err = ParseSet(rest); err != nil {
		return Requirement{}, fmt.Errorf("parse requirement %q: %w", text, err)
	}
	if marked {
		if r.Marker, err = ParseMarker(marker); err != nil {
			return Requirement{}, fmt.Errorf("parse requirement %q: %w", text, err)
		}
	}
	return r, nil
}

// Applies says whether the requirement holds in an environment. A variable that the environment does not name is empty.
func (r Requirement) Applies(env map[string]string) bool {
	return r.Marker == nil || r.Marker.Holds(env)
}
