package api

import (
	"context"
	"net/http"
	"time"
)

// shape writes the answers of one route.
type shape interface {
	// first is the chunk that opens a choice, or nil.
	first(c *choice) any
	// chunk is one piece of a choice.
	chunk(c *choice, d *delta) any
	// last is the chunk of a stream's usage.
	last(u usage) any
	// whole is the answer that is not streamed; deltas[i] belongs to choices[i].
	whole(choices []*choice, deltas []delta) any
}

// usage counts tokens as OpenAI does.
type usage struct {
	Prompt     int           `json:"prompt_tokens"`
	Completion int           `json:"completion_tokens"`
	Total      int           `json:"total_tokens"`
	Details    promptDetails `json:"prompt_tokens_details"`
}

type promptDetails struct {
	Cached int `json:"cached_tokens"`
}

// count sums usage over choices. A prompt is counted once however many choices continue it, and so are its cached
// tokens: those of the choice that found the fewest, since the others found what that one had just computed.
func count(choices []*choice) usage {
	var u usage
	cached := map[*prompt]int{}
	for _, c := range choices {
		if least, seen := cached[c.prompt]; !seen {
			u.Prompt += len(c.prompt.ids)
			cached[c.prompt] = c.text.cached
		} else {
			cached[c.prompt] = min(least, c.text.cached)
		}
		u.Completion += len(c.text.ids)
	}
	for _, n := range cached {
		u.Details.Cached += n
	}
	u.Total = u.Prompt + u.Completion
	return u
}

// part is a delta on its way from a choice's reader to the writer. done is closed once it was written, so that the
// counters of a choice are never read while they change.
type part struct {
	c    *choice
	d    delta
	done chan struct{}
}

// answer runs a job to its end.
func (s *server) answer(w http.ResponseWriter, r *http.Request, j *job, sh shape) {
	choices, e := s.submit(r, j)
	if e != nil {
		e.write(w)
		return
	}
	defer cancel(choices)
	ctx, stop := context.WithCancel(r.Context())
	defer stop()
	parts := make(chan part)
	for _, c := range choices {
		go s.read(ctx, c, parts)
	}
	if j.output.stream {
		s.stream(w, r, streaming{j, sh, choices, parts})
		return
	}
	s.gather(w, r, sh, choices, parts)
}

// read follows one choice until it ends or ctx does.
func (s *server) read(ctx context.Context, c *choice, parts chan<- part) {
	for !c.text.ended {
		d := s.next(ctx, c)
		p := part{c, d, make(chan struct{})}
		select {
		case parts <- p:
		case <-ctx.Done():
			return
		}
		select {
		case <-p.done:
		case <-ctx.Done():
			return
		}
		if d.err != nil {
			return
		}
	}
	c.stream.Cancel() // a stop string ends what the engine would go on with
}

// next is the next delta; a panic in decoding ends this request alone.
func (s *server) next(ctx context.Context, c *choice) (d delta) {
	defer func() {
		if v := recover(); v != nil {
			s.Log.Error("decoding panicked")
			d = delta{err: &Error{Status: http.StatusInternalServerError, Message: "internal error"}}
		}
	}()
	ev, err := c.stream.Next(ctx)
	if err != nil {
		return delta{err: unavailable("the engine stopped")}
	}
	d = c.text.take(ev)
	if d.finish == "abort" && s.Engine.Stats().Draining {
		d.err = unavailable("the server is shutting down")
	}
	return d
}

// gather collects a whole answer before it writes.
func (s *server) gather(w http.ResponseWriter, r *http.Request, sh shape, choices []*choice, parts <-chan part) {
	deltas := make([]delta, len(choices))
	for left := len(choices); left > 0; {
		select {
		case <-r.Context().Done():
			s.cut("client_gone")
			return
		case p := <-parts:
			if p.d.err != nil {
				p.d.err.write(w)
				return
			}
			deltas[p.c.index].add(p.d)
			if p.d.finish != "" {
				left--
			}
			close(p.done)
		}
	}
	s.deadline(w)
	writeJSON(w, http.StatusOK, sh.whole(choices, deltas))
	http.NewResponseController(w).SetWriteDeadline(time.Time{})
}

// add appends what came later.
func (d *delta) add(more delta) {
	d.text += more.text
	d.pieces = append(d.pieces, more.pieces...)
	d.prompt = append(d.prompt, more.prompt...)
	d.finish, d.match = more.finish, more.match
}

func (s *server) deadline(w http.ResponseWriter) {
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.Limits.WriteTimeout))
}

func (s *server) cut(reason string) {
	if s.Recorder != nil {
		s.Recorder.Cut(reason)
	}
}
