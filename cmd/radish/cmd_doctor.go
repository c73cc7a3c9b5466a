package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"radish/cmd/internal/ui"
	"radish/doctor"
	"radish/doctor/check"
	"radish/doctor/host"
	"radish/kernels/cuda/image"
)

// The verdicts that are not well. They are errors so that the exit code tells them.
var (
	errDoctorFail = errors.New("this machine is not fit")
	errDoctorWarn = errors.New("not everything is known to be well")
)

const doctorExitStatus = `
EXIT STATUS
  0    every check that applies is ok
  1    an error, said on stderr
  2    a flag or argument that is not right
  5    a check failed or crashed
  6    none failed, but one warned or, if it is not a minor one (see --list), could not tell
  130  interrupted
`

type doctorFlags struct {
	output     string
	list, all  bool
	only, skip []string
	model      string
	kernels    bool
	port       int
	host       string
	fix, watch bool
	engine     string
	python     string
	every      time.Duration
	wait       time.Duration
	tape       struct{ record, replay string }
	hub        struct{ always, never bool }
}

func newDoctorCommand(term *ui.Terminal) *cobra.Command {
	var fl doctorFlags
	c := &cobra.Command{
		Use:   "doctor",
		Short: "say what is wrong with this machine before a server is started on it",
		Long: `Judge this machine: GPU and driver, container limits, disks, ports, Hugging Face settings, with --for
a model (are its files whole, does it fit here), and with --engine the Python side of SGLang or vLLM, read from its
files: no Python is run. Every answer is ok, warn, fail, unknown, skipped or crashed; unknown never counts as ok. A
taken port gets its owner named and a free one proposed; no process is ever ended, and nothing is changed without
--fix. Tokens are masked in every output.

The network is asked only with --network, or for an ORG/MODEL that the cache does not hold; then the token goes to
HF_ENDPOINT and nowhere else. A run ends within 3 seconds, with the network within 10; --wait gives a driver that has
to wake its cards more time.

  radish doctor                                  problems, and one line for each family that is well
  radish doctor --all                            everything, with evidence
  radish doctor --network                        the hub, the token, the clock too
  radish doctor --for /models/Llama-3.2-1B       does this model's directory look right, and does it fit
  radish doctor --for meta-llama/Llama-3.2-1B    the same of a repository: access, disk, memory
  radish doctor --only container,port.bind       some families or checks, and what they depend on
  radish doctor --engine sglang                  the Python side too: versions, CUDA, architectures, ABI
  radish doctor --kernels                        do the cards compute what the reference computes
  radish doctor --fix                            run the fixes that destroy nothing and need no root, each shown first
  radish doctor --watch --skip ports             then one line for every check that changes, until interrupted
  radish doctor --output json | jq .verdict      schema ` + doctor.Schema + `
` + doctorExitStatus,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runDoctor(c, term, fl) },
	}
	f := c.Flags()
	f.StringVarP(&fl.output, "output", "o", "text", "text, json or junit")
	f.BoolVar(&fl.list, "list", false, "list the checks and run none")
	f.BoolVar(&fl.all, "all", false, "tell the checks that are ok or skipped too")
	f.StringSliceVar(&fl.only, "only", nil, "run these ids, families or patterns only")
	f.StringSliceVar(&fl.skip, "skip", nil, "leave these ids, families or patterns out")
	f.StringVar(&fl.model, "for", "", "a model directory, or ORG/MODEL, to judge as well")
	f.BoolVar(&fl.kernels, "kernels", false, "run every GPU kernel of this binary against the reference, on each card; takes seconds")
	f.StringVar(&fl.engine, "engine", "", "an engine in Python to judge as well: "+strings.Join(check.Engines(), ", "))
	f.StringVar(&fl.python, "python", "", "the environment or interpreter to judge with --engine, instead of the one found")
	f.BoolVar(&fl.fix, "fix", false, "show and run the safe fixes, then judge again")
	f.BoolVar(&fl.watch, "watch", false, "go on and tell what changes (text only)")
	f.DurationVar(&fl.every, "interval", 5*time.Second, "time between two looks of --watch, at least 1s")
	f.DurationVar(&fl.wait, "wait", host.DefaultWait, "how long to wait for a driver or disk that does not answer")
	f.BoolVar(&fl.hub.always, "network", false, "ask the Hugging Face hub too: names, clock, token, access, rate limit")
	f.BoolVar(&fl.hub.never, "no-network", false, "do not ask the hub, not even for --for ORG/MODEL")
	f.StringVar(&fl.tape.record, "record", "", "write the facts, secrets masked, into this directory")
	f.StringVar(&fl.tape.replay, "replay", "", "judge facts that --record wrote instead of this machine")
	for _, name := range []string{"record", "replay"} {
		if err := f.MarkHidden(name); err != nil {
			panic(err) // the flag was defined two lines above
		}
	}
	f.StringVar(&fl.host, "host", "", "the address a server would listen on")
	f.IntVar(&fl.port, "port", host.DefaultPort, "the port a server would take")
	completeWords(c, "engine", check.Engines()...)
	completeWords(c, "output", "text", "json", "junit")
	completeWords(c, "only", checkNames()...)
	completeWords(c, "skip", checkNames()...)
	return c
}

