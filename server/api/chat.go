package api

import (
	"net/http"
	"slices"
	"time"

	"radish/server/token"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// chat serves /v1/chat/completions.
func (s *server) chat(w http.ResponseWriter, r *http.Request) { s.generating(w, r, s.readChat) }

func (s *server) readChat(o *object) (*job, shape, *Error) {
	if e := s.model(o); e != nil {
		return nil, nil, e
	}
	j := &job{id: newID("chatcmpl-"), created: time.Now()}
	s.sampling(o, j)
	j.params.Seed = o.seed("seed")
	j.params.MinTokens = int(o.whole("min_tokens", 0))
	j.n = s.choices(o)
	o.routing(j)
	o.streaming(j)
	o.text("user")
	o.chatLogprobs(j)
	asked := o.chatMax()
	o.format()
	o.modalities()
	o.refuse()
	messages, kwargs := o.messages(), s.kwargs(o)
	if o.err != nil {
		return nil, nil, o.err
	}
	p, e := s.render(messages, kwargs)
	if e != nil {
		return nil, nil, e
	}
	j.prompts = []prompt{p}
	return j, &chatShape{s, j}, s.fit(j, "messages", asked, -1)
}

// chatLogprobs reads logprobs (a flag here) and top_logprobs.
func (o *object) chatLogprobs(j *job) {
	wanted := o.flag("logprobs", false)
	top := o.whole("top_logprobs", 0)
	if top > 0 && !wanted {
		o.fail("top_logprobs", "top_logprobs needs logprobs to be true")
	}
	if wanted {
		j.params.Logprobs = int(top)
	}
}

// chatMax reads max_completion_tokens, or its old name.
func (o *object) chatMax() int64 {
	old := o.has("max_tokens")
	asked := o.whole("max_tokens", -1)
	if old && asked < 1 {
		o.fail("max_tokens", "max_tokens must be at least 1")
	}
	return o.whole("max_completion_tokens", asked)
}

func (o *object) modalities() {
	v, ok := o.raw("modalities")
	if !ok {
		return
	}
	var list []string
	if json.Unmarshal(v, &list) != nil || slices.ContainsFunc(list, func(m string) bool { return m != "text" }) {
		o.fail("modalities", "only the modality text is supported")
	}
}

// kwargs reads the allowed ones of chat_template_kwargs: a template is untrusted code, so clients choose only among
// the switches that the operator named, and only plain values.
func (s *server) kwargs(o *object) map[string]any {
	c := o.child("chat_template_kwargs")
	if c == nil {
		return nil
	}
	if len(c.fields) > maxKwargs {
		o.fail("chat_template_kwargs", "chat_template_kwargs must have at most %d entries", maxKwargs)
		return nil
	}
	out := map[string]any{}
	for name, v := range c.fields {
		var value any
		if !slices.Contains(s.KwargsAllowed, name) {
			o.fail("chat_template_kwargs", "chat_template_kwargs may not set %s", printable(name))
		} else if k := v.Kind(); k == '{' || k == '[' || json.Unmarshal(v, &value) != nil {
			o.fail("chat_template_kwargs", "%s must be a plain value", name)
		}
		out[name] = value
	}
	return out
}

var roles = []string{"system", "developer", "user", "assistant", "tool"}

// messages reads the conversation.
func (o *object) messages() []Message {
	v, ok := o.raw("messages")
	if !ok {
		o.fail("messages", "messages is needed")
		return nil
	}
	items := o.list("messages", v, maxMessages)
	if len(items) == 0 {
		o.fail("messages", "messages must not be empty")
	}
	var out []Message
	for _, item := range items {
		m := &object{path: "messages.", used: map[string]bool{}}
		if json.Unmarshal(item, &m.fields) != nil {
			o.fail("messages", "a message must be an object")
			return nil
		}
		out = append(out, m.message())
		o.adopt(m)
	}
	return out
}

func (o *object) message() Message {
	m := Message{Role: o.text("role"), Name: o.text("name"), ToolCallID: o.text("tool_call_id")}
	if !slices.Contains(roles, m.Role) {
		o.fail("role", "role must be one of system, developer, user, assistant, tool")
	}
	if v, ok := o.raw("tool_calls"); ok && !asksNothing(v) {
		o.fail("tool_calls", "tool calls are not supported by this server")
	}
	v, ok := o.raw("content")
	switch {
	case !ok && m.Role != "assistant":
		o.fail("content", "a message needs content")
	case ok:
		m.Content = o.content(v)
	}
	return m
}

// content reads a string, or parts of which all are text.
func (o *object) content(v jsontext.Value) string {
	var text string
	if v.Kind() == '"' {
		json.Unmarshal(v, &text) // a valid string: checked with the body
		return text
	}
	for _, item := range o.list("content", v, maxParts) {
		p := &object{path: o.path + "content.", used: map[string]bool{}}
		if json.Unmarshal(item, &p.fields) != nil {
			o.fail("content", "a part of content must be an object")
			return ""
		}
		if kind := p.text("type"); p.err == nil && kind != "text" {
			p.fail("type", "content of type %s is not supported by this server, only text", printable(kind))
		}
		if !p.has("text") {
			p.fail("text", "a part of type text needs text")
		}
		text += p.text("text")
		o.adopt(p)
	}
	return text
}

// render turns the conversation into tokens. Only what the template wrote may become a control token.
func (s *server) render(messages []Message, kwargs map[string]any) (prompt, *Error) {
	if s.Template == nil {
		return prompt{}, bad("messages", "this model has no chat template: use /v1/completions")
	}
	text, control, err := s.Template.Render(messages, kwargs)
	if err != nil {
		return prompt{}, bad("messages", "the chat template refuses these messages: %v", err)
	}
	return s.encode(text, "messages", token.EncodeOptions{Control: control})
}

// chatShape writes /v1/chat/completions.
type chatShape struct {
	s *server
	j *job
}

type chatBody struct {
	ID      string       `json:"id"`
	Object  string       `json:"object"`
	Created int64        `json:"created"`
	Model   string       `json:"model"`
	Choices []chatChoice `json:"choices"`
	Usage   *usage       `json:"usage,omitzero"`
}

type chatChoice struct {
	Index    int           `json:"index"`
	Message  *chatMessage  `json:"message,omitzero"`
	Delta    *chatDelta    `json:"delta,omitzero"`
	Logprobs *chatLogprobs `json:"logprobs"`
	Finish   *string       `json:"finish_reason"`
	Match    any           `json:"matched_stop"`
}

type chatMessage struct {
	Role    string  `json:"role"`
	Content string  `json:"content"`
	Refusal *string `json:"refusal"`
}

// chatDelta has pointers, since {} is a delta too and "" is content.
type chatDelta struct {
	Role    *string `json:"role,omitzero"`
	Content *string `json:"content,omitzero"`
}

func (h *chatShape) body(object string, u *usage, choices ...chatChoice) chatBody {
	if choices == nil {
		choices = []chatChoice{}
	}
	return chatBody{h.j.id, object, h.j.created.Unix(), h.s.Model.Name, choices, u}
}

const chatChunk = "chat.completion.chunk"

func (h *chatShape) first(c *choice) any {
	role, empty := "assistant", ""
	return h.body(chatChunk, nil, chatChoice{Index: c.index, Delta: &chatDelta{&role, &empty}})
}

func (h *chatShape) chunk(c *choice, d *delta) any {
	out := chatChoice{Index: c.index, Delta: &chatDelta{}, Finish: orNull(d.finish), Match: d.match}
	if d.finish == "" {
		out.Delta.Content = &d.text
	}
	if h.j.params.Logprobs >= 0 && len(d.pieces) > 0 {
		out.Logprobs = h.s.chatLogprobs(d.pieces)
	}
	return h.body(chatChunk, h.j.running(c), out)
}

func (h *chatShape) last(u usage) any { return h.body(chatChunk, &u) }

func (h *chatShape) whole(choices []*choice, deltas []delta) any {
	u := count(choices)
	var out []chatChoice
	for i, c := range choices {
		d := &deltas[i]
		done := chatChoice{Index: c.index, Message: &chatMessage{Role: "assistant", Content: d.text},
			Finish: orNull(d.finish), Match: d.match}
		if h.j.params.Logprobs >= 0 {
			done.Logprobs = h.s.chatLogprobs(d.pieces)
		}
		out = append(out, done)
	}
	return h.body("chat.completion", &u, out...)
}
