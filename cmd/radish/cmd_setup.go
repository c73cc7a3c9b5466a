package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"radish/cmd/internal/ui"
	"radish/provision"
	"radish/provision/builtin"
	"radish/provision/hub"
	"radish/provision/store"
	"radish/server/supervise"
)

// setupSchema names the events of setup --json; fields are only ever added.
const setupSchema = "radish.setup/1"

// setupFlags are radish serve's and a few of its own.
type setupFlags struct {
	startFlags
	model   string
	dry     bool
	noStart bool
	asJSON  bool
}

func newSetupCommand(term *ui.Terminal) *cobra.Command {
	f := &setupFlags{}
	f.inner = &cobra.Command{Use: "serve"}
	c := &cobra.Command{
		Use:   "setup MODEL",
		Short: "take a bare machine to a model that is served and has answered",
		Long: `Take a machine to an endpoint that serves MODEL and has answered: doctor looks at the machine, the memory is
planned from the model's config.json alone, the model is pulled and verified, served under a supervisor, waited for, and
asked for one real completion. MODEL is ORG/NAME[@REV] at the hub, a directory, or builtin. All flags of radish serve
are taken; they, RADISH_* variables and --config mean the same. The answer, on stdout, is the endpoint's URL.

  radish setup --dry-run meta-llama/Llama-3.2-1B-Instruct     what it would do; changes nothing
  radish setup meta-llama/Llama-3.2-1B-Instruct
  radish setup Qwen/Qwen3-0.6B --host 0.0.0.0 --api-key "$KEY" --port 8000
  radish setup --json Qwen/Qwen3-0.6B | jq .                  events, schema ` + setupSchema + `

Interrupted or killed, the same command goes on where it was; where all is done it changes nothing. A step that fails
says why and what to do. What was changed stands in setup.json beside the instance's logs. Once it serves, the same as
ever: radish status, logs, top, stop.
` + hubEnvironment + `
EXIT STATUS
  0    it serves and has answered (with --no-start: the model is here and verified)
  1    an error
  2    a flag, argument or configuration key that is not right
  4    the model and its settings do not fit this machine; or a supervisor that is there does not answer
  5    doctor found that this machine is not fit: a port that somebody else holds, and others
  7    the hub refuses, or has no such thing: repository, revision, token, licence
  8    not enough room on the disk or in the quota
  9    the instance runs with other flags, or another radish setup is at work
  10   the hub cannot be reached, has no time, or offline mode is on
  11   the bytes do not have the hash that the hub gave
  20   the device that was asked for is not there
  21   the GPU is lost: another machine is needed
  22   the GPU reported a fault that ends a process; a new one may use it again
  130  interrupted; the same command goes on
  153  parked: serving failed, and another try would not help
`,
		Args: exactArg("MODEL"),
		RunE: func(c *cobra.Command, args []string) error {
			f.model = args[0]
			if err := f.complete(c); err != nil {
				return err
			}
			return runSetup(c.Context(), term, f)
		},
	}
	f.addServe(c)
	if err := c.Flags().MarkHidden("model-path"); err != nil {
		panic(err) // radish serve has it
	}
	f.add(c)
	s := c.Flags()
	s.BoolVar(&f.dry, "dry-run", false, "say what it would do and change nothing")
	s.BoolVar(&f.noStart, "no-start", false, "end when the model is verified; something else starts the server")
	s.BoolVar(&f.skipDoctor, "skip-doctor", false, "do not look at the machine first")
	s.BoolVar(&f.asJSON, "json", false, "print events, one JSON object a line")
	return c
}

// complete fills the flags from environment and file; the model is the argument and nothing else.
func (f *setupFlags) complete(c *cobra.Command) error {
	if path := f.inner.Flags().Lookup("model-path"); path.Changed {
		return &usageError{cmd: c, err: errors.New("the model is the argument, not --model-path")}
	}
	if err := f.inner.Flags().Set("model-path", f.model); err != nil {
		return fmt.Errorf("set model: %w", err)
	}
	return layer(f.inner, f.serve.file)
}

// setup is one run.
type setup struct {
	*setupFlags
	term    *ui.Terminal
	place   supervise.Place
	journal *provision.Journal
	hub     hubSettings
	source  *provision.Model // nil: the model is builtin, or a directory
	child   *launched        // nil: this run has started nothing
	url     string
}

func runSetup(ctx context.Context, term *ui.Terminal, f *setupFlags) (err error) {
	s := &setup{setupFlags: f, term: term, hub: readHubSettings()}
	if s.place, err = f.place(); err != nil {
		return err
	}
	if err := s.openJournal(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.journal.Close()) }()
	if err := s.openSource(); err != nil {
		return err
	}
	if st, err := s.running(ctx); err == nil && st != nil && s.source != nil {
		s.source.Settled = true // a newer revision would not be what it serves
	}
	show := &setupShow{term: term, asJSON: f.asJSON, dry: f.dry}
	steps := s.steps()
	if f.dry {
		_, err = provision.Plan(ctx, steps, show.tell)
	} else {
		_, err = provision.Apply(ctx, steps, s.journal, show.tell)
	}
	if err != nil {
		return show.failed(err)
	}
	return show.done(s)
}

