package supervise

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestPausesGrowAndReset(t *testing.T) {
	p := Policy{Failures: 100}.withDefaults()
	r := restarts{policy: p, jitter: func() float64 { return 0.5 }}
	now := time.Duration(0)
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		now += time.Second
		if pause, park := r.failed(now, time.Second); pause != want*time.Second || park != "" {
			t.Errorf("failure %d: %s %q, want %ds", i+1, pause, park, want)
		}
	}
	if pause, _ := r.failed(now, p.Reset); pause != time.Second {
		t.Errorf("after ten good minutes: %s", pause)
	}
	r.failed(now, 1)
	if pause, _ := r.failed(now+p.Window+time.Second, 1); pause != time.Second {
		t.Errorf("after the window: %s", pause)
	}
}

// Whatever the jitter, a pause is within a fifth of its size and never over the limit; five failures in the window park.
func TestPauseBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Policy{}.withDefaults()
		r := restarts{policy: p, jitter: func() float64 { return rapid.Float64Range(0, 0.999999).Draw(t, "jitter") }}
		now := time.Duration(0)
		var times []time.Duration
		for range 20 {
			now += time.Duration(rapid.Int64Range(0, int64(p.Window)).Draw(t, "gap"))
			times = append(times, now)
			recent := 0
			for _, x := range times {
				if now-x <= p.Window {
					recent++
				}
			}
			pause, park := r.failed(now, time.Second)
			if (park != "") != (recent >= p.Failures) {
				t.Fatalf("%d failures in the window: park %q", recent, park)
			}
			if park == "" && (pause < p.FirstDelay*8/10 || pause > p.MostDelay) {
				t.Fatalf("pause %s", pause)
			}
		}
	})
}

// The watchdog against a table of lives, one second a step.
func TestWatch(t *testing.T) {
	fig := func(steps int, busy bool) *Figures { return &Figures{Steps: uint64(steps), Busy: busy} }
	burn, rest := evidence{progress: true, cpu: true}, evidence{}
	for name, c := range map[string]struct {
		life  func(w *watch, second int)
		after int // seconds until wedged; 0: never within 2000
	}{
		"idle":              {func(w *watch, n int) { w.report(Report{Figures: fig(5, false)}); w.pass(time.Second, rest) }, 0},
		"busy":              {func(w *watch, n int) { w.report(Report{Figures: fig(n, true)}); w.pass(time.Second, rest) }, 0},
		"a step in 4 min":   {func(w *watch, n int) { w.report(Report{Figures: fig(n/240, true)}); w.pass(time.Second, rest) }, 0},
		"silent":            {func(w *watch, n int) { w.pass(time.Second, rest) }, 60},
		"silent but warm":   {func(w *watch, n int) { w.pass(time.Second, burn) }, 60},
		"reports, no steps": {func(w *watch, n int) { w.report(Report{Figures: fig(1, true)}); w.pass(time.Second, rest) }, 301},
		"one giant step":    {func(w *watch, n int) { w.report(Report{Figures: fig(1, true)}); w.pass(time.Second, burn) }, 1201},
	} {
		w := &watch{policy: Policy{}.withDefaults(), ready: true}
		got := 0
		for n := 1; n <= 2000 && got == 0; n++ {
			c.life(w, n)
			if h, _ := w.judge(); h == wedged {
				got = n
			}
		}
		if got < c.after-1 || got > c.after {
			t.Errorf("%s: wedged after %d s, want %d", name, got, c.after)
		}
	}
	w := &watch{policy: Policy{}.withDefaults()}
	for n := range 3600 {
		w.report(Report{Phase: PhaseLoading, Done: int64(n / 200)})
		w.pass(time.Second, rest)
		if h, why := w.judge(); h != fine {
			t.Fatalf("a slow load was judged %q after %d s", why, n)
		}
	}
}

func TestClockCountsWatchedTime(t *testing.T) {
	c := clock{tick: time.Second}
	at := func(d time.Duration) time.Duration { return c.advance(noon.Add(d)) }
	for i, s := range []struct{ at, want time.Duration }{
		{0, 0}, {time.Second, time.Second}, {time.Hour, 2 * time.Second}, {0, 0}, {time.Second / 2, time.Second / 2}, {24 * time.Hour, 2 * time.Second},
	} {
		if got := at(s.at); got != s.want {
			t.Errorf("look %d: %s, want %s", i, got, s.want)
		}
	}
}

