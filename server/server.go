package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path"
	"strconv"
	"time"

	"radish/server/api"
	"radish/server/metrics"
)

// Errors of New that have their own advice.
var (
	ErrNoKey  = errors.New("a public address needs an API key")
	ErrListen = errors.New("listen")
)

// lastWords is how long answers may take to leave after a drain.
const lastWords = 5 * time.Second

// Server is a Core behind HTTP.
type Server struct {
	core     *Core
	metrics  *metrics.Metrics
	http     *http.Server
	listener net.Listener
	cfg      Config
	started  time.Time
}

// New binds the address, then loads what plan describes. Requests are answered once Run runs. Errors: ErrNoKey,
// ErrListen, and those of loading.
func New(cfg Config, plan *Plan) (*Server, error) {
	s := &Server{cfg: cfg, started: time.Now()}
	if err := s.listen(); err != nil {
		return nil, errors.Join(err, plan.Close())
	}
	if err := s.load(plan); err != nil {
		return nil, errors.Join(err, s.listener.Close())
	}
	return s, nil
}

func (s *Server) listen() error {
	h := s.cfg.HTTP
	if len(h.Keys) == 0 && !h.AllowNoKey && !loopback(h.Host) {
		return fmt.Errorf("%w: host %s can be reached from other machines", ErrNoKey, h.Host)
	}
	l, err := net.Listen("tcp", net.JoinHostPort(h.Host, strconv.Itoa(h.Port)))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrListen, err)
	}
	s.listener = l
	return nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func (s *Server) load(plan *Plan) (err error) {
	o := metrics.Options{Model: s.Name(), Context: plan.Context}
	if s.cfg.Telemetry != nil {
		o.Lines = metrics.NewLines(s.cfg.Telemetry, s.cfg.DecodeLogInterval, s.cfg.Compute.cuda())
	}
	s.metrics = metrics.New(o)
	if s.core, err = NewCore(s.cfg, plan, s.metrics); err != nil {
		return err
	}
	s.metrics.Watch(s.core.Engine.Stats)
	s.http = api.NewServer(s.Addr(), api.New(s.options()))
	return nil
}

// Name is the model's name in the API.
func (s *Server) Name() string {
	return orDefault(s.cfg.Model.ServedName, s.cfg.Model.Path)
}

// Addr is where the server listens.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Backend describes what computes.
func (s *Server) Backend() string { return s.core.Backend }

func (s *Server) options() api.Options {
	o := api.Options{
		Engine: api.FromEngine(s.core.Engine),
		Model: api.Model{
			Name: s.Name(), Aliases: []string{path.Base(s.Name())}, Path: s.cfg.Model.Path,
			Context: s.core.Plan.Context, Vocab: s.core.Plan.Spec.Vocab, Created: s.started, Info: s.modelInfo(),
		},
		Info: s.info(), Metrics: s.metrics.Handler(), Recorder: s.metrics, Log: s.cfg.Log,
		Share: s.cfg.HTTP.ShareCache,
	}
	for _, k := range s.cfg.HTTP.Keys {
		o.Keys = append(o.Keys, api.Secret(k))
	}
	if s.core.Tokenizer != nil {
		o.Tokenizer = api.FromTokenizer(s.core.Tokenizer)
	}
	if s.core.Chat != nil {
		o.Template = s.core.Chat
	}
	if d := s.core.Defaults; !s.cfg.Model.NeutralSampling {
		o.Defaults = api.Sampling{Temperature: d.Temperature, TopP: d.TopP, Repetition: d.Repetition, TopK: d.TopK}
	}
	return o
}

// Run serves until ctx ends, then refuses new requests, lets the running ones finish within the drain timeout, and
// frees everything. It returns nil after a drain, and the runner's error if that broke.
func (s *Server) Run(ctx context.Context) error {
	engineCtx, stopEngine := context.WithCancel(context.WithoutCancel(ctx))
	defer stopEngine()
	broken := make(chan error, 1)
	go func() { broken <- s.core.Run(engineCtx) }()
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.listener) }()

	var err error
	select {
	case <-ctx.Done():
		s.drain()
	case err = <-broken:
		err = fmt.Errorf("run engine: %w", err)
	case err = <-served:
		err = fmt.Errorf("serve http: %w", err)
	}
	return errors.Join(err, s.close(stopEngine, broken))
}

func (s *Server) drain() {
	ctx, cancel := context.WithTimeout(context.Background(), orDefault(s.cfg.HTTP.DrainTimeout, defaultDrain))
	defer cancel()
	if err := s.core.Engine.Drain(ctx); err != nil && s.cfg.Log != nil {
		s.cfg.Log.Warn("drain ended early: running requests were aborted", "cause", err)
	}
	// The time for requests may be over, but each of them still has to be told how it ended.
	last, done := context.WithTimeout(context.Background(), lastWords)
	defer done()
	if err := s.http.Shutdown(last); err != nil && s.cfg.Log != nil {
		s.cfg.Log.Warn("close connections", "cause", err)
	}
}

// close stops what still runs, in the reverse order of its start.
func (s *Server) close(stopEngine context.CancelFunc, broken <-chan error) error {
	stopEngine()
	select {
	case <-broken:
	case <-time.After(time.Second): // it had returned already, and its error was taken
	}
	return errors.Join(s.http.Close(), s.core.Close())
}
