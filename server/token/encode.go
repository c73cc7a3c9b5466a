package token

import (
	"fmt"
	"hash/maphash"
	"unicode/utf8"

	"radish/server/seq"
)

// Encode turns text into tokens. It returns an error that wraps ErrInvalidUTF8, ErrTooLong or ErrRange, and then no
// tokens.
func (t *Tokenizer) Encode(text string, o EncodeOptions) ([]seq.Token, error) {
	if len(text) > MaxText {
		return nil, fmt.Errorf("%w: %d bytes, over %d", ErrTooLong, len(text), MaxText)
	}
	if !utf8.ValidString(text) {
		return nil, ErrInvalidUTF8
	}
	if err := checkRanges(o.Control, len(text)); err != nil {
		return nil, err
	}
	e := t.pool.Get().(*encoder)
	defer t.pool.Put(e)
	e.max, e.tooLong = o.Max, false
	e.out = make([]seq.Token, 0, capacity(len(text), o.Max))
	if o.AddSpecial {
		e.out = append(e.out, t.prefix...)
	}
	e.text(text, control{all: o.AllControl, ranges: o.Control})
	if o.AddSpecial {
		e.out = append(e.out, t.suffix...)
	}
	out := e.out
	e.out = nil
	e.merge.shrink()
	if e.tooLong || o.Max > 0 && len(out) > o.Max {
		return nil, fmt.Errorf("%w: over %d", ErrTooLong, o.Max)
	}
	return out, nil
}

// capacity is how many tokens a text of n bytes probably has, no more than a limit allows.
func capacity(n, limit int) int {
	if limit > 0 {
		return min(n/4, limit) + 8
	}
	return n/4 + 8
}

// checkRanges reports ranges that are not sorted, disjoint and inside a text of n bytes.
func checkRanges(ranges []Range, n int) error {
	at := 0
	for _, r := range ranges {
		if r.From < at || r.To < r.From || r.To > n {
			return fmt.Errorf("%w: [%d,%d) of %d bytes", ErrRange, r.From, r.To, n)
		}
		at = r.To
	}
	return nil
}

// encoder is the state of one Encode; it is reused, and its cache of words with it.
type encoder struct {
	t       *Tokenizer
	out     []seq.Token
	max     int
	tooLong bool
	merge   merger
	cache   []cached
	seed    maphash.Seed
}

// cached is the tokens of one short word, in a cache line. A place of the cache holds the last word that hashed there.
type cached struct {
	size, n uint8
	key     [22]byte
	ids     [10]seq.Token
}

const cachePlaces = 1 << 13

func newEncoder(t *Tokenizer) *encoder {
	return &encoder{t: t, cache: make([]cached, cachePlaces), seed: maphash.MakeSeed()}
}

// text encodes a whole text: added tokens that match it as it stands, and the parts between them.
func (e *encoder) text(s string, ctl control) {
	for at := 0; at < len(s) && !e.tooLong; {
		m, ok := e.t.raw.next(s, at, &ctl)
		if !ok {
			m.from = len(s)
		}
		if at < m.from {
			e.part(s[at:m.from], at, ctl)
		}
		if !ok {
			return
		}
		e.emit(m.id)
		at = m.to
	}
}

// part normalizes the part of the text that begins at byte at, and finds in it the added tokens that match there.
func (e *encoder) part(raw string, at int, ctl control) {
	s := e.t.norm.apply(raw, false)
	if len(e.t.normed.tokens) == 0 {
		e.cut(s, at == 0, 0)
		return
	}
	ctl.shift = at
	ctl = e.t.norm.mapControl(ctl, raw)
	for from := 0; from < len(s) && !e.tooLong; {
		m, ok := e.t.normed.next(s, from, &ctl)
		if !ok {
			m.from = len(s)
		}
		if from < m.from {
			e.cut(s[from:m.from], at+from == 0, 0)
		}
		if !ok {
			return
		}
		e.emit(m.id)
		from = m.to
	}
}

// cut runs the pre-tokenizer from stage k on; first says that s begins the text.
func (e *encoder) cut(s string, first bool, k int) {
	if k == len(e.t.stages) {
		e.word(s)
		return
	}
	st := e.t.stages[k]
	for s = st.prepare(s, first); len(s) > 0 && !e.tooLong; {
		n := st.next(s)
		e.cut(s[:n], first, k+1)
		s, first = s[n:], false
	}
}

// emit appends one token.
func (e *encoder) emit(id int32) {
	e.out = append(e.out, seq.Token(id))
	e.tooLong = e.max > 0 && len(e.out) > e.max
}

// word encodes one piece of the pre-tokenizer, by the cache if it is short.
func (e *encoder) word(w string) {
	if len(w) > len(cached{}.key) {
		e.mergeWord(w)
		return
	}
	c := &e.cache[maphash.String(e.seed, w)%cachePlaces]
	if int(c.size) == len(w) && string(c.key[:c.size]) == w {
		e.out = append(e.out, c.ids[:c.n]...)
		e.tooLong = e.max > 0 && len(e.out) > e.max
		return
	}
	from := len(e.out)
	e.mergeWord(w)
	if made := e.out[from:]; !e.tooLong && len(made) <= len(c.ids) {
		c.size, c.n = uint8(len(w)), uint8(len(made))
		copy(c.key[:], w)
		copy(c.ids[:], made)
	}
}

// mergeWord encodes one piece.
func (e *encoder) mergeWord(w string) {
	b := e.t.bpe
	if id, ok := b.wholeWord(w); ok {
		e.emit(id)
		return
	}
	if b.longest > 0 && e.max > 0 && len(e.out)+(len(w)+b.longest-1)/b.longest > e.max {
		e.tooLong = true // certain before any merge
		return
	}
	e.merge.ids = b.symbols(e.merge.ids[:0], w)
	e.merge.run(&b.table)
	for _, id := range e.merge.ids {
		e.out = append(e.out, seq.Token(id))
	}
	e.tooLong = e.max > 0 && len(e.out) > e.max
}