func runDoctor(c *cobra.Command, term *ui.Terminal, fl doctorFlags) error {
	if err := fl.check(); err != nil {
		return &usageError{cmd: c, err: err}
	}
	checks, err := doctor.Select(fl.checks(), fl.only, fl.skip)
	if err != nil {
		return &usageError{cmd: c, err: advise(err, "radish doctor --list")}
	}
	if fl.list {
		return listChecks(term, checks)
	}
	report, err := diagnose(c.Context(), checks, fl)
	if err == nil && fl.fix && applyFixes(c.Context(), term, report) {
		report, err = diagnose(c.Context(), checks, fl)
	}
	if err != nil {
		return err
	}
	if err := writeReport(term, report, fl); err != nil {
		return err
	}
	if fl.watch {
		return watch(c.Context(), term, checks, fl, report)
	}
	return verdictError(report)
}

// checks is all of them; the Python side and the kernels' self-test only for who asks for them.
func (fl doctorFlags) checks() []doctor.Check {
	all := check.All()
	if fl.kernels || fl.list {
		all = append(all, selfTestCheck())
	}
	if fl.engine == "" && !fl.list {
		return all
	}
	return append(all, check.Python()...)
}

func (fl doctorFlags) check() error {
	switch {
	case fl.engine != "" && !slices.Contains(check.Engines(), fl.engine):
		return fmt.Errorf("engine %q is not one of %s", fl.engine, strings.Join(check.Engines(), ", "))
	case fl.python != "" && fl.engine == "":
		return errors.New("--python means nothing without --engine")
	case fl.output != "text" && fl.output != "json" && fl.output != "junit":
		return fmt.Errorf("output %q is not text, json or junit", fl.output)
	case fl.port < 1 || fl.port > 65535:
		return fmt.Errorf("port %d is not between 1 and 65535", fl.port)
	case fl.watch && fl.output != "text":
		return fmt.Errorf("watch tells text only, not %s", fl.output)
	case fl.hub.always && fl.hub.never:
		return errors.New("network and no-network exclude each other")
	case fl.wait < 100*time.Millisecond:
		return fmt.Errorf("wait %s is shorter than 100ms", fl.wait)
	case fl.every < time.Second:
		return fmt.Errorf("interval %s is shorter than 1s", fl.every)
	}
	return nil
}

// applyFixes runs every safe fix after showing it and says whether it ran one. A fix that does not work is told; the
// report that follows judges what it left.
func applyFixes(ctx context.Context, term *ui.Terminal, r *doctor.Report) (ran bool) {
	for _, f := range r.Findings {
		if !f.Fix.Safe() {
			continue
		}
		ran = true
		term.Say("%s: %s: %s", f.ID, f.Fix.Text, strings.Join(f.Fix.Argv, " "))
		limited, cancel := context.WithTimeout(ctx, 10*time.Second)
		if err := exec.CommandContext(limited, f.Fix.Argv[0], f.Fix.Argv[1:]...).Run(); err != nil {
			term.Problem(fmt.Errorf("fix %s: %w", f.ID, err), "")
		}
		cancel()
	}
	return ran
}

