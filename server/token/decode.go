package token

import (
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"radish/server/seq"
)

// decoding is what "decoder" says: how the spellings of tokens become text.
type decoding struct {
	byteLevel bool
	fallback  bool        // <0x0A> stands for a byte
	replace   [][2]string // in every token: first for second
	strip     string      // character that is taken off the beginning of the text
	count     int         // ... at most so often
	mark      string      // Metaspace: dropped from the first token
	bytes     []string    // what each token spells, by id
	byteIDs   []bool      // tokens that stand for one byte, by id
}

// newDecoding understands "decoder".
func newDecoding(raw jsontext.Value) (decoding, error) {
	var d decoding
	parts, err := flatten(raw, "decoders", 0)
	if err != nil {
		return d, err
	}
	if len(parts) == 0 {
		return d, fmt.Errorf("%w: no decoder", ErrUnsupported)
	}
	fused := false
	for _, p := range parts {
		kind, err := typeOf(p)
		if err != nil {
			return d, err
		}
		if d.byteLevel || fused && kind != "Strip" || d.count > 0 {
			return d, fmt.Errorf("%w: decoder %q in this place", ErrUnsupported, kind)
		}
		if err := d.step(kind, p, fused); err != nil {
			return d, err
		}
		fused = fused || kind == "Fuse"
	}
	return d, nil
}

// step understands one decoder; fused says that the tokens were joined before it.
func (d *decoding) step(kind string, raw jsontext.Value, fused bool) error {
	switch kind {
	case "ByteLevel":
		if len(d.replace) > 0 || d.fallback {
			return fmt.Errorf("%w: decoder ByteLevel after others", ErrUnsupported)
		}
		d.byteLevel = true
	case "Replace":
		from, to, err := newReplace(raw)
		d.replace = append(d.replace, [2]string{from, to})
		if growthOf(from, to) > 1 {
			return fmt.Errorf("%w: decoder Replace by a longer string", ErrUnsupported)
		}
		return err
	case "ByteFallback":
		d.fallback = true
	case "Fuse":
	case "Strip":
		return d.readStrip(raw, fused)
	case "Metaspace":
		m, err := newMetaspace(raw)
		d.replace = append(d.replace, [2]string{m.mark, " "})
		if m.scheme != "never" {
			d.mark = m.mark
		}
		return err
	default:
		return fmt.Errorf("%w: decoder %q; known are ByteLevel, Replace, ByteFallback, Fuse, Strip, Metaspace and Sequence",
			ErrUnsupported, kind)
	}
	return nil
}

func (d *decoding) readStrip(raw jsontext.Value, fused bool) error {
	c, err := as[struct {
		Type    string `json:"type"`
		Content string `json:"content"`
		Start   int    `json:"start"`
		Stop    int    `json:"stop"`
	}](raw)
	if err != nil {
		return err
	}
	if !fused || c.Stop != 0 || c.Start < 0 || c.Start > 16 || len(c.Content) != 1 {
		return fmt.Errorf("%w: decoder Strip that is not of the beginning of the fused text", ErrUnsupported)
	}
	d.strip, d.count = c.Content, c.Start
	return nil
}

// prepare works out what every piece spells. An added token that matches normalized text is spelled as it was looked
// for (legacy Llama 2: " </s>"), as the tokenizers library 0.23 does.
func (d *decoding) prepare(pieces []string, normed *addedSet) {
	d.bytes, d.byteIDs = make([]string, len(pieces)), make([]bool, len(pieces))
	ends, all := make([]int, len(pieces)), make([]byte, 0, 8*len(pieces)) // one string for all of them
	for id, p := range pieces {
		if c, ok := byteToken(p); ok && d.fallback {
			all, d.byteIDs[id] = append(all, c), true
		} else {
			all = d.appendSpelled(all, p)
		}
		ends[id] = len(all)
	}
	text, from := string(all), 0
	for id, to := range ends {
		d.bytes[id], from = text[from:to], to
	}
	for i, tok := range normed.tokens {
		d.bytes[tok.ID] = string(d.appendSpelled(nil, normed.spelled[i]))
	}
}

// appendSpelled appends what one piece adds to the text.
func (d *decoding) appendSpelled(dst []byte, p string) []byte {
	if d.byteLevel {
		if raw, ok := appendByteLevel(dst, p); ok {
			return raw
		}
		return append(dst, p...) // an added token with characters that spell no byte
	}
	for _, r := range d.replace {
		p = strings.ReplaceAll(p, r[0], r[1])
	}
	return append(dst, p...)
}