func TestParseStat(t *testing.T) {
	st, err := parseStat([]byte("42 (a) b (c)) S 7 42 41 0 -1 0 0 0 0 0 11 22 0 0 20 0 1 0 12345 99 3 0 0"))
	if err != nil || st.state != 'S' || st.parent != 7 || st.session != 41 || st.cpu != 33 || st.start != 12345 ||
		st.rss != 3*int64(os.Getpagesize()) {
		t.Errorf("%+v, %v", st, err)
	}
	for _, bad := range []string{"", "42 sleep S 1", "42 (x) S 1 2 3"} {
		if _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
	self, err := readStat(os.Getpid())
	if err != nil || self.parent != os.Getppid() || self.rss == 0 {
		t.Errorf("%+v, %v", self, err)
	}
}

func TestNames(t *testing.T) {
	for _, bad := range []string{"", "../x", "A", "a/b", "-a", strings.Repeat("a", 33), "a b"} {
		if _, err := NewPlace("/run", "/logs", bad); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := NewPlace("/"+strings.Repeat("x", 100), "/logs", "a"); !errors.Is(err, ErrPath) {
		t.Errorf("long path: %v", err)
	}
	p, err := NewPlace("/"+strings.Repeat("x", mostSocket-len("//a/control")), "/logs", "a")
	if err != nil || len(p.socket()) != mostSocket {
		t.Errorf("longest path: %d, %v", len(p.socket()), err)
	}
}

func TestSeveralInstances(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var rigs []*rig
	for _, name := range []string{"one", "two"} {
		cfg := config(t, "serve")
		p, err := NewPlace(filepath.Join(dir, "run"), filepath.Join(dir, "logs"), name)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Name, cfg.Place = name, p
		rigs = append(rigs, launch(t, cfg))
	}
	for _, r := range rigs {
		r.until("ready", isReady)
	}
	names, err := Names(filepath.Join(dir, "run"))
	if err != nil || strings.Join(names, " ") != "one two" {
		t.Errorf("%q, %v", names, err)
	}
	rigs[0].ask(VerbStop)
	rigs[0].end()
	rigs[1].until("the other still ready", isReady)
}

func TestStateExitCodes(t *testing.T) {
	for state, want := range map[State]int{Ready: 0, Stopped: 3, Lost: 4, "": 4, Starting: 150, Loading: 150, Warming: 150,
		Backoff: 150, Degraded: 151, Draining: 152, Stopping: 152, Parked: 153} {
		if got := state.ExitCode(); got != want {
			t.Errorf("%q: %d, want %d", state, got, want)
		}
	}
}

// A supervisor that is stopped itself answers nobody: that is told, and Rescue ends it and its worker.
func TestDeafSupervisor(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	cmd, _ := alone(t, p, nil, "serve")
	st := await(t, p, "ready", isReady)
	cmd.Process.Signal(syscall.SIGSTOP)
	eventually(t, "lost", func() bool {
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		got, err := Look(ctx, p)
		return err == nil && got.State == Lost
	})
	waited := make(chan error, 1)
	go func() { waited <- cmd.Wait() }()
	if err := Rescue(t.Context(), p); err != nil {
		t.Error(err)
	}
	<-waited
	eventually(t, "the worker is gone", func() bool { return !st.Worker.alive() })
}

// The manager's side is a plain datagram socket, as sd_notify(3) says.
func TestNotify(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "n")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cfg := config(t, "serve")
	cfg.Hooks.Notify = NewNotifier(name).Send
	r := launch(t, cfg)
	got := map[string]bool{}
	next := func() string {
		l.SetReadDeadline(time.Now().Add(20 * time.Second))
		b := make([]byte, 4096)
		n, err := l.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	for !got["READY=1"] || !got["WATCHDOG=1"] || !got["STATUS=ready: it says so"] {
		got[next()] = true
	}
	r.ask(VerbStop)
	for !got["STOPPING=1"] {
		got[next()] = true
	}
	NewNotifier("").Send("READY=1") // silent, and no panic
	NewNotifier("/nowhere/at/all").Send("READY=1")
}

func TestUnitQuotes(t *testing.T) {
	text, err := Unit{Name: "a", Argv: []string{"/usr/bin/radish", "start", `--x=a b"c\d%e$f`}, Dir: "/srv/50%", Env: []string{"A=b c$d"}, User: "svc"}.File()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`ExecStart="/usr/bin/radish" "start" "--x=a b\"c\\d%%e$$f"`, "WorkingDirectory=/srv/50%%", `Environment="A=b c$d"`,
		"User=svc", "Type=notify", "RestartPreventExitStatus=2 4 9 153",
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no line %s in\n%s", want, text)
		}
	}
	if _, err := (Unit{Argv: []string{"a\nExecStartPre=b"}}).File(); !errors.Is(err, errUnit) {
		t.Errorf("a line end: %v", err)
	}
}

// What is on the report socket is a worker's: it may be anything.
func FuzzReports(f *testing.F) {
	f.Add([]byte(`{"phase":"ready"}` + "\n"))
	f.Add([]byte("{\n\n\x00}\n"))
	f.Add([]byte(strings.Repeat("x", mostReport+5) + "\n{\"phase\":\"loading\"}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		readReports(strings.NewReader(string(b)), func(Report) { n++ })
		if n > strings.Count(string(b), "\n") {
			t.Fatalf("%d reports in %q", n, b)
		}
	})
}

// The last word of a run is what its program says, not the advice below it.
func TestLastWord(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "one\ntwo\n": "two", "radish: it broke\n  try: another way\n\n": "radish: it broke", "  only advice\n": "",
		strings.Repeat("y", 500) + "\n": strings.Repeat("y", 300),
	} {
		r := &run{}
		r.add([]byte(text))
		if got := r.lastWord(); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
