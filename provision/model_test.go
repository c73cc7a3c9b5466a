package provision

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"radish/provision/hub"
	"radish/provision/hub/hubtest"
	"radish/provision/store"
)

// rig is a hub and a machine that a model is brought to.
type rig struct {
	t   *testing.T
	hub *hubtest.Server
	dir string
}

func newRig(t *testing.T) *rig {
	h, err := hubtest.Start(hubtest.Sample()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return &rig{t, h, t.TempDir()}
}

func (r *rig) model(j *Journal) *Model {
	st, err := store.Open(filepath.Join(r.dir, "cache"), filepath.Join(r.dir, "locks"))
	if err != nil {
		r.t.Fatal(err)
	}
	c, err := hub.New(hub.Options{Endpoint: r.hub.URL, Retry: hub.Retry{Base: time.Millisecond, Tries: 2}})
	if err != nil {
		r.t.Fatal(err)
	}
	return &Model{Client: c, Store: st, Request: hub.Request{Repo: "org/model"}, Journal: j, Bytes: func(n int64) string { return fmt.Sprint(n) }}
}

// run applies both steps, as a new process would, and gives their states.
func (r *rig) run(change func(*Model)) (pull, verify State, err error) {
	j := open(r.t, r.dir)
	defer j.Close()
	m := r.model(j)
	if change != nil {
		change(m)
	}
	all, err := Apply(r.t.Context(), []Step{m.Pull(), m.Verify()}, j, nil)
	if len(all) == 2 {
		return all[0].State, all[1].State, err
	}
	return all[0].State, "", err
}

func (r *rig) want(what string, pull, verify State, change func(*Model)) {
	r.t.Helper()
	p, v, err := r.run(change)
	if err != nil || p != pull || v != verify {
		r.t.Errorf("%s: pull %s, verify %s, %v; want %s, %s", what, p, v, err, pull, verify)
	}
}

func (r *rig) blob(name string) string {
	return filepath.Join(r.dir, "cache", "models--org--model", "blobs", hubtest.SampleFiles()[name].Hash())
}

// What was hashed as it came is not read again; what was there before, or was touched since, is; what is corrupt then is
// fetched anew, and nothing else.
func TestModelIsVerifiedOnce(t *testing.T) {
	r := newRig(t)
	r.want("first", Done, Already, nil)
	r.hub.Forget()
	r.want("again", Already, Already, nil)
	if err := os.Chtimes(r.blob("tokenizer.json"), time.Now(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	r.want("touched", Already, Done, nil)
	r.want("then known", Already, Already, nil)

	b, err := os.ReadFile(r.blob("tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	bad := bytes.Clone(b)
	bad[len(bad)/2] ^= 1
	if err := os.WriteFile(r.blob("tokenizer.json"), bad, 0o644); err != nil {
		t.Fatal(err)
	}
	r.hub.Forget()
	r.want("corrupt", Already, Done, nil)
	if now, err := os.ReadFile(r.blob("tokenizer.json")); err != nil || !bytes.Equal(now, b) {
		t.Errorf("it was not mended (%v)", err)
	}
	for _, q := range r.hub.Log() {
		if q.Place == hubtest.Link && q.Path != "tokenizer.json" {
			t.Errorf("%s was fetched too", q.Path)
		}
	}
	r.want("mended", Already, Already, nil)

	for _, part := range []string{"snapshots", "refs"} { // as after a kill between the last file and its link
		if err := os.RemoveAll(filepath.Join(r.dir, "cache", "models--org--model", part)); err != nil {
			t.Fatal(err)
		}
		r.want("without "+part, Done, Already, nil)
	}
	if err := os.Remove(filepath.Join(r.dir, "j", "setup.json")); err != nil {
		t.Fatal(err)
	}
	r.want("nobody knows", Already, Done, nil)
}

// watcher hears what a pull notes.
type watcher func(hub.Note)

func (w watcher) Note(n hub.Note)       { w(n) }
func (watcher) Bytes(store.Path, int64) {}

// What another client finished while this one waited for its lock was hashed by nobody.
func TestModelTrustsNobodyElsesFile(t *testing.T) {
	r := newRig(t)
	st := r.model(nil).Store
	file := hubtest.SampleFiles()["tokenizer.json"]
	lock, err := st.LockBlob(t.Context(), "org/model", store.Hash(file.Hash()), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.want("another's", Done, Done, func(m *Model) {
		m.Observe = func(*hub.Plan) (hub.Observer, func()) {
			return watcher(func(n hub.Note) {
				if n.Kind != hub.NoteWait {
					return
				}
				if err := os.WriteFile(r.blob("tokenizer.json"), make([]byte, file.Size), 0o644); err != nil {
					t.Error(err)
				}
				lock.Release()
			}), func() {}
		}
	})
	in, err := file.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	want, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(r.blob("tokenizer.json")); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the wrong bytes are still there (%v)", err)
	}
}

// What a hub sends wrong for good ends as an error of hashes, and is no file.
func TestModelStaysCorrupt(t *testing.T) {
	r := newRig(t)
	r.want("first", Done, Already, nil)
	if err := os.WriteFile(r.blob("tokenizer.json"), make([]byte, 300<<10), 0o644); err != nil {
		t.Fatal(err)
	}
	r.hub.Break(hubtest.Fault{On: hubtest.Link, Path: "tokenizer.json", Do: hubtest.Wrong()})
	if _, v, err := r.run(nil); v != Failed || !errors.Is(err, hub.ErrHash) {
		t.Errorf("verify %s, %v", v, err)
	}
	if _, err := os.Stat(r.blob("tokenizer.json")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the wrong bytes have a name (%v)", err)
	}
}

// A hub that is gone does not keep a machine from serving what it has whole; it does where something is missing.
func TestModelWithoutHub(t *testing.T) {
	r := newRig(t)
	r.want("first", Done, Already, nil)
	r.hub.Forget()
	r.want("settled", Already, Already, func(m *Model) { m.Settled = true })
	if asked := r.hub.Log(); len(asked) > 0 {
		t.Errorf("asked: %+v", asked)
	}
	r.hub.Close()
	r.want("gone", Already, Already, nil)
	if err := os.Remove(r.blob("config.json")); err != nil {
		t.Fatal(err)
	}
	if p, _, err := r.run(nil); p != Failed || !hub.IsNetwork(err) {
		t.Errorf("with a hole: pull %s, %v", p, err)
	}
}

// The plan needs config.json and leaves no trace; a plan is no promise that a hub's answer can break.
func TestConfigLeavesNoTrace(t *testing.T) {
	r := newRig(t)
	for name, fault := range map[string]*hubtest.Fault{
		"well":  nil,
		"once":  {On: hubtest.Resolve, Path: "config.json", Times: 1, Do: hubtest.Status(503)},
		"wrong": {On: hubtest.Resolve, Path: "config.json", Do: hubtest.Wrong()},
		"page":  {On: hubtest.Resolve, Path: "config.json", Do: hubtest.HTML()},
	} {
		r.hub.Forget()
		if fault != nil {
			r.hub.Break(*fault)
		}
		b, err := r.model(nil).Config(t.Context())
		switch name {
		case "well", "once":
			if err != nil || string(b) != `{"model_type": "llama"}` {
				t.Errorf("%s: %q, %v", name, b, err)
			}
		case "wrong":
			if !errors.Is(err, hub.ErrHash) {
				t.Errorf("%s: %q, %v", name, b, err)
			}
		default:
			if err == nil {
				t.Errorf("%s: %q", name, b)
			}
		}
	}
	if left, err := os.ReadDir(r.dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
