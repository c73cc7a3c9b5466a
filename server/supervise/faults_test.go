package supervise

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// The faults below happen to real processes: the test binary is its own worker (see fake_test.go).

func TestWorkerKilled(t *testing.T) {
	t.Parallel()
	r := launch(t, config(t, "serve"))
	first := r.until("ready", isReady)
	syscall.Kill(first.Worker.PID, syscall.SIGKILL)
	second := r.until("ready again", func(st *Status) bool { return isReady(st) && st.Worker.PID != first.Worker.PID })
	if second.Restarts.Total != 1 || len(second.Restarts.History) != 1 {
		t.Fatalf("restarts %+v, want one", second.Restarts)
	}
	if e := second.Restarts.History[0]; e.Signal != "killed" || !e.Ready || !strings.Contains(e.Reason, "signal 9") {
		t.Errorf("exit %+v, want signal killed after it had been ready", e)
	}
}

// A stopped process gives no sign of life: it is woken for a stack dump and replaced.
func TestWorkerHangs(t *testing.T) {
	t.Parallel()
	r := launch(t, config(t, "serve"))
	first := r.until("ready", isReady)
	syscall.Kill(first.Worker.PID, syscall.SIGSTOP)
	r.until("degraded first", func(st *Status) bool { return st.State == Degraded || st.Restarts.Total > 0 })
	second := r.until("ready again", func(st *Status) bool { return isReady(st) && st.Worker.PID != first.Worker.PID })
	if e := second.Restarts.History[0]; !strings.Contains(e.Reason, "no sign of life") {
		t.Errorf("reason %q", e.Reason)
	}
	eventually(t, "the stacks are in the log", func() bool { return strings.Contains(r.log(), "SIGQUIT: quit") })
}

// Work and reports but no step is wedged; slow steps are not.
func TestBusyIsNotWedged(t *testing.T) {
	t.Parallel()
	stuck := launch(t, config(t, "stuck"))
	busy := launch(t, config(t, "busy"))
	idle := launch(t, config(t, "serve"))
	pids := []int{busy.until("ready", isReady).Worker.PID, idle.until("ready", isReady).Worker.PID}
	st := stuck.until("the stuck one replaced", func(st *Status) bool { return st.Restarts.Total >= 1 })
	if e := st.Restarts.History[0]; !strings.Contains(e.Reason, "no step was made") {
		t.Errorf("reason %q", e.Reason)
	}
	for i, other := range []*rig{busy, idle} {
		if st := other.until("ready", isReady); st.Worker.PID != pids[i] || st.Restarts.Total != 0 {
			t.Errorf("worker %d was restarted: %+v", i, st.Restarts)
		}
	}
}

// Loading may take longer than LoadStall as long as it gets on; a load that stands still is ended.
func TestLoading(t *testing.T) {
	t.Parallel()
	slow := config(t, "slowload", "100")
	slow.Policy.LoadStall = time.Second
	hung := config(t, "hungload")
	hung.Policy.LoadStall = time.Second
	a, b := launch(t, slow), launch(t, hung)
	seen := a.until("loading", func(st *Status) bool { return st.State == Loading && st.Report.Done > 0 })
	if ready := a.until("ready", isReady); ready.Worker.PID != seen.Worker.PID {
		t.Error("a load that got on was ended")
	}
	st := b.until("the hung load ended", func(st *Status) bool { return len(st.Restarts.History) > 0 })
	if e := st.Restarts.History[0]; e.Ready || !strings.Contains(e.Reason, "no progress") {
		t.Errorf("exit %+v", e)
	}
}

