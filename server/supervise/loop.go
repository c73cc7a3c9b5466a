package supervise

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Supervisor runs one instance.
type Supervisor struct {
	cfg      Config
	outfit   *outfit
	clock    clock
	life     life
	worker   *worker // nil: none runs
	watch    watch
	witness  witness
	restarts restarts
	prober   prober
	out      *output
	self     *Identity
	inbox    inbox
	over     chan struct{} // closed when the loop has ended
	talks    sync.WaitGroup
}

// inbox is how others speak to the loop.
type inbox struct {
	reports  chan reported
	ended    chan ended
	buried   chan burial
	requests chan request
}

// life is where the instance stands.
type life struct {
	state   State
	reason  string
	since   time.Time
	desired string // up or down
	next    time.Duration
	due     time.Duration // of the present state: next start in backoff, next escalation when going down
	cycle   bool          // the worker goes down to be started anew
	cause   *Explanation
	warn    []string
}

const (
	up   = "up"
	down = "down"
)

// New prepares an instance; Run runs it.
func New(cfg Config) (*Supervisor, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg.Policy, cfg.Hooks = cfg.Policy.withDefaults(), cfg.Hooks.withDefaults()
	return &Supervisor{
		cfg:      cfg,
		outfit:   &outfit{policy: cfg.Policy, hooks: cfg.Hooks},
		clock:    clock{tick: cfg.Policy.Tick},
		life:     life{state: Stopped, desired: up},
		restarts: restarts{policy: cfg.Policy, jitter: rand.Float64},
		inbox:    inbox{make(chan reported), make(chan ended, 1), make(chan burial, 1), make(chan request)},
		over:     make(chan struct{}),
	}, nil
}

// Run keeps the worker up until ctx ends, somebody asks to stop, or, with ParkedEnds, it parks. It returns nil after a
// stop. Signals: SIGTERM and SIGINT stop, the second one at once; SIGHUP restarts the worker; SIGQUIT is the worker's.
// Errors: ErrRunning, which names the pid, and ErrParked.
func (s *Supervisor) Run(ctx context.Context) (err error) {
	if err := s.cfg.Place.make(); err != nil {
		return err
	}
	lock, err := s.cfg.Place.acquire()
	if errors.Is(err, ErrRunning) {
		return s.alreadyRunning()
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.release()) }()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become subreaper: %w", err)
	}
	self, err := identify(os.Getpid())
	if err != nil {
		return err
	}
	s.self = &self
	s.out = newOutput(&s.cfg)
	defer s.out.close()
	if err := s.clearLeftovers(); err != nil {
		return err
	}
	listener, err := s.listen()
	if err != nil {
		return err
	}
	defer func() {
		close(s.over)
		err = errors.Join(err, listener.Close())
		s.talks.Wait() // who asked for the end is told
	}()
	s.outfit.measure()
	return s.loop(ctx)
}

func (s *Supervisor) alreadyRunning() error {
	st, err := readState(s.cfg.Place.state())
	if err != nil || st == nil || st.Supervisor == nil {
		return fmt.Errorf("instance %s is %w", s.cfg.Name, ErrRunning)
	}
	return fmt.Errorf("instance %s is %w: supervisor %d, state %s", s.cfg.Name, ErrRunning, st.Supervisor.PID, st.State)
}

func (s *Supervisor) loop(ctx context.Context) error {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGCHLD,
		syscall.SIGPIPE) // heard, so that a closed terminal ends the copy of the output and not the server
	defer signal.Stop(signals)
	ticks := time.NewTicker(s.cfg.Policy.Tick)
	defer ticks.Stop()
	reap, asked := newReaper(), ctx.Done()
	s.start("asked to start")
	for {
		select {
		case <-asked:
			asked = nil
			s.stop(false, "asked to stop")
		case sig := <-signals:
			s.heard(sig, reap)
		case <-ticks.C:
			s.tick()
			reap.again(s.worker)
		case m := <-s.inbox.reports:
			s.report(m)
		case e := <-s.inbox.ended:
			s.mourn(e)
		case b := <-s.inbox.buried:
			s.after(b)
		case q := <-s.inbox.requests:
			q.answer <- s.serve(q)
		case r := <-s.prober.results:
			s.probed(r)
		}
		switch {
		case s.life.state == Stopped:
			s.cfg.Hooks.Notify("STOPPING=1")
			return nil
		case s.life.state == Parked && s.cfg.ParkedEnds:
			return fmt.Errorf("instance %s is %w: %s", s.cfg.Name, ErrParked, s.life.reason)
		}
	}
}

// heard acts on a signal to the supervisor.
func (s *Supervisor) heard(sig os.Signal, reap *reaper) {
	switch sig {
	case syscall.SIGPIPE:
	case syscall.SIGCHLD:
		reap.pass(s.worker)
	case syscall.SIGHUP:
		s.restart("SIGHUP")
	case syscall.SIGQUIT:
		if s.worker != nil {
			s.worker.signal(syscall.SIGQUIT)
		}
	default:
		s.stop(s.life.desired == down, "asked to stop by "+sig.String())
	}
}

