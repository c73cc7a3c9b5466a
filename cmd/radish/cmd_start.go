package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"radish/cmd/internal/ui"
	"radish/doctor"
	"radish/doctor/check"
	"radish/doctor/host"
	"radish/server"
	"radish/server/supervise"
)

const startExitStatus = `
EXIT STATUS
  0    ready (with --no-wait: started); in the foreground: stopped as asked
  1    an error, said on stderr
  2    a flag, argument or configuration key that is not right
  4    the model and its settings do not fit this machine
  5    doctor found that this machine is not fit
  9    the instance runs already
  20   the device that was asked for is not there
  130  interrupted while waiting; the instance goes on
  153  parked: it failed, and another try would not help
`

// startFlags are radish serve's and a few of its own.
type startFlags struct {
	instance
	serve      serveFlags
	inner      *cobra.Command // has radish serve's flags only
	foreground bool
	noWait     bool
	skipDoctor bool
}

func newStartCommand(term *ui.Terminal) *cobra.Command {
	return newStartCommandInto(term, &startFlags{})
}

// newStartCommandInto fills f with the flags.
func newStartCommandInto(term *ui.Terminal, f *startFlags) *cobra.Command {
	f.inner = &cobra.Command{Use: "serve"}
	c := &cobra.Command{
		Use:   "start",
		Short: "serve a model in the background, kept up by a supervisor",
		Long: `Start radish serve as the child of a supervisor in a session of its own, and wait until it has made a
token and answers. The supervisor restarts it when it ends or hangs, waits longer each time, stops trying when another
try would not help, and keeps its output within bounds. All flags of radish serve are taken; they, RADISH_* variables
and --config mean the same. A key given with --api-key is handed on in the environment, where ps does not show it.

First doctor looks at the machine and the model's size is planned; what is not fit is said before anything is started.

  radish start --model-path /models/Llama-3.2-1B-Instruct
  radish start --name small --model-path builtin --port 30001
  radish start --foreground --model-path DIR      in a container or a service unit: it is the supervisor itself

In the foreground SIGTERM and SIGINT drain and stop, the second one at once; SIGHUP restarts the worker; as process 1 it
takes in orphans. It ends with 153 where it would be parked in the background.
` + startExitStatus,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := layer(f.inner, f.serve.file); err != nil {
				return err
			}
			return runStart(c.Context(), term, f)
		},
	}
	f.addServe(c)
	f.add(c)
	c.Flags().BoolVar(&f.foreground, "foreground", false, "be the supervisor, and copy the worker's output to stderr")
	c.Flags().BoolVar(&f.noWait, "no-wait", false, "do not wait until it is ready")
	c.Flags().BoolVar(&f.skipDoctor, "skip-doctor", false, "start without looking at the machine first")
	return c
}

// addServe gives c the flags of radish serve.
func (f *startFlags) addServe(c *cobra.Command) {
	f.serve.model.add(f.inner)
	f.serve.sched.add(f.inner)
	f.serve.add(f.inner)
	c.Flags().AddFlagSet(f.inner.Flags())
}

// secretFlags travel in the environment.
var secretFlags = map[string]string{"api-key": envPrefix + "API_KEY"}

// pass is what the command line said, for radish serve: arguments, and variables for what is secret.
func (f *startFlags) pass() (args, env []string) {
	f.inner.Flags().VisitAll(func(fl *pflag.Flag) {
		if !fl.Changed {
			return
		}
		if name, secret := secretFlags[fl.Name]; secret {
			env = append(env, name+"="+fl.Value.String())
			return
		}
		args = append(args, "--"+fl.Name+"="+fl.Value.String())
	})
	return args, env
}

func runStart(ctx context.Context, term *ui.Terminal, f *startFlags) error {
	p, err := f.place()
	if err != nil {
		return err
	}
	if err := f.notRunning(ctx); err != nil {
		return err
	}
	if !f.skipDoctor {
		if err := f.preflight(ctx, term); err != nil {
			return err
		}
	}
	args, env := f.pass()
	o := &superviseOptions{instance: f.instance, drain: f.serve.http.DrainTimeout, foreground: f.foreground, args: args}
	if f.foreground {
		for _, kv := range env {
			name, value, _ := strings.Cut(kv, "=")
			if err := os.Setenv(name, value); err != nil {
				return fmt.Errorf("hand on %s: %w", name, err)
			}
		}
		return adviseStart(runSupervisor(ctx, term, o), f.name)
	}
	b, err := background(o, p, env)
	if err != nil {
		return err
	}
	return b.wait(ctx, term, f)
}

func adviseStart(err error, name string) error {
	switch {
	case errors.Is(err, supervise.ErrRunning):
		return advise(err, "radish status --name %s, radish restart --name %s, or another --name and --port", name, name)
	case errors.Is(err, supervise.ErrParked):
		return advise(err, "radish logs --start --name %s", name)
	}
	return err
}

