package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"radish/cmd/internal/ui"
	"radish/doctor"
	"radish/provision"
	"radish/provision/builtin"
	"radish/server"
	"radish/server/supervise"
)

// steps are all that setup does, in order.
func (s *setup) steps() []provision.Step {
	all := []provision.Step{
		{Name: "doctor", Look: s.lookMachine},
		{Name: "plan", Look: s.lookMemory},
	}
	if s.source == nil {
		all = append(all, provision.Step{Name: "pull", Look: s.localModel})
	} else {
		all = append(all, s.advised(s.source.Pull()), s.advised(s.source.Verify()))
	}
	if s.noStart {
		return all
	}
	return append(all,
		provision.Step{Name: "start", Look: s.lookStart, Do: s.start, Changes: true},
		provision.Step{Name: "ready", Look: s.lookReady, Do: s.awaitReady},
		provision.Step{Name: "answer", Look: s.lookAnswer, Do: s.answer})
}

// advised gives a step's errors the advice and the exit code of the hub's.
func (s *setup) advised(step provision.Step) provision.Step {
	look, do := step.Look, step.Do
	step.Look = func(ctx context.Context) (provision.Standing, error) {
		now, err := look(ctx)
		return now, adviseHub(err, s.hub, s.model)
	}
	step.Do = func(ctx context.Context) (provision.Standing, error) {
		now, err := do(ctx)
		return now, adviseHub(err, s.hub, s.model)
	}
	return step
}

// running gives the instance's status if a supervisor keeps this model up with these flags; nil if none keeps anything
// up. An instance that serves something else is an error: what others use is not taken away.
func (s *setup) running(ctx context.Context) (*supervise.Status, error) {
	st, err := supervise.Ask(ctx, s.place, supervise.VerbStatus)
	switch {
	case errors.Is(err, supervise.ErrNotRunning):
		return nil, nil
	case err != nil:
		return nil, adviseDaemon(err, s.name)
	case st.State == supervise.Parked || st.Desired == "down":
		return nil, nil // it is made to end before another start
	}
	if why := s.differs(st); why != "" {
		return nil, advise(fmt.Errorf("instance %s is %w: %s", s.name, supervise.ErrRunning, why),
			"radish stop --name %s, then the same command; or another --name and --port", s.name)
	}
	return st, nil
}

// differs says how an instance's flags are not the wanted ones. Keys are not compared: the instance does not tell its own.
func (s *setup) differs(st *supervise.Status) string {
	other := &startFlags{}
	c := newStartCommandInto(s.term, other)
	args := st.Args
	if len(args) > 2 {
		args = args[2:] // radish serve
	}
	if err := c.Flags().Parse(args); err != nil {
		return "its flags are of another version: " + err.Error()
	}
	if err := layer(other.inner, other.serve.file); err != nil {
		return err.Error()
	}
	var all []string
	other.inner.Flags().VisitAll(func(f *pflag.Flag) {
		if _, secret := secretFlags[f.Name]; secret {
			return
		}
		if want := s.inner.Flags().Lookup(f.Name).Value.String(); f.Value.String() != want {
			all = append(all, fmt.Sprintf("its --%s is %s, not %s", f.Name, f.Value, want))
		}
	})
	if port := portOf(st); len(all) == 0 && s.serve.http.Port != 0 && port != 0 && port != s.serve.http.Port {
		all = append(all, fmt.Sprintf("it serves on port %d, not %d", port, s.serve.http.Port))
	}
	return strings.Join(all, ", ")
}

// portOf is where an instance serves; 0: it does not yet.
func portOf(st *supervise.Status) int {
	if st.Report == nil {
		return 0
	}
	u, err := url.Parse(st.Report.URL)
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(u.Port())
	if err != nil {
		return 0
	}
	return n
}

// lookMachine asks the doctor, except where the instance runs already: then its own port and memory are taken by itself.
func (s *setup) lookMachine(ctx context.Context) (provision.Standing, error) {
	st, err := s.running(ctx)
	if err != nil {
		return provision.Standing{}, err
	}
	if st != nil {
		return provision.Standing{Done: true, Text: "instance " + s.name + " runs with these flags: " + string(st.State)}, nil
	}
	if err := s.awaitOrphan(ctx); err != nil {
		return provision.Standing{}, err
	}
	return s.diagnosis(ctx)
}

// orphanPatience is how long the worker of a killed supervisor is given to go, which the kernel tells it at once.
const orphanPatience = 10 * time.Second

