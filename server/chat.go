package server

import (
	"fmt"
	"time"

	"radish/server/api"
	"radish/server/token"
	"radish/server/token/jinja"
)

// ChatTemplate renders conversations with the model's own template. It implements api.Template.
type ChatTemplate struct {
	template *jinja.Template
	bos, eos string
}

// newChatTemplate parses the tokenizer's default template; nil when the model has none.
func newChatTemplate(t *token.Tokenizer) (*ChatTemplate, error) {
	for _, named := range t.Templates() {
		if named.Name != "default" {
			continue
		}
		parsed, err := jinja.Parse("chat_template", named.Source)
		if err != nil {
			return nil, fmt.Errorf("read chat template: %w", err)
		}
		return &ChatTemplate{template: parsed, bos: t.SpecialText("bos_token"), eos: t.SpecialText("eos_token")}, nil
	}
	return nil, nil
}

// Render is the prompt for the next answer, and the byte ranges that the template wrote itself.
func (c *ChatTemplate) Render(messages []api.Message, kwargs map[string]any) (string, []token.Range, error) {
	conv := jinja.Conversation{
		AddGenerationPrompt: true, Kwargs: kwargs, BOS: c.bos, EOS: c.eos, Now: time.Now(),
	}
	for _, m := range messages {
		conv.Messages = append(conv.Messages, jinja.Message{
			Role: m.Role, Content: m.Content, Name: m.Name, ToolCallID: m.ToolCallID,
		})
	}
	out, err := jinja.Chat(c.template, conv)
	if err != nil {
		return "", nil, err
	}
	ranges := make([]token.Range, len(out.Control))
	for i, r := range out.Control {
		ranges[i] = token.Range(r)
	}
	return out.Text, ranges, nil
}
