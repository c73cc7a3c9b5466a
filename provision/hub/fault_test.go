package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"radish/provision/hub/hubtest"
	"radish/provision/store"
)

const shard = "model-00001-of-00002.safetensors"

// faults are what a hub may do, and how a pull must end: all right, with a note of the kind given, or with the error.
// After an error the same pull without the fault must end right.
var faults = []struct {
	name  string
	fault hubtest.Fault
	note  NoteKind
	err   error
}{
	{"429 with Retry-After", hubtest.Fault{On: hubtest.API, Times: 1, Do: hubtest.Status(429, "Retry-After", "0")}, "", nil},
	{"429 with ratelimit", hubtest.Fault{On: hubtest.Tree, Times: 1, Do: hubtest.Status(429, "RateLimit", `"api";r=0;t=1`)}, "", nil},
	{"429 without a word", hubtest.Fault{On: hubtest.Resolve, Times: 2, Do: hubtest.Status(429)}, NoteRetry, nil},
	{"429 for longer than anybody waits", hubtest.Fault{On: hubtest.API, Do: hubtest.Status(429, "Retry-After", "9000")}, "", ErrLimited},
	{"429 for ever", hubtest.Fault{On: hubtest.API, Do: hubtest.Status(429)}, "", ErrLimited},
	{"429 from the CDN", hubtest.Fault{On: hubtest.Link, Times: 2, Do: hubtest.Status(429)}, NoteRetry, nil},
	{"500 in a burst", hubtest.Fault{On: hubtest.API, Times: 3, Do: hubtest.Status(500)}, "", nil},
	{"502 in a burst", hubtest.Fault{On: hubtest.Tree, Times: 3, Do: hubtest.Status(502)}, "", nil},
	{"503 in a burst", hubtest.Fault{On: hubtest.Link, Times: 3, Do: hubtest.Status(503)}, NoteRetry, nil},
	{"504 for ever", hubtest.Fault{On: hubtest.Resolve, Path: "config.json", Do: hubtest.Status(504)}, NoteRetry, errNetwork},
	{"cut once", hubtest.Fault{On: hubtest.Link, Path: shard, Times: 1, Do: hubtest.Cut(100_000)}, NoteRetry, nil},
	{"cut in every answer", hubtest.Fault{On: hubtest.Link, Path: shard, Do: hubtest.Cut(100_000)}, NoteRetry, nil},
	{"cut before the first byte, always", hubtest.Fault{On: hubtest.Link, Path: shard, Do: hubtest.Cut(0)}, NoteRetry, errNetwork},
	{"reset every 100 kB", hubtest.Fault{On: hubtest.Link, Path: shard, Times: 20, Do: hubtest.Reset(100_000)}, NoteRetry, nil},
	{"stall in the middle", hubtest.Fault{On: hubtest.Link, Path: shard, Times: 1, Do: hubtest.Stall(1000)}, NoteStall, nil},
	{"stall before the header", hubtest.Fault{On: hubtest.Resolve, Path: shard, Times: 1, Do: hubtest.Stall(0)}, "", nil},
	{"stall for ever", hubtest.Fault{On: hubtest.Link, Path: shard, Do: hubtest.Stall(1000)}, NoteStall, ErrStalled},
	{"trickle", hubtest.Fault{On: hubtest.Link, Path: shard, Times: 2, Do: hubtest.Drip(16<<10, 20*time.Millisecond)}, "", nil},
	{"wrong bytes once", hubtest.Fault{On: hubtest.Link, Path: shard, Times: 1, Do: hubtest.Wrong()}, NoteRestart, nil},
	{"wrong bytes always", hubtest.Fault{On: hubtest.Link, Path: shard, Do: hubtest.Wrong()}, NoteRestart, ErrHash},
	{"wrong bytes of a small file", hubtest.Fault{On: hubtest.Resolve, Path: "chat_template.jinja", After: 1, Times: 1, Do: hubtest.Wrong()}, NoteRestart, nil},
	{"gzip of a small file", hubtest.Fault{On: hubtest.Resolve, Path: "config.json", Do: hubtest.Gzip()}, "", nil},
	{"gzip of a range", hubtest.Fault{On: hubtest.Link, Path: shard, Times: 1, Do: hubtest.Gzip()}, NoteRestart, nil},
	{"short Content-Length", hubtest.Fault{On: hubtest.Resolve, Path: "tokenizer_config.json", Times: 2, Do: hubtest.Short(3)}, NoteRetry, nil},
	{"wrong Content-Range", hubtest.Fault{On: hubtest.Link, Path: shard, Times: 2, Do: hubtest.Header("Content-Range", "bytes 0-1/2")}, NoteRetry, nil},
	{"page instead of weights", hubtest.Fault{On: hubtest.Link, Path: shard, Times: 2, Do: hubtest.HTML()}, NoteRetry, nil},
	{"page instead of weights, always", hubtest.Fault{On: hubtest.Link, Path: shard, Do: hubtest.HTML()}, NoteRetry, ErrHTML},
	{"page instead of a small file", hubtest.Fault{On: hubtest.Resolve, Path: "config.json", Do: hubtest.HTML()}, NoteRetry, ErrHTML},
	{"page instead of the API", hubtest.Fault{On: hubtest.API, Do: hubtest.HTML()}, "", ErrNotHub},
	{"not a hub", hubtest.Fault{On: hubtest.Resolve, Path: "config.json", Do: hubtest.Header("X-Repo-Commit", "")}, NoteRetry, ErrNotHub},
	{"ranges ignored", hubtest.Fault{On: hubtest.Link, Path: shard, Do: hubtest.Whole()}, NoteRestart, nil},
	{"416", hubtest.Fault{On: hubtest.Link, Path: shard, After: 2, Times: 1, Do: hubtest.Status(416)}, NoteRetry, nil},
	{"link runs out", hubtest.Fault{On: hubtest.Link, Path: shard, After: 3, Times: 1, Do: hubtest.Status(403)}, NoteExpired, nil},
	{"links never work", hubtest.Fault{On: hubtest.Link, Path: shard, Do: hubtest.Status(403)}, NoteExpired, errExpired},
	{"etag changes at the CDN", hubtest.Fault{On: hubtest.Link, Path: shard, After: 3, Times: 1, Do: hubtest.Header("ETag", `"other"`)}, NoteRestart, nil},
	{"etag changes at the hub", hubtest.Fault{On: hubtest.Resolve, Path: shard, Times: 1, Do: hubtest.Header("X-Linked-Etag", `"other"`)}, NoteRestart, nil},
	{"etag is another for good", hubtest.Fault{On: hubtest.Resolve, Path: shard, Do: hubtest.Header("X-Linked-Etag", `"other"`)}, NoteRestart, ErrChanged},
	{"redirect loop", hubtest.Fault{On: hubtest.Resolve, Path: shard, Do: hubtest.Loop()}, "", ErrRedirect},
	{"redirect loop at the CDN", hubtest.Fault{On: hubtest.Link, Path: shard, Do: hubtest.Loop()}, "", ErrRedirect},
	{"redirect of the API away", hubtest.Fault{On: hubtest.API, Do: hubtest.Redirect("https://elsewhere.example/")}, "", ErrRedirect},
	{"redirect to the metadata service", hubtest.Fault{On: hubtest.Link, Path: shard, Do: hubtest.Redirect("http://169.254.169.254/latest")}, "", ErrPrivate},
	{"redirect to a private network", hubtest.Fault{On: hubtest.Link, Path: shard, Do: hubtest.Redirect("http://192.168.0.1/")}, "", ErrPrivate},
	{"redirect to a file", hubtest.Fault{On: hubtest.Link, Path: shard, Do: hubtest.Redirect("file:///etc/passwd")}, "", ErrRedirect},
	{"404 of a file", hubtest.Fault{On: hubtest.Resolve, Path: shard, Do: hubtest.Status(404, "X-Error-Code", "EntryNotFound")}, "", ErrEntry},
	{"403 without a reason", hubtest.Fault{On: hubtest.Resolve, Path: shard, Do: hubtest.Status(403)}, "", ErrForbidden},
	{"listing that leads out", hubtest.Fault{On: hubtest.Tree, Do: listing(`[{"type":"file","path":"../x.json","size":1,"oid":"` + strings.Repeat("a", 40) + `"}]`)}, "", store.ErrName},
	{"listing with a hash that is a path", hubtest.Fault{On: hubtest.Tree, Do: listing(`[{"type":"file","path":"x.json","size":1,"oid":"../../x"}]`)}, "", store.ErrName},
	{"listing of negative size", hubtest.Fault{On: hubtest.Tree, Do: listing(`[{"type":"file","path":"x.json","size":-1,"oid":"` + strings.Repeat("a", 40) + `"}]`)}, "", store.ErrName},
	{"listing that is no JSON", hubtest.Fault{On: hubtest.Tree, Do: listing(`[{`)}, "", io.ErrUnexpectedEOF},
	{"next page elsewhere", hubtest.Fault{On: hubtest.Tree, Do: hubtest.Header("Link", `<https://elsewhere.example/>; rel="next"`)}, "", ErrRedirect},
}

