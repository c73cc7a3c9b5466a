package hubtest

import (
	"compress/gzip"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Action answers a request otherwise than the hub would, or lets next answer and spoils that.
type Action func(w http.ResponseWriter, r *http.Request, next http.HandlerFunc)

// Fault is an action for some requests.
type Fault struct {
	On    Place
	Path  string // the file's path ends with it; empty: all
	After int    // this many matching requests are left alone first
	Times int    // and then this many met; 0: all
	Do    Action
	seen  int
}

// Break switches a fault on.
func (s *Server) Break(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// faulty logs a request and answers it, through the first fault that meets it.
func (s *Server) faulty(at Place, path string, w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
	var do Action
	s.mu.Lock()
	for _, f := range s.faults {
		if f.On != at || !strings.HasSuffix(path, f.Path) {
			continue
		}
		if f.seen++; do == nil && f.seen > f.After && (f.Times == 0 || f.seen <= f.After+f.Times) {
			do = f.Do
		}
	}
	q := &Request{Place: at, Method: r.Method, Path: path, Range: r.Header.Get("Range"), Authorization: r.Header.Get("Authorization")}
	s.log = append(s.log, q)
	s.mu.Unlock()
	c := &counter{ResponseWriter: w, add: func(n int64) {
		s.mu.Lock()
		defer s.mu.Unlock()
		q.Sent += n
	}}
	if do == nil {
		next(c, r)
		return
	}
	do(c, r, next)
}

// counter keeps ReadFrom, by which the kernel copies files to sockets.
type counter struct {
	http.ResponseWriter
	add func(n int64)
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b)
	c.add(int64(n))
	return n, err
}

// Unwrap is for http.ResponseController.
func (c *counter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (c *counter) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(c.ResponseWriter, r)
	c.add(n)
	return n, err
}

// Status answers with a code and headers, given as name, value, name, value.
func Status(code int, headers ...string) Action {
	return func(w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		http.Error(w, http.StatusText(code), code)
	}
}

// HTML answers with a page, as a captive portal or an error page with the wrong status does.
func HTML() Action {
	return func(w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, "<!doctype html>"+strings.Repeat("<p>welcome</p>", 40)) // the client left
	}
}

// Redirect sends elsewhere.
func Redirect(to string) Action {
	return func(w http.ResponseWriter, r *http.Request, _ http.HandlerFunc) {
		w.Header().Set("X-Repo-Commit", strings.Repeat("0", 40))
		http.Redirect(w, r, to, http.StatusFound)
	}
}

// Loop redirects a request to itself.
func Loop() Action {
	return func(w http.ResponseWriter, r *http.Request, _ http.HandlerFunc) {
		http.Redirect(w, r, r.URL.RequestURI(), http.StatusTemporaryRedirect)
	}
}

// First calls f, then answers as always.
func First(f func()) Action {
	return func(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) { f(); next(w, r) }
}

// Whole ignores ranges.
func Whole() Action {
	return func(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
		r.Header.Del("Range")
		next(w, r)
	}
}

// spoiled changes headers before they go out and bytes as they do.
type spoiled struct {
	http.ResponseWriter
	header func(http.Header)
	body   func(w http.ResponseWriter, at int64, b []byte) (int, error)
	began  bool
	n      int64
}

func (s *spoiled) WriteHeader(code int) {
	if !s.began && s.header != nil {
		s.header(s.Header())
	}
	s.began = true
	s.ResponseWriter.WriteHeader(code)
}

func (s *spoiled) Write(b []byte) (int, error) {
	if !s.began {
		s.WriteHeader(http.StatusOK)
	}
	if s.body == nil {
		return s.ResponseWriter.Write(b)
	}
	n, err := s.body(s.ResponseWriter, s.n, b)
	s.n += int64(n)
	return n, err
}

func spoil(header func(http.Header), body func(http.ResponseWriter, int64, []byte) (int, error)) Action {
	return func(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
		next(&spoiled{ResponseWriter: w, header: header, body: body}, r)
	}
}

// Header sets a header of the answer; with an empty value it is taken out.
func Header(name, value string) Action {
	return spoil(func(h http.Header) {
		if h.Del(name); value != "" {
			h.Set(name, value)
		}
	}, nil)
}

// upTo lets n bytes pass, flushes them and then ends otherwise.
func upTo(n int64, end func(w http.ResponseWriter)) Action {
	return spoil(nil, func(w http.ResponseWriter, at int64, b []byte) (int, error) {
		if at+int64(len(b)) < n {
			return w.Write(b)
		}
		_, _ = w.Write(b[:max(0, n-at)])          // the client left
		_ = http.NewResponseController(w).Flush() // the client left
		end(w)
		panic(http.ErrAbortHandler)
	})
}

// Cut closes the connection after n bytes of the body.
func Cut(n int64) Action { return upTo(n, func(http.ResponseWriter) {}) }

// Reset resets the connection after n bytes: what the client has not read yet is lost to it.
func Reset(n int64) Action {
	return upTo(n, func(w http.ResponseWriter) {
		if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
			if t, ok := c.(*net.TCPConn); ok {
				_ = t.SetLinger(0) // then Close resets
			}
			c.Close()
		}
	})
}

// Stall sends nothing more after n bytes, for as long as the client waits.
func Stall(n int64) Action {
	return func(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
		upTo(n, func(http.ResponseWriter) { <-r.Context().Done() })(w, r, next)
	}
}

// Drip sends n bytes at a time with pauses between.
func Drip(n int, pause time.Duration) Action {
	return spoil(nil, func(w http.ResponseWriter, _ int64, b []byte) (int, error) {
		for done := 0; done < len(b); done += n {
			if _, err := w.Write(b[done:min(done+n, len(b))]); err != nil {
				return done, err
			}
			if err := http.NewResponseController(w).Flush(); err != nil {
				return done, err
			}
			time.Sleep(pause)
		}
		return len(b), nil
	})
}

// Wrong sends as many bytes as it should, and one in a thousand wrong.
func Wrong() Action {
	return spoil(nil, func(w http.ResponseWriter, at int64, b []byte) (int, error) {
		bad := append([]byte(nil), b...)
		for i := range bad {
			if (at+int64(i))%1000 == 0 {
				bad[i] ^= 0xff
			}
		}
		return w.Write(bad)
	})
}

// Short promises and sends only n bytes.
func Short(n int64) Action {
	return func(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
		r.Header.Set("Range", "bytes=0-"+strconv.FormatInt(n-1, 10))
		sw := &spoiled{ResponseWriter: w, header: func(h http.Header) { h.Del("Content-Range") }}
		next(&plain{sw}, r)
	}
}

// plain turns a 206 into a 200.
type plain struct{ *spoiled }

func (p *plain) WriteHeader(code int) {
	if code == http.StatusPartialContent {
		code = http.StatusOK
	}
	p.spoiled.WriteHeader(code)
}

// Gzip packs the answer and so gives no length, as CDNs do with text.
func Gzip() Action {
	return func(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
		r.Header.Del("Range")
		z := gzip.NewWriter(w)
		defer z.Close()
		next(&spoiled{ResponseWriter: w, header: func(h http.Header) {
			h.Del("Content-Length")
			h.Set("Content-Encoding", "gzip")
		}, body: func(_ http.ResponseWriter, _ int64, b []byte) (int, error) { return z.Write(b) }}, r)
	}
}
