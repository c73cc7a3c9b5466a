package supervise

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The test binary is also the worker, and a supervisor in a process of its own; this variable says which.
const roleEnv = "SUPERVISE_TEST_ROLE"

func init() {
	if os.Getenv(roleEnv) == "headless" {
		runtime.LockOSThread() // main runs on the process's first thread
	}
}

func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case "headless":
		go func() { select {} }()
		syscall.Syscall(syscall.SYS_EXIT, 0, 0, 0) // of this thread only
	case "worker":
		os.Exit(work(os.Args[1:]))
	case "supervisor":
		os.Exit(superviseAlone(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// acts are what a fake worker can do after it has attached to its supervisor.
var acts = map[string]func(r *Reporter, arg string) int{
	"serve": func(r *Reporter, _ string) int { return beat(r, func(n uint64, f *Figures) { f.Steps = 7 }) },
	"busy": func(r *Reporter, _ string) int {
		return beat(r, func(n uint64, f *Figures) { f.Busy, f.Steps = true, n/5 })
	},
	"stuck": func(r *Reporter, _ string) int {
		return beat(r, func(n uint64, f *Figures) { f.Busy, f.Steps = true, 7 })
	},
	"deaf": func(r *Reporter, _ string) int {
		signal.Ignore(syscall.SIGTERM)
		return beatUntil(r, nil, func(uint64, *Figures) {})
	},
	"code": func(_ *Reporter, arg string) int { return atoi(arg) },
	"late": func(r *Reporter, arg string) int { r.Send(Report{Phase: PhaseLoading}); return atoi(arg) },
	"crash": func(r *Reporter, _ string) int {
		r.Send(Report{Phase: PhaseLoading})
		panic("the worker crashes")
	},
	"oom": func(r *Reporter, _ string) int {
		r.Send(Report{Phase: PhaseLoading})
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	},
	"slowload": func(r *Reporter, arg string) int {
		for i := range atoi(arg) {
			r.Send(Report{Phase: PhaseLoading, Done: int64(i + 1), Total: 100})
			time.Sleep(20 * time.Millisecond)
		}
		return beat(r, func(uint64, *Figures) {})
	},
	"hungload": func(r *Reporter, _ string) int { r.Send(Report{Phase: PhaseLoading}); select {} },
	"chatty": func(r *Reporter, arg string) int {
		go func() {
			line := strings.Repeat("x", 1000) + "\n"
			for i := range atoi(arg) {
				fmt.Print("line ", i, " ", line)
			}
			for ; ; time.Sleep(50 * time.Millisecond) {
				fmt.Println("all said")
			}
		}()
		return beat(r, func(uint64, *Figures) {})
	},
	"port": func(r *Reporter, arg string) int {
		l, err := net.Listen("tcp", arg)
		if err != nil {
			fmt.Println("radish:", err)
			return 1
		}
		defer l.Close()
		return beat(r, func(uint64, *Figures) {})
	},
	"orphan": func(r *Reporter, _ string) int {
		if err := exec.Command("sh", "-c", "(sleep 0.3 &)").Run(); err != nil {
			fmt.Println(err)
			return 1
		}
		return beat(r, func(uint64, *Figures) {})
	},
	"litter": func(r *Reporter, arg string) int {
		for _, c := range [][]string{{"sleep", "1000"}, {"setsid", "sleep", "1000"}, {"sh", "-c", "trap '' TERM; setsid sleep 1000 & sleep 1000"}} {
			cmd := exec.Command(c[0], c[1:]...)
			if c[0] == "setsid" {
				cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
			}
			if err := cmd.Start(); err != nil {
				fmt.Println(err)
				return 1
			}
		}
		return beat(r, func(uint64, *Figures) {})
	},
}

func atoi(s string) (n int) {
	fmt.Sscan(s, &n)
	return n
}

// work is the fake worker's main.
func work(args []string) int {
	r, err := Attach(os.Getenv(ReportEnv))
	if err != nil {
		fmt.Println(err)
		return 99
	}
	fmt.Println("first words of", args)
	return acts[args[0]](r, strings.Join(args[1:], " "))
}

// beat reports every 10 ms until SIGTERM.
func beat(r *Reporter, figures func(n uint64, f *Figures)) int {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	return beatUntil(r, term, figures)
}

func beatUntil(r *Reporter, term <-chan os.Signal, figures func(n uint64, f *Figures)) int {
	r.Send(Report{Phase: PhaseLoading})
	for n := uint64(0); ; n++ {
		f := &Figures{}
		figures(n, f)
		r.Send(Report{Phase: PhaseReady, Figures: f})
		select {
		case <-term:
			fmt.Println("drained")
			return 0
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// quick is a policy in milliseconds. Silences stay long enough for a machine with other work.
func quick() Policy {
	return Policy{Tick: 10 * time.Millisecond, FirstDelay: 20 * time.Millisecond, MostDelay: 100 * time.Millisecond,
		Failures: 4, NeverReady: 3, LoadStall: 3 * time.Second, Silence: 2 * time.Second, Stall: 2 * time.Second,
		Drain: 20 * time.Second, Dump: 2 * time.Second, Sweep: 10 * time.Second, GPU: time.Second}
}

func command(args ...string) Command {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return Command{Path: self, Args: append([]string{"worker"}, args...), Env: append(os.Environ(), roleEnv+"=worker")}
}

// rig is one supervised instance.
type rig struct {
	t     *testing.T
	place Place
	err   chan error
	stop  context.CancelFunc
	once  sync.Once
	saw   error
}

func newPlace(t *testing.T) Place {
	t.Helper()
	dir := t.TempDir()
	p, err := NewPlace(filepath.Join(dir, "run"), filepath.Join(dir, "logs"), "test")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func config(t *testing.T, args ...string) Config {
	return Config{Name: "test", Place: newPlace(t), Worker: command(args...), Policy: quick()}
}

// launch runs a supervisor in this process until the test ends.
func launch(t *testing.T, cfg Config) *rig {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &rig{t: t, place: cfg.Place, err: make(chan error, 1), stop: stop}
	go func() { r.err <- s.Run(ctx) }()
	t.Cleanup(func() { stop(); r.end() })
	return r
}

// end waits for Run and returns what it returned.
func (r *rig) end() error {
	r.once.Do(func() {
		select {
		case r.saw = <-r.err:
		case <-time.After(30 * time.Second):
			r.t.Error("Run did not end")
		}
	})
	return r.saw
}

// until polls the status for what must come.
func (r *rig) until(what string, ok func(*Status) bool) *Status {
	r.t.Helper()
	return await(r.t, r.place, what, ok)
}

func await(t *testing.T, p Place, what string, ok func(*Status) bool) *Status {
	t.Helper()
	var last *Status
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		st, err := Look(t.Context(), p)
		if err != nil {
			continue // the socket is not there yet
		}
		if last = st; ok(st) {
			return st
		}
	}
	t.Fatalf("never: %s; last %+v", what, last)
	return nil
}

func (r *rig) ask(v Verb) {
	r.t.Helper()
	if _, err := Ask(r.t.Context(), r.place, v); err != nil {
		r.t.Fatal(err)
	}
}

func isReady(st *Status) bool { return st.State == Ready }

func in(s State) func(*Status) bool { return func(st *Status) bool { return st.State == s } }

func (r *rig) log() string {
	b, err := Tail(r.place, 1<<20)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(b)
}

// eventually polls anything.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

// withTag lists the living processes that carry tag.
func withTag(tag string) (pids []int) {
	processes(func(pid int, st stat) {
		if st.state != 'Z' && tagged(pid, tag) {
			pids = append(pids, pid)
		}
	})
	return pids
}

// superviseAlone is a supervisor as a process of its own: run logs act...
func superviseAlone(args []string) int {
	if os.Getpid() == 1 { // in a pid namespace: see its processes
		err := errors.Join(unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""), unix.Mount("proc", "/proc", "proc", 0, ""))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	p, err := NewPlace(args[0], args[1], "test")
	if err == nil {
		var s *Supervisor
		if s, err = New(Config{Name: "test", Place: p, Worker: command(args[2:]...), Policy: quick()}); err == nil {
			err = s.Run(context.Background())
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if errors.Is(err, ErrRunning) {
		return 9
	}
	if err != nil {
		return 1
	}
	return 0
}

// alone starts such a process; what it says goes to out.
func alone(t *testing.T, p Place, attr *syscall.SysProcAttr, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out := &bytes.Buffer{}
	cmd := &exec.Cmd{Path: self, Args: append([]string{"supervisor", filepath.Dir(p.Run), filepath.Dir(p.Logs)}, args...),
		Env: append(os.Environ(), roleEnv+"=supervisor"), Stdout: out, Stderr: out, SysProcAttr: attr}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	return cmd, out
}
