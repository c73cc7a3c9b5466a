package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const (
	commitA = Commit("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
	commitB = Commit("bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb")
	repo    = Repo("org/name")
)

func newStore(t *testing.T) (*Store, *Folder) {
	t.Helper()
	s, err := Open(t.TempDir(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.Create(repo)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return s, f
}

func TestNames(t *testing.T) {
	for _, good := range []string{"gpt2", "org/name", "Qwen/Qwen2.5-0.5B-Instruct", "a/b_c.d-e", "_x"} {
		if _, err := ParseRepo(good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "/", "a/", "/a", "a/b/c", "a--b", "a..b", "../x", "x.git", "-a", ".a", "a.", "a b", "a@b", strings.Repeat("a", 97)} {
		if _, err := ParseRepo(bad); !errors.Is(err, ErrName) {
			t.Errorf("repository %q: %v", bad, err)
		}
	}
	for _, bad := range []string{"", ".", "..", "/etc/passwd", "a/../b", "a//b", "a/", "./a", "a\x00b", "a\nb", strings.Repeat("a", 1025)} {
		if _, err := ParsePath(bad); !errors.Is(err, ErrName) {
			t.Errorf("path %q: %v", bad, err)
		}
	}
	for _, bad := range []string{"", "../../x", strings.Repeat("A", 64), strings.Repeat("a", 63), strings.Repeat("g", 40)} {
		if _, err := ParseHash(bad); !errors.Is(err, ErrName) {
			t.Errorf("hash %q: %v", bad, err)
		}
	}
}

// TestPathsStayInside: whatever path is accepted, its file lies below the directory that it is joined to.
func TestPathsStayInside(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := strings.Join(rapid.SliceOf(rapid.SampledFrom([]string{"a", "..", ".", "/", "\\", "\x00", "é", " ", "//", "~"})).Draw(t, "parts"), "")
		p, err := ParsePath(s)
		if err != nil {
			return
		}
		if rel, err := filepath.Rel("/base", filepath.Join("/base", string(p))); err != nil || rel == "." || rel == ".." || strings.HasPrefix(rel, "../") {
			t.Fatalf("%q leads to %q", s, rel)
		}
	})
}

// TestHashes holds what `printf 'hello\n' | git hash-object --stdin` and sha256sum say.
func TestHashes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("hello\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, want := range []Hash{"ce013625030ba8dba906f756967f9e9ca394464a", "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"} {
		if got, err := HashFile(file, want); err != nil || got != want {
			t.Errorf("hash %s, want %s (%v)", got, want, err)
		}
	}
}

// blob puts data into a repository, through a part as a pull does.
func blob(t *testing.T, f *Folder, data []byte) Hash {
	t.Helper()
	d := Hash(strings.Repeat("0", 64)).Hasher(0)
	d.Write(data)
	h := Sum(d)
	p, _, err := f.OpenPart(h, int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.WriteAt(data, 0); err != nil {
		t.Fatal(err)
	}
	if err := p.Commit(); err != nil {
		t.Fatal(err)
	}
	return h
}

func link(t *testing.T, f *Folder, c Commit, p Path, h Hash) {
	t.Helper()
	if err := f.Link(c, p, h); err != nil {
		t.Fatal(err)
	}
}

func TestSnapshot(t *testing.T) {
	s, f := newStore(t)
	h := blob(t, f, []byte("one"))
	link(t, f, commitA, "deep/er/x.json", h)
	link(t, f, commitA, "deep/er/x.json", h) // again is no harm
	if err := f.SetRef("refs/pr/1", commitA); err != nil {
		t.Fatal(err)
	}
	snap, err := s.Find(repo, "refs/pr/1")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(snap.Dir, "deep/er/x.json")); err != nil || string(b) != "one" {
		t.Errorf("read %q (%v)", b, err)
	}
	if to, err := os.Readlink(filepath.Join(snap.Dir, "deep/er/x.json")); err != nil || to != "../../../../blobs/"+string(h) {
		t.Errorf("links to %q (%v)", to, err)
	}
	for _, rev := range []Ref{"", "v1", Ref(commitB)} {
		if _, err := s.Find(repo, rev); !errors.Is(err, ErrNotCached) {
			t.Errorf("revision %q: %v", rev, err)
		}
	}
	if err := f.SetRef("main", commitA); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(s.RepoDir(repo), "refs/main")); err != nil || string(b) != string(commitA) {
		t.Errorf("ref holds %q, want 40 digits and no line end (%v)", b, err)
	}
}