// awaitOrphan lets the worker of a killed supervisor go, because it holds port and memory.
func (s *setup) awaitOrphan(ctx context.Context) error {
	for began := time.Now(); ; time.Sleep(lookPause) {
		left, err := supervise.Look(ctx, s.place)
		switch {
		case err != nil || left.State != supervise.Lost:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Since(began) > orphanPatience:
			return advise(fmt.Errorf("instance %s: %s", s.name, left.Reason), "radish stop --now --name %s, then the same command", s.name)
		}
	}
}

func (s *setup) diagnosis(ctx context.Context) (provision.Standing, error) {
	if s.skipDoctor {
		return provision.Standing{Done: true, Text: "not asked (--skip-doctor)"}, nil
	}
	var skip []string
	if s.source == nil {
		skip = []string{"storage"} // nothing will be fetched
	}
	r, err := s.diagnose(ctx, "", skip...)
	if err != nil {
		return provision.Standing{}, err
	}
	if r.Verdict == doctor.Fail {
		return provision.Standing{}, unfit(r)
	}
	return provision.Standing{Done: true,
		Text: fmt.Sprintf("nothing that would keep it from starting (%d checks ok, %d warn)", r.Counts[doctor.OK], r.Counts[doctor.Warn])}, nil
}

// unfit is the error of a machine that is not well, with the fix of the first finding.
func unfit(r *doctor.Report) error {
	var why []string
	fix := "radish doctor"
	for _, f := range r.Findings {
		if f.State != doctor.Fail && f.State != doctor.Crashed {
			continue
		}
		if len(why) == 0 && f.Fix != nil {
			fix = f.Fix.Text
		}
		why = append(why, f.Summary)
	}
	return advise(fmt.Errorf("%w: %s", errDoctorFail, strings.Join(why, "; ")), "%s; radish doctor tells more, --skip-doctor goes on anyway", fix)
}

// lookMemory plans the memory from config.json alone, and sees that the disk holds what is to be fetched.
func (s *setup) lookMemory(ctx context.Context) (provision.Standing, error) {
	st, err := s.running(ctx)
	if err != nil {
		return provision.Standing{}, err
	}
	if st != nil {
		return provision.Standing{Done: true, Text: "the model has its memory already"}, nil
	}
	cfg, err := s.config(ctx)
	if err != nil {
		return provision.Standing{}, err
	}
	plan, err := server.MakePlan(cfg)
	if err != nil {
		return provision.Standing{}, advisePlan(err, cfg)
	}
	now := provision.Standing{Done: true, Text: fmt.Sprintf("weights %s + KV %s (%d tokens) + workspace %s = %s of %s available (%s)",
		ui.Bytes(plan.Weights), ui.Bytes(plan.KV), plan.Tokens(), ui.Bytes(plan.Workspace), ui.Bytes(plan.Total()), ui.Bytes(plan.Available), cfg.Memory.Source)}
	if err := plan.Close(); err != nil || s.source == nil {
		return now, err
	}
	return now, adviseHub(s.source.CheckRoom(ctx), s.hub, s.model)
}

// config is what the server would be told. A model at the hub is known by its config.json so far.
func (s *setup) config(ctx context.Context) (server.Config, error) {
	look := s.serve
	look.model.untested = true
	if s.source == nil {
		return look.config(s.term)
	}
	b, err := s.source.Config(ctx)
	if err != nil {
		return server.Config{}, adviseHub(err, s.hub, s.model)
	}
	look.model.path = builtin.Name // needs nothing on this disk; its files are exchanged below
	cfg, err := look.config(s.term)
	cfg.Model.Path, cfg.Model.Files = s.model, oneFile{"config.json", b}
	return cfg, err
}

// oneFile is a directory with one file in it.
type oneFile struct {
	name string
	data []byte
}

