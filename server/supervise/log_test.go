package supervise

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

func TestRotation(t *testing.T) {
	dir := t.TempDir()
	l := newLogfile(dir, LogPolicy{FileBytes: 1000, Files: 3, Age: time.Hour})
	now := noon
	for i := range 100 {
		now = now.Add(time.Second)
		l.write(fmt.Appendf(nil, "line %03d %s\n", i, strings.Repeat("x", 90)), now)
	}
	l.close(now)
	names, err := rotated(dir, logPrefix)
	if err != nil || len(names) != 3 {
		t.Fatalf("%d rotated files %v, %v, want 3", len(names), names, err)
	}
	text := ""
	for _, n := range append(names, l.path()) {
		info, err := os.Stat(n)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", n, info.Mode(), err)
		}
		if n != l.path() && !strings.HasSuffix(n, ".log.gz") {
			t.Errorf("%s is not compressed", n)
		}
		b, err := readLog(n)
		if err != nil {
			t.Fatal(err)
		}
		text += string(b)
	}
	// What is kept is the end of what was written, without a gap.
	first := 100 - strings.Count(text, "\n")
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		if !strings.HasPrefix(line, fmt.Sprintf("line %03d ", first+i)) {
			t.Fatalf("line %d is %q", first+i, line)
		}
	}
	if first == 0 || first > 75 {
		t.Errorf("the log begins at line %d", first)
	}
	// Age: an hour later the next rotation deletes all of them.
	now = now.Add(2 * time.Hour)
	l.write(bytes.Repeat([]byte("late\n"), 300), now)
	l.close(now)
	if names, _ = rotated(dir, logPrefix); len(names) != 1 {
		t.Errorf("after their time: %v", names)
	}
}

func TestTotalIsCapped(t *testing.T) {
	dir := t.TempDir()
	l := newLogfile(dir, LogPolicy{FileBytes: 64 << 10, Files: 1000, TotalBytes: 1 << 20, HeadBytes: 1 << 10})
	l.begin(noon)
	noise := make([]byte, 32<<10) // does not compress
	now := noon
	for i := range 200 {
		for j := range noise {
			noise[j] = byte((i*31+j*j)>>3) ^ byte(j*2654435761>>7)
		}
		now = now.Add(time.Second)
		l.write(noise, now)
	}
	l.close(now)
	_, total := l.list()
	if most := int64(1<<20 + 2*64<<10); total > most {
		t.Errorf("%d bytes are kept, the cap is %d", total, 1<<20)
	}
	if heads, _ := rotated(dir, headPrefix); len(heads) != 1 {
		t.Errorf("the head of this start is gone: %v", heads)
	}
}

func TestFirstLinesOfEveryStart(t *testing.T) {
	p := newPlace(t)
	if err := p.make(); err != nil {
		t.Fatal(err)
	}
	l := newLogfile(p.Logs, LogPolicy{FileBytes: 1000, Files: 1, HeadBytes: 50, Heads: 3})
	for i := range 5 {
		now := noon.Add(time.Duration(i) * time.Minute)
		l.begin(now)
		for range 100 {
			l.write(fmt.Appendf(nil, "start %d says something\n", i), now)
		}
	}
	l.close(noon)
	heads, err := rotated(p.Logs, headPrefix)
	if err != nil || len(heads) != 3 {
		t.Fatalf("%v, %v", heads, err)
	}
	b, err := FirstLines(p)
	if err != nil || len(b) != 50 || !bytes.HasPrefix(b, []byte("start 4")) {
		t.Errorf("%q, %v", b, err)
	}
}

func TestSurvivesRenameDeleteAndTruncate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	l := newLogfile(dir, LogPolicy{FileBytes: 1 << 20})
	now := noon
	say := func(s string) { now = now.Add(2 * time.Second); l.write([]byte(s+"\n"), now) }
	read := func() string { b, _ := os.ReadFile(l.path()); return string(b) }
	say("one")
	if err := os.Rename(l.path(), l.path()+".mine"); err != nil {
		t.Fatal(err)
	}
	if say("two"); read() != "two\n" {
		t.Errorf("after a rename: %q", read())
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if say("three"); read() != "three\n" {
		t.Errorf("after the directory was removed: %q", read())
	}
	if err := os.Truncate(l.path(), 0); err != nil {
		t.Fatal(err)
	}
	if say("four"); read() != "four\n" || l.size != 5 {
		t.Errorf("after a cut: %q, size %d", read(), l.size)
	}
	if l.dropped != 0 {
		t.Errorf("%d bytes dropped", l.dropped)
	}
	l.close(now)
}

// The real thing: a filesystem without a free block under a worker that talks. Mounting needs root, which CI has.
func TestLogDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Run("fault-injected writer: tmpfs cannot be mounted here ("+err.Error()+")", logDiskFullInjected)
		return
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	cfg := config(t, "chatty", "20000") // 20 MB
	cfg.Place.Logs = filepath.Join(dir, "logs")
	ballast := filepath.Join(dir, "ballast")
	if err := os.Mkdir(cfg.Place.Logs, 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(f, io.LimitReader(zeros{}, 4<<20)); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	f.Close()
	r := launch(t, cfg)
	st := r.until("ready although nothing can be written", isReady)
	r.until("everything dropped and counted", func(st *Status) bool { return st.Log.Dropped >= 20000*1000 })
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the log says what is missing", func() bool { return strings.Contains(r.log(), "bytes of output are missing here") })
	if again := r.until("ready", isReady); again.Worker.PID != st.Worker.PID {
		t.Error("a full disk cost a restart")
	}
}