func TestParking(t *testing.T) {
	t.Parallel()
	table := map[int]Verdict{2: {Reason: "a flag is wrong", Early: true}, 4: {Reason: "the model does not fit"}}
	explain := func(log []byte) *Explanation {
		if !bytes.Contains(log, []byte("first words of [code 7]")) {
			return nil
		}
		return &Explanation{ID: "x.seven", Title: "seven it is", Parks: true}
	}
	for _, c := range []struct {
		name   string
		act    []string
		starts int // in all
		reason string
	}{
		{"crash loop", []string{"code", "1"}, 3, "ended 3 times and was never ready; last: exit status 1"},
		{"code that no restart mends", []string{"code", "4"}, 1, "does not fit"},
		{"usage", []string{"code", "2"}, 1, "a flag is wrong"},
		{"Go's crash has the code of usage", []string{"crash"}, 3, "it crashed: exit status 2"},
		{"a table row for early ends only", []string{"late", "2"}, 3, "it crashed"},
		{"a log that explains", []string{"code", "7"}, 1, "seven it is"},
		{"ends by itself", []string{"code", "0"}, 3, "status 0"},
		{"cannot be started", nil, 3, "no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cfg := config(t, c.act...)
			cfg.Hooks = Hooks{Exits: table, Explain: explain}
			if c.act == nil {
				cfg.Worker.Path = filepath.Join(t.TempDir(), "nothing")
			}
			r := launch(t, cfg)
			st := r.until("parked", in(Parked))
			if n := len(st.Restarts.History); n != c.starts {
				t.Errorf("%d starts, want %d", n, c.starts)
			}
			if !strings.Contains(st.Reason, c.reason) {
				t.Errorf("reason %q, want %q in it", st.Reason, c.reason)
			}
			if want := c.act != nil && c.act[1:] != nil && strings.Join(c.act, " ") == "code 7"; (st.Cause != nil) != want {
				t.Errorf("cause %+v", st.Cause)
			}
			r.ask(VerbRestart) // a person tries again
			r.until("parked again", func(st *Status) bool { return st.State == Parked && len(st.Restarts.History) > c.starts })
			r.ask(VerbStop)
			if err := r.end(); err != nil {
				t.Errorf("stopping a parked instance: %v", err)
			}
		})
	}
}

func TestParkedEndsInForeground(t *testing.T) {
	t.Parallel()
	cfg := config(t, "code", "1")
	cfg.ParkedEnds = true
	if err := launch(t, cfg).end(); !errors.Is(err, ErrParked) {
		t.Errorf("%v, want ErrParked", err)
	}
}

// A kill that the kernel counts as one for memory is called so, and one that it does not count is not.
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		act    []string
		counts bool
		want   string
	}{
		"signal":             {[]string{"oom"}, true, "out of memory"},
		"through a shell":    {[]string{"late", "137"}, true, "out of memory"},
		"killed by somebody": {[]string{"oom"}, false, "by the kernel for memory, or by somebody"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var kills atomic.Int64
			cfg := config(t, c.act...)
			cfg.Hooks.OOMKills = func() (int64, bool) { return kills.Add(1), c.counts }
			st := launch(t, cfg).until("parked after a few", in(Parked))
			if e := st.Restarts.History[0]; !strings.Contains(e.Reason, c.want) {
				t.Errorf("reason %q, want %q", e.Reason, c.want)
			}
		})
	}
}

