package api

import (
	"slices"

	"radish/server/engine"
	"radish/server/seq"
)

// piece is a sampled token and where its text begins.
type piece struct {
	seq.Scored
	offset int // bytes from the beginning of the answer
}

// delta is what became certain of one choice.
type delta struct {
	text   string
	pieces []piece      // tokens whose text is complete with this delta
	prompt []seq.Scored // scores of the prompt, on its first delta
	finish string       // stop, length, abort; "" while it goes on
	match  any          // the stop string, or the stop token's id
	err    *Error
}

// text turns one choice's tokens into deltas.
type text struct {
	dec     Decoder // nil without a tokenizer
	stops   stops
	keep    bool
	pending string  // decoded, perhaps the beginning of a stop string
	waiting []piece // tokens whose text is not sent in full
	sent    int     // bytes
	decoded int     // bytes

	enders []seq.Token  // ids that end the sequence
	held   []seq.Scored // one of them, until its event or the next says whether it did

	ids    []seq.Token // everything sampled, up to the end
	cached int
	ended  bool
}

func (s *server) newText(j *job, p *prompt) *text {
	t := &text{stops: j.output.stops, keep: j.output.keepStop}
	if !j.params.IgnoreEOS {
		t.enders = slices.Clone(j.params.Stop)
	}
	if s.Tokenizer != nil {
		if !j.params.IgnoreEOS {
			t.enders = append(t.enders, s.Tokenizer.EOS()...)
		}
		t.dec = s.Tokenizer.NewDecoder(j.output.skipSpecial)
		t.dec.Reset(p.ids...)
	}
	return t
}

// take turns an event into a delta. The event's slices may be reused afterwards: what is kept is copied.
func (t *text) take(ev engine.Event) delta {
	var d delta
	t.cached = max(t.cached, ev.Cached)
	for _, p := range ev.Prompt {
		p.Top = slices.Clone(p.Top)
		d.prompt = append(d.prompt, p)
	}
	stopped := ev.Finish != nil && ev.Finish.Reason == engine.ReasonStop
	sampled := t.settle(ev)
	for i, tok := range sampled {
		t.ids = append(t.ids, tok.Token)
		if stopped && i == len(sampled)-1 && !t.keep {
			break // the stop token itself is counted, not shown
		}
		if t.push(tok, &d); t.ended {
			return d
		}
	}
	if ev.Finish != nil {
		t.end(ev.Finish, &d)
	}
	return d
}

// settle returns an event's tokens after what was held. The token that ends a sequence may come in an event of its own,
// before the one that says so: it waits for that.
func (t *text) settle(ev engine.Event) []seq.Scored {
	sampled := append(t.held, ev.Tokens...)
	t.held = nil
	if n := len(sampled) - 1; ev.Finish == nil && n >= 0 && slices.Contains(t.enders, sampled[n].Token) {
		last := sampled[n]
		last.Top = slices.Clone(last.Top)
		t.held, sampled = []seq.Scored{last}, sampled[:n]
	}
	return sampled
}

// push adds one token.
func (t *text) push(tok seq.Scored, d *delta) {
	tok.Top = slices.Clone(tok.Top)
	t.waiting = append(t.waiting, piece{tok, t.decoded})
	if t.dec != nil {
		t.grow(t.dec.Push(tok.Token), d)
	} else {
		t.release(d)
	}
}

// grow adds decoded text and releases what cannot become a stop string.
func (t *text) grow(s string, d *delta) {
	t.pending += s
	t.decoded += len(s)
	if word, at, ok := t.stops.find(t.pending); ok {
		if t.keep {
			at += len(word)
		}
		t.send(at, d)
		t.ended, t.pending, t.waiting = true, "", nil
		d.finish, d.match = "stop", word
		return
	}
	t.send(len(t.pending)-t.stops.held(t.pending), d)
}

// send releases n bytes of what is pending.
func (t *text) send(n int, d *delta) {
	d.text += t.pending[:n]
	t.pending = t.pending[n:]
	t.sent += n
	t.release(d)
}

// release hands out the tokens that begin before what was sent; a token without text goes with its neighbours.
func (t *text) release(d *delta) {
	n := 0
	for n < len(t.waiting) && (t.waiting[n].offset < t.sent || t.pending == "") {
		n++
	}
	d.pieces = append(d.pieces, t.waiting[:n]...)
	t.waiting = t.waiting[n:]
}

// end flushes what was held back and says why the choice ended.
func (t *text) end(f *engine.Finish, d *delta) {
	if t.dec != nil {
		if t.grow(t.dec.Flush(), d); t.ended {
			return
		}
		t.send(len(t.pending), d)
	}
	t.ended = true
	d.finish = f.Reason.String()
	switch f.Reason {
	case engine.ReasonStop:
		d.match = int(f.Stop)
	case engine.ReasonError:
		d.err = unavailable("the engine broke while it answered")
	}
}
