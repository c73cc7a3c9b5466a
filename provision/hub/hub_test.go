package hub

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"radish/provision/hub/hubtest"
	"radish/provision/store"
)

// rig is a hub, a store and the options of a client that is in a hurry.
type rig struct {
	t    *testing.T
	hub  *hubtest.Server
	st   *store.Store
	opts Options
}

func newRig(t *testing.T) *rig {
	t.Helper()
	h, err := hubtest.Start(hubtest.Sample()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	st, err := store.Open(t.TempDir(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t: t, hub: h, st: st, opts: Options{
		Endpoint: h.URL, Connections: 4, RangeSize: 256 << 10, Stall: time.Second,
		Retry: Retry{Base: time.Millisecond, Cap: 5 * time.Millisecond, Tries: 4, Patient: 3 * time.Second},
	}}
}

func (r *rig) pull(req Request) (store.Snapshot, *notes, error) {
	r.t.Helper()
	c, err := New(r.opts)
	if err != nil {
		r.t.Fatal(err)
	}
	if req.Repo == "" {
		req.Repo = "org/model"
	}
	n := &notes{}
	p, err := c.Plan(r.t.Context(), r.st, req)
	if err != nil {
		return store.Snapshot{}, n, err
	}
	n.have = p.Have
	s, err := c.Pull(r.t.Context(), p, n)
	n.total = p.Total
	return s, n, err
}

// notes remembers what a pull told.
type notes struct {
	mu          sync.Mutex
	kinds       []NoteKind
	texts       []string
	have, total int64
	bytes       int64
}

func (n *notes) Note(x Note) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.kinds = append(n.kinds, x.Kind)
	n.texts = append(n.texts, x.Text)
}

func (n *notes) Bytes(_ store.Path, k int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.bytes += k
}

func (n *notes) saw(k NoteKind) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Contains(n.kinds, k)
}