// watch tells changes until the context ends.
func watch(ctx context.Context, term *ui.Terminal, checks []doctor.Check, fl doctorFlags, last *doctor.Report) error {
	turn := time.NewTicker(fl.every)
	defer turn.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-turn.C:
		}
		r, err := diagnose(ctx, checks, fl)
		if err != nil {
			return err
		}
		term.Answer("%s", r.Changes(last))
		last = r
	}
}

// checkNames is every name that --only and --skip take, patterns aside.
func checkNames() []string {
	var names []string
	for _, k := range append(check.All(), check.Python()...) {
		if !slices.Contains(names, k.Family) {
			names = append(names, k.Family)
		}
		names = append(names, k.ID)
	}
	return names
}

func listChecks(term *ui.Terminal, checks []doctor.Check) error {
	rows := [][]string{{"id", "family", "weight", "title", "needs"}}
	for _, k := range checks {
		weight := "full"
		if k.Minor {
			weight = "minor"
		}
		rows = append(rows, []string{k.ID, k.Family, weight, k.Title, strings.Join(k.DependsOn, " ")})
	}
	return ui.Table(term.Out, rows)
}

func diagnose(ctx context.Context, checks []doctor.Check, fl doctorFlags) (*doctor.Report, error) {
	facts, err := gather(ctx, fl)
	if err != nil {
		return nil, err
	}
	if fl.tape.record != "" {
		if err := facts.Record(fl.tape.record); err != nil {
			return nil, err
		}
	}
	report := doctor.Run(ctx, facts, checks)
	return report, ctx.Err()
}

// gpuCode names the architectures that this binary carries compiled code for, as doctor writes them.
func gpuCode() ([]string, error) {
	m, err := image.ReadManifest()
	if err != nil {
		return nil, err
	}
	var code []string
	for _, source := range m.Sources {
		for arch := range source.Images {
			if strings.HasPrefix(arch, "compute_") {
				arch = "ptx " + arch
			}
			if !slices.Contains(code, arch) {
				code = append(code, arch)
			}
		}
	}
	slices.Sort(code)
	return code, nil
}

// gather reads this machine, or the facts of another one.
func gather(ctx context.Context, fl doctorFlags) (*host.Facts, error) {
	if fl.tape.replay != "" {
		return host.Replay(fl.tape.replay)
	}
	dir, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("find working directory: %w", err)
	}
	system, err := probe(fl.wait)
	if err != nil {
		return nil, err
	}
	code, err := gpuCode()
	if err != nil {
		return nil, err
	}
	if fl.python != "" {
		if fl.python, err = filepath.Abs(fl.python); err != nil {
			return nil, fmt.Errorf("find %s: %w", fl.python, err)
		}
	}
	o := host.Options{Environ: os.Environ(), WorkDir: dir, Model: fl.model, Port: fl.port, Host: fl.host, System: system,
		Wait: fl.wait, Network: host.AskIfNeeded, Proxy: http.ProxyFromEnvironment, Kernels: code, Engine: fl.engine,
		Python: fl.python}
	switch {
	case fl.hub.always:
		o.Network = host.AskAlways
	case fl.hub.never:
		o.Network = host.AskNever
	}
	return host.Read(ctx, o), nil
}

func writeReport(term *ui.Terminal, r *doctor.Report, fl doctorFlags) error {
	switch fl.output {
	case "json":
		return term.JSON(r)
	case "junit":
		b, err := r.JUnit()
		if err != nil {
			return err
		}
		term.Answer("%s", b)
	default:
		term.Answer("%s", r.Text(fl.all))
	}
	return nil
}

func verdictError(r *doctor.Report) error {
	switch r.Verdict {
	case doctor.OK:
		return nil
	case doctor.Fail:
		return errDoctorFail
	}
	return errDoctorWarn
}