// move changes the state and tells everybody who should know.
func (s *Supervisor) move(to State, reason string) {
	s.life.state, s.life.reason, s.life.since = to, reason, s.cfg.Hooks.Now()
	s.out.event(event{Time: s.life.since, State: to, Reason: reason, Restarts: s.restarts.total})
	s.out.say(s.life.since, string(to)+": "+reason)
	s.cfg.Hooks.Notify("STATUS=" + string(to) + ": " + reason)
	if err := s.status().write(s.cfg.Place.state()); err != nil {
		s.warn(err.Error())
	}
}

// warn keeps the last few things that a person should look at.
func (s *Supervisor) warn(text string) {
	const most = 5
	if s.life.warn = append(s.life.warn, text); len(s.life.warn) > most {
		s.life.warn = s.life.warn[1:]
	}
}

func (s *Supervisor) start(reason string) {
	oom, _ := s.cfg.Hooks.OOMKills()
	s.out.begin()
	w, err := spawn(s.cfg.Worker, s.inbox.reports, s.inbox.ended, s.out.take)
	if err != nil {
		s.fail(Exit{Code: -1, Reason: err.Error()}, Verdict{Retry: true, Reason: err.Error()}, 0)
		return
	}
	w.born, w.oom = s.clock.elapsed, oom
	s.worker = w
	s.watch = watch{policy: s.cfg.Policy}
	s.witness = witness{period: s.cfg.Policy.LoadStall / 30}
	s.prober = newProber(s.prober.results)
	s.move(Starting, reason)
}

// tick is one look at everything that depends on time.
func (s *Supervisor) tick() {
	d := s.clock.advance(s.cfg.Hooks.Now())
	s.cfg.Hooks.Notify("WATCHDOG=1") // this loop lives; a wedged worker is ours to deal with
	switch s.life.state {
	case Backoff:
		if s.clock.elapsed >= s.life.due {
			s.start(fmt.Sprintf("restart %d", s.restarts.total))
		}
	case Draining, Stopping:
		if s.worker != nil && s.clock.elapsed >= s.life.due {
			s.escalate()
		}
	case Starting, Loading, Warming, Ready, Degraded:
		s.look(d)
	}
}

// look judges a worker that should be up.
func (s *Supervisor) look(d time.Duration) {
	w := s.worker
	s.watch.pass(d, s.witness.look(w.id.PID, d, w.run.wrote()))
	h, why := s.watch.judge()
	switch {
	case h == wedged:
		s.condemn(why)
	case s.life.state == Warming || s.watch.ready:
		s.prober.ask(w.report.URL, s.watch.ready, d)
	}
	if h != fine && s.life.state == Ready {
		s.move(Degraded, why)
	}
	if h == fine && s.life.state == Degraded && s.prober.fine() {
		s.move(Ready, "it recovered")
	}
}

// condemn ends a wedged worker: first a stack dump into the log, then SIGKILL.
func (s *Supervisor) condemn(why string) {
	s.worker.doomed = why
	s.move(Stopping, "wedged: "+why)
	s.life.due = s.clock.elapsed + s.cfg.Policy.Dump
	s.worker.signal(syscall.SIGQUIT)
	s.worker.signal(syscall.SIGCONT) // a stopped process dumps nothing
}

// escalate is what follows when a worker does not go by itself.
func (s *Supervisor) escalate() {
	if s.life.state == Draining {
		s.move(Stopping, "it did not end in time: SIGKILL")
	}
	s.worker.kill()
	s.life.due = s.clock.elapsed + s.cfg.Policy.Sweep
}

func (s *Supervisor) report(m reported) {
	if m.w != s.worker {
		return
	}
	s.watch.report(m.r)
	m.w.report = &m.r
	switch {
	case s.life.state == Starting && m.r.Phase != "":
		s.move(Loading, m.r.Note)
	case m.r.Phase == PhaseReady && s.life.state == Loading:
		s.move(Warming, "it says that it is ready")
	}
	if m.r.Phase == PhaseReady && s.life.state == Warming && m.r.URL == "" {
		s.ready("it says so")
	}
}

func (s *Supervisor) probed(r probe) {
	if s.worker == nil || s.worker.report == nil || r.url != s.worker.report.URL {
		return
	}
	ok := s.prober.took(r)
	switch {
	case r.err == nil && s.life.state == Warming:
		s.ready("it made a token and answers at " + r.url)
	case !ok && s.life.state == Ready:
		s.move(Degraded, fmt.Sprintf("it does not answer: %v", r.err))
	}
}

func (s *Supervisor) ready(reason string) {
	s.watch.ready = true
	s.watch.quiet = 0
	s.worker.readyAt = max(s.clock.elapsed, 1)
	s.life.cause = nil
	s.move(Ready, reason)
	s.cfg.Hooks.Notify("READY=1")
}

