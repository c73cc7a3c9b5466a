package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"radish/cmd/internal/ui"
	"radish/provision/hub"
	"radish/provision/store"
)

// pullSchema names the events of pull --json; fields are only ever added.
const pullSchema = "radish.pull/1"

type pullFlags struct {
	include, exclude []string
	cache            string
	connections      int
	private          bool
	dry, asJSON      bool
}

func newPullCommand(term *ui.Terminal) *cobra.Command {
	var fl pullFlags
	c := &cobra.Command{
		Use:   "pull REPO[@REV]",
		Short: "fetch a model from the Hugging Face hub, verified, into the cache that Python shares",
		Long: `Fetch a model's configuration, tokenizer, chat template and safetensors, and print the directory that holds
them. Several ranges of several files come at once; every file's sha256 or git hash is checked before it gets its name.
Interrupted or killed, the same command goes on where it was. Nothing is fetched if the disk or the quota will not hold
it all. The cache is the one of transformers, sglang and hf, and they find the model there.

  radish pull meta-llama/Llama-3.2-1B-Instruct
  radish pull Qwen/Qwen3-0.6B@refs/pr/1
  radish pull --dry-run ORG/NAME                    what would come, and how much
  radish pull --include '*.gguf' --exclude '*q8*' ORG/NAME
  radish pull --json ORG/NAME | jq .                events, schema ` + pullSchema + `
  radish serve --model-path ORG/NAME

Patterns are the hub's: * matches slashes too, a trailing / means all below. Without --include, Meta's original/ and
Mistral's consolidated*.safetensors are left out, as they hold the same weights again.
` + hubEnvironment + `
EXIT STATUS
  0    all files are there and verified
  1    an error, said on stderr
  2    a flag or argument that is not right
  7    refused, or not there: repository, revision, file, token, licence
  8    not enough room on the disk or in the quota
  10   the hub cannot be reached, has no time, or offline mode is on
  11   the bytes do not have the hash that the hub gave
  130  interrupted; the same command goes on
`,
		Args: exactArg("REPO[@REV]"),
		RunE: func(c *cobra.Command, args []string) error { return runPull(c, term, fl, args[0]) },
	}
	f := c.Flags()
	f.StringArrayVar(&fl.include, "include", nil, "fetch only what matches this pattern; may be repeated")
	f.StringArrayVar(&fl.exclude, "exclude", nil, "leave out what matches this pattern; may be repeated")
	f.IntVar(&fl.connections, "connections", 8, "requests at once")
	f.BoolVar(&fl.private, "allow-private-redirects", false, "follow redirects into private networks")
	f.BoolVar(&fl.dry, "dry-run", false, "show what would come, fetch nothing")
	f.BoolVar(&fl.asJSON, "json", false, "print events, one JSON object a line")
	cacheFlag(c, &fl.cache)
	return c
}

// exactArg wants one argument, and calls it by its name if it is not there.
func exactArg(name string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != 1 {
			return &usageError{cmd: c, err: fmt.Errorf("%d arguments, wants one: %s", len(args), name)}
		}
		return nil
	}
}

func (fl pullFlags) request(arg string) (hub.Request, error) {
	r := hub.Request{Include: fl.include, Exclude: fl.exclude}
	var err error
	if r.Repo, r.Rev, err = parseModel(arg); err != nil {
		return r, err
	}
	if fl.connections < 1 || fl.connections > 64 {
		return r, fmt.Errorf("connections %d is not between 1 and 64", fl.connections)
	}
	return r, errors.Join(hub.CheckGlobs(fl.include), hub.CheckGlobs(fl.exclude))
}

func runPull(c *cobra.Command, term *ui.Terminal, fl pullFlags, arg string) error {
	req, err := fl.request(arg)
	if err != nil {
		return &usageError{cmd: c, err: err}
	}
	s := readHubSettings()
	st, err := openStore(s, fl.cache)
	if err != nil {
		return err
	}
	o := s.options()
	o.AllowPrivate, o.Connections = fl.private, fl.connections
	client, err := hub.New(o)
	if err != nil {
		return adviseHub(err, s, arg)
	}
	return adviseHub(pull(c.Context(), term, client, st, fl, req), s, arg)
}

func pull(ctx context.Context, term *ui.Terminal, client *hub.Client, st *store.Store, fl pullFlags, req hub.Request) error {
	plan, err := client.Plan(ctx, st, req)
	if err != nil {
		return err
	}
	if fl.dry {
		return showPlan(term, client, plan, fl.asJSON)
	}
	show := newPullShow(term, plan, fl.asJSON)
	snap, err := client.Pull(ctx, plan, show)
	show.close()
	if err != nil {
		if fl.asJSON {
			show.event(pullEvent{Event: "error", Text: err.Error(), Code: exitCodeHub(err)})
		}
		return err
	}
	if fl.asJSON {
		return term.JSONLine(pullEvent{Event: "done", Repo: plan.Repo, Commit: plan.Commit, Done: plan.Total, Total: plan.Total, Dir: snap.Dir})
	}
	term.Answer("%s\n", snap.Dir)
	return nil
}