// errNetwork stands for all that IsNetwork names.
var errNetwork = errors.New("network")

func listing(body string) hubtest.Action {
	return func(w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, body)
	}
}

func TestFaults(t *testing.T) {
	for _, c := range faults {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.hub.Break(c.fault)
			s, n, err := r.pull(Request{})
			r.honest()
			if text := fmt.Sprint(err, n.texts); strings.Contains(text, "Signature") {
				t.Errorf("a signed link is shown: %s", text)
			}
			if c.note != "" && !n.saw(c.note) {
				t.Errorf("no note of %q among %q", c.note, n.kinds)
			}
			if c.err != nil {
				if err == nil || (c.err != errNetwork && !errors.Is(err, c.err)) || (c.err == errNetwork && !IsNetwork(err)) {
					t.Fatalf("ended with %v, want %v", err, c.err)
				}
				if _, err := r.st.Find("org/model", ""); !errors.Is(err, store.ErrNotCached) {
					t.Errorf("a snapshot is visible: %v", err)
				}
				r.hub.Forget()
				s, n, err = r.pull(Request{})
			}
			if err != nil {
				t.Fatal(err)
			}
			r.whole(s, defaults...)
			if got := n.have + n.bytes; got != n.total {
				t.Errorf("progress ended at %d of %d", got, n.total)
			}
		})
	}
}

