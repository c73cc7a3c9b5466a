package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"radish/cmd/internal/ui"
	"radish/doctor/explain"
	"radish/doctor/host"
	"radish/server/supervise"
)

// The variables of the daemon's commands.
const (
	nameEnv = "RADISH_NAME" // default of --name
	homeEnv = "RADISH_HOME" // holds run and logs, instead of the usual places
)

// daemonEnv are variables that are no flags of radish serve and may stand in its environment.
var daemonEnv = []string{nameEnv, homeEnv, supervise.ReportEnv, supervise.TagEnv}

// notForWorker are secrets and sockets that the worker has no use for: it makes no request to anybody, and it must not
// speak to the service manager in the supervisor's place.
var notForWorker = []string{"RUNPOD_API_KEY", "CONTAINER_API_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}

const stateExitStatus = `
EXIT STATUS
  0    ready
  1    an error, said on stderr
  2    a flag or argument that is not right
  3    stopped
  4    nobody can say: the supervisor is gone or does not answer
  150  starting, loading, or waiting for the next try
  151  degraded: ready once, and something is wrong now
  152  draining or stopping
  153  parked: it failed, and another try would not help
`

const actionExitStatus = `
EXIT STATUS
  0    it did what was asked
  1    an error, said on stderr
  2    a flag or argument that is not right
  3    the instance is not running
  4    the supervisor does not answer
  130  interrupted
`

// instance is which daemon is meant.
type instance struct{ name string }

func (i *instance) add(c *cobra.Command) {
	c.Flags().StringVar(&i.name, "name", orElse(os.Getenv(nameEnv), "default"), "which instance, if there are several")
	err := c.RegisterFlagCompletionFunc("name", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		run, _, err := daemonDirs()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		names, err := supervise.Names(run)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
	if err != nil {
		panic(err) // the flag was made two lines above
	}
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// place is where the instance keeps its things.
func (i *instance) place() (supervise.Place, error) {
	run, logs, err := daemonDirs()
	if err != nil {
		return supervise.Place{}, err
	}
	p, err := supervise.NewPlace(run, logs, i.name)
	switch {
	case errors.Is(err, supervise.ErrName):
		return p, &usageError{err: advise(err, "--name with small letters, digits, - and _, at most 32")}
	case errors.Is(err, supervise.ErrPath):
		return p, &usageError{err: advise(err, "export %s=/tmp/radish (or another short path on a local disk)", homeEnv)}
	}
	return p, err
}

// daemonDirs: sockets and locks live on a local filesystem that ends with the machine, logs where they outlive it.
func daemonDirs() (run, logs string, err error) {
	if home := os.Getenv(homeEnv); home != "" {
		if home, err = filepath.Abs(home); err != nil {
			return "", "", fmt.Errorf("find %s: %w", homeEnv, err)
		}
		return filepath.Join(home, "run"), filepath.Join(home, "logs"), nil
	}
	user, err := os.UserHomeDir()
	if err != nil && os.Getuid() == 0 {
		user, err = "/root", nil // system services have no HOME
	}
	if err != nil {
		return "", "", advise(err, "export %s=DIRECTORY", homeEnv)
	}
	run, logs = filepath.Join(user, ".radish", "run"), filepath.Join(user, ".radish", "logs")
	switch xdg := os.Getenv("XDG_RUNTIME_DIR"); {
	case os.Getuid() == 0:
		run = "/run/radish" // the same in every session, which XDG's is not for root
	case filepath.IsAbs(xdg):
		run = filepath.Join(xdg, "radish")
	}
	return run, logs, nil
}

// look is the instance's status; its name is filled in where nothing was ever started.
func (i *instance) look(ctx context.Context) (*supervise.Status, error) {
	p, err := i.place()
	if err != nil {
		return nil, err
	}
	st, err := supervise.Look(ctx, p)
	if err != nil {
		return nil, err
	}
	st.Name = i.name
	return st, nil
}

// adviseDaemon adds the next command to an error of asking a supervisor.
func adviseDaemon(err error, name string) error {
	switch {
	case errors.Is(err, supervise.ErrNotRunning):
		return advise(fmt.Errorf("instance %s is %w", name, err), "radish start --name %s, or radish status --all", name)
	case errors.Is(err, supervise.ErrUnreachable):
		return advise(fmt.Errorf("instance %s: %w", name, err), "radish stop --now --name %s ends it and its worker", name)
	}
	return err
}

// self is this program and the name by which it finds itself again.
func self() (string, error) {
	exe, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	return strings.TrimSuffix(exe, " (deleted)"), nil // it was replaced: the next start is the new one
}

// superviseOptions are what a supervisor is started with.
type superviseOptions struct {
	instance
	drain      time.Duration
	foreground bool
	args       []string // of radish serve
}

// config wires a supervisor to the rest of radish.
func (o *superviseOptions) config(term *ui.Terminal) (supervise.Config, error) {
	p, err := o.place()
	if err != nil {
		return supervise.Config{}, err
	}
	exe, err := self()
	if err != nil {
		return supervise.Config{}, err
	}
	dir, err := os.Getwd()
	if err != nil {
		return supervise.Config{}, fmt.Errorf("find working directory: %w", err)
	}
	cfg := supervise.Config{
		Name: o.name, Place: p, Version: version, ParkedEnds: o.foreground,
		Worker: supervise.Command{Path: exe, Args: append([]string{"radish", "serve"}, o.args...), Env: workerEnv(os.Environ()), Dir: dir},
		Policy: supervise.Policy{Drain: o.drain + 10*time.Second},
		Hooks: supervise.Hooks{Exits: workerExits, Explain: explainRun, OOMKills: containerKills, GPUMemory: gpuMemory,
			Mask: explain.Mask, Notify: supervise.NewNotifier(os.Getenv("NOTIFY_SOCKET")).Send},
	}
	if o.foreground {
		cfg.Tee = term.Err
	}
	return cfg, nil
}

func workerEnv(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.Contains(notForWorker, name)
	})
}

// explainRun names the cause in a run's log. What the run survived is not what ended it.
func explainRun(log []byte) *supervise.Explanation {
	rep, err := explain.Read(bytes.NewReader(log), liveFacts(context.Background()))
	if err != nil || rep.Cause == nil || rep.Cause.Survived {
		return nil
	}
	return &supervise.Explanation{ID: rep.Cause.ID, Title: rep.Cause.Title, Text: rep.Text(), Parks: rep.Cause.Parks}
}

func containerKills() (int64, bool) {
	kills := host.OOMKills()
	return int64(min(kills.Value, math.MaxInt64)), kills.Err == ""
}

var errNoGPU = errors.New("no GPU answers")

// gpuMemory is what is in use on all cards, asked in a child because a driver may hang.
func gpuMemory() (int64, error) {
	system, err := probe(10 * time.Second)
	if err != nil {
		return 0, err
	}
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
	defer stop()
	n := system.NVML(ctx)
	if n.Err != "" || len(n.Cards) == 0 {
		return 0, fmt.Errorf("read GPU memory: %w: %s", errNoGPU, n.Err)
	}
	used := int64(0)
	for _, c := range n.Cards {
		used += int64(c.MemoryTotal - c.MemoryFree)
	}
	return used, nil
}

// runSupervisor runs one in this process until it is told to stop. It looks after signals itself.
func runSupervisor(ctx context.Context, term *ui.Terminal, o *superviseOptions) error {
	cfg, err := o.config(term)
	if err != nil {
		return err
	}
	s, err := supervise.New(cfg)
	if err != nil {
		return err
	}
	return s.Run(context.WithoutCancel(ctx))
}

// newSuperviseCommand is what radish start runs in the background.
func newSuperviseCommand(term *ui.Terminal) *cobra.Command {
	o := &superviseOptions{}
	c := &cobra.Command{
		Use:    "__supervise -- FLAGS OF SERVE",
		Short:  "keep radish serve up; started by radish start",
		Hidden: true,
		Args:   cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			o.args = args
			return runSupervisor(c.Context(), term, o)
		},
	}
	o.add(c)
	c.Flags().DurationVar(&o.drain, "drain", 30*time.Second, "time for running requests")
	return c
}