// notRunning refuses a second start before anything is looked at, because its own port would be found taken.
func (f *startFlags) notRunning(ctx context.Context) error {
	st, err := f.look(ctx)
	if err != nil {
		return err
	}
	switch {
	case st.State == supervise.Stopped:
		return nil
	case st.State == supervise.Lost:
		return adviseDaemon(fmt.Errorf("%w: %s", supervise.ErrUnreachable, st.Reason), f.name)
	case st.Supervisor == nil:
		return adviseStart(fmt.Errorf("instance %s is %w", f.name, supervise.ErrRunning), f.name)
	}
	return adviseStart(fmt.Errorf("instance %s is %w: supervisor %d, state %s", f.name, supervise.ErrRunning, st.Supervisor.PID, st.State), f.name)
}

// preflight says what would go wrong: settings, size, machine.
func (f *startFlags) preflight(ctx context.Context, term *ui.Terminal) error {
	cfg, err := f.serve.config(term)
	if err != nil {
		return err
	}
	plan, err := server.MakePlan(cfg)
	if err != nil {
		return advisePlan(err, cfg)
	}
	if err := plan.Close(); err != nil {
		return err
	}
	dir := ""
	if cfg.Model.Files == nil {
		dir = cfg.Model.Path
	}
	report, err := f.diagnose(ctx, dir, "storage") // which is for those who download
	if err != nil {
		return err
	}
	if report.Verdict != doctor.Fail {
		term.Say("doctor: nothing that would keep it from starting")
		return nil
	}
	term.Say("%s", strings.TrimSpace(report.Text(false)))
	return advise(errDoctorFail, "mend what failed above, or start anyway: --skip-doctor")
}

// diagnose asks the doctor what these flags, and the model in a directory, need of the machine: one model on one device,
// so what engines over several cards need does not keep it from starting.
func (f *startFlags) diagnose(ctx context.Context, dir string, skip ...string) (*doctor.Report, error) {
	fl := doctorFlags{model: dir, port: f.serve.http.Port, wait: host.DefaultWait,
		skip: append(skip, "huggingface", "network", "lim.shm", "gpu.nvlink")}
	if f.serve.model.where == "cpu" {
		fl.skip = append(fl.skip, "gpu", "model.vram", "model.dtype_arch")
	}
	if fl.port == 0 {
		fl.skip = append(fl.skip, "ports")
	}
	checks, err := doctor.Select(check.All(), nil, fl.skip)
	if err != nil {
		return nil, err
	}
	return diagnose(ctx, checks, fl)
}

// launched is a supervisor in the background that this process has started.
type launched struct {
	place  supervise.Place
	errors string // file with what it said before it was gone
	ended  chan error
	pid    int
}

// background starts the supervisor in a session of its own, so that it outlives this terminal.
func background(o *superviseOptions, p supervise.Place, env []string) (*launched, error) {
	exe, err := self()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(p.Logs, 0o700); err != nil {
		return nil, fmt.Errorf("make log directory: %w", err)
	}
	b := &launched{place: p, errors: filepath.Join(p.Logs, "supervisor.err"), ended: make(chan error, 1)}
	said, err := os.OpenFile(b.errors, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open supervisor's errors: %w", err)
	}
	defer said.Close()
	args := append([]string{"radish", "__supervise", "--name", o.name, "--drain", o.drain.String(), "--"}, o.args...)
	cmd := &exec.Cmd{Path: exe, Args: args, Env: append(os.Environ(), env...), Stdout: said, Stderr: said,
		SysProcAttr: &syscall.SysProcAttr{Setsid: true}}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start supervisor: %w", err)
	}
	b.pid = cmd.Process.Pid
	go func() { b.ended <- cmd.Wait() }()
	return b, nil
}

// wait follows the start until it is ready, parked or gone.
func (b *launched) wait(ctx context.Context, term *ui.Terminal, f *startFlags) error {
	told := newProgress(term)
	for {
		select {
		case <-ctx.Done():
			term.Say("it goes on without this terminal: radish status --name %s, or radish stop --name %s", f.name, f.name)
			return ctx.Err()
		case err := <-b.ended:
			return b.gone(err, f.name)
		case <-time.After(100 * time.Millisecond):
		}
		st, err := supervise.Ask(ctx, b.place, supervise.VerbStatus)
		if err != nil || st.Supervisor == nil || st.Supervisor.PID != b.pid {
			continue // its socket is not open yet
		}
		told.tell(st)
		switch {
		case st.State == supervise.Ready:
			return sayReady(term, st)
		case st.State == supervise.Parked:
			return parked(term, st)
		case f.noWait:
			term.Say("started: supervisor %d; radish status --name %s", b.pid, f.name)
			return nil
		}
	}
}