func (s *setup) openJournal() (err error) {
	file := filepath.Join(s.place.Logs, "setup.json")
	if s.dry {
		s.journal, err = provision.ReadJournal(file)
	} else {
		s.journal, err = provision.OpenJournal(file, filepath.Join(s.place.Run, "setup.lock"))
	}
	if errors.Is(err, provision.ErrBusy) {
		return advise(fmt.Errorf("set up instance %s: %w", s.name, err), "wait for it, or radish status --name %s", s.name)
	}
	return err
}

// openSource decides where the model comes from. What exists as a directory is one.
func (s *setup) openSource() error {
	if s.serve.model.path == builtin.Name {
		return nil
	}
	if info, err := os.Stat(s.model); err == nil && info.IsDir() {
		return nil
	}
	req := hub.Request{}
	var err error
	if req.Repo, req.Rev, err = parseModel(s.model); err != nil {
		return &usageError{err: advise(fmt.Errorf("%s is no directory and no repository: %w", s.model, err), "radish setup ORG/NAME, DIRECTORY or builtin")}
	}
	st, err := openStore(s.hub, "")
	if err != nil {
		return err
	}
	client, err := hub.New(s.hub.options())
	if err != nil {
		return adviseHub(err, s.hub, s.model)
	}
	s.source = &provision.Model{Client: client, Store: st, Request: req, Journal: s.journal, Bytes: ui.Bytes, Observe: s.observe, Checked: s.checked}
	return nil
}

func (s *setup) observe(p *hub.Plan) (hub.Observer, func()) {
	show := newPullShow(s.term, p, s.asJSON)
	return show, show.close
}

// checked tells of files that are not well; of the others only events tell.
func (s *setup) checked(f store.Finding) {
	if s.asJSON {
		_ = s.term.JSONLine(setupEvent{Event: "file", Step: "verify", Text: string(f.Path), State: string(f.State)}) // strings do encode
	} else if f.State != store.Good {
		s.term.Say("%s: %s", f.State, f.Path)
	}
}

// setupEvent is a line of --json.
type setupEvent struct {
	Schema   string   `json:"schema,omitempty"` // of steps and of done
	Event    string   `json:"event"`            // step, file, done
	Step     string   `json:"step,omitempty"`
	State    string   `json:"state,omitempty"`
	Text     string   `json:"text,omitempty"`
	Changed  []string `json:"changed,omitempty"`
	Seconds  float64  `json:"seconds,omitempty"`
	Next     string   `json:"next,omitempty"` // command that helps
	ExitCode int      `json:"exit_code,omitempty"`
	URL      string   `json:"url,omitempty"`
	Journal  string   `json:"journal,omitempty"`
}

// setupShow shows the steps: a line each, or events.
type setupShow struct {
	term        *ui.Terminal
	asJSON, dry bool
}

func (w *setupShow) tell(r provision.Result) {
	if w.asJSON {
		e := setupEvent{Schema: setupSchema, Event: "step", Step: r.Step, State: string(r.State), Text: r.Text, Changed: r.Changed, Seconds: r.Seconds}
		if r.Err != nil {
			e.Next, e.ExitCode = adviceFor(r.Err), exitCode(r.Err)
		}
		_ = w.term.JSONLine(e) // strings and numbers do encode
		return
	}
	text := strings.TrimSpace(r.Text)
	switch r.State {
	case provision.Would:
		text = "would " + text
	case provision.Already:
		text = "already: " + text
	}
	switch {
	case r.State == provision.Begun:
		w.term.Say("... %-8s %s", r.Step, text)
	case r.State == provision.Failed:
		w.term.Step(false, r.Step, text, adviceFor(r.Err))
	case w.dry:
		w.term.Answer("- %-8s %s\n", r.Step, text)
	default:
		w.term.Step(true, r.Step, text, "")
	}
}

// failed is the error of a run whose failing step was told.
func (w *setupShow) failed(err error) error {
	if w.asJSON {
		return err
	}
	return exitCodeOnly(exitCode(err))
}

func (w *setupShow) done(s *setup) error {
	journal := filepath.Join(s.place.Logs, "setup.json")
	switch {
	case w.asJSON:
		return w.term.JSONLine(setupEvent{Schema: setupSchema, Event: "done", URL: s.url, Journal: journal})
	case s.dry:
		w.term.Say("nothing was changed; the same without --dry-run does it")
	case !s.noStart:
		w.term.Answer("%s\n", s.url)
		w.term.Say("  try: radish generate --url %s \"what is a KV pool?\"", s.url)
		w.term.Say("  radish status, radish logs -f, radish top and radish stop look after it%s", namedAs(s.name))
	}
	return nil
}
