package api

import (
	"errors"
	"net/http"
	"time"

	"radish/server/engine"
	"radish/server/seq"
	"radish/server/token"
)

// job is one validated request of any generating route.
type job struct {
	id      string
	created time.Time
	prompts []prompt
	n       int // choices for each prompt

	params seq.Params // of the first choice; the others differ in Seed
	output output
	who
}

// output says what is written of an answer.
type output struct {
	stops       stops
	keepStop    bool // the stop string or token stays in the text
	skipSpecial bool
	echo        bool
	stream      bool
	usage       bool // a usage chunk at the end of the stream
	usageAlways bool // usage in every chunk
}

// who says on whose behalf a job runs.
type who struct {
	salt, extra, rid string
	uncached         bool
	priority         int
}

// prompt is what one choice continues.
type prompt struct {
	text string
	ids  []seq.Token
}

// choice is one answer in the making.
type choice struct {
	index  int
	prompt *prompt
	stream Stream
	text   *text
}

// encode turns text into a prompt that leaves room in the context.
func (s *server) encode(text, param string, o token.EncodeOptions) (prompt, *Error) {
	if s.Tokenizer == nil {
		return prompt{}, bad(param, "%v", errNoTokenizer)
	}
	o.Max = s.Model.Context
	ids, err := s.Tokenizer.Encode(text, o)
	switch {
	case errors.Is(err, token.ErrTooLong):
		return prompt{}, bad(param, "the input is longer than the model's context length (%d tokens)", s.Model.Context)
	case err != nil:
		return prompt{}, bad(param, "the input cannot be encoded: %v", err)
	}
	return prompt{text, ids}, nil
}

// fit checks every prompt against the context and settles max_tokens. asked < 0 means that the client named none; then
// def tokens or, if def < 0, the rest of the context.
func (s *server) fit(j *job, param string, asked, def int64) *Error {
	longest := 0
	for _, p := range j.prompts {
		if len(p.ids) == 0 {
			return bad(param, "the prompt is empty")
		}
		longest = max(longest, len(p.ids))
	}
	rest := int64(s.Model.Context - longest)
	if rest < 0 || rest == 0 && asked != 0 {
		return bad(param, "the input (%d tokens) is longer than the model's context length (%d tokens)",
			longest, s.Model.Context)
	}
	switch {
	case asked > rest:
		return bad("max_tokens", "the prompt's %d tokens and max_tokens %d exceed the model's context length of %d tokens",
			longest, asked, s.Model.Context)
	case asked >= 0:
		rest = asked
	case def >= 0:
		rest = min(rest, def)
	}
	j.params.MaxTokens = int(rest)
	if int64(j.params.MinTokens) > rest {
		return bad("min_tokens", "min_tokens must not exceed max_tokens (%d)", rest)
	}
	if len(j.prompts)*j.n > s.Limits.Choices {
		return bad("n", "prompts x n must be at most %d", s.Limits.Choices)
	}
	return nil
}

// submit starts all choices of a job, or none.
func (s *server) submit(r *http.Request, j *job) ([]*choice, *Error) {
	var choices []*choice
	for i := range len(j.prompts) * j.n {
		p := &j.prompts[i/j.n]
		req := engine.Request{Key: ownRID(r, j.rid), Prompt: p.ids, Params: j.params,
			Domain: s.domain(r, j.salt, j.extra), Uncached: j.uncached, Priority: j.priority}
		req.Params.Seed += uint64(i % j.n)
		st, err := s.Engine.Submit(req)
		if err != nil {
			cancel(choices)
			return nil, s.refused(err)
		}
		choices = append(choices, &choice{index: i, prompt: p, stream: st, text: s.newText(j, p)})
	}
	return choices, nil
}

func cancel(choices []*choice) {
	for _, c := range choices {
		c.stream.Cancel()
	}
}

// refused turns the engine's refusal into an answer.
func (s *server) refused(err error) *Error {
	switch {
	case errors.Is(err, engine.ErrQueueFull):
		return &Error{Status: http.StatusTooManyRequests, Code: "queue_full", After: s.Engine.RetryAfter(),
			Message: "the queue is full, try again later"}
	case errors.Is(err, engine.ErrTooLong):
		return bad("prompt", "the request is longer than the memory for its context")
	case errors.Is(err, engine.ErrInvalid):
		return bad("", "the request is invalid")
	case errors.Is(err, engine.ErrDraining):
		return unavailable("the server is shutting down")
	}
	return unavailable("the engine is not running")
}
