package jinja

import (
	"context"
	"time"
)

// Message is one turn. What is nil or empty is left out, but for Content, which is None then.
type Message struct {
	Role       string // trusted, because templates spell control tokens with it: the caller checks it against a fixed list
	Content    any    // string, nil, or a list of parts ([]any of *Object)
	Name       string
	ToolCallID string
	ToolCalls  any     // ordered JSON, nil when there are none
	Extra      *Object // further fields such as reasoning_content
}

// object is the message as templates see it, with its fields in the usual order.
func (m Message) object() *Object {
	o := (&Object{}).Set("role", Trusted(m.Role)).Set("content", m.Content)
	if m.Name != "" {
		o.Set("name", m.Name)
	}
	if m.ToolCallID != "" {
		o.Set("tool_call_id", m.ToolCallID)
	}
	if m.ToolCalls != nil {
		o.Set("tool_calls", m.ToolCalls)
	}
	if m.Extra != nil {
		for _, k := range m.Extra.keys {
			o.Set(k, m.Extra.vals[k])
		}
	}
	return o
}

// Conversation is what a chat template renders.
type Conversation struct {
	Messages            []Message
	Tools               any // ordered JSON: []any of *Object; nil: none
	AddGenerationPrompt bool
	Kwargs              map[string]any  // a client's further variables; they never replace the ones above
	BOS, EOS            string          // trusted; empty: undefined in the template
	Special             map[string]any  // more variables of the tokenizer's, such as pad_token; Trusted where they are
	Now                 time.Time       // for strftime_now; zero: the clock
	Limits              Limits          // Now and Context below are taken where they are set
	Context             context.Context // nil: none
}

// Chat renders a conversation with the variables that transformers' apply_chat_template gives: messages, tools and
// documents (None when absent), add_generation_prompt, the special tokens, and the client's own.
func Chat(t *Template, c Conversation) (Output, error) {
	messages := make([]any, len(c.Messages))
	for i, m := range c.Messages {
		messages[i] = m.object()
	}
	vars := map[string]any{"documents": nil}
	for k, v := range c.Special {
		vars[k] = v
	}
	for k, v := range c.Kwargs {
		vars[k] = v
	}
	vars["messages"] = messages
	vars["tools"] = c.Tools
	vars["add_generation_prompt"] = c.AddGenerationPrompt
	for name, tok := range map[string]string{"bos_token": c.BOS, "eos_token": c.EOS} {
		if tok != "" {
			vars[name] = Trusted(tok)
		} else {
			delete(vars, name)
		}
	}
	lim := c.Limits
	if !c.Now.IsZero() {
		lim.Now = c.Now
	}
	if c.Context != nil {
		lim.Context = c.Context
	}
	return t.Render(vars, lim)
}