type plannedFile struct {
	Path store.Path `json:"path"`
	Size int64      `json:"bytes"`
	Have int64      `json:"have_bytes"`
	Hash store.Hash `json:"hash"`
}

// showPlan tells what a pull would do, and whether there is room for it.
func showPlan(term *ui.Terminal, client *hub.Client, p *hub.Plan, asJSON bool) error {
	var files []plannedFile
	for _, f := range p.Files {
		for i, path := range f.Paths {
			have := f.Done
			if i > 0 {
				have = f.Size // one blob, several names
			}
			files = append(files, plannedFile{path, f.Size, have, f.Hash})
		}
	}
	if asJSON {
		err := term.JSON(map[string]any{"schema": pullSchema, "repo": p.Repo, "revision": p.Rev, "commit": p.Commit, "files": files,
			"total_bytes": p.Total, "missing_bytes": p.Missing(), "free_bytes": p.Free})
		return errors.Join(err, client.CheckRoom(p))
	}
	rows := [][]string{}
	for _, f := range files {
		state := "to fetch"
		switch {
		case f.Have == f.Size:
			state = "here"
		case f.Have > 0:
			state = ui.Bytes(f.Have) + " here"
		}
		rows = append(rows, []string{string(f.Path), ui.Bytes(f.Size), state})
	}
	if err := ui.Table(term.Out, rows); err != nil {
		return err
	}
	term.Answer("%s\n", summary(p))
	return client.CheckRoom(p)
}

func summary(p *hub.Plan) string {
	s := fmt.Sprintf("%s@%s: %d files, %s, %s to fetch", p.Repo, p.Commit[:12], len(p.Wanted), ui.Bytes(p.Total), ui.Bytes(p.Missing()))
	if p.Free >= 0 {
		s += fmt.Sprintf(", %s free on the disk", ui.Bytes(p.Free))
	}
	return s
}

// pullEvent is a line of --json.
type pullEvent struct {
	Schema string       `json:"schema,omitempty"` // of the first
	Event  string       `json:"event"`
	Repo   store.Repo   `json:"repo,omitempty"`
	Commit store.Commit `json:"commit,omitempty"`
	Path   store.Path   `json:"path,omitempty"`
	Text   string       `json:"text,omitempty"`
	Wait   float64      `json:"wait_s,omitempty"`
	Bytes  int64        `json:"bytes,omitempty"`
	Done   int64        `json:"done_bytes"`
	Total  int64        `json:"total_bytes"`
	Dir    string       `json:"dir,omitempty"`
	Code   int          `json:"code,omitempty"` // of an error: the exit status
}

// pullShow shows a pull's progress: bars, lines or events.
type pullShow struct {
	term  *ui.Terminal
	bars  *ui.Progress // nil: events
	stop  chan struct{}
	ticks sync.WaitGroup

	mu    sync.Mutex
	done  int64
	total int64
}

// eventEvery is the time between two events of progress.
const eventEvery = time.Second

func newPullShow(term *ui.Terminal, p *hub.Plan, asJSON bool) *pullShow {
	s := &pullShow{term: term, stop: make(chan struct{}), done: p.Have, total: p.Total}
	if asJSON {
		s.event(pullEvent{Schema: pullSchema, Event: "plan", Repo: p.Repo, Commit: p.Commit, Bytes: p.Missing()})
		s.ticks.Go(s.tick)
		return s
	}
	term.Say("%s", summary(p))
	s.bars = term.NewProgress(p.Total, p.Have)
	for _, f := range p.Files {
		s.bars.File(string(f.Paths[0]), f.Size)
	}
	return s
}

func (s *pullShow) event(e pullEvent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.Done, e.Total = s.done, s.total
	_ = s.term.JSONLine(e) // strings and numbers do encode
}

func (s *pullShow) tick() {
	t := time.NewTicker(eventEvery)
	defer t.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-t.C:
			s.event(pullEvent{Event: "progress"})
		}
	}
}

// Bytes implements hub.Observer.
func (s *pullShow) Bytes(p store.Path, n int64) {
	if s.bars != nil {
		s.bars.Add(string(p), n)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done += n
}

// Note implements hub.Observer.
func (s *pullShow) Note(n hub.Note) {
	if s.bars == nil {
		s.event(pullEvent{Event: string(n.Kind), Path: n.Path, Text: n.Text, Wait: n.Wait.Seconds(), Bytes: n.Size})
		return
	}
	switch n.Kind {
	case hub.NoteDone:
		s.bars.Done(string(n.Path))
	case hub.NoteWait:
		s.bars.Say("waiting for %s", n.Text)
	case hub.NoteStall:
		s.bars.Say("%s: %s, asking again", n.Path, n.Text)
	case hub.NoteRestart:
		s.bars.Say("beginning anew: %s", n.Text)
	case hub.NoteRetry:
		s.bars.Say("%s: %s, trying again", n.Path, n.Text)
	}
}

func (s *pullShow) close() {
	close(s.stop)
	s.ticks.Wait()
	if s.bars != nil {
		s.bars.Close()
	}
}
