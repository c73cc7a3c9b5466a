package supervise

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"syscall"
	"time"

	"crypto/rand"

	"golang.org/x/sys/unix"
)

// worker is one run of the command.
type worker struct {
	cmd     *exec.Cmd
	id      Identity
	tag     string
	output  *os.File // our end of stdout and stderr
	socket  *os.File // our end of the report socket; closing it tells the worker that it is an orphan
	run     *run
	pumped  chan struct{} // closed when output has been read to its end
	heard   chan bool     // gets whether there was any report, when the socket has been read to its end
	born    time.Duration // watched time
	readyAt time.Duration // likewise; 0: never
	oom     int64         // kernel's count before
	report  *Report
	doomed  string // why we are ending it because of a fault; "": we are not
}

// ended is the message that a worker's process is gone.
type ended struct {
	w     *worker
	state *os.ProcessState // nil: somebody else took it
}

// spawn starts the command in a session of its own, with pipes that outlive nobody. The thread that starts it stays
// locked until it ends: the kernel's promise to kill the child with its parent is bound to that thread.
func spawn(c Command, reports chan<- reported, done chan<- ended, take func([]byte)) (*worker, error) {
	w := &worker{tag: rand.Text(), run: &run{}, pumped: make(chan struct{}), heard: make(chan bool, 1)}
	theirs, err := w.wire(c)
	if err != nil {
		return nil, err
	}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := w.cmd.Start()
		if err == nil {
			w.id, err = identify(w.cmd.Process.Pid)
		}
		started <- err
		if w.cmd.Process == nil {
			return
		}
		state, _ := w.cmd.Process.Wait() // its only errors mean that it is gone
		done <- ended{w, state}
	}()
	err = <-started
	for _, f := range theirs {
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("start worker: %w", errors.Join(err, w.closeAll()))
	}
	go w.pump(take)
	go w.hear(reports)
	return w, nil
}

func (w *worker) hear(reports chan<- reported) {
	any := false
	readReports(w.socket, func(r Report) {
		any = true
		reports <- reported{w, r}
	})
	w.heard <- any
}

// wire makes the pipes and the command; what it returns belongs to the child and is closed here after the start.
func (w *worker) wire(c Command) (theirs []*os.File, err error) {
	r, out, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	w.output = r
	unix.FcntlInt(out.Fd(), unix.F_SETPIPE_SZ, 1<<20) // more room for a burst, where it is allowed
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("make socket: %w", errors.Join(err, r.Close(), out.Close()))
	}
	w.socket = os.NewFile(uintptr(fds[0]), "worker")
	far := os.NewFile(uintptr(fds[1]), "supervisor")
	w.cmd = &exec.Cmd{
		Path: c.Path, Args: c.Args, Dir: c.Dir, Stdout: out, Stderr: out, ExtraFiles: []*os.File{far},
		Env:         append(slices.Clone(c.Env), ReportEnv+"=3", TagEnv+"="+w.tag),
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL},
	}
	return []*os.File{out, far}, nil
}

func (w *worker) closeAll() error { return errors.Join(w.output.Close(), w.socket.Close()) }

func (w *worker) pump(take func([]byte)) {
	defer close(w.pumped)
	lines(w.output, func(line []byte) {
		w.run.add(line)
		take(line)
	})
}

// signal reaches the worker's process as long as it is our child; afterwards it reaches nobody.
func (w *worker) signal(sig syscall.Signal) { w.cmd.Process.Signal(sig) }

// family visits what came from the worker: processes of its session, and those that carry its tag. The worker itself is
// among them while it lives. The kernel gives the number of a session to nobody else while the session has members, so
// a leader that is not the worker means that the session is a stranger's.
func family(leader Identity, tag string, visit func(Identity)) {
	self, session := os.Getpid(), leader.PID
	if st, err := readStat(session); err == nil && st.start != leader.Start {
		session = -1
	}
	processes(func(pid int, st stat) {
		if pid == self || st.dead() {
			return
		}
		if st.session != session && !tagged(pid, tag) {
			return
		}
		if id, err := identify(pid); err == nil && id.Start == st.start {
			visit(id)
		}
	})
}

// kill sends SIGKILL to everything that came from the worker.
func (w *worker) kill() {
	w.signal(syscall.SIGKILL)
	family(w.id, w.tag, func(id Identity) { id.signal(syscall.SIGKILL) }) // gone meanwhile is as good
}

// sweep kills everything that came from leader or carries tag until nothing is left, and names what survives that for
// longer than patience.
func sweep(leader Identity, tag string, patience time.Duration) (left []int) {
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		left = left[:0]
		family(leader, tag, func(id Identity) {
			left = append(left, id.PID)
			id.signal(syscall.SIGKILL)
		})
		if len(left) == 0 || time.Now().After(end) {
			return left
		}
	}
}

// burial is what was found after a worker's end.
type burial struct {
	w       *worker
	ending  ending
	cause   *Explanation
	left    []int // processes that do not die
	gpuOver int64 // bytes of GPU memory over the baseline
}

// bury waits for the last words, explains them, ends what the worker left behind and waits for the GPU's memory. It
// takes seconds at most and runs beside the loop.
func (w *worker) bury(e ending, o *outfit) burial {
	b := burial{w: w, ending: e}
	late := time.Now().Add(2 * time.Second) // a grandchild may hold the pipe for ever
	w.output.SetReadDeadline(late)
	w.socket.SetReadDeadline(late)
	<-w.pumped
	b.ending.reported = <-w.heard
	b.left = sweep(w.id, w.tag, o.policy.Sweep)
	b.cause = o.hooks.Explain(w.run.text())
	if n, ok := o.hooks.OOMKills(); ok {
		b.ending.oomKills = n - w.oom
	}
	b.gpuOver = o.gpuWait()
	w.closeAll() // both ends were read; nothing can be lost
	return b
}

// outfit is what a burial needs of the supervisor; it does not change.
type outfit struct {
	policy   Policy
	hooks    Hooks
	baseline int64 // bytes of GPU memory in use before the first start
	gpu      bool
}

// measure reads the baseline.
func (o *outfit) measure() {
	if o.hooks.GPUMemory == nil {
		return
	}
	n, err := o.hooks.GPUMemory()
	o.baseline, o.gpu = n, err == nil
}

// gpuWait polls until the GPU's memory is back at its baseline, and returns what is over it when it never comes back.
func (o *outfit) gpuWait() (over int64) {
	if !o.gpu {
		return 0
	}
	for end := time.Now().Add(o.policy.GPU); ; time.Sleep(max(o.policy.Tick, 10*time.Millisecond)) {
		n, err := o.hooks.GPUMemory()
		if err == nil && n <= o.baseline+o.policy.GPUSlack {
			return 0
		}
		if err == nil {
			over = n - o.baseline
		}
		if time.Now().After(end) {
			return over
		}
	}
}

// reported is a report and who sent it.
type reported struct {
	w *worker
	r Report
}
