package api

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
)

// Error is an answer other than success, in OpenAI's shape.
type Error struct {
	Status  int
	Message string
	Param   string // the field at fault
	Code    string // a word for programs, such as model_not_found
	After   time.Duration
	Allow   string // methods, with 405
}

func (e *Error) Error() string { return e.Message }

// kind is OpenAI's "type" for a status.
func (e *Error) kind() string {
	switch {
	case e.Status == http.StatusUnauthorized:
		return "authentication_error"
	case e.Status == http.StatusTooManyRequests:
		return "rate_limit_error"
	case e.Status == http.StatusServiceUnavailable:
		return "service_unavailable_error"
	case e.Status >= 500:
		return "server_error"
	}
	return "invalid_request_error"
}

type errorBody struct {
	Error errorFields `json:"error"`
}

type errorFields struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
}

func (e *Error) body() errorBody {
	return errorBody{errorFields{e.Message, e.kind(), orNull(e.Param), orNull(e.Code)}}
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// bad is a client's mistake in the field param.
func bad(param, format string, args ...any) *Error {
	return &Error{Status: http.StatusBadRequest, Param: param, Message: fmt.Sprintf(format, args...)}
}

// unavailable is 503: the same request may succeed later or elsewhere.
func unavailable(message string) *Error {
	return &Error{Status: http.StatusServiceUnavailable, Message: message, After: time.Second}
}

// write sends e. A mistake of the client must not be replayed, at this replica or another, so it says so.
func (e *Error) write(w http.ResponseWriter) {
	h := w.Header()
	if e.Allow != "" {
		h.Set("Allow", e.Allow)
	}
	if e.After > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((e.After+time.Second-1)/time.Second), 10))
		h.Set("Retry-After-Ms", strconv.FormatInt(e.After.Milliseconds(), 10))
	}
	if e.Status < 500 && e.Status != http.StatusTooManyRequests {
		h.Set("X-Should-Retry", "false")
	}
	if e.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Bearer")
	}
	writeJSON(w, e.Status, e.body())
}

// writeJSON sends v as the whole answer.
func writeJSON(w http.ResponseWriter, status int, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		status = http.StatusInternalServerError
		data, _ = json.Marshal((&Error{Status: status, Message: "answer cannot be encoded"}).body())
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(status)
	w.Write(data)
}
