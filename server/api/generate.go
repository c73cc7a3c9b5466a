package api

import (
	"net/http"
	"strings"
	"time"

	"radish/server/seq"
	"radish/server/token"
)

// defaultNew is SGLang's max_new_tokens.
const defaultNew = 128

// generate serves SGLang's native /generate for one prompt: {"text" | "input_ids", "sampling_params", "stream",
// "return_logprob", "top_logprobs_num", "logprob_start_len", "rid"}. A stream's text is cumulative.
func (s *server) generate(w http.ResponseWriter, r *http.Request) { s.generating(w, r, s.readGenerate) }

func (s *server) readGenerate(o *object) (*job, shape, *Error) {
	j := &job{created: time.Now(), n: 1}
	o.routing(j)
	if j.id = j.rid; j.id == "" {
		j.id = newID("")
	}
	sp := o.child("sampling_params")
	if sp == nil {
		sp = &object{used: map[string]bool{}}
	}
	s.sampling(sp, j)
	j.params.Seed = sp.seed("sampling_seed")
	j.params.MinTokens = int(sp.whole("min_new_tokens", 0))
	j.n = s.choices(sp)
	asked := sp.whole("max_new_tokens", -1)
	sp.refuse()
	o.adopt(sp)
	o.streaming(j)
	o.nativeLogprobs(j)
	o.refuse()
	j.prompts = s.nativePrompt(o)
	if o.err != nil {
		return nil, nil, o.err
	}
	return j, &nativeShape{s: s, j: j}, s.fit(j, "input_ids", asked, defaultNew)
}

func (o *object) nativeLogprobs(j *job) {
	wanted := o.flag("return_logprob", false)
	top := int(o.whole("top_logprobs_num", 0))
	start := o.whole("logprob_start_len", -1)
	if !wanted {
		return
	}
	j.params.Logprobs = top
	if start == 0 {
		j.params.PromptLogprobs = top
	} else if start > 0 {
		o.fail("logprob_start_len", "logprob_start_len must be -1 (none of the prompt) or 0 (all of it)")
	}
}

func (s *server) nativePrompt(o *object) []prompt {
	if o.has("text") == o.has("input_ids") {
		o.fail("text", "either text or input_ids is needed")
		return nil
	}
	if v, ok := o.raw("input_ids"); ok {
		return []prompt{{ids: s.ids(o, "input_ids", v, maxTokens)}}
	}
	t := o.text("text")
	if o.err != nil {
		return nil
	}
	p, e := s.encode(t, "text", token.EncodeOptions{AddSpecial: true})
	if e != nil {
		o.err = e
	}
	return []prompt{p}
}

// nativeShape writes /generate. Streams of several choices carry their index.
type nativeShape struct {
	s   *server
	j   *job
	sum map[int]*delta // so far, by choice
}

type nativeBody struct {
	Text  string      `json:"text"`
	IDs   []seq.Token `json:"output_ids"`
	Meta  nativeMeta  `json:"meta_info"`
	Index *int        `json:"index,omitzero"`
}

type nativeMeta struct {
	ID         string          `json:"id"`
	Finish     any             `json:"finish_reason"` // null until the end, as in SGLang
	Prompt     int             `json:"prompt_tokens"`
	Completion int             `json:"completion_tokens"`
	Cached     int             `json:"cached_tokens"`
	Weights    string          `json:"weight_version"`
	Latency    float64         `json:"e2e_latency,omitzero"` // seconds, on the last
	Output     []nativeScore   `json:"output_token_logprobs,omitzero"`
	Input      []nativeScore   `json:"input_token_logprobs,omitzero"`
	OutputTop  [][]nativeScore `json:"output_top_logprobs,omitzero"`
}

// nativeScore is SGLang's [logprob, token id, text or null].
type nativeScore [3]any

func (h *nativeShape) first(*choice) any { return nil }

// last is nothing: every native chunk has its counts.
func (h *nativeShape) last(usage) any { return nil }

func (h *nativeShape) chunk(c *choice, d *delta) any {
	if h.sum == nil {
		h.sum = map[int]*delta{}
	}
	if h.sum[c.index] == nil {
		h.sum[c.index] = &delta{}
	}
	h.sum[c.index].add(*d)
	body := h.body(c, h.sum[c.index])
	if h.j.n > 1 {
		body.Index = &c.index
	}
	return body
}

func (h *nativeShape) body(c *choice, d *delta) nativeBody {
	m := nativeMeta{ID: h.j.id, Prompt: len(c.prompt.ids), Completion: len(c.text.ids), Cached: c.text.cached,
		Weights: "default"}
	switch d.finish {
	case "":
	case "length":
		m.Finish = map[string]any{"type": "length", "length": len(c.text.ids)}
	default:
		m.Finish = map[string]any{"type": d.finish, "matched": d.match}
	}
	if d.finish != "" {
		m.Latency = time.Since(h.j.created).Seconds()
	}
	if h.j.params.Logprobs >= 0 {
		h.score(&m, d)
	}
	return nativeBody{Text: strings.ToValidUTF8(d.text, "\uFFFD"), IDs: c.text.ids, Meta: m}
}

func (h *nativeShape) score(m *nativeMeta, d *delta) {
	m.Output = []nativeScore{}
	for _, p := range d.pieces {
		m.Output = append(m.Output, nativeScore{finite(p.Logprob), p.Token, nil})
		if h.j.params.Logprobs > 0 {
			var top []nativeScore
			for _, a := range p.Top {
				top = append(top, nativeScore{finite(a.Logprob), a.Token, nil})
			}
			m.OutputTop = append(m.OutputTop, top)
		}
	}
	for _, t := range d.prompt {
		m.Input = append(m.Input, nativeScore{finite(t.Logprob), t.Token, nil})
	}
}

func (h *nativeShape) whole(choices []*choice, deltas []delta) any {
	var out []nativeBody
	for i, c := range choices {
		out = append(out, h.body(c, &deltas[i]))
	}
	if len(out) == 1 {
		return out[0]
	}
	return out
}
