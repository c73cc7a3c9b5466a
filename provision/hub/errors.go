package hub

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// What can be wrong, by what the user can do about it.
var (
	ErrNotFound  = errors.New("no such repository, or the token may not see it") // the hub does not tell which
	ErrRevision  = errors.New("no such revision")
	ErrEntry     = errors.New("no such file")
	ErrGated     = errors.New("the licence has not been accepted")
	ErrDisabled  = errors.New("the repository has been disabled")
	ErrToken     = errors.New("the token is not valid")
	ErrForbidden = errors.New("the token lacks the permission")
	ErrLimited   = errors.New("too many requests")
	ErrOffline   = errors.New("offline mode is on")
	ErrNotHub    = errors.New("the answer is not a hub's")
	ErrHTML      = errors.New("a web page came instead of the file")
	ErrChanged   = errors.New("the file changed while it was fetched")
	ErrHash      = errors.New("the bytes do not have the hash that the hub gave")
	ErrPrivate   = errors.New("redirect to a private address refused")
	ErrRedirect  = errors.New("redirect refused")
	ErrNoFiles   = errors.New("no file matches")
	ErrStalled   = errors.New("no byte arrived")
)

// StatusError is an answer of the hub that is no success. Err is one of the errors above, or nil.
type StatusError struct {
	Status  int
	Place   string // host and path: never the query, which may be signed
	Message string
	Request string // the hub's id of the request
	Err     error
}

func (e *StatusError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s answered %d", e.Place, e.Status)
	if e.Err != nil {
		fmt.Fprintf(&b, ": %s", e.Err)
	}
	if e.Message != "" {
		fmt.Fprintf(&b, " (%s)", e.Message)
	}
	if e.Request != "" {
		fmt.Fprintf(&b, " [request %s]", e.Request)
	}
	return b.String()
}

func (e *StatusError) Unwrap() error { return e.Err }

// statusError classifies by status and the hub's headers, as utils/_http.py hf_raise_for_status does.
func statusError(res *http.Response) *StatusError {
	e := &StatusError{Status: res.StatusCode, Place: place(res.Request.URL), Message: clip(res.Header.Get("X-Error-Message"))}
	for _, name := range []string{"X-Request-Id", "X-Amzn-Trace-Id", "X-Amz-Cf-Id"} {
		if id := res.Header.Get(name); id != "" && e.Request == "" {
			e.Request = clip(id)
		}
	}
	e.Err = meaning(res.StatusCode, res.Header.Get("X-Error-Code"), e.Message)
	return e
}

func meaning(status int, code, message string) error {
	switch code {
	case "RevisionNotFound":
		return ErrRevision
	case "EntryNotFound":
		return ErrEntry
	case "GatedRepo":
		return ErrGated
	case "RepoNotFound":
		return ErrNotFound
	}
	switch {
	case message == "Access to this resource is disabled.":
		return ErrDisabled
	case status == http.StatusUnauthorized && message == "Invalid credentials in Authorization header":
		return ErrToken
	case status == http.StatusUnauthorized, status == http.StatusNotFound:
		return ErrNotFound
	case status == http.StatusForbidden:
		return ErrForbidden
	case status == http.StatusTooManyRequests:
		return ErrLimited
	}
	return nil
}

// place is a URL as it may be shown.
func place(u *url.URL) string {
	if u == nil {
		return "?"
	}
	return u.Host + u.EscapedPath()
}

// clip keeps a stranger's text short and printable.
func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	return s[:min(len(s), 200)]
}

// bare takes the URL out of an error of net/http: its query may be signed.
func bare(err error, u *url.URL) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	return fmt.Errorf("reach %s: %w", place(u), err)
}

// lasting says whether the same request would fail again.
func lasting(err error) bool {
	var status *StatusError
	if errors.As(err, &status) {
		return !retryable(status.Status)
	}
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	for _, target := range []error{ErrPrivate, ErrRedirect, ErrOffline, ErrToken, http.ErrSchemeMismatch} {
		if errors.Is(err, target) {
			return true
		}
	}
	return errors.As(err, &cert) || errors.As(err, &record)
}

// retryable are the statuses that the official client retries (utils/_http.py).
func retryable(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// IsNetwork says whether the hub could not be reached, or did not bring an answer to its end: later it may.
func IsNetwork(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	if errors.As(err, &op) || errors.As(err, &dns) || errors.As(err, &cert) || errors.As(err, &record) {
		return true
	}
	var status *StatusError
	if errors.As(err, &status) && retryable(status.Status) {
		return true
	}
	for _, target := range []error{ErrStalled, io.ErrUnexpectedEOF, io.EOF, context.DeadlineExceeded, http.ErrSchemeMismatch} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}
