package token

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"radish/server/seq"
)

// Limits on the files beside tokenizer.json.
const (
	maxConfig   = 16 << 20 // tokenizer_config.json lists every added token
	maxTemplate = 1 << 20
)

// config is what the files beside tokenizer.json say.
type config struct {
	named     map[string]string // "bos_token", "eos_token", ... -> spelling
	added     []addedSpec
	addBOS    *bool
	addEOS    *bool
	eos       []seq.Token // from generation_config.json, else config.json
	templates []Template
}

// readConfig reads the optional files.
func readConfig(fsys fs.FS) (config, error) {
	c := config{named: map[string]string{}}
	for _, step := range []struct {
		name string
		take func([]byte) error
	}{
		{"special_tokens_map.json", c.takeNames},
		{"tokenizer_config.json", c.takeTokenizer},
		{"chat_template.json", c.takeTemplate},
		{"config.json", c.takeEOS},
		{"generation_config.json", c.takeEOS},
		{"chat_template.jinja", c.takeJinja},
	} {
		data, err := readFile(fsys, step.name, maxConfig)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = malformed(step.take(data))
		}
		if err != nil {
			return c, fmt.Errorf("read %s: %w", step.name, err)
		}
	}
	return c, nil
}

// takeNames takes the members whose value is a token: a string, or an object with its content.
func (c *config) takeNames(data []byte) error {
	var members map[string]jsontext.Value
	if err := json.Unmarshal(data, &members); err != nil {
		return err
	}
	for name, raw := range members {
		var text string
		var token struct {
			Content string `json:"content"`
		}
		switch {
		case len(name) < 6 || name[len(name)-6:] != "_token":
		case raw.Kind() == '"' && json.Unmarshal(raw, &text) == nil:
			c.named[name] = text
		case raw.Kind() == '{' && json.Unmarshal(raw, &token) == nil:
			c.named[name] = token.Content
		}
	}
	return nil
}

// takeTokenizer takes tokenizer_config.json.
func (c *config) takeTokenizer(data []byte) error {
	var f struct {
		AddBOS   *bool                `json:"add_bos_token"`
		AddEOS   *bool                `json:"add_eos_token"`
		Added    map[string]addedSpec `json:"added_tokens_decoder"`
		Template jsontext.Value       `json:"chat_template"`
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return err
	}
	if len(f.Added) > maxAdded {
		return fmt.Errorf("%w: over %d added tokens", ErrMalformed, maxAdded)
	}
	for key, a := range f.Added {
		id, err := strconv.ParseInt(key, 10, 32)
		if err != nil {
			return fmt.Errorf("%w: added token %.20q: %w", ErrMalformed, key, err)
		}
		a.ID = int32(id)
		c.added = append(c.added, a)
	}
	slices.SortFunc(c.added, func(a, b addedSpec) int { return int(a.ID) - int(b.ID) })
	c.addBOS, c.addEOS = f.AddBOS, f.AddEOS
	if err := c.setTemplates(f.Template); err != nil {
		return err
	}
	return c.takeNames(data)
}

// takeTemplate takes chat_template.json.
func (c *config) takeTemplate(data []byte) error {
	var f struct {
		Template jsontext.Value `json:"chat_template"`
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return err
	}
	return c.setTemplates(f.Template)
}

// takeJinja takes chat_template.jinja, which overrules the default template of the other files.
func (c *config) takeJinja(data []byte) error { return c.addTemplate("default", string(data)) }

// setTemplates takes "chat_template": one source, or a list of named ones.
func (c *config) setTemplates(raw jsontext.Value) error {
	if isNull(raw) {
		return nil
	}
	var source string
	if raw.Kind() == '"' {
		if err := json.Unmarshal(raw, &source); err != nil {
			return err
		}
		return c.addTemplate("default", source)
	}
	var list []struct {
		Name     string `json:"name"`
		Template string `json:"template"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return err
	}
	for _, t := range list {
		if err := c.addTemplate(t.Name, t.Template); err != nil {
			return err
		}
	}
	return nil
}

// addTemplate adds or replaces a template; the default one comes first.
func (c *config) addTemplate(name, source string) error {
	if len(source) > maxTemplate || len(c.templates) > maxSteps {
		return fmt.Errorf("%w: chat template %.40q is over %d bytes, or one of too many", ErrMalformed, name, maxTemplate)
	}
	c.templates = slices.DeleteFunc(c.templates, func(t Template) bool { return t.Name == name })
	at := len(c.templates)
	if name == "default" {
		at = 0
	}
	c.templates = slices.Insert(c.templates, at, Template{name, source})
	return nil
}

// takeEOS takes "eos_token_id", a number or a list, of generation_config.json or config.json; the later file counts.
func (c *config) takeEOS(data []byte) error {
	var f struct {
		EOS jsontext.Value `json:"eos_token_id"`
	}
	if err := json.Unmarshal(data, &f); err != nil || isNull(f.EOS) {
		return err
	}
	var list []seq.Token
	if f.EOS.Kind() == '[' {
		if err := json.Unmarshal(f.EOS, &list); err != nil {
			return err
		}
	} else {
		list = make([]seq.Token, 1)
		if err := json.Unmarshal(f.EOS, &list[0]); err != nil {
			return err
		}
	}
	if len(list) > 1024 {
		return fmt.Errorf("%w: %d end-of-sequence ids", ErrMalformed, len(list))
	}
	c.eos = list
	return nil
}
