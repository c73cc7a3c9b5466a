package api

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"radish/server/engine"
	"radish/server/sched"
	"radish/server/seq"
	"radish/server/token"
)

// fakeTokens is a tokenizer whose tokens are bytes, and two control tokens.
type fakeTokens struct{}

const (
	eos     = seq.Token(256)
	turn    = seq.Token(257) // spelled <|turn|>
	vocab   = 258
	turnStr = "<|turn|>"
)

func (fakeTokens) VocabSize() int   { return vocab }
func (fakeTokens) EOS() []seq.Token { return []seq.Token{eos} }

func (fakeTokens) Encode(text string, o token.EncodeOptions) ([]seq.Token, error) {
	var ids []seq.Token
	for i := 0; i < len(text); i++ {
		inside := slices.ContainsFunc(o.Control, func(r token.Range) bool { return r.From <= i && i < r.To })
		if (inside || o.AllControl) && strings.HasPrefix(text[i:], turnStr) {
			ids = append(ids, turn)
			i += len(turnStr) - 1
			continue
		}
		ids = append(ids, seq.Token(text[i]))
	}
	if o.Max > 0 && len(ids) > o.Max {
		return nil, token.ErrTooLong
	}
	return ids, nil
}

func (f fakeTokens) TokenBytes(id seq.Token) []byte {
	switch {
	case id < 256:
		return []byte{byte(id)}
	case id == turn:
		return []byte(turnStr)
	}
	return nil
}

func (f fakeTokens) Decode(ids []seq.Token, skip bool) string {
	d := f.NewDecoder(skip)
	var sb strings.Builder
	for _, id := range ids {
		sb.WriteString(d.Push(id))
	}
	return sb.String() + d.Flush()
}

func (f fakeTokens) NewDecoder(skip bool) Decoder { return &fakeDecoder{skip: skip} }

type fakeDecoder struct {
	skip bool
	held []byte
}

func (d *fakeDecoder) Reset(...seq.Token) { d.held = nil }

func (d *fakeDecoder) Push(id seq.Token) string {
	if id >= 256 && d.skip {
		return ""
	}
	d.held = append(d.held, fakeTokens{}.TokenBytes(id)...)
	if !utf8.FullRune(d.held) {
		return ""
	}
	return d.Flush()
}

func (d *fakeDecoder) Flush() string {
	s := strings.ToValidUTF8(string(d.held), "\uFFFD")
	d.held = nil
	return s
}

// fakeTemplate writes "<|turn|>role:content" for each message.
type fakeTemplate struct{}

func (fakeTemplate) Render(messages []Message, _ map[string]any) (string, []token.Range, error) {
	var sb strings.Builder
	var control []token.Range
	for _, m := range messages {
		if m.Role == "tool" {
			return "", nil, errors.New("no tools in this template")
		}
		from := sb.Len()
		sb.WriteString(turnStr)
		control = append(control, token.Range{From: from, To: sb.Len()})
		sb.WriteString(m.Role + ":" + m.Content)
	}
	return sb.String(), control, nil
}

// script is what the fake model says to everything, before its end-of-sequence token.
const script = "Héllo, wörld! 一二三 END of the story."

// fakeRunner is a model that recites: the token after position p of a sequence with n prompt tokens is byte p+1-n of
// the script. pace delays every step; fail breaks the next one.
type fakeRunner struct {
	mu     sync.Mutex
	queue  []*seq.Result
	slots  map[int]*seq.Fresh
	pace   time.Duration
	fail   bool
	script string
}

func (f *fakeRunner) Close() error { return nil }

func (f *fakeRunner) say(i int) seq.Token {
	if i < len(f.script) {
		return seq.Token(f.script[i])
	}
	return eos
}

func (f *fakeRunner) Launch(b *seq.Batch) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail {
		return errors.New("the device is gone")
	}
	res := &seq.Result{Step: b.Step}
	for _, row := range b.Rows {
		if row.Fresh != nil {
			fresh := *row.Fresh
			f.slots[row.Slot] = &fresh
		}
		fresh := f.slots[row.Slot]
		out := seq.Output{ID: row.ID, Sampled: row.Sample}
		for _, id := range row.Targets {
			out.Prompt = append(out.Prompt, scored(id, fresh.Params.PromptLogprobs))
		}
		if row.Sample {
			out.Next = scored(f.say(row.Start+row.N-fresh.Prompt), fresh.Params.Logprobs)
		}
		if row.Sample || len(out.Prompt) > 0 {
			res.Outputs = append(res.Outputs, out)
		}
	}
	f.queue = append(f.queue, res)
	return nil
}

func scored(id seq.Token, top int) seq.Scored {
	s := seq.Scored{Token: id, Logprob: -0.5, Rank: 1}
	for i := range top {
		s.Top = append(s.Top, seq.Alternative{Token: (id + seq.Token(i)) % vocab, Logprob: -0.5 - float32(i)})
	}
	return s
}

func (f *fakeRunner) Collect() (*seq.Result, error) {
	f.mu.Lock()
	pace := f.pace
	f.mu.Unlock()
	time.Sleep(pace)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail || len(f.queue) == 0 {
		return nil, errors.New("the device is gone")
	}
	res := f.queue[0]
	f.queue = f.queue[1:]
	return res, nil
}

const context4k = 4096

// world is a server over the real engine.
type world struct {
	*httptest.Server
	engine *engine.Engine
	runner *fakeRunner
	cuts   *cuts
}

// cuts records what the API gives up.
type cuts struct {
	mu      sync.Mutex
	reasons []string
}

func (c *cuts) Answered(string, int, time.Duration) {}

func (c *cuts) Cut(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reasons = append(c.reasons, reason)
}

func (c *cuts) has(reason string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Contains(c.reasons, reason)
}

// newWorld starts one; change adjusts the options first.
func newWorld(t *testing.T, change func(*Options, *fakeRunner)) *world {
	t.Helper()
	r := &fakeRunner{slots: map[int]*seq.Fresh{}, script: script}
	e, err := engine.New(engine.Config{Pages: 4096, PageSize: 16, MaxSeqs: 16, MaxQueued: 256, ChunkTokens: 512,
		ContextLength: context4k, Policy: sched.LPM, EOS: []seq.Token{eos}}, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{engine: e, runner: r, cuts: &cuts{}}
	o := Options{Engine: FromEngine(e), Tokenizer: fakeTokens{}, Template: fakeTemplate{}, Recorder: w.cuts,
		Model: Model{Name: "tiny", Context: context4k, Path: "dir/tiny"}}
	if change != nil {
		change(&o, r)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { e.Run(ctx); close(ended) }()
	w.Server = httptest.NewUnstartedServer(New(o))
	w.Server.Config = NewServer("", New(o))
	w.Start()
	t.Cleanup(func() {
		w.CloseClientConnections()
		w.Close()
		stop()
		<-ended
	})
	return w
}

// eventually waits for what another goroutine must bring about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 5000 {
		if ok() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

func (w *world) idle() bool {
	st := w.engine.Stats()
	return st.Running == 0 && st.Queued == 0 && st.Pages.Held == 0
}

func (w *world) post(t *testing.T, path, body string) *http.Response {
	t.Helper()
	res, err := http.Post(w.URL+path, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}