// Decode turns tokens into text; skipSpecial leaves control tokens out, and ids outside the vocabulary add nothing.
// Invalid UTF-8 becomes U+FFFD. Where a byte-fallback model spells a run of byte pieces that is invalid as a whole,
// every byte of the run becomes one U+FFFD, as in the tokenizers library; a Decoder, which cannot take back what it
// has returned, keeps the valid characters of such a run.
func (t *Tokenizer) Decode(ids []seq.Token, skipSpecial bool) string {
	d := t.NewDecoder(skipSpecial)
	d.wholeRuns = true
	var out strings.Builder
	for _, id := range ids {
		out.WriteString(d.Push(id))
	}
	out.WriteString(d.Flush())
	return out.String()
}

// TokenBytes is what one token spells in the middle of a text, before invalid UTF-8 is replaced; nil for an id that no
// token has.
func (t *Tokenizer) TokenBytes(id seq.Token) []byte {
	if !t.known(id) {
		return nil
	}
	return []byte(t.dec.bytes[id])
}

// Decoder turns a stream of tokens into text. The texts that Push and Flush return are valid UTF-8 and together the
// text of all tokens; a character is returned whole, by the token that completes it. It is for one goroutine.
type Decoder struct {
	t         *Tokenizer
	skip      bool
	wholeRuns bool   // judge runs of byte pieces as a whole
	begun     bool   // a token was seen
	strip     int    // characters that may still be taken off the beginning
	held      []byte // bytes that do not end a character
	heldRun   bool   // they come from byte pieces
}

// NewDecoder starts a stream at the beginning of a text; skipSpecial leaves control tokens out.
func (t *Tokenizer) NewDecoder(skipSpecial bool) *Decoder {
	return &Decoder{t: t, skip: skipSpecial, strip: t.dec.count}
}

// Reset begins a new stream, whose text continues that of prompt: after a prompt the leading space of a word is kept,
// and bytes that the prompt left incomplete are completed. With no prompt it begins a text, as NewDecoder does.
func (d *Decoder) Reset(prompt ...seq.Token) {
	*d = Decoder{t: d.t, skip: d.skip, wholeRuns: d.wholeRuns, strip: d.t.dec.count, held: d.held[:0]}
	for _, id := range prompt {
		d.Push(id)
	}
}

// Push takes the next token and returns the text that became certain; an id outside the vocabulary adds nothing.
func (d *Decoder) Push(id seq.Token) string {
	if !d.t.known(id) || d.skip && d.t.special[id] {
		return ""
	}
	dec := &d.t.dec
	text, isByte := dec.bytes[id], dec.byteIDs[id]
	if dec.mark != "" && !d.begun {
		text = strings.ReplaceAll(d.t.pieces[id], dec.mark, "")
		if isByte {
			text = dec.bytes[id]
		}
	}
	d.begun = true
	out := ""
	if !dec.byteLevel && !isByte && len(d.held) > 0 {
		out = d.take(len(d.held)) // a piece of characters ends what bytes began
	}
	if len(d.held) == 0 && !isByte && !dec.byteLevel {
		return d.trim(out + text)
	}
	d.held, d.heldRun = append(d.held, text...), isByte
	if d.wholeRuns && isByte {
		return d.trim(out)
	}
	return d.trim(out + d.take(whole(d.held)))
}

// Flush ends the text and returns what was held back, incomplete bytes as U+FFFD.
func (d *Decoder) Flush() string { return d.trim(d.take(len(d.held))) }

// take makes text of the first n bytes held.
func (d *Decoder) take(n int) string {
	var out []byte
	switch {
	case n == 0:
		return ""
	case d.heldRun:
		out = appendRun(nil, d.held[:n], d.wholeRuns)
	default:
		out = appendText(make([]byte, 0, n), d.held[:n])
	}
	d.held = append(d.held[:0], d.held[n:]...)
	return string(out)
}

// trim takes the decoder's Strip off the beginning of the text.
func (d *Decoder) trim(s string) string {
	for d.strip > 0 && s != "" {
		rest, ok := strings.CutPrefix(s, d.t.dec.strip)
		if !ok {
			d.strip = 0
			break
		}
		s, d.strip = rest, d.strip-1
	}
	return s
}