func content(t *testing.T, f *hubtest.File) []byte {
	t.Helper()
	in, err := f.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	b, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// whole fails unless the snapshot holds exactly these files, each with its bytes, and nothing half done is left.
func (r *rig) whole(s store.Snapshot, names ...string) {
	r.t.Helper()
	files := hubtest.SampleFiles()
	var got []string
	err := filepath.WalkDir(s.Dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(s.Dir, p)
		if err != nil {
			return err
		}
		got = append(got, rel)
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		if !bytes.Equal(b, content(r.t, files[rel])) {
			r.t.Errorf("%s has other bytes than at the hub", rel)
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	slices.Sort(names)
	slices.Sort(got)
	if !slices.Equal(got, names) {
		r.t.Errorf("the snapshot holds\n%q, want\n%q", got, names)
	}
	r.clean()
}

// clean fails if a part, a journal, a lease or a temporary file is left.
func (r *rig) clean() {
	r.t.Helper()
	err := filepath.WalkDir(r.st.Dir, func(p string, _ fs.DirEntry, err error) error {
		if err == nil && strings.Contains(filepath.Base(p), "radish") {
			r.t.Errorf("%s is left", p)
		}
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// honest fails if a blob is visible whose bytes do not have its name.
func (r *rig) honest() {
	r.t.Helper()
	blobs, err := filepath.Glob(filepath.Join(r.st.Dir, "*", "blobs", "*"))
	if err != nil {
		r.t.Fatal(err)
	}
	for _, b := range blobs {
		want, err := store.ParseHash(filepath.Base(b))
		if err != nil {
			continue // a part
		}
		if got, err := store.HashFile(b, want); err != nil || got != want {
			r.t.Errorf("blob %s has hash %s (%v)", want, got, err)
		}
	}
}

var defaults = []string{
	"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
	"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json",
	"extra/with space, 100%#é.json", "extra/empty.json", "extra/same.json",
}

func TestPull(t *testing.T) {
	r := newRig(t)
	s, n, err := r.pull(Request{})
	if err != nil {
		t.Fatal(err)
	}
	r.whole(s, defaults...)
	if n.bytes != n.total || n.total == 0 {
		t.Errorf("%d bytes told of %d", n.bytes, n.total)
	}
	found, err := r.st.Find("org/model", "")
	if err != nil || found != s {
		t.Errorf("found %v (%v), want %v", found, err, s)
	}
	resolves := map[string]int{}
	for _, q := range r.hub.Log() {
		if q.Place == hubtest.Resolve && !strings.Contains(q.Path, "cache") {
			resolves[q.Path]++
		}
	}
	if k := resolves["model-00001-of-00002.safetensors"]; k != 1 {
		t.Errorf("the hub was asked %d times for a file of 12 ranges", k)
	}

	r.hub.Forget()
	if _, n, err = r.pull(Request{}); err != nil || n.bytes != 0 {
		t.Errorf("a second pull fetched %d bytes (%v)", n.bytes, err)
	}
	if log := r.hub.Log(); len(log) != 1 || log[0].Place != hubtest.API {
		t.Errorf("a second pull asked %v, want the revision alone", log)
	}
}

func TestChoice(t *testing.T) {
	r := newRig(t)
	s, _, err := r.pull(Request{Include: []string{"*"}})
	if err != nil {
		t.Fatal(err)
	}
	r.whole(s, slices.Collect(maps.Keys(hubtest.SampleFiles()))...)
	s, _, err = r.pull(Request{Rev: "refs/pr/1", Include: []string{"*.json"}, Exclude: []string{"extra/", "config.json"}})
	if err != nil {
		t.Fatal(err)
	}
	r.whole(s, "generation_config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors.index.json")
	if _, _, err := r.pull(Request{Include: []string{"*.gguf"}}); !errors.Is(err, ErrNoFiles) {
		t.Errorf("a pattern that matches nothing: %v", err)
	}
}

// TestGlobs holds fnmatch's rules; the expected values were computed by Python's fnmatch.fnmatchcase.
func TestGlobs(t *testing.T) {
	for _, c := range []struct {
		glob, path string
		want       bool
	}{
		{"*.json", "a/b.json", true}, {"*.json", "a.jsonl", false}, {"a?c", "a/c", true}, {"[ab].txt", "b.txt", true},
		{"[!ab].txt", "b.txt", false}, {"[!ab].txt", "c.txt", true}, {"[]].txt", "].txt", true}, {"[a", "[a", true},
		{"a.b", "aXb", false}, {"original/", "original/x/y", true}, {"original/", "original", false}, {"é?", "éé", true},
		{"[a-c]x", "bx", true}, {"[^a]", "^", true}, {"[^a]", "b", false}, {"", "", true}, {"*", "", true}, {`[\]`, `\`, true},
	} {
		if got := matchAny([]string{c.glob}, c.path); got != c.want {
			t.Errorf("%q on %q: %v", c.glob, c.path, got)
		}
	}
}

// TestToken demands that the token goes to the hub and never to the CDN, nor to a host that a redirect names.
func TestToken(t *testing.T) {
	r := newRig(t)
	r.opts.Token = r.hub.Token
	s, _, err := r.pull(Request{Repo: "org/private"})
	if err != nil {
		t.Fatal(err)
	}
	r.whole(s, defaults...)
	links := 0
	for _, q := range r.hub.Log() {
		if q.Place == hubtest.Link {
			links++
		}
		if (q.Authorization != "") != (q.Place != hubtest.Link) {
			t.Errorf("%s %s came with %q", q.Place, q.Path, q.Authorization)
		}
	}
	if links == 0 {
		t.Error("nothing came from the CDN")
	}
}

// TestRenamed follows a relative redirect, with the token.
func TestRenamed(t *testing.T) {
	r := newRig(t)
	r.opts.Token = r.hub.Token
	r.hub.Move("org/old", "org/model")
	s, _, err := r.pull(Request{Repo: "org/old"})
	if err != nil {
		t.Fatal(err)
	}
	r.whole(s, defaults...)
}

func TestPages(t *testing.T) {
	r := newRig(t)
	r.hub.PageSize = 2
	s, _, err := r.pull(Request{})
	if err != nil {
		t.Fatal(err)
	}
	r.whole(s, defaults...)
}

// TestPinned moves the branch after it was resolved: all files are still of one commit.
func TestPinned(t *testing.T) {
	r := newRig(t)
	model := hubtest.NewRepo("org/moving", hubtest.SampleFiles())
	first := model.Refs["main"]
	h, err := hubtest.Start(model)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	r.hub, r.opts.Endpoint = h, h.URL
	h.Break(hubtest.Fault{On: hubtest.Tree, Do: hubtest.First(func() { model.Commit("main", map[string]*hubtest.File{}) })})
	s, _, err := r.pull(Request{Repo: "org/moving"})
	if err != nil {
		t.Fatal(err)
	}
	if string(s.Commit) != first {
		t.Errorf("commit %s, want %s", s.Commit, first)
	}
	r.whole(s, defaults...)
}

func TestOffline(t *testing.T) {
	r := newRig(t)
	r.opts.Offline = true
	if _, _, err := r.pull(Request{}); !errors.Is(err, ErrOffline) {
		t.Errorf("offline and empty: %v", err)
	}
	r.opts.Offline = false
	if _, _, err := r.pull(Request{Include: []string{"*.json"}}); err != nil {
		t.Fatal(err)
	}
	r.opts.Offline = true
	r.hub.Forget()
	if _, _, err := r.pull(Request{Include: []string{"*.json"}}); err != nil {
		t.Errorf("offline and all there: %v", err)
	}
	if _, _, err := r.pull(Request{}); !errors.Is(err, ErrOffline) {
		t.Errorf("offline and weights missing: %v", err)
	}
	if log := r.hub.Log(); len(log) != 0 {
		t.Errorf("offline, the hub was asked %v", log)
	}
}

func TestEndpoint(t *testing.T) {
	for _, bad := range []string{"ftp://h", "h", "https://user:pass@h", "https://"} {
		if _, err := New(Options{Endpoint: bad}); err == nil || strings.Contains(err.Error(), "pass@") {
			t.Errorf("endpoint %q: %v", bad, err)
		}
	}
	if _, err := New(Options{Token: "hf_x\ny"}); !errors.Is(err, ErrToken) {
		t.Errorf("a token with a line end: %v", err)
	}
}

// TestAddresses holds what counts as inside a network.
func TestAddresses(t *testing.T) {
	u, err := url.Parse("https://hub.example")
	if err != nil {
		t.Fatal(err)
	}
	g := newGuard(u, Options{})
	for _, host := range strings.Fields(`127.0.0.1 10.1.2.3 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 0.0.0.0 224.0.0.1
		255.255.255.255 198.18.0.1 [::1] [::] [fe80::1] [fd00::1] [::ffff:127.0.0.1] [64:ff9b::7f00:1] [2002:7f00:1::]`) {
		if err := g.check(&url.URL{Scheme: "https", Host: host}); !errors.Is(err, ErrPrivate) {
			t.Errorf("%s: %v", host, err)
		}
	}
	for _, host := range []string{"1.1.1.1", "[2606:4700::1111]", "cdn.example"} {
		if err := g.check(&url.URL{Scheme: "https", Host: host}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	for _, raw := range []string{"http://cdn.example/", "file:///etc/passwd", "https://u:p@cdn.example/"} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.check(u); !errors.Is(err, ErrRedirect) {
			t.Errorf("%s: %v", raw, err)
		}
	}
}