// Open implements fs.FS.
func (o oneFile) Open(name string) (fs.File, error) {
	if name != o.name {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return openFile{o, bytes.NewReader(o.data)}, nil
}

type openFile struct {
	oneFile
	*bytes.Reader
}

func (f openFile) Stat() (fs.FileInfo, error) { return fileInfo{f.oneFile}, nil }
func (openFile) Close() error                 { return nil }

type fileInfo struct{ oneFile }

func (i fileInfo) Name() string     { return i.name }
func (i fileInfo) Size() int64      { return int64(len(i.data)) }
func (fileInfo) Mode() fs.FileMode  { return 0o444 }
func (fileInfo) ModTime() time.Time { return time.Time{} }
func (fileInfo) IsDir() bool        { return false }
func (fileInfo) Sys() any           { return nil }

var _ io.ReaderAt = openFile{}

func (s *setup) localModel(context.Context) (provision.Standing, error) {
	if s.model == builtin.Name {
		return provision.Standing{Done: true, Text: "builtin is inside this program"}, nil
	}
	return provision.Standing{Done: true, Text: s.model + " is a directory: nothing to fetch, and nothing says what its files should be"}, nil
}

func (s *setup) lookStart(ctx context.Context) (provision.Standing, error) {
	st, err := s.running(ctx)
	switch {
	case err != nil:
		return provision.Standing{}, err
	case st != nil:
		return provision.Standing{Done: true, Text: fmt.Sprintf("supervisor %d", st.Supervisor.PID)}, nil
	}
	return provision.Standing{Text: fmt.Sprintf("start radish serve under a supervisor as instance %s, port %d", s.name, s.serve.http.Port)}, nil
}

func (s *setup) start(ctx context.Context) (now provision.Standing, err error) {
	if err := s.awaitEnd(ctx); err != nil {
		return now, err
	}
	args, env := s.pass()
	o := &superviseOptions{instance: s.instance, drain: s.serve.http.DrainTimeout, args: args}
	if s.child, err = background(o, s.place, env); err != nil {
		return now, err
	}
	pid := s.child.pid
	return provision.Standing{Done: true, Text: fmt.Sprintf("supervisor %d", pid), Changed: []string{fmt.Sprintf("process %d, started", pid), s.place.Log()}}, nil
}

// lookPause is how often an instance is looked at while something is waited for.
const lookPause = 100 * time.Millisecond

// awaitEnd lets a supervisor end that keeps nothing up any more: it is parked, or was told to stop.
func (s *setup) awaitEnd(ctx context.Context) error {
	for verb := supervise.VerbStop; ; verb = supervise.VerbStatus {
		_, err := supervise.Ask(ctx, s.place, verb)
		switch {
		case errors.Is(err, supervise.ErrNotRunning):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		}
		time.Sleep(lookPause)
	}
}

func (s *setup) lookReady(ctx context.Context) (provision.Standing, error) {
	st, err := supervise.Ask(ctx, s.place, supervise.VerbStatus)
	if err == nil && st.State == supervise.Ready && st.Report != nil {
		return s.served(st), nil
	}
	return provision.Standing{Text: "wait until it has made a token"}, nil
}

func (s *setup) served(st *supervise.Status) provision.Standing {
	s.url = st.Report.URL
	return provision.Standing{Done: true, Text: fmt.Sprintf("%s (model %s, %s)", s.url, st.Report.Model, st.Report.Device)}
}

// awaitReady follows the instance, whoever has started it.
func (s *setup) awaitReady(ctx context.Context) (provision.Standing, error) {
	told := newProgress(s.term)
	for {
		st, err := supervise.Ask(ctx, s.place, supervise.VerbStatus)
		switch {
		case ctx.Err() != nil:
			return provision.Standing{}, advise(ctx.Err(), "the same command again; the instance goes on: radish status --name %s", s.name)
		case errors.Is(err, supervise.ErrNotRunning) && s.child == nil:
			return provision.Standing{}, adviseDaemon(err, s.name)
		case err == nil && st.State == supervise.Ready && st.Report != nil:
			return s.served(st), nil
		case err == nil && st.State == supervise.Parked:
			return provision.Standing{}, parked(s.term, st)
		case err == nil:
			told.tell(st)
		}
		if err := s.childEnded(); err != nil {
			return provision.Standing{}, err
		}
		time.Sleep(lookPause)
	}
}

// childEnded is the error of a supervisor of ours that is gone, unless somebody else's was quicker.
func (s *setup) childEnded() error {
	if s.child == nil {
		return nil
	}
	select {
	case err := <-s.child.ended:
		err = s.child.gone(err, s.name)
		s.child = nil
		if errors.Is(err, supervise.ErrRunning) {
			return nil
		}
		return err
	default:
		return nil
	}
}

func (s *setup) lookAnswer(context.Context) (provision.Standing, error) {
	return provision.Standing{Text: "ask it for a completion"}, nil
}

// answerTimeout is for each rung: a large model on a CPU takes its time.
const answerTimeout = 2 * time.Minute

// answer climbs the ladder of radish health: alive, its model, a real completion, counters that advance.
func (s *setup) answer(ctx context.Context) (provision.Standing, error) {
	key, _, _ := strings.Cut(s.serve.key, ",")
	h := &healthCheck{client: client{url: s.url, key: key}, timeout: answerTimeout}
	a := h.climb(ctx)
	if ctx.Err() != nil {
		return provision.Standing{}, ctx.Err()
	}
	last := a.Steps[len(a.Steps)-1]
	if !a.Healthy {
		return provision.Standing{}, advise(fmt.Errorf("%s: %s", last.Name, last.Detail), "radish logs --name %s; after a change of --api-key radish stop first", s.name)
	}
	return provision.Standing{Done: true, Text: a.Steps[len(a.Steps)-2].Detail}, nil
}
