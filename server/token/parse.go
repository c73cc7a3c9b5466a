package token

import (
	"bytes"
	"fmt"
	"io"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Limits on what a tokenizer.json may hold. The largest published ones (Gemma 3) have 262,145 pieces, 514,906 merges
// and 33 MB.
const (
	maxJSON   = 96 << 20 // bytes of tokenizer.json
	maxVocab  = 1 << 20  // pieces, and the largest id
	maxMerges = 1 << 21
	maxAdded  = 1 << 16
	maxPiece  = 4096    // bytes of one piece
	maxSpell  = 1 << 20 // bytes of all added tokens together
	maxGrowth = 16      // factor by which all Replace steps of a component can make a text longer
)

// spec is tokenizer.json as read, its components not yet understood.
type spec struct {
	added      []addedSpec
	normalizer jsontext.Value
	pre        jsontext.Value
	post       jsontext.Value
	decoder    jsontext.Value
	model      model
}

// model is the "model" object: the vocabulary and merges of a BPE.
type model struct {
	kind         string // "" in old files, which means the one that fits
	unk          *string
	fuseUnk      bool
	byteFallback bool
	ignoreMerges bool
	ids          map[string]int32
	pieces       []string // by id; "" where no piece has that id
	merges       []merge
	expect       int // pieces that a file of this size is likely to have
}

// merge joins the pieces left and right into product; its rank is its place in the list.
type merge struct{ left, right, product int32 }

// addedSpec is one entry of "added_tokens", or of tokenizer_config.json's "added_tokens_decoder".
type addedSpec struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

// parseSpec reads tokenizer.json in one pass; data is not kept.
func parseSpec(data []byte) (*spec, error) {
	// Duplicate names cost a hash set of the whole vocabulary to find, so the places where they matter look themselves.
	d := jsontext.NewDecoder(bytes.NewBuffer(data), jsontext.AllowDuplicateNames(true))
	s := &spec{}
	s.model.expect = min(len(data)/64, maxVocab) // published files have 55 to 90 bytes to a piece
	err := eachMember(d, once(func(name string) error {
		switch name {
		case "added_tokens":
			return s.readAdded(d)
		case "normalizer":
			return readRaw(d, &s.normalizer)
		case "pre_tokenizer":
			return readRaw(d, &s.pre)
		case "post_processor":
			return readRaw(d, &s.post)
		case "decoder":
			return readRaw(d, &s.decoder)
		case "model":
			return s.model.read(d)
		}
		return d.SkipValue() // version, truncation, padding: transformers decides those anew
	}))
	if err != nil {
		return nil, err
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return nil, fmt.Errorf("%w: data after the JSON value", ErrMalformed)
	}
	return s, nil
}

// eachMember walks an object; f must read the value that follows the name.
func eachMember(d *jsontext.Decoder, f func(name string) error) error {
	if err := expect(d, '{'); err != nil {
		return err
	}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		if err := f(name.String()); err != nil {
			return malformed(err)
		}
	}
	_, err := d.ReadToken()
	return malformed(err)
}

// once refuses a name that comes again.
func once(f func(name string) error) func(name string) error {
	seen := map[string]bool{}
	return func(name string) error {
		if seen[name] || len(seen) == maxSteps {
			return fmt.Errorf("%w: %.40q twice in one object, or over %d names", ErrMalformed, name, maxSteps)
		}
		seen[name] = true
		return f(name)
	}
}

// eachElement walks an array; f must read one value.
func eachElement(d *jsontext.Decoder, f func() error) error {
	if err := expect(d, '['); err != nil {
		return err
	}
	for d.PeekKind() != ']' {
		if err := f(); err != nil {
			return malformed(err)
		}
	}
	_, err := d.ReadToken()
	return malformed(err)
}

// expect reads the token that opens an object or array.
func expect(d *jsontext.Decoder, kind jsontext.Kind) error {
	t, err := d.ReadToken()
	if err != nil {
		return malformed(err)
	}
	if t.Kind() != kind {
		return fmt.Errorf("%w: %s where %q should begin at %s", ErrMalformed, t.Kind(), byte(kind), d.StackPointer())
	}
	return nil
}

// malformed gives an error of the JSON reader its sentinel, once.
func malformed(err error) error {
	if err == nil || isOurs(err) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrMalformed, err)
}

// readRaw copies the next value, which the reader's buffer would not keep.
func readRaw(d *jsontext.Decoder, v *jsontext.Value) error {
	raw, err := d.ReadValue()
	*v = raw.Clone()
	return err
}

// readAdded reads "added_tokens".
func (s *spec) readAdded(d *jsontext.Decoder) error {
	return eachElement(d, func() error {
		var a addedSpec
		if err := json.UnmarshalDecode(d, &a); err != nil {
			return err
		}
		if len(s.added) == maxAdded {
			return fmt.Errorf("%w: over %d added tokens", ErrMalformed, maxAdded)
		}
		s.added = append(s.added, a)
		return nil
	})
}

// read reads the "model" object.
func (m *model) read(d *jsontext.Decoder) error {
	var late jsontext.Value // merges that stand before the vocabulary
	err := eachMember(d, once(func(name string) error {
		switch name {
		case "vocab":
			return m.readVocab(d)
		case "merges":
			if m.ids == nil {
				return readRaw(d, &late)
			}
			return m.readMerges(d)
		}
		var raw jsontext.Value
		if err := readRaw(d, &raw); err != nil {
			return err
		}
		return m.setOption(name, raw)
	}))
	if err == nil && late != nil {
		err = m.readMerges(jsontext.NewDecoder(bytes.NewBuffer(late)))
	}
	if err == nil && m.ids == nil {
		err = fmt.Errorf("%w: the model has no vocabulary", ErrMalformed)
	}
	return err
}

