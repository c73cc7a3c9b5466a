package pep440

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Set is a set of specifiers, all of which must hold: ">=2.4,!=2.5.0,<3".
type Set []Specifier

// Specifier is one comparison.
type Specifier struct {
	op      string
	version Version
	prefix  bool   // "==1.2.*"
	text    string // what "===" compares
}

var comparison = regexp.MustCompile(`^\s*(===|==|~=|!=|<=|>=|<|>)\s*(\S+)\s*$`)

// ParseSet reads specifiers with commas between them. An empty text is the set that every version satisfies.
func ParseSet(text string) (Set, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("parse specifiers of %d bytes: %w", len(text), ErrInvalid)
	}
	var set Set
	for part := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		s, err := parseSpecifier(part)
		if err != nil {
			return nil, err
		}
		set = append(set, s)
	}
	return set, nil
}

func parseSpecifier(text string) (Specifier, error) {
	bad := fmt.Errorf("parse specifier %q: %w", text, ErrInvalid)
	m := comparison.FindStringSubmatch(text)
	if m == nil {
		return Specifier{}, bad
	}
	s := Specifier{op: m[1], text: m[2]}
	if s.op == "===" {
		return s, nil
	}
	plain := m[2]
	if s.op == "==" || s.op == "!=" {
		plain, s.prefix = strings.CutSuffix(plain, ".*")
	}
	v, err := Parse(plain)
	if err != nil {
		return Specifier{}, bad
	}
	s.version = v
	switch {
	case s.prefix && (v.Prerelease() || v.post != none || v.local != nil),
		v.local != nil && s.op != "==" && s.op != "!=",
		s.op == "~=" && len(v.Release()) < 2:
		return Specifier{}, bad
	}
	return s, nil
}

// String is the specifier as it was written, without blanks.
func (s Specifier) String() string { return s.op + s.text }

// String is the set as it was written, without blanks.
func (set Set) String() string {
	parts := make([]string, len(set))
	for i, s := range set {
		parts[i] = s.String()
	}
	return strings.Join(parts, ",")
}

// Holds says whether v satisfies every specifier. Pre-releases count: what is judged is installed already.
func (set Set) Holds(v Version) bool {
	for _, s := range set {
		if !s.Holds(v) {
			return false
		}
	}
	return true
}

// Holds says whether v satisfies the specifier.
func (s Specifier) Holds(v Version) bool {
	w := s.version
	switch s.op {
	case "===":
		return strings.EqualFold(v.text, s.text)
	case "==":
		return s.equal(v)
	case "!=":
		return !s.equal(v)
	case "~=":
		up := Specifier{op: "==", version: w.shortened(), prefix: true}
		return v.comparePublic(w) >= 0 && up.equal(v)
	case "<=":
		return v.comparePublic(w) <= 0
	case ">=":
		return v.comparePublic(w) >= 0
	case "<":
		if !w.Prerelease() {
			w.dev = 0 // the pre-releases of w are not before w
		}
		return v.Compare(w) < 0
	}
	return v.comparePublic(w) > 0 && !v.postOf(w)
}

// postOf says whether v is a post-release of w, which is not after w.
func (v Version) postOf(w Version) bool {
	if w.post != none || w.dev != none || v.post == none {
		return false
	}
	v.post, v.dev = none, none
	return v.comparePublic(w) == 0
}

// equal ignores the local part of v unless the specifier names one.
func (s Specifier) equal(v Version) bool {
	w := s.version
	if !s.prefix {
		return v.comparePublic(w) == 0 && (w.local == nil || compareLocal(v.local, w.local) == 0)
	}
	a, b := v.Release(), w.Release()
	for len(a) < len(b) {
		a = append(slices.Clip(a), 0)
	}
	return v.epoch == w.epoch && slices.Equal(a[:len(b)], b)
}

// shortened is the release without its last number, which "~=" lets grow.
func (v Version) shortened() Version {
	r := v.Release()
	parts := make([]string, 0, len(r))
	for _, n := range r[:len(r)-1] {
		parts = append(parts, fmt.Sprint(n))
	}
	w, err := Parse(fmt.Sprintf("%d!%s", v.epoch, strings.Join(parts, ".")))
	if err != nil {
		return Version{release: v.release, pre: none, post: none, dev: none} // cannot be: the parts were numbers
	}
	return w
}
