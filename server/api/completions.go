package api

import (
	"net/http"
	"time"

	"radish/server/seq"
	"radish/server/token"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// defaultCompletion is OpenAI's max_tokens for /v1/completions.
const defaultCompletion = 16

// completions serves /v1/completions.
func (s *server) completions(w http.ResponseWriter, r *http.Request) {
	s.generating(w, r, s.readCompletion)
}

// generating is the walk of every generating route.
func (s *server) generating(w http.ResponseWriter, r *http.Request, read func(*object) (*job, shape, *Error)) {
	if err := s.Engine.Admits(); err != nil { // before it is read: under a flood most requests end here
		s.refused(err).write(w)
		return
	}
	o, e := s.readObject(w, r)
	if e != nil {
		e.write(w)
		return
	}
	j, sh, e := read(o)
	if e != nil {
		e.write(w)
		return
	}
	for _, name := range o.ignored() {
		w.Header().Add("X-Radish-Ignored", name)
	}
	s.answer(w, r, j, sh)
}

func (s *server) readCompletion(o *object) (*job, shape, *Error) {
	if e := s.model(o); e != nil {
		return nil, nil, e
	}
	j := &job{id: newID("cmpl-"), created: time.Now()}
	s.sampling(o, j)
	j.params.Seed = o.seed("seed")
	j.params.MinTokens = int(o.whole("min_tokens", 0))
	j.n = s.choices(o)
	o.routing(j)
	o.streaming(j)
	j.output.echo = o.flag("echo", false)
	o.text("user")
	if o.has("logprobs") {
		j.params.Logprobs = int(o.whole("logprobs", 0))
	}
	if j.output.echo {
		j.params.PromptLogprobs = j.params.Logprobs
	}
	asked := o.whole("max_tokens", -1)
	o.format()
	o.refuse()
	j.prompts = s.prompts(o)
	if o.err != nil {
		return nil, nil, o.err
	}
	return j, &completionShape{s: s, j: j}, s.fit(j, "prompt", asked, defaultCompletion)
}

// prompts reads a string, a list of strings, token ids, or a list of lists of them.
func (s *server) prompts(o *object) []prompt {
	v, ok := o.raw("prompt")
	if !ok {
		o.fail("prompt", "prompt is needed")
		return nil
	}
	if v.Kind() == '"' {
		return s.texts(o, []jsontext.Value{v})
	}
	items := o.list("prompt", v, s.Model.Context+s.Limits.Choices)
	if len(items) == 0 {
		o.fail("prompt", "prompt must be a string, a list of strings, token ids, or a list of lists of token ids")
		return nil
	}
	switch kind := items[0].Kind(); {
	case kind == '0':
		return []prompt{s.idPrompt(o, v)}
	case len(items) > s.Limits.Choices:
		o.fail("prompt", "prompt must have at most %d items", s.Limits.Choices)
	case kind == '"':
		return s.texts(o, items)
	default:
		var ps []prompt
		for _, item := range items {
			ps = append(ps, s.idPrompt(o, item))
		}
		return ps
	}
	return nil
}

func (s *server) texts(o *object, items []jsontext.Value) []prompt {
	var ps []prompt
	for _, item := range items {
		var t string
		if item.Kind() != '"' || json.Unmarshal(item, &t) != nil {
			o.fail("prompt", "the items of prompt must be of one kind")
			return nil
		}
		p, e := s.encode(t, "prompt", token.EncodeOptions{AddSpecial: true})
		if e != nil {
			o.fail("prompt", "%s", e.Message)
			return nil
		}
		ps = append(ps, p)
	}
	return ps
}

func (s *server) idPrompt(o *object, v jsontext.Value) prompt {
	ids := s.ids(o, "prompt", v, maxTokens)
	p := prompt{ids: ids}
	if s.Tokenizer != nil && o.err == nil {
		p.text = s.Tokenizer.Decode(ids, false)
	}
	return p
}

// completionShape writes /v1/completions.
type completionShape struct {
	s      *server
	j      *job
	scored map[int]scoredPrompt // by choice
}

// scoredPrompt is how far the scores of a prompt were written.
type scoredPrompt struct{ tokens, bytes int }

type completionBody struct {
	ID      string             `json:"id"`
	Object  string             `json:"object"`
	Created int64              `json:"created"`
	Model   string             `json:"model"`
	Choices []completionChoice `json:"choices"`
	Usage   *usage             `json:"usage,omitzero"`
}

type completionChoice struct {
	Index    int                 `json:"index"`
	Text     string              `json:"text"`
	Logprobs *completionLogprobs `json:"logprobs"`
	Finish   *string             `json:"finish_reason"`
	Match    any                 `json:"matched_stop"`
}

func (h *completionShape) body(u *usage, choices ...completionChoice) completionBody {
	if choices == nil {
		choices = []completionChoice{}
	}
	return completionBody{h.j.id, "text_completion", h.j.created.Unix(), h.s.Model.Name, choices, u}
}

func (h *completionShape) first(c *choice) any {
	if !h.j.output.echo {
		return nil
	}
	return h.body(nil, completionChoice{Index: c.index, Text: c.prompt.text})
}

func (h *completionShape) chunk(c *choice, d *delta) any {
	return h.body(h.j.running(c), h.choice(c, d))
}

// running is the usage of a chunk, if every chunk is to have it.
func (j *job) running(c *choice) *usage {
	if !j.output.usageAlways {
		return nil
	}
	u := count([]*choice{c})
	return &u
}

func (h *completionShape) choice(c *choice, d *delta) completionChoice {
	out := completionChoice{Index: c.index, Text: d.text, Finish: orNull(d.finish), Match: d.match}
	if h.j.params.Logprobs < 0 || len(d.pieces)+len(d.prompt) == 0 {
		return out
	}
	base := 0
	l := &completionLogprobs{}
	if h.j.output.echo {
		base = len(c.prompt.text)
		h.scorePrompt(l, c, d.prompt)
	}
	for _, p := range d.pieces {
		l.add(h.s, p.Scored, base+p.offset)
	}
	out.Logprobs = l
	return out
}

// scorePrompt adds the prompt's tokens; offsets are exact where tokens are whole pieces of the text.
func (h *completionShape) scorePrompt(l *completionLogprobs, c *choice, scores []seq.Scored) {
	at := h.scored[c.index]
	if at.tokens == 0 && len(scores) > 0 {
		l.addFirst(h.s, c.prompt.ids[0])
		at = scoredPrompt{1, h.width(c.prompt.ids[0])}
	}
	for _, t := range scores {
		l.add(h.s, t, min(at.bytes, len(c.prompt.text)))
		at = scoredPrompt{at.tokens + 1, at.bytes + h.width(t.Token)}
	}
	if h.scored == nil {
		h.scored = map[int]scoredPrompt{}
	}
	h.scored[c.index] = at
}

// width is what a token adds to the text; a BOS adds nothing.
func (h *completionShape) width(id seq.Token) int {
	if h.s.Tokenizer == nil {
		return 0
	}
	return len(h.s.Tokenizer.Decode([]seq.Token{id}, true))
}

func (h *completionShape) last(u usage) any { return h.body(&u) }

func (h *completionShape) whole(choices []*choice, deltas []delta) any {
	u := count(choices)
	var out []completionChoice
	for i, c := range choices {
		done := h.choice(c, &deltas[i])
		if h.j.output.echo {
			done.Text = c.prompt.text + done.Text
		}
		out = append(out, done)
	}
	return h.body(&u, out...)
}