// gone is the error of a supervisor that ended while it was waited for.
func (b *launched) gone(err error, name string) error {
	said, readErr := os.ReadFile(b.errors)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == exitRunning {
		return adviseStart(fmt.Errorf("instance %s is %w", name, supervise.ErrRunning), name)
	}
	if err == nil {
		err = errors.New("it was stopped")
	}
	text := strings.TrimSpace(strings.TrimPrefix(string(said), "radish: "))
	return errors.Join(advise(fmt.Errorf("run supervisor: %w: %s", err, text), "radish logs --name %s", name), readErr)
}

func sayReady(term *ui.Terminal, st *supervise.Status) error {
	if st.Report == nil {
		return nil
	}
	term.Say("ready: %s (model %s, %s)", st.Report.URL, st.Report.Model, st.Report.Device)
	term.Say("  try: radish generate --url %s \"what is a KV pool?\"", st.Report.URL)
	term.Say("  radish status, radish logs -f, radish top and radish stop look after it%s", namedAs(st.Name))
	return nil
}

func namedAs(name string) string {
	if name == orElse(os.Getenv(nameEnv), "default") {
		return ""
	}
	return ", each with --name " + name
}

// parked is the error of an instance that gave up, after its explanation.
func parked(term *ui.Terminal, st *supervise.Status) error {
	if st.Cause != nil {
		term.Say("%s", strings.TrimSpace(st.Cause.Text))
	}
	return advise(fmt.Errorf("instance %s is %w: %s", st.Name, supervise.ErrParked, st.Reason),
		"radish logs --start --name %s; when it is mended radish restart, or radish stop and start it otherwise", st.Name)
}

// progress tells what happens to an instance on the way up: changes at once, numbers now and then.
type progress struct {
	term *ui.Terminal
	last string
	at   time.Time
}

func newProgress(term *ui.Terminal) *progress { return &progress{term: term} }

const progressPause = 5 * time.Second

func (p *progress) tell(st *supervise.Status) {
	key := string(st.State) + st.Reason
	r := st.Report
	if r != nil {
		key += r.Note
	}
	if key == p.last && (st.State != supervise.Loading || time.Since(p.at) < progressPause) {
		return
	}
	p.last, p.at = key, time.Now()
	switch {
	case st.State == supervise.Ready || st.State == supervise.Parked:
	case st.State == supervise.Loading && r != nil && r.Done > r.Total/100 && r.Done < r.Total:
		p.term.Say("loading: %s of %s", ui.Bytes(r.Done), ui.Bytes(r.Total))
	case st.State == supervise.Backoff:
		p.term.Say("%s; trying again in %.0f s (failure %d)", st.Reason, st.Restarts.NextIn, st.Restarts.InWindow)
	default:
		p.term.Say("%s: %s", st.State, st.Reason)
	}
}

// newRestartCommand drains the worker and starts it again with the same flags.
func newRestartCommand(term *ui.Terminal) *cobra.Command {
	var i instance
	var noWait bool
	c := &cobra.Command{
		Use:   "restart",
		Short: "restart the worker of a running instance, with the same flags",
		Long: `Drain the worker, start it again with the same flags, and wait until it is ready. A parked instance, or one
that waits for its next try, is started at once. A configuration file is read again; for other flags stop and start.

  radish restart
  radish restart --name small --no-wait
` + actionExitStatus + `  153  parked: it failed, and another try would not help
`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			p, err := i.place()
			if err != nil {
				return err
			}
			before, err := supervise.Ask(c.Context(), p, supervise.VerbStatus)
			if err == nil {
				_, err = supervise.Ask(c.Context(), p, supervise.VerbRestart)
			}
			if err != nil || noWait {
				return adviseDaemon(err, i.name)
			}
			return waitRestart(c.Context(), term, p, before)
		},
	}
	i.add(c)
	c.Flags().BoolVar(&noWait, "no-wait", false, "do not wait until it is ready")
	return c
}

// waitRestart waits until a worker other than the one before is ready.
func waitRestart(ctx context.Context, term *ui.Terminal, p supervise.Place, before *supervise.Status) error {
	told := newProgress(term)
	failures := len(before.Restarts.History)
	for {
		st, err := supervise.Ask(ctx, p, supervise.VerbStatus)
		if err != nil {
			return adviseDaemon(err, before.Name)
		}
		another := before.Worker == nil || st.Worker != nil && st.Worker.PID != before.Worker.PID
		switch told.tell(st); {
		case st.State == supervise.Ready && another:
			return sayReady(term, st)
		case st.State == supervise.Parked && len(st.Restarts.History) > failures:
			return parked(term, st)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// copyAll writes b to the answer as it is.
func copyAll(w io.Writer, b []byte) error {
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("write answer: %w", err)
	}
	return nil
}
