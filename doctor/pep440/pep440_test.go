package pep440

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// vectors is what Python's packaging library answers; testdata/vectors.py writes it.
type vectors struct {
	Environments []map[string]string
	Versions     []struct {
		Text, Normal, Public, Base, Local string
		Pre                               bool
		Release                           []int64
		Rank                              int
	}
	NotVersions []string `json:"not_versions"`
	Specifiers  []struct {
		Text, Holds string // one digit for each of Versions
	}
	NotSpecifiers []string `json:"not_specifiers"`
	Requirements  []struct {
		Text, Name, URL string
		Extras          []string
		Two             bool // does version 2.0 satisfy it
		Applies         []bool
	}
	NotRequirements []string `json:"not_requirements"`
	Markers         []struct {
		Text  string
		Holds []bool
	}
	NotMarkers []string `json:"not_markers"`
}

func judge(t *testing.T) vectors {
	t.Helper()
	b, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Versions) < 150 || len(v.Specifiers) < 50 || len(v.Markers) < 20 {
		t.Fatal("too few vectors to judge by")
	}
	return v
}

func must(t *testing.T, text string) Version {
	t.Helper()
	v, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// beyond is what packaging reads and this package refuses on purpose: numbers that do not fit 63 bits.
const beyond = "99999999999999999999"

func TestVersions(t *testing.T) {
	want := judge(t)
	for _, w := range want.Versions {
		v := must(t, w.Text)
		if v.String() != w.Normal || v.Public() != w.Public || v.Base() != w.Base || v.Local() != w.Local || v.Prerelease() != w.Pre || !slices.Equal(v.Release(), w.Release) {
			t.Errorf("%q is %q %q %q %q %v %v, want %+v", w.Text, v, v.Public(), v.Base(), v.Local(), v.Prerelease(), v.Release(), w)
		}
		for _, x := range want.Versions {
			if got, wanted := v.Compare(must(t, x.Text)), sign(w.Rank-x.Rank); got != wanted {
				t.Errorf("compare %q with %q: %d, want %d", w.Text, x.Text, got, wanted)
			}
		}
	}
	for _, text := range append(want.NotVersions, beyond) {
		if v, err := Parse(text); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q was read as %q, %v", text, v, err)
		}
	}
}

func sign(n int) int { return min(1, max(-1, n)) }

func TestSpecifiers(t *testing.T) {
	want := judge(t)
	for _, w := range want.Specifiers {
		set, err := ParseSet(w.Text)
		if err != nil {
			t.Error(err)
			continue
		}
		for i, v := range want.Versions {
			if got := set.Holds(must(t, v.Text)); got != (w.Holds[i] == '1') {
				t.Errorf("%q satisfies %q: %v", v.Text, w.Text, got)
			}
		}
	}
	for _, text := range want.NotSpecifiers {
		if set, err := ParseSet(text); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q was read as %v, %v", text, set, err)
		}
	}
}

func TestRequirements(t *testing.T) {
	want := judge(t)
	for _, w := range want.Requirements {
		r, err := ParseRequirement(w.Text)
		if err != nil {
			t.Error(err)
			continue
		}
		slices.Sort(r.Extras)
		if r.Name != w.Name || r.URL != w.URL || !slices.Equal(r.Extras, w.Extras) || r.Set.Holds(must(t, "2.0")) != w.Two {
			t.Errorf("%q is %+v, want %+v", w.Text, r, w)
		}
		for i, env := range want.Environments {
			if got := r.Applies(env); got != w.Applies[i] {
				t.Errorf("%q applies in environment %d: %v", w.Text, i, got)
			}
		}
	}
	for _, text := range want.NotRequirements {
		if r, err := ParseRequirement(text); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q was read as %+v, %v", text, r, err)
		}
	}
}

func TestMarkers(t *testing.T) {
	want := judge(t)
	for _, w := range want.Markers {
		m, err := ParseMarker(w.Text)
		if err != nil {
			t.Error(err)
			continue
		}
		for i, env := range want.Environments {
			if got := m.Holds(env); got != w.Holds[i] {
				t.Errorf("%q holds in environment %d: %v", w.Text, i, got)
			}
		}
	}
	for _, text := range want.NotMarkers {
		if m, err := ParseMarker(text); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q was read as %+v, %v", text, m, err)
		}
	}
}

// TestNormalFormIsAFixedPoint: what String writes is read as the same version.
func TestNormalFormIsAFixedPoint(t *testing.T) {
	text := rapid.StringMatching(`(v|[0-9]!)?[0-9]{1,3}(\.[0-9]{1,3}){0,4}([-_.]?(a|b|rc|pre)[0-9]?)?(\.post[0-9])?(\.?dev[0-9]?)?(\+[a-z0-9]{1,4}([-._][a-z0-9]{1,3})?)?`)
	rapid.Check(t, func(t *rapid.T) {
		v, err := Parse(text.Draw(t, "version"))
		if err != nil {
			t.Fatal(err)
		}
		w, err := Parse(v.String())
		if err != nil || v.Compare(w) != 0 || w.String() != v.String() {
			t.Fatalf("%q became %q, %v", v, w, err)
		}
	})
}

func FuzzRequirement(f *testing.F) {
	f.Add(`a[b]>=1.0,<2; python_version < "3" and (extra == 'x')`)
	f.Add(strings.Repeat("(", 200))
	f.Fuzz(func(t *testing.T, text string) {
		if r, err := ParseRequirement(text); err == nil {
			r.Applies(map[string]string{"python_version": "3.12"})
			r.Set.Holds(Version{release: must(t, "1").release, pre: none, post: none, dev: none})
		}
	})
}