// TestAccess holds the answers to who may not, and to what is not there.
func TestAccess(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		name, token string
		req         Request
		want        error
	}{
		{"no such repository", "", Request{Repo: "org/none"}, ErrNotFound},
		{"no such repository, with a token", r.hub.Token, Request{Repo: "org/none"}, ErrNotFound},
		{"private without a token", "", Request{Repo: "org/private"}, ErrNotFound},
		{"bad token", "hf_wrong", Request{}, ErrToken},
		{"gated without a token", "", Request{Repo: "org/gated"}, ErrGated},
		{"gated", r.hub.Token, Request{Repo: "org/gated"}, ErrGated},
		{"disabled", r.hub.Token, Request{Repo: "org/disabled"}, ErrDisabled},
		{"no such branch", "", Request{Rev: "nowhere"}, ErrRevision},
		{"no such commit", "", Request{Rev: store.Ref(strings.Repeat("a", 40))}, ErrRevision},
	} {
		r.opts.Token = c.token
		_, _, err := r.pull(c.req)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if c.token != "" && strings.Contains(err.Error(), c.token) {
			t.Errorf("%s: the error shows the token", c.name)
		}
	}
	if models, err := r.st.List(); err != nil || len(models) > 1 {
		t.Errorf("refused pulls left %v (%v)", models, err)
	}
}

