package token

import (
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/text/unicode/norm"

	"radish/server/seq"
)

// maxDepth bounds Sequences within Sequences, maxSteps the steps of one component.
const (
	maxDepth = 4
	maxSteps = 32
)

// typeOf is the "type" of a component; "" for null.
func typeOf(raw jsontext.Value) (string, error) {
	var c struct {
		Type string `json:"type"`
	}
	if isNull(raw) {
		return "", nil
	}
	err := json.Unmarshal(raw, &c)
	return c.Type, malformed(err)
}

func isNull(raw jsontext.Value) bool { return len(raw) == 0 || raw.Kind() == 'n' }

// as decodes a component; a member that T does not know is refused, for it may change what the component does.
func as[T any](raw jsontext.Value) (T, error) {
	var c T
	if err := json.Unmarshal(raw, &c, json.RejectUnknownMembers(true)); err != nil {
		return c, fmt.Errorf("%w: component %.60s: %w", ErrUnsupported, raw, err)
	}
	return c, nil
}

// flatten resolves Sequence components, whose members stand under the name list.
func flatten(raw jsontext.Value, list string, depth int) ([]jsontext.Value, error) {
	kind, err := typeOf(raw)
	if err != nil || kind == "" {
		return nil, err
	}
	if kind != "Sequence" {
		return []jsontext.Value{raw}, nil
	}
	if depth == maxDepth {
		return nil, fmt.Errorf("%w: %s nested over %d deep", ErrMalformed, list, maxDepth)
	}
	var members map[string]jsontext.Value
	var parts, out []jsontext.Value
	if err := json.Unmarshal(raw, &members); err != nil {
		return nil, malformed(err)
	}
	if err := json.Unmarshal(members[list], &parts); err != nil {
		return nil, malformed(err)
	}
	for _, p := range parts {
		flat, err := flatten(p, list, depth+1)
		if err != nil {
			return nil, err
		}
		if out = append(out, flat...); len(out) > maxSteps {
			return nil, fmt.Errorf("%w: over %d %s", ErrMalformed, maxSteps, list)
		}
	}
	return out, nil
}

// pattern is what Split and Replace look for.
type pattern struct {
	String *string `json:"String"`
	Regex  *string `json:"Regex"`
}

// newNormalizers understands "normalizer".
func newNormalizers(raw jsontext.Value) (normalizers, error) {
	parts, err := flatten(raw, "normalizers", 0)
	if err != nil {
		return nil, err
	}
	var out normalizers
	growth := 1
	for _, p := range parts {
		n, err := newNormalizer(p)
		if err != nil {
			return nil, err
		}
		if growth *= max(n.growth, 1); growth > maxGrowth {
			return nil, fmt.Errorf("%w: normalizers make a text over %d times as long", ErrMalformed, maxGrowth)
		}
		out = append(out, n)
	}
	return out, nil
}

func newNormalizer(raw jsontext.Value) (normalizer, error) {
	kind, err := typeOf(raw)
	if err != nil {
		return normalizer{}, err
	}
	forms := map[string]norm.Form{"NFC": norm.NFC, "NFD": norm.NFD, "NFKC": norm.NFKC, "NFKD": norm.NFKD}
	if f, ok := forms[kind]; ok {
		return normalizer{apply: form(f)}, nil
	}
	switch kind {
	case "Prepend":
		c, err := as[struct {
			Type    string `json:"type"`
			Prepend string `json:"prepend"`
		}](raw)
		if len(c.Prepend) > maxGrowth {
			return normalizer{}, fmt.Errorf("%w: Prepend writes %d bytes, over %d", ErrMalformed, len(c.Prepend), maxGrowth)
		}
		return normalizer{prepend: c.Prepend}, err
	case "Replace":
		from, to, err := newReplace(raw)
		return normalizer{apply: replace(from, to), growth: growthOf(from, to)}, err
	}
	return normalizer{}, fmt.Errorf("%w: normalizer %q; known are NFC, NFD, NFKC, NFKD, Prepend, Replace and Sequence",
		ErrUnsupported, kind)
}