// When the supervisor is killed its worker dies within a second, and the next start finds everything free.
func TestSupervisorKilled(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	first, _ := alone(t, p, nil, "port", addr)
	st := await(t, p, "ready", isReady)
	first.Process.Kill()
	first.Wait()
	eventually(t, "the worker is gone", func() bool { return !st.Worker.alive() })
	after, err := Look(t.Context(), p)
	if err != nil || after.State != Stopped || !strings.Contains(after.Reason, "without a word while it was ready") {
		t.Errorf("afterwards %+v, %v", after, err)
	}
	second, out := alone(t, p, nil, "port", addr)
	again := await(t, p, "ready again", isReady)
	if again.Restarts.Total != 0 {
		t.Errorf("the second start was not clean: %+v", again.Restarts)
	}
	second.Process.Signal(syscall.SIGTERM)
	if err := second.Wait(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// What survives the worker of a killed supervisor is found by its tag and ended by the next start.
func TestLeftoversOfKilledSupervisor(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	first, _ := alone(t, p, nil, "litter")
	st := await(t, p, "ready", isReady)
	eventually(t, "litter", func() bool { return len(withTag(st.Worker.Tag)) >= 5 })
	first.Process.Kill()
	first.Wait()
	eventually(t, "the worker is gone", func() bool { return !st.Worker.alive() })
	if len(withTag(st.Worker.Tag)) == 0 {
		t.Fatal("nothing was left: the test shows nothing")
	}
	second, _ := alone(t, p, nil, "serve")
	await(t, p, "ready", isReady)
	if left := withTag(st.Worker.Tag); len(left) > 0 {
		t.Errorf("processes %v of the earlier start live on", left)
	}
	second.Process.Signal(syscall.SIGTERM)
	second.Wait()
}

// A stop leaves nothing: no child, no grandchild in a session of its own, none that ignores SIGTERM.
func TestStopTakesTheWholeFamily(t *testing.T) {
	t.Parallel()
	r := launch(t, config(t, "litter"))
	tag := r.until("ready", isReady).Worker.Tag
	eventually(t, "litter", func() bool { return len(withTag(tag)) >= 5 })
	r.ask(VerbStop)
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	if left := withTag(tag); len(left) > 0 {
		t.Errorf("processes %v live on", left)
	}
}

func TestStopDrainsThenKills(t *testing.T) {
	t.Parallel()
	t.Run("a worker that listens", func(t *testing.T) {
		t.Parallel()
		r := launch(t, config(t, "serve"))
		r.until("ready", isReady)
		r.ask(VerbStop)
		if err := r.end(); err != nil || !strings.Contains(r.log(), "drained") {
			t.Errorf("%v, log %s", err, r.log())
		}
	})
	t.Run("a deaf one", func(t *testing.T) {
		t.Parallel()
		cfg := config(t, "deaf")
		cfg.Policy.Drain = 300 * time.Millisecond
		r := launch(t, cfg)
		pid := r.until("ready", isReady).Worker.PID
		r.ask(VerbStop)
		r.until("draining", func(st *Status) bool { return st.State == Draining || st.State == Stopping || st.State == Stopped })
		if err := r.end(); err != nil || syscall.Kill(pid, 0) == nil {
			t.Errorf("ended with %v; worker alive: %v", err, syscall.Kill(pid, 0) == nil)
		}
	})
	t.Run("now", func(t *testing.T) {
		t.Parallel()
		r := launch(t, config(t, "deaf")) // Drain would be 20 s
		r.until("ready", isReady)
		r.ask(VerbStop)
		begin := time.Now()
		r.ask(VerbStopNow)
		if err := r.end(); err != nil || time.Since(begin) > 10*time.Second {
			t.Errorf("%v after %s", err, time.Since(begin))
		}
	})
}

// A port that somebody took while the worker was down: the log says it, and nothing is killed for it.
func TestPortStolen(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	cfg := config(t, "port", addr)
	cfg.Policy.FirstDelay, cfg.Policy.MostDelay = 2*time.Second, 2*time.Second // time for a thief
	cfg.Hooks.Explain = func(log []byte) *Explanation {
		if bytes.Contains(log, []byte("bind: address already in use")) {
			return &Explanation{ID: "start.port", Title: "the port is taken", Parks: true}
		}
		return nil
	}
	r := launch(t, cfg)
	syscall.Kill(r.until("ready", isReady).Worker.PID, syscall.SIGKILL)
	r.until("backoff", in(Backoff))
	thief, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	st := r.until("parked", in(Parked))
	if st.Cause == nil || st.Cause.ID != "start.port" {
		t.Errorf("cause %+v", st.Cause)
	}
	thief.Close()
	r.ask(VerbRestart)
	r.until("ready when the port is free", isReady)
}

// The state file names a live process that is not ours: by number alone, and with every mark but one right.
func TestRecycledPIDIsNeverSignalled(t *testing.T) {
	t.Parallel()
	stranger := exec.Command("sleep", "1000")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { stranger.Process.Kill(); stranger.Wait() }()
	real, err := identify(stranger.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Identity){
		"start": func(id *Identity) { id.Start-- }, "boot": func(id *Identity) { id.Boot = "another" },
		"namespace": func(id *Identity) { id.Namespace = "pid:[1]" }, "exe": func(id *Identity) { id.Exe = "1:1" },
	} {
		id := real
		change(&id)
		if id.alive() || !errors.Is(id.signal(syscall.SIGKILL), errStranger) {
			t.Errorf("%s: a stranger was taken for ours", name)
		}
		cfg := config(t, "serve")
		if err := cfg.Place.make(); err != nil {
			t.Fatal(err)
		}
		old := Status{State: Ready, Supervisor: &id, Worker: &Worker{Identity: id, Tag: "of-somebody-else"}}
		if err := old.write(cfg.Place.state()); err != nil {
			t.Fatal(err)
		}
		if st, err := Look(t.Context(), cfg.Place); err != nil || st.State != Stopped {
			t.Errorf("%s: %+v, %v", name, st, err)
		}
		if err := Rescue(t.Context(), cfg.Place); err != nil {
			t.Errorf("%s: rescue: %v", name, err)
		}
		launch(t, cfg).until("ready", isReady)
	}
	if !real.alive() {
		t.Fatal("the stranger was killed")
	}
	if err := real.signal(syscall.SIGTERM); err != nil {
		t.Errorf("the right identity cannot be signalled: %v", err)
	}
	stranger.Wait()
}

func TestDoubleStart(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	first, _ := alone(t, p, nil, "serve")
	pid := await(t, p, "ready", isReady).Worker.PID
	second, out := alone(t, p, nil, "serve")
	err := second.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 9 {
		t.Errorf("second start: %v", err)
	}
	if want := fmt.Sprintf("already running: supervisor %d, state ready", first.Process.Pid); !strings.Contains(out.String(), want) {
		t.Errorf("%q, want %q in it", out, want)
	}
	if st := await(t, p, "ready", isReady); st.Worker.PID != pid {
		t.Error("the second start disturbed the first")
	}
	first.Process.Signal(syscall.SIGTERM)
	if err := first.Wait(); err != nil {
		t.Error(err)
	}
}

// The wall clock jumps by a day, to and fro, at every look. The worker stays, pauses stay short, parking still works.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	jumpy := func() func() time.Time {
		var n atomic.Int64
		return func() time.Time {
			day := time.Duration(n.Add(1)%3-1) * 24 * time.Hour
			return time.Now().Round(0).Add(day) // Round(0) takes the monotonic reading away
		}
	}
	cfg := config(t, "busy")
	cfg.Hooks.Now = jumpy()
	r := launch(t, cfg)
	first := r.until("ready", isReady)
	crash := config(t, "code", "1")
	crash.Hooks.Now = jumpy()
	launch(t, crash).until("parked", in(Parked))
	syscall.Kill(first.Worker.PID, syscall.SIGKILL)
	second := r.until("ready again", func(st *Status) bool { return isReady(st) && st.Restarts.Total == 1 })
	steps := second.Report.Figures.Steps
	st := r.until("a hundred more steps", func(st *Status) bool { return st.Report != nil && st.Report.Figures.Steps > steps+60 })
	if st.Restarts.Total != 1 || st.Worker.PID != second.Worker.PID {
		t.Errorf("the jumps cost a restart: %+v", st.Restarts)
	}
}

