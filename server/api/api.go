package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"radish/server/engine"
	"radish/server/seq"
	"radish/server/token"
)

// Engine is what this package needs of *engine.Engine; see FromEngine.
type Engine interface {
	Admits() error
	Submit(req engine.Request) (Stream, error)
	Abort(key string) int
	AbortAll() int
	Flush() error
	Watch
}

// Watch is the part of the engine that says how it is doing.
type Watch interface {
	Stats() engine.Stats
	Heartbeat() engine.Heartbeat
	RetryAfter() time.Duration
}

// Stream is one request's events, as *engine.Stream has them.
type Stream interface {
	Next(ctx context.Context) (engine.Event, error)
	Cancel()
}

// FromEngine adapts *engine.Engine to Engine.
func FromEngine(e *engine.Engine) Engine { return realEngine{e} }

type realEngine struct{ *engine.Engine }

func (e realEngine) Submit(req engine.Request) (Stream, error) {
	s, err := e.Engine.Submit(req)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Tokenizer is what this package needs of *token.Tokenizer; see FromTokenizer.
type Tokenizer interface {
	Encode(text string, o token.EncodeOptions) ([]seq.Token, error)
	Decode(ids []seq.Token, skipSpecial bool) string
	NewDecoder(skipSpecial bool) Decoder
	TokenBytes(id seq.Token) []byte
	VocabSize() int
	EOS() []seq.Token
}

// Decoder turns a stream of tokens into text, whole characters at a time.
type Decoder interface {
	Push(id seq.Token) string
	Flush() string
	Reset(prompt ...seq.Token)
}

// FromTokenizer adapts *token.Tokenizer to Tokenizer.
func FromTokenizer(t *token.Tokenizer) Tokenizer { return realTokenizer{t} }

type realTokenizer struct{ *token.Tokenizer }

func (t realTokenizer) NewDecoder(skipSpecial bool) Decoder {
	return t.Tokenizer.NewDecoder(skipSpecial)
}

// Message is one turn of a conversation; Content is its text parts joined.
type Message struct {
	Role       string
	Content    string
	Name       string
	ToolCallID string // of a tool's answer
}

// Template renders a conversation as the model was trained to read it. The ranges are the bytes that the template
// itself wrote: only there may the spelling of a control token become one. A *TemplateError, or any other error, is the
// client's mistake (a template may refuse a role order) and becomes status 400.
type Template interface {
	Render(messages []Message, kwargs map[string]any) (text string, control []token.Range, err error)
}

// Recorder counts what only this package sees. *metrics.Metrics implements it.
type Recorder interface {
	// Answered is called once for each request; route is a pattern of the table, never a client's path.
	Answered(route string, status int, took time.Duration)
	// Cut is called when a connection is given up: "slow_reader" or "client_gone".
	Cut(reason string)
}

// Options configure New. Engine and Tokenizer are needed, unless SkipText says that there is no tokenizer.
type Options struct {
	Engine        Engine
	Tokenizer     Tokenizer
	Template      Template // nil: chat is refused
	Model         Model
	Keys          []Secret // none: no key is asked for
	Origins       []string // origins that browsers may call from; none: no CORS headers
	KwargsAllowed []string // names that chat_template_kwargs may set; nil: enable_thinking and thinking
	Info          map[string]any
	Metrics       http.Handler // nil: /metrics is 404
	Recorder      Recorder
	Ready         func() bool // nil: ready unless draining or stalled
	Log           *slog.Logger
	Limits        Limits
	Share         bool // share prefixes between API keys
	Defaults      Sampling
}

// Sampling is what a request that does not say gets, as generation_config.json recommends it. The zero value is
// neutral: temperature 1 and nothing else.
type Sampling struct {
	Temperature, TopP, Repetition float32
	TopK                          int
}

// withDefaults makes the zero value, which would be greedy, neutral.
func (d Sampling) withDefaults() Sampling {
	if d == (Sampling{}) {
		return Sampling{Temperature: 1, TopP: 1, Repetition: 1, TopK: -1}
	}
	return d
}

// Model says what is served.
type Model struct {
	Name    string   // the id that clients send and /v1/models lists
	Aliases []string // other accepted ids
	Path    string   // for /get_model_info
	Context int      // tokens of prompt and output together
	Vocab   int      // number of token ids; needed only without a tokenizer
	Created time.Time
	Info    map[string]any // more facts for /get_model_info
}

// Limits bound requests; zero values take the defaults given here.
type Limits struct {
	Body         int64         // bytes of a request body; 0: 4 x context, at least 1 MiB, at most 32 MiB
	Choices      int           // n x prompts; 0: 128
	N            int           // n; 0: 8
	WriteTimeout time.Duration // for one write to a client; 0: 30 s
	ReadTimeout  time.Duration // for a whole body; 0: 60 s
	KeepAlive    time.Duration // silence in a stream before a comment; 0: 15 s
	StallAfter   time.Duration // without progress while busy; 0: 120 s
}

func (l Limits) withDefaults(context int) Limits {
	if l.Body == 0 {
		l.Body = min(max(4*int64(context), 1<<20), 32<<20)
	}
	orInt := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	orTime := func(p *time.Duration, v time.Duration) {
		if *p == 0 {
			*p = v
		}
	}
	orInt(&l.Choices, 128)
	orInt(&l.N, 8)
	orTime(&l.WriteTimeout, 30*time.Second)
	orTime(&l.ReadTimeout, 60*time.Second)
	orTime(&l.KeepAlive, 15*time.Second)
	orTime(&l.StallAfter, 120*time.Second)
	return l
}

// server holds what the handlers share.
type server struct {
	Options
	keys []keyHash
}

// New makes the handler of all routes. It panics if Engine is missing.
func New(o Options) http.Handler {
	if o.Engine == nil {
		panic("api: no engine")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.KwargsAllowed == nil {
		o.KwargsAllowed = []string{"enable_thinking", "thinking"}
	}
	if o.Model.Created.IsZero() {
		o.Model.Created = time.Now()
	}
	o.Limits = o.Limits.withDefaults(o.Model.Context)
	o.Defaults = o.Defaults.withDefaults()
	s := &server{Options: o}
	for _, k := range o.Keys {
		s.keys = append(s.keys, hashKey(string(k)))
	}
	return s.barrier(s.cors(s.auth(s.routes())))
}

// NewServer is an http.Server with the bounds that a public listener needs. There is no WriteTimeout, since a stream
// may last for hours: every single write has a deadline instead.
func NewServer(addr string, h http.Handler) *http.Server {
	return &http.Server{
		Addr:              addr,
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       120 * time.Second,
		MaxHeaderBytes:    32 << 10,
	}
}

var errNoTokenizer = errors.New("the server runs without a tokenizer: send token ids")