// growthOf is the factor by which writing to for from can make a text longer, rounded up.
func growthOf(from, to string) int { return (len(to) + len(from) - 1) / max(len(from), 1) }

// newReplace understands a Replace normalizer or decoder.
func newReplace(raw jsontext.Value) (from, to string, err error) {
	c, err := as[struct {
		Type    string  `json:"type"`
		Pattern pattern `json:"pattern"`
		Content string  `json:"content"`
	}](raw)
	switch {
	case err != nil:
		return "", "", err
	case c.Pattern.String == nil || *c.Pattern.String == "":
		return "", "", fmt.Errorf("%w: Replace by anything but a fixed string", ErrUnsupported)
	case len(c.Content) > maxGrowth:
		return "", "", fmt.Errorf("%w: Replace writes %d bytes, over %d", ErrMalformed, len(c.Content), maxGrowth)
	}
	return *c.Pattern.String, c.Content, nil
}

// newStages understands "pre_tokenizer"; byteLevel says whether its pieces are bytes.
func newStages(raw jsontext.Value) (stages []stage, byteLevel bool, err error) {
	parts, err := flatten(raw, "pretokenizers", 0)
	if err != nil {
		return nil, false, err
	}
	for _, p := range parts {
		kind, err := typeOf(p)
		if err != nil {
			return nil, false, err
		}
		if byteLevel {
			return nil, false, fmt.Errorf("%w: pre-tokenizer %q after ByteLevel", ErrUnsupported, kind)
		}
		byteLevel = kind == "ByteLevel"
		s, err := newStage(kind, p)
		if err != nil {
			return nil, false, err
		}
		if s != nil {
			stages = append(stages, s)
		}
	}
	return stages, byteLevel, nil
}

// newStage understands one pre-tokenizer; nil means that it cuts nothing.
func newStage(kind string, raw jsontext.Value) (stage, error) {
	switch kind {
	case "ByteLevel":
		return newByteLevel(raw)
	case "Split":
		return newSplit(raw)
	case "Metaspace":
		return newMetaspace(raw)
	case "Digits":
		c, err := as[struct {
			Type   string `json:"type"`
			Single bool   `json:"individual_digits"`
		}](raw)
		return digits{c.Single}, err
	}
	return nil, fmt.Errorf("%w: pre-tokenizer %q; known are ByteLevel, Split, Metaspace, Digits and Sequence",
		ErrUnsupported, kind)
}

func newByteLevel(raw jsontext.Value) (stage, error) {
	c, err := as[struct {
		Type  string `json:"type"`
		Space bool   `json:"add_prefix_space"`
		Trim  bool   `json:"trim_offsets"` // of offsets, which are not kept here
		Regex *bool  `json:"use_regex"`
	}](raw)
	var s stage
	if c.Regex == nil || *c.Regex {
		s = gpt2Words{}
	}
	if c.Space {
		s = prefixSpace{s}
	}
	return s, err
}

func newSplit(raw jsontext.Value) (stage, error) {
	c, err := as[struct {
		Type     string  `json:"type"`
		Pattern  pattern `json:"pattern"`
		Behavior string  `json:"behavior"`
		Invert   bool    `json:"invert"`
	}](raw)
	if err != nil {
		return nil, err
	}
	if sep := c.Pattern.String; sep != nil && *sep != "" && c.Behavior == "MergedWithPrevious" && !c.Invert {
		return cutAfter{*sep}, nil
	}
	if c.Pattern.Regex == nil {
		return nil, fmt.Errorf("%w: Split by a fixed string with behavior %q, invert %t", ErrUnsupported, c.Behavior, c.Invert)
	}
	s, ok := patterns[*c.Pattern.Regex]
	if !ok {
		return nil, fmt.Errorf("%w: Split by the unknown pattern %q", ErrUnsupported, *c.Pattern.Regex)
	}
	// The known patterns match every character, so keeping the matches apart and removing what is between them agree.
	if c.Behavior != "Isolated" && !(c.Behavior == "Removed" && c.Invert) {
		return nil, fmt.Errorf("%w: Split with behavior %q, invert %t", ErrUnsupported, c.Behavior, c.Invert)
	}
	return s, nil
}