// The GPU's memory is waited for after a stop, and told when it does not come back.
func TestGPUMemoryComesBack(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		after func(polls int64) int64 // in use after the end, over the baseline
		warns bool
	}{
		"at the third look": {func(n int64) int64 { return max(0, 3-n) << 30 }, false},
		"within the slack":  {func(int64) int64 { return 200 << 20 }, false},
		"never":             {func(int64) int64 { return 69 << 30 }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var polls atomic.Int64
			const base = 500 << 20
			cfg := config(t, "serve")
			cfg.Hooks.GPUMemory = func() (int64, error) {
				n := polls.Add(1)
				if n == 1 {
					return base, nil
				}
				return base + c.after(n-1), nil
			}
			r := launch(t, cfg)
			syscall.Kill(r.until("ready", isReady).Worker.PID, syscall.SIGKILL)
			st := r.until("ready again", func(st *Status) bool { return isReady(st) && st.Restarts.Total == 1 })
			if got := strings.Contains(strings.Join(st.Warnings, " "), "did not come back"); got != c.warns {
				t.Errorf("warnings %q after %d looks", st.Warnings, polls.Load())
			}
			if polls.Load() < 2 {
				t.Error("nobody looked")
			}
		})
	}
}

func TestEverythingIsPrivate(t *testing.T) {
	t.Parallel()
	r := launch(t, config(t, "serve"))
	r.until("ready", isReady)
	for name, want := range map[string]os.FileMode{
		r.place.Run: 0o700, r.place.Logs: 0o700, r.place.socket(): 0o600, r.place.state(): 0o600, r.place.lock(): 0o600,
		r.place.Log(): 0o600, r.place.events(): 0o600,
	} {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", name, info.Mode().Perm(), err, want)
		}
	}
}

// As process 1 the supervisor takes in orphans of anybody, passes SIGTERM on and ends with 0.
func TestProcessOne(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	cmd, out := alone(t, p, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}, "orphan")
	if st := await(t, p, "ready", isReady); st.Supervisor.PID != 1 {
		t.Errorf("the supervisor is process %d", st.Supervisor.PID)
	}
	orphans := func() (alive, dead int) {
		processes(func(_ int, s stat) {
			switch {
			case s.parent != cmd.Process.Pid:
			case s.state == 'Z':
				dead++
			default:
				alive++
			}
		})
		return alive, dead
	}
	eventually(t, "an orphan ends: the worker alone stays", func() bool { alive, _ := orphans(); return alive == 1 })
	eventually(t, "and is taken", func() bool { _, dead := orphans(); return dead == 0 })
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