// TestUnreachable has no hub at all: a refused connection, a name that means nothing, no TLS where there should be.
func TestUnreachable(t *testing.T) {
	r := newRig(t)
	plain := r.hub.URL
	r.hub.Close()
	for _, endpoint := range []string{plain, "http://nothing.invalid", strings.Replace(newRig(t).hub.URL, "http:", "https:", 1)} {
		r.opts.Endpoint = endpoint
		if _, _, err := r.pull(Request{}); !IsNetwork(err) {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
}

// TestPrivateName gives a CDN a public name with a private address: the address counts, when the connection is made.
func TestPrivateName(t *testing.T) {
	r := newRig(t)
	c, err := New(Options{Endpoint: "https://hub.example"})
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(r.hub.CDN, "http://"))
	if _, err := c.guard.dial(t.Context(), "tcp", net.JoinHostPort("localhost", port)); !errors.Is(err, ErrPrivate) {
		t.Errorf("dialled localhost: %v", err)
	}
}

// TestPartKept interrupts a pull and counts what the next one fetches.
func TestPartKept(t *testing.T) {
	r := newRig(t)
	r.opts.Connections = 2
	ctx, cancel := context.WithCancel(t.Context())
	c, err := New(r.opts)
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.Plan(ctx, r.st, Request{Repo: "org/model"})
	if err != nil {
		t.Fatal(err)
	}
	r.hub.Break(hubtest.Fault{On: hubtest.Link, Path: shard, After: 6, Do: hubtest.First(cancel)})
	if _, err := c.Pull(ctx, p, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("ended with %v", err)
	}
	r.honest()
	r.hub.Forget()
	s, n, err := r.pull(Request{})
	if err != nil {
		t.Fatal(err)
	}
	r.whole(s, defaults...)
	if n.have < 3*r.opts.RangeSize {
		t.Errorf("only %d bytes were kept", n.have)
	}
	var sent int64
	for _, q := range r.hub.Log() {
		if q.Place == hubtest.Link {
			sent += q.Sent
		}
	}
	if missing := n.total - n.have; sent > missing {
		t.Errorf("%d bytes came again, %d were missing", sent, missing)
	}
}

// TestDifferentRangeSize takes a part up that was cut otherwise.
func TestDifferentRangeSize(t *testing.T) {
	r := newRig(t)
	r.hub.Break(hubtest.Fault{On: hubtest.Link, Path: shard, After: 4, Do: hubtest.Status(410)})
	if _, _, err := r.pull(Request{}); err == nil {
		t.Fatal("the fault was not met")
	}
	r.hub.Forget()
	r.opts.RangeSize = 100_001
	s, n, err := r.pull(Request{})
	if err != nil {
		t.Fatal(err)
	}
	r.whole(s, defaults...)
	if n.have == 0 {
		t.Error("nothing was kept")
	}
}

// fullDisk answers as a disk or a quota would that is full.
type fullDisk struct {
	free  int64
	quota error
}

func (d fullDisk) Free(string) (int64, error)  { return d.free, nil }
func (d fullDisk) Reserve(string, int64) error { return d.quota }

func TestNoRoom(t *testing.T) {
	for name, disk := range map[string]fullDisk{
		"disk":  {free: 1 << 20},
		"quota": {free: 1 << 50, quota: &net.OpError{Op: "fallocate", Err: syscall.EDQUOT}},
	} {
		r := newRig(t)
		r.opts.Disk = disk
		if _, _, err := r.pull(Request{}); !store.IsNoSpace(err) {
			t.Errorf("%s: %v", name, err)
		}
		for _, q := range r.hub.Log() {
			if q.Place == hubtest.Resolve || q.Place == hubtest.Link {
				t.Errorf("%s: %s was fetched before there was room", name, q.Path)
			}
		}
	}
}

// TestDiskFull fills a real disk in the middle of a pull: the pull stops at once, keeps what it has, and goes on when
// there is room again. Where no tmpfs can be mounted the gate before the first byte is all that is judged, by TestNoRoom.
func TestDiskFull(t *testing.T) {
	r := newRig(t)
	if err := unix.Mount("tmpfs", r.st.Dir, "tmpfs", 0, "size=3m"); err != nil {
		t.Run("the gate alone: tmpfs cannot be mounted here ("+err.Error()+")", TestNoRoom)
		return
	}
	t.Cleanup(func() {
		if err := unix.Unmount(r.st.Dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	r.opts.Disk = fullDisk{free: 1 << 50}
	r.opts.Connections = 1 // the largest file first, then what no longer fits
	_, n, err := r.pull(Request{})
	if !errors.Is(err, store.ErrNoSpace) {
		t.Fatalf("ended with %v", err)
	}
	if n.saw(NoteRetry) {
		t.Error("a full disk was tried again")
	}
	r.honest()
	if err := unix.Mount("tmpfs", r.st.Dir, "tmpfs", unix.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	s, n, err := r.pull(Request{})
	if err != nil {
		t.Fatal(err)
	}
	r.whole(s, defaults...)
	if n.have == 0 {
		t.Error("nothing was kept")
	}
}

// TestTwoAtOnce pulls one model twice at the same time: the bytes come once.
func TestTwoAtOnce(t *testing.T) {
	r := newRig(t)
	type end struct {
		s   store.Snapshot
		err error
	}
	ends := make(chan end, 2)
	for range 2 {
		go func() {
			s, _, err := r.pull(Request{})
			ends <- end{s, err}
		}()
	}
	for range 2 {
		e := <-ends
		if e.err != nil {
			t.Fatal(e.err)
		}
		r.whole(e.s, defaults...)
	}
	var sent int64
	for _, q := range r.hub.Log() {
		if q.Place == hubtest.Link {
			sent += q.Sent
		}
	}
	if want := int64(3<<20 + 1<<20 + 17 + 300<<10); sent != want {
		t.Errorf("%d bytes came from the CDN, the files have %d", sent, want)
	}
}

// TestWaits holds the jitter's bounds and what an answer may ask for.
func TestWaits(t *testing.T) {
	r := Retry{Base: time.Second, Cap: 10 * time.Second}
	seen := map[time.Duration]bool{}
	for n := 1; n < 100; n++ {
		ceiling := min(10*time.Second, time.Second<<min(n-1, 20))
		d := r.wait(n)
		if d < 0 || d > ceiling {
			t.Errorf("wait %d is %s", n, d)
		}
		seen[d] = true
	}
	if len(seen) < 50 {
		t.Errorf("only %d different waits", len(seen))
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name, value string
		want        time.Duration
	}{
		{"Retry-After", "7", 7 * time.Second}, {"Retry-After", "Thu, 01 Jan 2026 00:00:09 GMT", 9 * time.Second},
		{"Retry-After", "Thu, 01 Jan 2025 00:00:09 GMT", 0}, {"Retry-After", "-3", 0}, {"Retry-After", "soon", 0},
		{"RateLimit", `"api";r=0;t=55`, 55 * time.Second}, {"RateLimit", `"api";r=3;t=55`, 0}, {"X", "1", 0},
	} {
		if got := askedWait(http.Header{http.CanonicalHeaderKey(c.name): {c.value}}, now); got != c.want {
			t.Errorf("%s: %s asks for %s, want %s", c.name, c.value, got, c.want)
		}
	}
}

// TestGate lets one limit hold everybody back, in virtual time.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := New(Options{})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		go func() {
			limited := &StatusError{Status: http.StatusTooManyRequests, Err: ErrLimited}
			if err := c.again(t.Context(), limited, 1, 55*time.Second); err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
		if err := c.gate.wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d != 55*time.Second {
			t.Errorf("the gate held for %s", d)
		}
		time.Sleep(time.Minute)
	})
}

// TestSlowest picks a request that crawls among fast ones, once it is old enough.
func TestSlowest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		live := map[*request]bool{}
		var crawling *request
		for i := range 5 {
			r := &request{began: time.Now()}
			r.bytes.Store(1 << 30)
			if i == 3 {
				crawling = r
				r.bytes.Store(1 << 10)
			}
			live[r] = true
		}
		if r := slowest(live); r != nil {
			t.Error("judged at once")
		}
		time.Sleep(2 * slowLook)
		if r := slowest(live); r != crawling {
			t.Errorf("picked %v", r)
		}
		crawling.bytes.Store(1 << 29)
		if r := slowest(live); r != nil {
			t.Error("half the speed is not slow")
		}
	})
}