func TestLogDiskFullInjected(t *testing.T) { logDiskFullInjected(t) }

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// fullFile takes room bytes, then says ENOSPC.
type fullFile struct {
	*os.File
	room *int
}

func (f fullFile) Write(b []byte) (int, error) {
	if len(b) > *f.room {
		return 0, syscall.ENOSPC
	}
	*f.room -= len(b)
	return f.File.Write(b)
}

func logDiskFullInjected(t *testing.T) {
	l := newLogfile(t.TempDir(), LogPolicy{})
	room := 100
	l.open = func(name string) (file, error) {
		f, err := openPrivate(name)
		if err != nil {
			return nil, err
		}
		return fullFile{f.(*os.File), &room}, nil
	}
	now := noon
	for range 10 {
		now = now.Add(2 * time.Second)
		l.write(bytes.Repeat([]byte("x"), 30), now)
	}
	if l.dropped != 7*30 || !errors.Is(l.lastErr, syscall.ENOSPC) {
		t.Errorf("dropped %d, error %v, want 210 and ENOSPC", l.dropped, l.lastErr)
	}
	room = 1000
	l.write([]byte("back\n"), now.Add(2*time.Second))
	l.close(now)
	b, _ := os.ReadFile(l.path())
	if !bytes.Contains(b, []byte("210 bytes of output are missing here")) || !bytes.HasSuffix(b, []byte("back\n")) {
		t.Errorf("%q", b)
	}
}

// A writer that hangs for ever holds nobody up; what does not fit is counted.
func TestSinkNeverWaits(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	s := newSink(func([]byte) { <-hang })
	line := make([]byte, 64<<10)
	for range 200 {
		s.put(line)
	}
	if want := int64(200*64<<10 - mostQueue); s.lost() < want-64<<10 {
		t.Errorf("%d bytes lost, want about %d", s.lost(), want)
	}
	s.close(10 * time.Millisecond)
}

// Nothing is lost or invented by cutting into lines, whatever the chunks.
func TestLinesAreWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOf(rapid.SampledFrom([]string{"a", "\n", "bb", strings.Repeat("c", mostLine), "\r", "d\n"})).Draw(t, "parts")
		r, w := io.Pipe()
		go func() {
			for _, p := range parts {
				w.Write([]byte(p))
			}
			w.Close()
		}()
		var got bytes.Buffer
		lines(r, func(b []byte) {
			if len(b) == 0 || b[len(b)-1] != '\n' || len(b) > mostLine+1 || bytes.Count(b, []byte("\n")) != 1 {
				t.Fatalf("not a line: %d bytes", len(b))
			}
			got.Write(b)
		})
		strip := func(s string) string { return strings.ReplaceAll(s, "\n", "") }
		if strip(got.String()) != strip(strings.Join(parts, "")) {
			t.Fatal("bytes were lost or invented")
		}
	})
}

func TestTailAndFollow(t *testing.T) {
	p := newPlace(t)
	if err := p.make(); err != nil {
		t.Fatal(err)
	}
	l := newLogfile(p.Logs, LogPolicy{FileBytes: 60})
	now := noon
	say := func(from, to int) {
		for i := from; i < to; i++ {
			now = now.Add(2 * time.Second)
			l.write(fmt.Appendf(nil, "line %d\n", i), now)
		}
	}
	say(0, 30)
	l.zipped(true, now)
	for _, n := range []int{0, 1, 7, 12, 30, 99} {
		b, err := Tail(p, n)
		if got := bytes.Count(b, []byte("\n")); err != nil || got != min(n, 30) || n > 0 && !bytes.HasSuffix(b, []byte("line 29\n")) {
			t.Errorf("tail %d: %d lines %q, %v", n, got, b, err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	var mu sync.Mutex
	var got strings.Builder
	done := make(chan error, 1)
	began := make(chan struct{})
	go func() {
		close(began)
		done <- Follow(ctx, p, func(b []byte) { mu.Lock(); got.Write(b); mu.Unlock() })
	}()
	<-began
	eventually(t, "the follower sees lines across rotations", func() bool {
		say(30, 33)
		mu.Lock()
		defer mu.Unlock()
		return strings.Count(got.String(), "\n") >= 20
	})
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	l.close(now)
}

func TestCompressKeepsTheOriginalWhenItFails(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.log")
	if err := os.WriteFile(name, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(name+".gz.tmp", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := compress(name); err == nil {
		t.Error("no error")
	}
	if b, err := os.ReadFile(name); string(b) != "text" {
		t.Error(err)
	}
	os.Remove(name + ".gz.tmp")
	if err := compress(name); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name + ".gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(z); err != nil || string(b) != "text" {
		t.Errorf("%q, %v", b, err)
	}
}
