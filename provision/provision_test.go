package provision

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

var errBroken = errors.New("broken")

// machine is a toy that steps change; killed makes a step panic half way, as a kill would end it.
type machine struct {
	have   map[string]bool
	log    []string
	killed string
}

func (m *machine) steps(names ...string) []Step {
	var all []Step
	for _, name := range names {
		all = append(all, Step{Name: name, Changes: true,
			Look: func(context.Context) (Standing, error) {
				return Standing{Done: m.have[name], Text: "make " + name}, nil
			},
			Do: func(context.Context) (Standing, error) {
				m.log = append(m.log, name)
				if m.killed == name {
					panic("killed")
				}
				m.have[name] = true
				return Standing{Done: true, Text: name + " made", Changed: []string{name}}, nil
			}})
	}
	return all
}

func open(t interface {
	Fatal(...any)
	Helper()
}, dir string) *Journal {
	t.Helper()
	j, err := OpenJournal(filepath.Join(dir, "j", "setup.json"), filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// Killed at any step, with any of them done before, the next run does what is missing and nothing twice, and the journal
// says what was interrupted.
func TestApplyAfterKill(t *testing.T) {
	top := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(top, "")
		if err != nil {
			t.Fatal(err)
		}
		names := []string{"a", "b", "c", "d"}
		m := &machine{have: map[string]bool{}}
		for _, name := range names {
			m.have[name] = rapid.Bool().Draw(t, name)
		}
		m.killed = rapid.SampledFrom(names).Draw(t, "killed")
		before := !m.have[m.killed]
		j := open(t, dir)
		func() {
			defer func() { _ = recover() }()
			if _, err := Apply(context.Background(), m.steps(names...), j, nil); err != nil {
				t.Fatal(err)
			}
		}()
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		m.killed, m.log = "", nil
		missing := 0
		for _, name := range names {
			if !m.have[name] {
				missing++
			}
		}
		j = open(t, dir)
		defer j.Close()
		results, err := Apply(context.Background(), m.steps(names...), j, nil)
		if err != nil || len(results) != len(names) || len(m.log) != missing {
			t.Fatalf("%v, %d results, %d of %d done: %q", err, len(results), len(m.log), missing, m.log)
		}
		interruptions := 0
		for _, e := range j.Entries() {
			if e.State == interrupted {
				interruptions++
			} else if e.State != string(Done) || len(e.Changed) != 1 {
				t.Fatalf("entry %+v", e)
			}
		}
		if (interruptions == 1) != before {
			t.Fatalf("%d interruptions", interruptions)
		}
	})
}

// Plan does nothing and goes through to the end; Apply ends at the first failure and keeps it.
func TestPlanAndFailure(t *testing.T) {
	m := &machine{have: map[string]bool{"b": true}}
	var told []string
	tell := func(r Result) { told = append(told, r.Step+" "+string(r.State)) }
	if _, err := Plan(t.Context(), m.steps("a", "b"), tell); err != nil || len(m.log) > 0 {
		t.Errorf("%v, done %q", err, m.log)
	}
	if want := []string{"a would", "b already"}; !slices.Equal(told, want) {
		t.Errorf("told %q", told)
	}
	told = nil
	dir := t.TempDir()
	j := open(t, dir)
	steps := append(m.steps("a"), Step{Name: "bad", Changes: true,
		Look: func(context.Context) (Standing, error) { return Standing{Text: "try"}, nil },
		Do:   func(context.Context) (Standing, error) { return Standing{}, fmt.Errorf("do: %w", errBroken) }})
	_, err := Apply(t.Context(), append(steps, m.steps("c")...), j, tell)
	if !errors.Is(err, errBroken) || m.have["c"] {
		t.Errorf("%v, %v", err, m.have)
	}
	if want := []string{"a begun", "a done", "bad begun", "bad failed"}; !slices.Equal(told, want) {
		t.Errorf("told %q", told)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, dir)
	defer j.Close()
	if e := j.Entries(); len(e) != 2 || e[1].State != string(Failed) || e[1].Error != "do: broken" {
		t.Errorf("entries %+v", e)
	}
}

// One at a time; a journal that cannot be read is not written over.
func TestJournalIsHeld(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	if _, err := OpenJournal(j.file, filepath.Join(dir, "lock")); !errors.Is(err, ErrBusy) {
		t.Errorf("second: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(j.file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenJournal(j.file, filepath.Join(dir, "lock")); err == nil {
		t.Error("half a journal was read")
	}
	if b, err := os.ReadFile(j.file); err != nil || string(b) != "{" {
		t.Errorf("it is %q now (%v)", b, err)
	}
	if err := os.Remove(j.file); err != nil {
		t.Fatal(err)
	}
	open(t, dir).Close() // the refusal has let the lock go
}

// The journal does not grow for ever.
func TestJournalIsBounded(t *testing.T) {
	j := open(t, t.TempDir())
	defer j.Close()
	for i := range mostEntries + 10 {
		if err := j.begin(fmt.Sprint(i), ""); err != nil {
			t.Fatal(err)
		}
		if err := j.end(Standing{}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if e := j.Entries(); len(e) != mostEntries || e[len(e)-1].Step != fmt.Sprint(mostEntries+9) {
		t.Errorf("%d entries, the last is %+v", len(e), e[len(e)-1])
	}
}
