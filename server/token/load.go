package token

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"radish/server/seq"
)

// Load reads a tokenizer from the files at the root of fsys: tokenizer.json, which must be there, and what stands
// beside it of tokenizer_config.json, special_tokens_map.json, generation_config.json, config.json,
// chat_template.jinja and chat_template.json. Errors wrap fs.ErrNotExist, ErrUnsupported or ErrMalformed.
func Load(fsys fs.FS) (*Tokenizer, error) {
	conf, err := readConfig(fsys)
	if err != nil {
		return nil, err
	}
	data, err := readFile(fsys, "tokenizer.json", maxJSON)
	if err != nil {
		return nil, err
	}
	s, err := parseSpec(data)
	if err != nil {
		return nil, fmt.Errorf("read tokenizer.json: %w", err)
	}
	t, err := build(s, conf)
	if err != nil {
		return nil, fmt.Errorf("read tokenizer.json: %w", err)
	}
	return t, nil
}

// readFile reads a whole file of at most limit bytes.
func readFile(fsys fs.FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	defer f.Close()
	size := int64(0)
	if info, err := f.Stat(); err == nil {
		size = info.Size()
	}
	if size > limit {
		return nil, fmt.Errorf("read %s: %w: %d bytes, over %d", name, ErrMalformed, size, limit)
	}
	var b bytes.Buffer
	b.Grow(int(size) + bytes.MinRead) // the size known; it grows no further than the limit
	n, err := io.Copy(&b, io.LimitReader(f, limit+1))
	if err == nil && n > limit {
		err = fmt.Errorf("%w: over %d bytes", ErrMalformed, limit)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return b.Bytes(), nil
}

// isOurs reports whether err already has a sentinel of this package.
func isOurs(err error) bool { return errors.Is(err, ErrMalformed) || errors.Is(err, ErrUnsupported) }

// build makes the tokenizer that s and conf describe.
func build(s *spec, conf config) (*Tokenizer, error) {
	t := &Tokenizer{conf: conf, raw: &addedSet{}, normed: &addedSet{}}
	var err error
	if t.norm, err = newNormalizers(s.normalizer); err != nil {
		return nil, err
	}
	if err := t.addTokens(s); err != nil {
		return nil, err
	}
	stages, byteLevel, err := newStages(s.pre)
	if err != nil {
		return nil, err
	}
	t.stages = stages
	if t.bpe, err = newBPE(&s.model, byteLevel, t.isSpecial); err != nil {
		return nil, err
	}
	if t.dec, err = newDecoding(s.decoder); err != nil {
		return nil, err
	}
	if t.dec.byteLevel != byteLevel {
		return nil, fmt.Errorf("%w: only one of pre-tokenizer and decoder is ByteLevel", ErrUnsupported)
	}
	t.dec.prepare(t.pieces, t.normed)
	if t.prefix, t.suffix, err = newTemplate(s.post, len(t.pieces)); err != nil {
		return nil, err
	}
	t.applyConfig()
	if !byteLevel && bordersAreSafe(&s.model) {
		t.stages = append(t.stages, wordBorder{spaceMark})
	}
	t.pool.New = func() any { return newEncoder(t) }
	return t, nil
}

// spaceMark is how sentencepiece writes a space: U+2581.
const spaceMark = "▁"

// bordersAreSafe reports whether no merge can join a character with a space mark that follows it.
func bordersAreSafe(m *model) bool {
	if _, ok := m.ids[spaceMark]; !ok || m.ignoreMerges {
		return false
	}
	for _, g := range m.merges {
		if strings.Contains(strings.TrimLeft(m.pieces[g.product], spaceMark), spaceMark) {
			return false
		}
	}
	return true
}

// addTokens gives the vocabulary its added tokens: those of tokenizer.json, then those that only the configuration
// knows, then BOS and EOS, which transformers adds as control tokens wherever they are named.
func (t *Tokenizer) addTokens(s *spec) error {
	m := &s.model
	have := map[string]bool{}
	for _, a := range s.added {
		have[a.Content] = true
	}
	for _, a := range t.conf.added {
		if !have[a.Content] {
			s.added = append(s.added, a)
			have[a.Content] = true
		}
	}
	for _, name := range []string{"bos_token", "eos_token"} {
		text := t.conf.named[name]
		if id, ok := m.ids[text]; ok && !have[text] {
			s.added = append(s.added, addedSpec{ID: id, Content: text, Special: true})
			have[text] = true
		}
	}
	spelled := 0
	for _, a := range s.added {
		if spelled += len(a.Content); a.Content == "" || spelled > maxSpell {
			return fmt.Errorf("%w: added token %d is empty, or all are over %d bytes", ErrMalformed, a.ID, maxSpell)
		}
		if err := m.define(a.Content, int64(a.ID)); err != nil {
			return err
		}
	}
	t.pieces, t.ids, t.special = m.pieces, m.ids, make([]bool, len(m.pieces))
	for _, a := range s.added {
		a.Special = a.Special || a.Content == t.conf.named["bos_token"] || a.Content == t.conf.named["eos_token"]
		t.special[a.ID] = t.special[a.ID] || a.Special
		if spelling := t.norm.apply(a.Content, false); a.Normalized && spelling != "" {
			t.normed.add(a, spelling) // the text is normalized, and so is what is looked for in it
		} else {
			t.raw.add(a, a.Content)
		}
	}
	return nil
}

// applyConfig lets an explicit add_bos_token or add_eos_token overrule the post-processor.
func (t *Tokenizer) applyConfig() {
	if id, ok := t.BOS(); ok && t.conf.addBOS != nil {
		t.prefix = setEdge(t.prefix, id, *t.conf.addBOS)
	}
	if id, ok := t.ID(t.conf.named["eos_token"]); ok && t.conf.addEOS != nil {
		t.suffix = setEdge(t.suffix, id, *t.conf.addEOS)
	}
}

// setEdge makes list hold id once, or not at all.
func setEdge(list []seq.Token, id seq.Token, want bool) []seq.Token {
	var out []seq.Token
	if want {
		out = append(out, id)
	}
	for _, x := range list {
		if x != id {
			out = append(out, x)
		}
	}
	return out
}
