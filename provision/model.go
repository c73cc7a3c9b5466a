package provision

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"radish/provision/hub"
	"radish/provision/store"
)

// configFile is what says how large a model is.
const configFile = store.Path("config.json")

// Model brings a model from a hub into a store. It is for one goroutine.
type Model struct {
	Client  *hub.Client
	Store   *store.Store
	Request hub.Request
	Journal *Journal
	// Observe makes the observer of a pull and says how to end it; nil: nobody watches. Checked is told of every file
	// that was read again.
	Observe func(*hub.Plan) (hub.Observer, func())
	Checked func(store.Finding)
	Bytes   func(int64) string // writes a size for a person
	// Settled says that what the store holds is good enough if it is whole: the hub is not asked for a newer one.
	Settled bool

	plan *hub.Plan
	old  bool // the hub could not be asked
}

// Plan says what there is and what is missing. When the hub cannot be reached, or has no time, a model that the store
// holds whole is good enough.
func (m *Model) Plan(ctx context.Context) (*hub.Plan, error) {
	if m.plan != nil {
		return m.plan, nil
	}
	here, herr := m.here(ctx)
	if herr == nil && m.Settled {
		m.plan = here
		return here, nil
	}
	p, err := m.Client.Plan(ctx, m.Store, m.Request)
	if herr == nil && (hub.IsNetwork(err) || errors.Is(err, hub.ErrLimited)) {
		m.old = true
		p, err = here, nil
	}
	m.plan = p
	return p, err
}

// here plans without the network. Errors: what is not here in full.
func (m *Model) here(ctx context.Context) (*hub.Plan, error) {
	c, err := hub.New(hub.Options{Offline: true})
	if err != nil {
		return nil, err
	}
	p, err := c.Plan(ctx, m.Store, m.Request)
	if err == nil && p.Missing() > 0 {
		err = fmt.Errorf("%s is %w: %d bytes are missing", p.Repo, store.ErrNotCached, p.Missing())
	}
	return p, err
}

// Config is the model's config.json, from the store or from the hub; nothing is written.
func (m *Model) Config(ctx context.Context) ([]byte, error) {
	p, err := m.Plan(ctx)
	if err != nil {
		return nil, err
	}
	return m.Client.Small(ctx, p, configFile)
}

// CheckRoom says store.ErrNoSpace if the disk or a quota does not hold what is missing.
func (m *Model) CheckRoom(ctx context.Context) error {
	p, err := m.Plan(ctx)
	if err != nil {
		return err
	}
	return m.Client.CheckRoom(p)
}

func (m *Model) dir() string {
	return filepath.Join(m.Store.RepoDir(m.plan.Repo), "snapshots", string(m.plan.Commit))
}

func (m *Model) snapshot() store.Snapshot {
	return store.Snapshot{Repo: m.plan.Repo, Commit: m.plan.Commit, Dir: m.dir()}
}

// linked says whether every file is where a reader looks for it, and the revision is named: a pull does both last.
func (m *Model) linked() bool {
	snap, err := m.Store.Find(m.plan.Repo, m.plan.Rev)
	if err != nil || snap.Commit != m.plan.Commit {
		return false
	}
	for _, p := range m.plan.Wanted {
		if info, err := os.Stat(filepath.Join(snap.Dir, string(p))); err != nil || info.Size() != m.plan.Tree[p].Size {
			return false
		}
	}
	return true
}

// Pull is the step that fetches what is missing.
func (m *Model) Pull() Step {
	return Step{Name: "pull", Changes: true, Do: m.pull, Look: func(ctx context.Context) (Standing, error) {
		p, err := m.Plan(ctx)
		if err != nil {
			return Standing{}, err
		}
		s := Standing{Done: p.Missing() == 0 && m.linked()}
		s.Text = fmt.Sprintf("%s@%.12s: %d files, %s, %s to fetch into %s", p.Repo, p.Commit, len(p.Wanted), m.Bytes(p.Total), m.Bytes(p.Missing()), m.Store.Dir)
		if s.Done {
			s.Text = "whole in " + m.dir()
			if m.old {
				s.Text += " (the hub cannot be asked whether it is the newest)"
			}
		}
		return s, nil
	}}
}

func (m *Model) pull(ctx context.Context) (Standing, error) {
	w := &witness{waited: map[store.Path]bool{}}
	if m.Observe != nil {
		var done func()
		w.next, done = m.Observe(m.plan)
		defer done()
	}
	snap, err := m.Client.Pull(ctx, m.plan, w)
	if err != nil {
		return Standing{}, err
	}
	// What this pull fetched it has hashed as it came.
	var came []stamp
	fetched := m.plan.Missing()
	for _, f := range m.plan.Files {
		for _, p := range f.Paths {
			now := f.Done < f.Size || f.Size == 0 // where there are no bytes, none is wrong
			if s, err := stampOf(snap.Dir, p, f.Hash); err == nil && now && !w.waited[f.Paths[0]] {
				came = append(came, s)
			}
		}
	}
	if err := m.Journal.verified(snap.Dir, came); err != nil {
		return Standing{}, err
	}
	m.plan.Have = m.plan.Total
	return Standing{Done: true, Text: fmt.Sprintf("%s fetched into %s", m.Bytes(fetched), snap.Dir), Changed: []string{snap.Dir}}, nil
}

