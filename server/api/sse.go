package api

import (
	"errors"
	"net/http"
	"os"
	"time"

	"github.com/go-json-experiment/json"
)

// streaming is what a streamed answer is made of.
type streaming struct {
	j       *job
	sh      shape
	choices []*choice
	parts   <-chan part
}

// events writes server-sent events: data lines, and a comment after silence.
type events struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	limit time.Duration
	err   error // the first failed write; the rest are void
}

func newEvents(w http.ResponseWriter, limit time.Duration) *events {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	return &events{w: w, rc: http.NewResponseController(w), limit: limit}
}

// line writes and flushes under a deadline of its own.
func (e *events) line(text string) {
	if e.err != nil {
		return
	}
	e.rc.SetWriteDeadline(time.Now().Add(e.limit))
	if _, e.err = e.w.Write([]byte(text)); e.err == nil {
		e.err = e.rc.Flush()
	}
}

func (e *events) data(v any) {
	if v == nil {
		return
	}
	text, err := json.Marshal(v)
	if err != nil {
		e.err = err
		return
	}
	e.line("data: " + string(text) + "\n\n")
}

// stream writes a job's answer as it comes.
func (s *server) stream(w http.ResponseWriter, r *http.Request, st streaming) {
	ev := newEvents(w, s.Limits.WriteTimeout)
	defer ev.rc.SetWriteDeadline(time.Time{})
	for _, c := range st.choices {
		ev.data(st.sh.first(c))
	}
	if s.pump(ev, r, st) {
		if st.j.output.usage {
			ev.data(st.sh.last(count(st.choices)))
		}
		ev.line("data: [DONE]\n\n")
	}
	switch {
	case errors.Is(ev.err, os.ErrDeadlineExceeded):
		s.cut("slow_reader")
		panic(http.ErrAbortHandler)
	case ev.err != nil || r.Context().Err() != nil:
		s.cut("client_gone")
	}
}

// pump writes deltas until every choice has ended, and reports whether that went well.
func (s *server) pump(ev *events, r *http.Request, st streaming) bool {
	quiet := time.NewTimer(s.Limits.KeepAlive)
	defer quiet.Stop()
	for left := len(st.choices); left > 0 && ev.err == nil; {
		select {
		case <-r.Context().Done():
			return false
		case <-quiet.C:
			ev.line(": keep-alive\n\n")
		case p := <-st.parts:
			if p.d.err != nil {
				ev.data(p.d.err.body())
				return false
			}
			emit(ev, st.sh, p)
			if p.d.finish != "" {
				left--
			}
			close(p.done)
		}
		quiet.Reset(s.Limits.KeepAlive)
	}
	return ev.err == nil
}

// emit writes a delta; the finish_reason has a chunk of its own.
func emit(ev *events, sh shape, p part) {
	d := p.d
	finish, match := d.finish, d.match
	d.finish, d.match = "", nil
	if d.text != "" || len(d.pieces) > 0 || len(d.prompt) > 0 {
		ev.data(sh.chunk(p.c, &d))
	}
	if finish != "" {
		ev.data(sh.chunk(p.c, &delta{finish: finish, match: match}))
	}
}