// setOption takes one scalar member of "model".
func (m *model) setOption(name string, raw jsontext.Value) error {
	switch name {
	case "type":
		if err := json.Unmarshal(raw, &m.kind); err != nil {
			return err
		}
		if m.kind != "BPE" {
			return fmt.Errorf("%w: model type %q, only BPE is known", ErrUnsupported, m.kind)
		}
	case "unk_token":
		return json.Unmarshal(raw, &m.unk)
	case "fuse_unk":
		return json.Unmarshal(raw, &m.fuseUnk)
	case "byte_fallback":
		return json.Unmarshal(raw, &m.byteFallback)
	case "ignore_merges":
		return json.Unmarshal(raw, &m.ignoreMerges)
	default:
		// dropout, continuing_subword_prefix, end_of_word_suffix: known only where they say nothing.
		switch s := string(raw); s {
		case "null", `""`, "false", "0", "0.0":
		default:
			return fmt.Errorf("%w: model option %s = %.40s", ErrUnsupported, name, s)
		}
	}
	return nil
}

// readVocab reads the object of piece to id.
func (m *model) readVocab(d *jsontext.Decoder) error {
	m.ids, m.pieces = make(map[string]int32, m.expect), make([]string, 0, m.expect)
	return eachMember(d, func(piece string) error {
		v, err := d.ReadToken()
		if err != nil {
			return err
		}
		if v.Kind() != '0' {
			return fmt.Errorf("%w: the id of piece %.40q is no number", ErrMalformed, piece)
		}
		id, err := strconv.ParseInt(v.String(), 10, 32)
		if err != nil {
			return err
		}
		return m.define(piece, id)
	})
}

// define gives a piece its id.
func (m *model) define(piece string, id int64) error {
	switch {
	case piece == "":
		return nil // no text spells it
	case id < 0 || id >= maxVocab:
		return fmt.Errorf("%w: id %d of piece %.40q is outside 0..%d", ErrMalformed, id, piece, maxVocab-1)
	case len(piece) > maxPiece:
		return fmt.Errorf("%w: piece %d has %d bytes, over %d", ErrMalformed, id, len(piece), maxPiece)
	}
	if old, ok := m.ids[piece]; ok {
		if int64(old) != id {
			return fmt.Errorf("%w: piece %.40q has the ids %d and %d", ErrMalformed, piece, old, id)
		}
		return nil
	}
	for int64(len(m.pieces)) <= id {
		m.pieces = append(m.pieces, "")
	}
	if m.pieces[id] != "" {
		return fmt.Errorf("%w: id %d has the pieces %.40q and %.40q", ErrMalformed, id, m.pieces[id], piece)
	}
	m.pieces[id] = piece
	m.ids[piece] = int32(id)
	return nil
}

// readMerges reads the array of merges: "left right" in old files, ["left","right"] in newer ones.
func (m *model) readMerges(d *jsontext.Decoder) error {
	m.merges = make([]merge, 0, len(m.pieces))
	var pair pairReader
	return eachElement(d, func() error {
		if err := pair.read(d); err != nil || pair.cut == 0 {
			return err
		}
		if len(m.merges) == maxMerges {
			return fmt.Errorf("%w: over %d merges", ErrMalformed, maxMerges)
		}
		left, right := pair.buf[:pair.cut], pair.buf[pair.cut:]
		l, okL := m.ids[string(left)]
		r, okR := m.ids[string(right)]
		p, okP := m.ids[string(pair.buf)]
		if !okL || !okR || !okP {
			return fmt.Errorf("%w: merge %d (%.40q, %.40q) is not of the vocabulary", ErrMalformed, len(m.merges), left, right)
		}
		m.merges = append(m.merges, merge{l, r, p})
		return nil
	})
}

// pairReader reads merges into one buffer, for there are hundreds of thousands.
type pairReader struct {
	buf []byte // both parts, one after the other
	cut int    // where the second begins; 0 for a "#version" line, which is no merge
}

// read reads one merge in either form.
func (p *pairReader) read(d *jsontext.Decoder) error {
	p.buf, p.cut = p.buf[:0], 0
	if d.PeekKind() == '"' {
		return p.readLine(d)
	}
	parts := 0
	err := eachElement(d, func() error {
		if parts++; parts == 2 {
			p.cut = len(p.buf)
		}
		return p.readString(d)
	})
	if err == nil && (parts != 2 || p.cut == 0 || p.cut == len(p.buf)) {
		err = fmt.Errorf("%w: a merge is not two strings", ErrMalformed)
	}
	return err
}

// readLine reads "left right".
func (p *pairReader) readLine(d *jsontext.Decoder) error {
	if err := p.readString(d); err != nil || bytes.HasPrefix(p.buf, []byte("#version")) {
		return err
	}
	i := bytes.IndexByte(p.buf, ' ')
	if i <= 0 || i == len(p.buf)-1 || bytes.IndexByte(p.buf[i+1:], ' ') >= 0 {
		return fmt.Errorf("%w: merge %.40q is not two pieces", ErrMalformed, p.buf)
	}
	p.buf, p.cut = append(p.buf[:i], p.buf[i+1:]...), i
	return nil
}

// readString appends the string that follows.
func (p *pairReader) readString(d *jsontext.Decoder) error {
	raw, err := d.ReadValue()
	if err == nil && raw.Kind() != '"' {
		err = fmt.Errorf("%w: a merge is not two strings", ErrMalformed)
	}
	if err == nil {
		p.buf, err = jsontext.AppendUnquote(p.buf, raw)
	}
	return err
}