// mourn is called when the worker's process is gone.
func (s *Supervisor) mourn(e ended) {
	w := e.w
	end := ending{code: -1, ours: w.doomed}
	if e.state != nil {
		end.code = e.state.ExitCode()
		if ws, ok := e.state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			end.signal = ws.Signal()
		}
	}
	if s.life.state != Stopping {
		s.move(Stopping, "the worker has ended: clearing up")
	}
	s.worker = nil
	go func() { s.inbox.buried <- w.bury(end, s.outfit) }()
}

// after decides what follows when nothing of a worker is left.
func (s *Supervisor) after(b burial) {
	if len(b.left) > 0 {
		s.warn(fmt.Sprintf("processes %v of the worker survive SIGKILL: they hang in the kernel", b.left))
	}
	if b.gpuOver > 0 {
		s.warn(fmt.Sprintf("%d MiB of GPU memory over the baseline did not come back", b.gpuOver>>20))
	}
	switch {
	case s.life.desired == down:
		s.move(Stopped, "stopped")
		return
	case s.life.cycle:
		s.life.cycle = false
		s.start("restarted on request")
		return
	}
	v := b.ending.verdict(s.cfg.Hooks.Exits)
	if word := b.w.run.lastWord(); word != "" && b.ending.ours == "" && b.ending.signal == 0 {
		v.Reason += ": " + s.cfg.Hooks.Mask(word)
	}
	e := Exit{Code: b.ending.code, Reason: v.Reason, Ran: (s.clock.elapsed - b.w.born).Seconds(), Ready: b.w.readyAt > 0, Cause: b.cause}
	if b.ending.signal != 0 {
		e.Signal = b.ending.signal.String()
	}
	if b.cause != nil && b.cause.Parks && b.ending.ours == "" {
		v = Verdict{Reason: v.Reason + ": " + b.cause.Title}
	}
	readyFor := time.Duration(0)
	if b.w.readyAt > 0 {
		readyFor = max(s.clock.elapsed-b.w.readyAt, 1)
	}
	s.out.event(event{Time: s.cfg.Hooks.Now(), State: Stopping, Reason: v.Reason, Exit: &e, Tail: b.w.run.last(16 << 10)})
	s.fail(e, v, readyFor)
}

// fail parks, or plans the next start.
func (s *Supervisor) fail(e Exit, v Verdict, readyFor time.Duration) {
	e.Time = s.cfg.Hooks.Now()
	s.restarts.note(e)
	s.life.cause = e.Cause
	pause, park := s.restarts.failed(s.clock.elapsed, readyFor)
	switch {
	case !v.Retry:
		s.move(Parked, v.Reason)
	case park != "":
		s.move(Parked, park+"; last: "+v.Reason)
	default:
		s.restarts.total++
		s.life.due = s.clock.elapsed + pause
		s.move(Backoff, v.Reason)
	}
}

// stop brings the instance down; now means without waiting for requests.
func (s *Supervisor) stop(now bool, reason string) {
	s.life.desired = down
	switch s.life.state {
	case Backoff, Parked, Stopped:
		s.move(Stopped, reason)
		return
	}
	s.lower(now, reason)
}

// restart brings the worker down and up again, or up if it is not there.
func (s *Supervisor) restart(reason string) {
	if s.life.desired == down {
		return
	}
	s.restarts.forget()
	switch s.life.state {
	case Backoff, Parked:
		s.start("restarted on request")
		return
	}
	s.life.cycle = true
	s.lower(false, reason)
}

func (s *Supervisor) lower(now bool, reason string) {
	s.cfg.Hooks.Notify("STATUS=" + reason)
	if s.worker == nil { // it is being buried already
		return
	}
	if now {
		s.move(Stopping, reason+": SIGKILL")
		s.worker.kill()
		s.life.due = s.clock.elapsed + s.cfg.Policy.Sweep
		return
	}
	if s.life.state == Draining || s.life.state == Stopping {
		return
	}
	s.move(Draining, reason)
	s.life.due = s.clock.elapsed + s.cfg.Policy.Drain
	s.worker.signal(syscall.SIGTERM)
	s.worker.signal(syscall.SIGCONT)
}

// status is what is told of the instance now.
func (s *Supervisor) status() *Status {
	st := &Status{
		Schema: Schema, Name: s.cfg.Name, State: s.life.state, Desired: s.life.desired, Reason: s.life.reason,
		Since: s.life.since, At: s.cfg.Hooks.Now(), Cause: s.life.cause, Log: s.out.facts(), Warnings: s.life.warn,
		Args: s.cfg.Worker.Args, Supervisor: s.self,
	}
	next := time.Duration(0)
	if s.life.state == Backoff {
		next = s.life.due - s.clock.elapsed
	}
	st.Restarts = s.restarts.facts(next)
	if w := s.worker; w != nil {
		st.Report = w.report
		st.Worker = &Worker{Identity: w.id, Tag: w.tag, Uptime: (s.clock.elapsed - w.born).Seconds()}
		if w.readyAt > 0 {
			st.Worker.Ready = max(0, (s.clock.elapsed - w.readyAt).Seconds())
		}
		if p, err := readStat(w.id.PID); err == nil {
			st.Worker.RSS = p.rss
		}
	}
	return st
}
