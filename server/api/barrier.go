package api

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"runtime/debug"
	"slices"
	"time"
)

// state is what the layers of one request tell each other.
type state struct {
	id    string // for the client and the log
	key   string // hex of the key's hash; "": none
	route string
}

type stateKey struct{}

func stateOf(r *http.Request) *state {
	if st, ok := r.Context().Value(stateKey{}).(*state); ok {
		return st
	}
	return &state{}
}

func newID(prefix string) string { return prefix + rand.Text() }

// statusWriter remembers what was sent.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(code int) {
	if w.status == 0 {
		w.status = code
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// barrier is the outermost layer: it names the request, counts it, and ends it alone if its handler panics. The log
// gets the id and the place, never the content.
func (s *server) barrier(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		st := &state{id: newID("req_"), route: "other"}
		w := &statusWriter{ResponseWriter: rw}
		w.Header().Set("X-Request-Id", st.id)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		defer func() { s.ended(w, st, begin, recover()) }()
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), stateKey{}, st)))
	})
}

func (s *server) ended(w *statusWriter, st *state, begin time.Time, panicked any) {
	if err, ok := panicked.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(http.ErrAbortHandler)
	}
	if panicked != nil {
		s.Log.Error("request panicked", "id", st.id, "route", st.route, "stack", string(debug.Stack()))
		if w.status == 0 {
			(&Error{Status: http.StatusInternalServerError, Message: "internal error, request " + st.id}).write(w)
		}
	}
	if s.Recorder != nil {
		s.Recorder.Answered(st.route, w.status, time.Since(begin))
	}
	if panicked != nil && w.status == http.StatusOK {
		panic(http.ErrAbortHandler) // the answer was half written: only a broken connection tells the truth
	}
}

// cors answers browsers from allowed origins only. Credentials are never allowed: keys travel in a header.
func (s *server) cors(next http.Handler) http.Handler {
	if len(s.Origins) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		h := w.Header()
		h.Add("Vary", "Origin")
		allowed := origin != "" && (slices.Contains(s.Origins, origin) || slices.Contains(s.Origins, "*"))
		if allowed {
			h.Set("Access-Control-Allow-Origin", origin)
			h.Set("Access-Control-Expose-Headers", "X-Request-Id, Retry-After, Retry-After-Ms, X-Radish-Ignored")
		}
		if allowed && r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			h.Set("Access-Control-Allow-Methods", "GET, POST")
			h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, X-Api-Key")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}