// newMetaspace understands Metaspace as a pre-tokenizer or decoder, old members (add_prefix_space) included.
func newMetaspace(raw jsontext.Value) (metaspace, error) {
	c, err := as[struct {
		Type   string `json:"type"`
		Mark   string `json:"replacement"`
		Scheme string `json:"prepend_scheme"`
		Space  *bool  `json:"add_prefix_space"`
		Split  *bool  `json:"split"`
		Str    string `json:"str_rep"`
	}](raw)
	if err != nil {
		return metaspace{}, err
	}
	if c.Scheme == "" {
		c.Scheme = "always"
	}
	if c.Space != nil && !*c.Space {
		c.Scheme = "never"
	}
	if c.Scheme != "always" && c.Scheme != "first" && c.Scheme != "never" || len([]rune(c.Mark)) != 1 {
		return metaspace{}, fmt.Errorf("%w: Metaspace with prepend_scheme %q, replacement %q", ErrUnsupported, c.Scheme, c.Mark)
	}
	return metaspace{c.Mark, c.Scheme, c.Split == nil || *c.Split}, nil
}

// newTemplate understands "post_processor": the ids put before and after one text.
func newTemplate(raw jsontext.Value, vocab int) (prefix, suffix []seq.Token, err error) {
	parts, err := flatten(raw, "processors", 0)
	if err != nil {
		return nil, nil, err
	}
	for _, p := range parts {
		kind, err := typeOf(p)
		switch {
		case err != nil:
			return nil, nil, err
		case kind == "ByteLevel": // moves offsets only
		case kind != "TemplateProcessing" || prefix != nil || suffix != nil:
			return nil, nil, fmt.Errorf("%w: post-processor %q; known are ByteLevel, one TemplateProcessing and Sequence",
				ErrUnsupported, kind)
		default:
			if prefix, suffix, err = readTemplate(p, vocab); err != nil {
				return nil, nil, err
			}
		}
	}
	return prefix, suffix, nil
}

// template is TemplateProcessing; its "pair" is for two texts, which no generation has.
type template struct {
	Single []struct {
		Special *struct {
			ID string `json:"id"`
		} `json:"SpecialToken"`
		Text *struct {
			ID string `json:"id"`
		} `json:"Sequence"`
	} `json:"single"`
	Tokens map[string]struct {
		IDs []seq.Token `json:"ids"`
	} `json:"special_tokens"`
}

func readTemplate(raw jsontext.Value, vocab int) (prefix, suffix []seq.Token, err error) {
	var t template
	if err := json.Unmarshal(raw, &t); err != nil {
		return nil, nil, malformed(err)
	}
	texts := 0
	for _, p := range t.Single {
		switch {
		case p.Text != nil:
			texts++
		case p.Special == nil || len(t.Tokens[p.Special.ID].IDs) == 0:
			return nil, nil, fmt.Errorf("%w: TemplateProcessing names an unknown token", ErrMalformed)
		case texts == 0:
			prefix = append(prefix, t.Tokens[p.Special.ID].IDs...)
		default:
			suffix = append(suffix, t.Tokens[p.Special.ID].IDs...)
		}
	}
	for _, id := range append(prefix[:len(prefix):len(prefix)], suffix...) {
		if id < 0 || int(id) >= vocab {
			return nil, nil, fmt.Errorf("%w: TemplateProcessing adds id %d of %d", ErrMalformed, id, vocab)
		}
	}
	if texts != 1 || len(prefix)+len(suffix) > maxSteps {
		return nil, nil, fmt.Errorf("%w: TemplateProcessing for %d texts", ErrUnsupported, texts)
	}
	return prefix, suffix, nil
}
