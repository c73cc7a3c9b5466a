// Package pep440 reads the versions and requirements of Python distributions: PEP 440 versions and specifiers, PEP 508
// requirements with their markers. hashicorp/go-version orders the plain releases; it refuses "0.4.9.post6" and holds
// "2.4.0+cu121" equal to "2.4.0+cu118", so that epochs, pre-, post-, development and local parts are kept here.
//
// The judge is Python's own packaging library: testdata/vectors.py writes down what it answers.
package pep440

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/hashicorp/go-version"
)

// ErrInvalid says that a text is no version, specifier or requirement.
var ErrInvalid = errors.New("not valid")

// maxText bounds what is read from other people's metadata.
const maxText = 4096

// none is a part that a version does not have.
const none = -1

// Version is one PEP 440 version.
type Version struct {
	epoch   int64
	release *version.Version
	phase   string // of a pre-release: "a", "b" or "rc"; empty: none
	pre     int64
	post    int64
	dev     int64
	local   []string // lower case
	text    string   // as given; "===" compares it
}

var form = regexp.MustCompile(`(?i)^\s*v?(?:([0-9]+)!)?([0-9]+(?:\.[0-9]+)*)` +
	`(?:[-_.]?(alpha|a|beta|b|preview|pre|rc|c)[-_.]?([0-9]*))?` +
	`(?:-([0-9]+)|[-_.]?(post|rev|r)[-_.]?([0-9]*))?` +
	`(?:[-_.]?(dev)[-_.]?([0-9]*))?` +
	`(?:\+([a-z0-9]+(?:[-_.][a-z0-9]+)*))?\s*$`)

// phases are the spellings of a pre-release.
var phases = map[string]string{"alpha": "a", "a": "a", "beta": "b", "b": "b", "preview": "rc", "pre": "rc", "rc": "rc", "c": "rc"}

// Parse reads a version in any of the spellings that PEP 440 allows. It returns ErrInvalid for anything else, and for
// numbers that do not fit 63 bits.
func Parse(text string) (Version, error) {
	if len(text) > maxText {
		return Version{}, fmt.Errorf("parse version of %d bytes: %w", len(text), ErrInvalid)
	}
	m := form.FindStringSubmatch(text)
	if m == nil {
		return Version{}, fmt.Errorf("parse version %q: %w", text, ErrInvalid)
	}
	v := Version{text: text, phase: phases[strings.ToLower(m[3])], pre: none, post: none, dev: none}
	var bad error
	number := func(digits string) int64 {
		n, err := strconv.ParseInt("0"+digits, 10, 64)
		bad = errors.Join(bad, err)
		return n
	}
	v.epoch = number(m[1])
	if v.phase != "" {
		v.pre = number(m[4])
	}
	if m[5] != "" || m[6] != "" {
		v.post = number(m[5] + m[7])
	}
	if m[8] != "" {
		v.dev = number(m[9])
	}
	if m[10] != "" {
		v.local = strings.FieldsFunc(strings.ToLower(m[10]), func(r rune) bool { return strings.ContainsRune("-_.", r) })
	}
	var err error
	if v.release, err = version.NewVersion(m[2]); err != nil || bad != nil {
		return Version{}, fmt.Errorf("parse version %q: %w", text, ErrInvalid)
	}
	return v, nil
}

// String is the normal form.
func (v Version) String() string {
	s := v.Public()
	if len(v.local) > 0 {
		s += "+" + v.Local()
	}
	return s
}

// Public is the normal form without the local part.
func (v Version) Public() string {
	s := v.Base()
	if v.phase != "" {
		s += v.phase + strconv.FormatInt(v.pre, 10)
	}
	if v.post != none {
		s += ".post" + strconv.FormatInt(v.post, 10)
	}
	if v.dev != none {
		s += ".dev" + strconv.FormatInt(v.dev, 10)
	}
	return s
}

// Base is the epoch and the release.
func (v Version) Base() string {
	var b strings.Builder
	if v.epoch != 0 {
		fmt.Fprintf(&b, "%d!", v.epoch)
	}
	for i, n := range v.Release() {
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(strconv.FormatInt(n, 10))
	}
	return b.String()
}

// Local is what follows the plus: "cu121".
func (v Version) Local() string {
	parts := make([]string, len(v.local))
	for i, p := range v.local {
		parts[i] = p
		if n, ok := numeric(p); ok {
			parts[i] = n
		}
	}
	return strings.Join(parts, ".")
}

// Release is the numbers of the release, as many as were written.
func (v Version) Release() []int64 {
	if v.release == nil {
		return nil
	}
	all := v.release.Segments64()
	// go-version fills up to three.
	return all[:min(len(all), strings.Count(v.release.Original(), ".")+1)]
}

// Prerelease says whether the version is a pre-release or a development release.
func (v Version) Prerelease() bool { return v.phase != "" || v.dev != none }

// Compare orders two versions: -1, 0 or 1.
func (v Version) Compare(w Version) int {
	if c := v.comparePublic(w); c != 0 {
		return c
	}
	return compareLocal(v.local, w.local)
}

func (v Version) comparePublic(w Version) int {
	if c := cmp.Compare(v.epoch, w.epoch); c != 0 {
		return c
	}
	if c := v.release.Compare(w.release); c != 0 {
		return c
	}
	vp, wp := v.stage(), w.stage()
	for i := range vp {
		if c := cmp.Compare(vp[i], wp[i]); c != 0 {
			return c
		}
	}
	return 0
}

// stage orders versions of one release: 1.dev0 < 1a0.dev0 < 1a0 < 1a0.post0 < 1b0 < 1rc0 < 1 < 1.post0.dev0 < 1.post0.
func (v Version) stage() [4]int64 {
	const last = 1<<63 - 1
	s := [4]int64{4, v.pre, v.post, v.dev}
	switch {
	case v.phase != "":
		s[0] = map[string]int64{"a": 1, "b": 2, "rc": 3}[v.phase]
	case v.post == none && v.dev != none:
		s[0] = 0
	}
	if v.dev == none {
		s[3] = last
	}
	return s
}

// compareLocal orders local parts segment by segment: none < word < number.
func compareLocal(v, w []string) int {
	for i := 0; i < len(v) && i < len(w); i++ {
		a, aNumber := numeric(v[i])
		b, bNumber := numeric(w[i])
		var c int
		switch {
		case aNumber != bNumber && aNumber:
			c = 1
		case aNumber != bNumber:
			c = -1
		case aNumber:
			c = cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
		default:
			c = strings.Compare(v[i], w[i])
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(len(v), len(w))
}

// numeric is a number's digits without leading zeros.
func numeric(s string) (digits string, ok bool) {
	if strings.Trim(s, "0123456789") != "" {
		return "", false
	}
	if s = strings.TrimLeft(s, "0"); s == "" {
		s = "0"
	}
	return s, true
}