// TestNoWayOut puts links into the repository that lead out of it: nothing is written through them.
func TestNoWayOut(t *testing.T) {
	s, f := newStore(t)
	outside := t.TempDir()
	for _, at := range []string{"snapshots/" + string(commitA), "trees", "refs/out"} {
		if err := os.Symlink(outside, filepath.Join(s.RepoDir(repo), at)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Link(commitA, "x", Hash(strings.Repeat("a", 64))); err == nil {
		t.Error("a snapshot was linked outside")
	}
	if err := f.SaveTree(commitA, Tree{}); err == nil {
		t.Error("a listing was written outside")
	}
	if err := f.SetRef("out/x", commitA); err == nil {
		t.Error("a ref was written outside")
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
		t.Errorf("outside lies %v (%v)", left, err)
	}
}

func TestTree(t *testing.T) {
	s, f := newStore(t)
	want := Tree{"a&b<é>.json": {Size: 3, BlobID: strings.Repeat("1", 40)}, "w": {Size: 5, BlobID: strings.Repeat("2", 40), SHA256: strings.Repeat("3", 64), LFS: 5}}
	if err := f.SaveTree(commitA, want); err != nil {
		t.Fatal(err)
	}
	got, err := f.ReadTree(commitA)
	if err != nil || len(got) != 2 || got["w"] != want["w"] || got["a&b<é>.json"] != want["a&b<é>.json"] {
		t.Errorf("read %v (%v)", got, err)
	}
	for name, body := range map[string]string{
		"newer": `{"format_version": 2, "files": {}}`, "broken": `{`, "leads out": `{"format_version": 1, "files": {"../x": {"size": 1, "blob_id": "` + strings.Repeat("1", 40) + `"}}}`,
		"no hash": `{"format_version": 1, "files": {"x": {"size": 1, "blob_id": "../../x"}}}`,
	} {
		if err := os.WriteFile(filepath.Join(s.RepoDir(repo), "trees", string(commitA)+".json"), []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := f.ReadTree(commitA); !errors.Is(err, ErrNotCached) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPart leaves a part half done and takes it up: after a kill as it is, after a restart of the machine by its
// checksums, and not at all if the journal is not of this file.
func TestPart(t *testing.T) {
	boot := BootID
	t.Cleanup(func() { BootID = boot })
	data := make([]byte, 3000)
	for i := range data {
		data[i] = byte(rand.IntN(256))
	}
	h := Hash(strings.Repeat("a", 64))
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, part, journal string)
		want  []int64 // done bytes of three ranges; nil: begins anew
	}{
		{"killed", nil, []int64{1000, 0, 500}},
		{"killed, and a byte changed that nobody looks at", func(t *testing.T, part, _ string) { flip(t, part, 10) }, []int64{1000, 0, 500}},
		{"restarted", func(*testing.T, string, string) { BootID = func() string { return "another" } }, []int64{1000, 0, 500}},
		{"restarted, and a byte is lost", func(t *testing.T, part, _ string) {
			BootID = func() string { return "another" }
			flip(t, part, 10)
		}, []int64{0, 0, 500}},
		{"part gone", func(t *testing.T, part, _ string) { check(t, os.Remove(part)) }, nil},
		{"part cut", func(t *testing.T, part, _ string) { check(t, os.Truncate(part, 100)) }, nil},
		{"journal gone", func(t *testing.T, _, j string) { check(t, os.Remove(j)) }, nil},
		{"journal cut", func(t *testing.T, _, j string) { check(t, os.Truncate(j, 40)) }, nil},
		{"journal of a later version", rewrite(func(j *journal) { j.Version = 2 }), nil},
		{"journal of another size", rewrite(func(j *journal) { j.Size = 2999 }), nil},
		{"journal with a gap", rewrite(func(j *journal) { j.Ranges = j.Ranges[1:] }), nil},
		{"journal with more than there is", rewrite(func(j *journal) { j.Ranges[2].Done = 1001 }), nil},
		{"journal with an overflow", rewrite(func(j *journal) { j.Ranges[2].Len = 1<<63 - 1 }), nil},
		{"journal with a negative range", rewrite(func(j *journal) { j.Ranges[0].Len = -1000 }), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			BootID = boot
			s, f := newStore(t)
			p, ranges, err := f.OpenPart(h, int64(len(data)))
			check(t, err)
			if ranges != nil {
				t.Fatal("a new part has ranges")
			}
			ranges = Cut(3000, 1000)
			for _, r := range []struct{ i, n int }{{0, 1000}, {2, 500}} {
				at := ranges[r.i].Off
				_, err := p.WriteAt(data[at:at+int64(r.n)], at)
				check(t, err)
				ranges[r.i].Add(data[at : at+int64(r.n)])
			}
			check(t, p.Save(ranges))
			check(t, p.Close())
			if got := f.PartDone(h, 3000); got != 1500 {
				t.Errorf("%d bytes done", got)
			}
			if c.spoil != nil {
				name := filepath.Join(s.RepoDir(repo), "blobs", string(h))
				c.spoil(t, name+partSuffix, name+journalSuffix)
			}
			p, ranges, err = f.OpenPart(h, 3000)
			check(t, err)
			defer p.Close()
			if len(ranges) != len(c.want) {
				t.Fatalf("%d ranges, want %d", len(ranges), len(c.want))
			}
			for i, r := range ranges {
				if r.Done != c.want[i] {
					t.Errorf("range %d has %d bytes, want %d", i, r.Done, c.want[i])
				}
			}
		})
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func flip(t *testing.T, file string, at int) {
	t.Helper()
	b, err := os.ReadFile(file)
	check(t, err)
	b[at] ^= 1
	check(t, os.WriteFile(file, b, 0o644))
}

func rewrite(change func(*journal)) func(*testing.T, string, string) {
	return func(t *testing.T, _, file string) {
		var j journal
		b, err := os.ReadFile(file)
		check(t, err)
		check(t, json.Unmarshal(b, &j))
		change(&j)
		b, err = json.Marshal(j)
		check(t, err)
		check(t, os.WriteFile(file, b, 0o644))
	}
}

// TestLease: a second one waits for the first and is told by whom; a dead owner's is taken over, a living stranger's not.
func TestLease(t *testing.T) {
	s, _ := newStore(t)
	first, err := s.Lease(t.Context(), repo, nil)
	check(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	told := ""
	if _, err := s.Lease(ctx, repo, func(who string) { told = who; cancel() }); !errors.Is(err, context.Canceled) || told == "" {
		t.Errorf("the second got %v, told %q", err, told)
	}
	check(t, first.Release())
	path := filepath.Join(s.RepoDir(repo), leaseName)
	me := self()
	for _, c := range []struct {
		name  string
		owner owner
		age   time.Duration
		taken bool
	}{
		{"killed", owner{me.Boot, me.Space, 1 << 30, "1", "h"}, 0, true},
		{"number given to another process", owner{me.Boot, me.Space, 1, "not its start", "h"}, 0, true},
		{"alive here, with other locks", owner{me.Boot, me.Space, 1, startOf(1), "h"}, time.Hour, false},
		{"alive on another machine", owner{"another", me.Space, 1, "1", "h"}, 0, false},
		{"alive in another container", owner{me.Boot, "another", 1, "1", "h"}, 0, false},
		{"silent on another machine", owner{"another", me.Space, 1, "1", "h"}, 2 * leaseDeath, true},
	} {
		b, err := json.Marshal(c.owner)
		check(t, err)
		check(t, os.WriteFile(path, b, 0o644))
		old := time.Now().Add(-c.age)
		check(t, os.Chtimes(path, old, old))
		ctx, cancel := context.WithCancel(t.Context())
		l, err := s.Lease(ctx, repo, func(string) { cancel() })
		if (err == nil) != c.taken {
			t.Errorf("%s: %v", c.name, err)
		}
		if l != nil {
			check(t, l.Release())
		}
		cancel()
	}
}

// TestLockDirectory refuses one that somebody else may have prepared.
func TestLockDirectory(t *testing.T) {
	s, _ := newStore(t)
	link := filepath.Join(t.TempDir(), "link")
	check(t, os.Symlink(t.TempDir(), link))
	s.LockDir = link
	if _, err := s.Lease(t.Context(), repo, nil); err == nil {
		t.Error("a link was taken for the lock directory")
	}
}

// TestBlobLock takes the lock that Python's filelock takes, flock on HASH.lock, and follows a removed lock file.
func TestBlobLock(t *testing.T) {
	s, _ := newStore(t)
	h := Hash(strings.Repeat("a", 64))
	l, err := s.LockBlob(t.Context(), repo, h, nil)
	check(t, err)
	path := filepath.Join(s.Dir, ".locks", "models--org--name", string(h)+".lock")
	other, err := os.OpenFile(path, os.O_RDWR, 0)
	check(t, err)
	if err := syscall.Flock(int(other.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); !errors.Is(err, syscall.EWOULDBLOCK) {
		t.Errorf("flock beside the lock: %v", err)
	}
	l.Release()
	check(t, syscall.Flock(int(other.Fd()), syscall.LOCK_EX|syscall.LOCK_NB))
	check(t, os.Remove(path)) // as filelock may, before it lets go
	l, err = s.LockBlob(t.Context(), repo, h, func(string) { t.Error("waited for a lock that nobody can see") })
	check(t, err)
	l.Release()
	other.Close()
}

func TestRemove(t *testing.T) {
	s, f := newStore(t)
	both, only := blob(t, f, []byte("in both")), blob(t, f, []byte("in one"))
	for _, c := range []Commit{commitA, commitB} {
		link(t, f, c, "x", both)
		check(t, f.SaveTree(c, Tree{}))
	}
	link(t, f, commitB, "y", only)
	check(t, f.SetRef("main", commitA))
	check(t, f.SetRef("v2", commitB))
	for _, dry := range []bool{true, false} {
		got, err := s.Remove(t.Context(), repo, "v2", dry)
		if err != nil || got.Blobs != 1 || got.Commits[0] != commitB {
			t.Errorf("removed %+v (%v)", got, err)
		}
		if there := f.HasBlob(only, 6); there != dry {
			t.Errorf("dry %v: the blob is there: %v", dry, there)
		}
	}
	if !f.HasBlob(both, 7) {
		t.Error("a blob that is used went")
	}
	if _, err := s.Find(repo, "v2"); !errors.Is(err, ErrNotCached) {
		t.Errorf("the ref stays: %v", err)
	}
	if _, err := s.Remove(t.Context(), repo, "", false); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(s.Dir, "models--*")); err != nil || len(left) > 0 {
		t.Errorf("left %v (%v)", left, err)
	}
}

func TestVerify(t *testing.T) {
	s, f := newStore(t)
	good, bad, gone := blob(t, f, []byte("good")), blob(t, f, []byte("bad!")), blob(t, f, []byte("gone"))
	for p, h := range map[Path]Hash{"good": good, "bad": bad, "gone": gone} {
		link(t, f, commitA, p, h)
	}
	check(t, os.WriteFile(filepath.Join(f.SnapshotDir(commitA), "stranger"), []byte("?"), 0o644))
	flip(t, f.blobPath(bad), 0)
	check(t, os.Remove(f.blobPath(gone)))
	snap := Snapshot{Repo: repo, Commit: commitA, Dir: f.SnapshotDir(commitA)}
	got := map[Path]Verdict{}
	check(t, s.Verify(t.Context(), snap, true, func(x Finding) { got[x.Path] = x.State }))
	want := map[Path]Verdict{"good": Good, "bad": Corrupt, "gone": Gone, "stranger": Unknown}
	for p, v := range want {
		if got[p] != v {
			t.Errorf("%s is %s, want %s", p, got[p], v)
		}
	}
	clear(got)
	check(t, s.Verify(t.Context(), snap, false, func(x Finding) { got[x.Path] = x.State }))
	if len(got) != 2 || got["good"] != Good || got["stranger"] != Unknown {
		t.Errorf("after the fix: %v", got)
	}
}

func TestDedupe(t *testing.T) {
	s, f := newStore(t)
	other, err := s.Create("org/other")
	check(t, err)
	defer other.Close()
	data := bytes.Repeat([]byte("x"), 10000)
	h := blob(t, f, data)
	blob(t, other, data)
	local := t.TempDir()
	check(t, os.WriteFile(filepath.Join(local, "same"), data, 0o600))
	check(t, os.WriteFile(filepath.Join(local, "like"), bytes.Repeat([]byte("y"), 10000), 0o600))
	same := func() bool {
		a, err := os.Stat(f.blobPath(h))
		check(t, err)
		b, err := os.Stat(other.blobPath(h))
		check(t, err)
		return os.SameFile(a, b)
	}
	for _, dry := range []bool{true, false} {
		got, err := s.Dedupe(t.Context(), []string{local}, dry)
		check(t, err)
		if len(got.Shared) != 2 || got.Shared[0].How == byNothing {
			t.Errorf("dry %v: shared %+v", dry, got.Shared)
		}
		if got.Shared[0].How == byHardlink && same() == dry {
			t.Errorf("dry %v: one file: %v", dry, same())
		}
		if got.Shared[1].How == byHardlink {
			t.Error("a file outside the cache was hard-linked to it")
		}
	}
	b, err := os.ReadFile(filepath.Join(local, "same"))
	if err != nil || !bytes.Equal(b, data) {
		t.Errorf("the copy changed (%v)", err)
	}
}

func TestSpace(t *testing.T) {
	dir := t.TempDir()
	free, err := LocalDisk{}.Free(filepath.Join(dir, "not", "there", "yet"))
	if err != nil || free <= 0 {
		t.Errorf("%d bytes free (%v)", free, err)
	}
	if err := (LocalDisk{}).Reserve(dir, 1<<20); err != nil {
		t.Error(err)
	}
	for _, err := range []error{syscall.ENOSPC, syscall.EDQUOT, &os.PathError{Err: syscall.EDQUOT}} {
		if !IsNoSpace(err) {
			t.Errorf("%v is not taken for a full disk", err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left %v (%v)", left, err)
	}
}