// witness notes which files somebody else may have fetched, whose work nobody has hashed.
type witness struct {
	next   hub.Observer
	mu     sync.Mutex
	waited map[store.Path]bool
}

// Note implements hub.Observer.
func (w *witness) Note(n hub.Note) {
	if n.Kind == hub.NoteWait && n.Path != "" {
		w.mu.Lock()
		w.waited[n.Path] = true
		w.mu.Unlock()
	}
	if w.next != nil {
		w.next.Note(n)
	}
}

// Bytes implements hub.Observer.
func (w *witness) Bytes(p store.Path, n int64) {
	if w.next != nil {
		w.next.Bytes(p, n)
	}
}

// Verify is the step that knows every file's hash to be the hub's. What was hashed once is not read again for as long
// as the file is the same one, by size, inode and time.
func (m *Model) Verify() Step {
	return Step{Name: "verify", Changes: true, Do: m.verify, Look: func(ctx context.Context) (Standing, error) {
		p, err := m.Plan(ctx)
		if err != nil {
			return Standing{}, err
		}
		unknown := 0
		for _, path := range p.Wanted {
			s, err := stampOf(m.dir(), path, p.Tree[path].Hash())
			if err != nil || !m.Journal.knows(m.dir(), s) {
				unknown++
			}
		}
		if unknown == 0 {
			return Standing{Done: true, Text: fmt.Sprintf("all %d files have the hashes that the hub gave", len(p.Wanted))}, nil
		}
		return Standing{Text: fmt.Sprintf("read %d files, compare their hashes", len(p.Wanted))}, nil
	}}
}

// verify reads every file, and fetches once more what is not right.
func (m *Model) verify(ctx context.Context) (Standing, error) {
	bad, err := m.check(ctx)
	if err != nil {
		return Standing{}, err
	}
	s := Standing{Done: true, Text: fmt.Sprintf("all %d files read, their hashes are the hub's", len(m.plan.Wanted))}
	if len(bad) == 0 {
		return s, nil
	}
	for _, f := range bad {
		if err := m.Store.Discard(m.snapshot(), f); err != nil {
			return s, err
		}
	}
	m.plan = nil // it counts as there what was taken out just now
	if _, err := m.Plan(ctx); err != nil {
		return s, fmt.Errorf("fetch again what was corrupt: %w", err)
	}
	if _, err := m.pull(ctx); err != nil {
		return s, fmt.Errorf("fetch again what was corrupt: %w", err)
	}
	again, err := m.check(ctx)
	if err == nil && len(again) > 0 {
		err = fmt.Errorf("verify %s: %w: %s", m.plan.Repo, hub.ErrHash, again[0].Path)
	}
	s.Text += fmt.Sprintf(" (%d were not and have been fetched again)", len(bad))
	for _, f := range bad {
		s.Changed = append(s.Changed, filepath.Join(m.dir(), string(f.Path)))
	}
	return s, err
}

// check reads the files and keeps in the journal which are good.
func (m *Model) check(ctx context.Context) (bad []store.Finding, err error) {
	snap := m.snapshot()
	var good []stamp
	err = m.Store.Verify(ctx, snap, false, func(f store.Finding) {
		if m.Checked != nil {
			m.Checked(f)
		}
		want, asked := m.plan.Tree[f.Path]
		s, serr := stampOf(snap.Dir, f.Path, f.Want)
		switch {
		case f.State == store.Good && serr == nil && (!asked || f.Want == want.Hash()):
			good = append(good, s)
		case asked:
			bad = append(bad, f)
		}
	})
	if err != nil {
		return nil, err
	}
	return bad, m.Journal.verified(snap.Dir, good)
}

// stamp tells a file that was hashed from one that was changed or exchanged since.
type stamp struct {
	Path  store.Path `json:"path"`
	Hash  store.Hash `json:"hash"`
	Size  int64      `json:"bytes"`
	Inode uint64     `json:"inode"`
	Time  int64      `json:"modified_ns"`
}

func stampOf(dir string, p store.Path, h store.Hash) (stamp, error) {
	info, err := os.Stat(filepath.Join(dir, filepath.FromSlash(string(p))))
	if err != nil {
		return stamp{}, fmt.Errorf("look at file: %w", err)
	}
	s := stamp{Path: p, Hash: h, Size: info.Size(), Time: info.ModTime().UnixNano()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.Inode = sys.Ino
	}
	return s, nil
}

func (j *Journal) knows(dir string, s stamp) bool {
	for _, known := range j.doc.Verified[dir] {
		if known == s {
			return true
		}
	}
	return false
}

// verified adds files that were hashed. Snapshots that are gone are forgotten.
func (j *Journal) verified(dir string, good []stamp) error {
	if len(good) == 0 {
		return nil
	}
	if j.doc.Verified == nil {
		j.doc.Verified = map[string][]stamp{}
	}
	for d := range j.doc.Verified {
		if _, err := os.Stat(d); errors.Is(err, os.ErrNotExist) {
			delete(j.doc.Verified, d)
		}
	}
	fresh := map[store.Path]bool{}
	for _, s := range good {
		fresh[s.Path] = true
	}
	for _, s := range j.doc.Verified[dir] {
		if !fresh[s.Path] {
			good = append(good, s)
		}
	}
	j.doc.Verified[dir] = good
	return j.write()
}
