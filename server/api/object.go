package api

import (
	"errors"
	"io"
	"math"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxDepth is how deep a body may nest; OpenAI's own requests need about 10 without a JSON schema.
const maxDepth = 64

// object is a JSON object whose fields are read one by one. The first mistake is kept in err and later reads return
// zero values, so that a reader can ask for all fields and look once.
type object struct {
	path   string // of the object itself: "stream_options." or ""
	fields map[string]jsontext.Value
	used   map[string]bool
	err    *Error
}

// readObject reads a request's body.
func (s *server) readObject(w http.ResponseWriter, r *http.Request) (*object, *Error) {
	if e := checkType(r.Header.Get("Content-Type")); e != nil {
		return nil, e
	}
	rc := http.NewResponseController(w)
	rc.SetReadDeadline(time.Now().Add(s.Limits.ReadTimeout)) // not supported by recorders in tests, which need none
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.Limits.Body))
	rc.SetReadDeadline(time.Time{})
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, &Error{Status: http.StatusRequestEntityTooLarge, Code: "request_too_large",
			Message: "the body is larger than " + strconv.FormatInt(large.Limit, 10) + " bytes"}
	case err != nil:
		return nil, &Error{Status: http.StatusRequestTimeout, Message: "the body did not arrive"}
	}
	return parseObject(data)
}

// checkType accepts JSON, and no type at all as simple clients send.
func checkType(header string) *Error {
	if header == "" {
		return nil
	}
	t, params, err := mime.ParseMediaType(header)
	charset := strings.ToLower(params["charset"])
	if err == nil && charset != "" && charset != "utf-8" && charset != "utf8" {
		err = errors.New("charset")
	}
	if err != nil || t != "application/json" && !strings.HasSuffix(t, "+json") {
		return &Error{Status: http.StatusUnsupportedMediaType, Message: "Content-Type must be application/json in UTF-8"}
	}
	return nil
}

func parseObject(data []byte) (*object, *Error) {
	if depth(data) > maxDepth {
		return nil, bad("", "the body nests deeper than %d levels", maxDepth)
	}
	var fields map[string]jsontext.Value
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, syntaxError(data, err)
	}
	if fields == nil {
		return nil, bad("", "the body must be a JSON object")
	}
	return &object{fields: fields, used: map[string]bool{}}, nil
}

// syntaxError says where a body stops being an object, without repeating any of it.
func syntaxError(data []byte, err error) *Error {
	var syn *jsontext.SyntacticError
	if !errors.As(err, &syn) {
		return bad("", "the body must be a JSON object")
	}
	if errors.Is(err, jsontext.ErrDuplicateName) {
		name := syn.JSONPointer.LastToken()
		return bad(printable(name), "the body has a duplicate name at byte %d", syn.ByteOffset)
	}
	return bad("", "the body is not valid JSON at byte %d", syn.ByteOffset)
}

// depth is the deepest nesting of brackets outside strings.
func depth(data []byte) int {
	deep, most, quoted := 0, 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			deep++
			most = max(most, deep)
		case c == '}' || c == ']':
			deep--
		}
	}
	return most
}

// raw returns a field that is present and not null.
func (o *object) raw(name string) (jsontext.Value, bool) {
	v, ok := o.fields[name]
	o.used[name] = true
	if !ok || v.Kind() == 'n' || o.err != nil {
		return nil, false
	}
	return v, true
}

// fail keeps the first mistake.
func (o *object) fail(name, format string, args ...any) {
	if o.err == nil {
		o.err = bad(o.path+name, format, args...)
	}
}

// number reads a field that the table bounds; def when absent.
func (o *object) number(name string, def float64) float64 {
	v, ok := o.raw(name)
	if !ok {
		return def
	}
	row := rowOf(name)
	x, err := strconv.ParseFloat(string(v), 64)
	switch {
	case v.Kind() != '0':
		o.fail(name, "%s must be a number", name)
	case err != nil || math.IsInf(x, 0) || !row.holds(x):
		o.fail(name, "%s must be %s", name, row)
	}
	return x
}

// whole reads an integer that the table bounds; def when absent.
func (o *object) whole(name string, def int64) int64 {
	v, ok := o.raw(name)
	if !ok {
		return def
	}
	row := rowOf(name)
	n, err := strconv.ParseInt(string(v), 10, 64)
	switch {
	case v.Kind() != '0' || strings.ContainsAny(string(v), ".eE"):
		o.fail(name, "%s must be an integer", name)
	case err != nil || !row.holds(float64(n)):
		o.fail(name, "%s must be %s", name, row)
	}
	return n
}

// has reports whether a field is present and not null.
func (o *object) has(name string) bool {
	v, ok := o.fields[name]
	return ok && v.Kind() != 'n'
}

// flag reads true or false.
func (o *object) flag(name string, def bool) bool {
	v, ok := o.raw(name)
	if !ok {
		return def
	}
	if k := v.Kind(); k != 't' && k != 'f' {
		o.fail(name, "%s must be true or false", name)
	}
	return v.Kind() == 't'
}

// text reads a string of at most as many bytes as the table says.
func (o *object) text(name string) string {
	v, ok := o.raw(name)
	if !ok {
		return ""
	}
	var s string
	row := rowOf(name)
	if json.Unmarshal(v, &s) != nil {
		o.fail(name, "%s must be a string", name)
	} else if row.high > 0 && float64(len(s)) > row.high {
		o.fail(name, "%s must have at most %d bytes", name, int64(row.high))
	}
	return s
}

// child reads an object; nil when absent. Its mistakes are the parent's: see adopt.
func (o *object) child(name string) *object {
	v, ok := o.raw(name)
	if !ok {
		return nil
	}
	c := &object{path: o.path + name + ".", used: map[string]bool{}}
	if json.Unmarshal(v, &c.fields) != nil {
		o.fail(name, "%s must be an object", name)
		return nil
	}
	return c
}

// adopt takes over the mistake of a child.
func (o *object) adopt(c *object) {
	if c != nil && o.err == nil {
		o.err = c.err
	}
}

// list splits an array of at most max items.
func (o *object) list(name string, v jsontext.Value, max int) []jsontext.Value {
	var items []jsontext.Value
	if json.Unmarshal(v, &items) != nil {
		o.fail(name, "%s must be an array", name)
	} else if len(items) > max {
		o.fail(name, "%s must have at most %d items", name, max)
		return nil
	}
	return items
}

// ignored names the fields that nobody asked for, sorted, fit for a header.
func (o *object) ignored() []string {
	var names []string
	for name := range o.fields {
		if !o.used[name] {
			names = append(names, printable(name))
		}
	}
	slices.Sort(names)
	return names[:min(len(names), 32)]
}

// printable makes a client's name fit for headers and messages.
func printable(name string) string {
	keep := func(r rune) rune {
		if r > ' ' && r < 0x7f && r != ',' && r != '"' && r != '<' {
			return r
		}
		return '_'
	}
	return strings.Map(keep, name[:min(len(name), 64)])
}
