package jinja

import (
	"errors"
	"fmt"
)

// ErrLimit is wrapped by every error that says that a rendering went over one of its Limits.
var ErrLimit = errors.New("limit reached")

// Error is what Parse and Render return: where it happened and what was wrong.
type Error struct {
	Template string // the name given to Parse
	Line     int    // 1-based, in the template's source
	Message  string
	Raised   bool  // the template itself refused its input through raise_exception: the client's mistake
	Err      error // a sentinel (ErrLimit), a context's error, or nil
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s:%d: %s", e.Template, e.Line, e.Message)
}

// Unwrap gives errors.Is the sentinel.
func (e *Error) Unwrap() error { return e.Err }

// catch turns the panic by which parsing and evaluation give up into an error. Any other panic goes on.
func catch(err *error) {
	switch p := recover().(type) {
	case nil:
	case *Error:
		*err = p
	default:
		panic(p)
	}
}
