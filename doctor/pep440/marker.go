package pep440

import (
	"fmt"
	"regexp"
	"strings"
)

// Marker is the condition of a requirement: python_version < "3.11" and extra == "all".
type Marker struct {
	op          string // "and", "or" or a comparison
	left, right *Marker
	a, b        operand // of a comparison
}

type operand struct {
	text     string
	variable bool
}

var markerToken = regexp.MustCompile(`^\s*(\(|\)|===|==|~=|!=|<=|>=|<|>|'[^']*'|"[^"]*"|[A-Za-z_][A-Za-z0-9_.]*)`)

// versionVariables are compared as versions; the others as texts.
var versionVariables = map[string]bool{"python_version": true, "python_full_version": true, "implementation_version": true,
	"platform_release": true}

// ParseMarker reads a PEP 508 marker.
func ParseMarker(text string) (*Marker, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("parse marker of %d bytes: %w", len(text), ErrInvalid)
	}
	p := &markerParser{}
	for rest := text; strings.TrimSpace(rest) != ""; {
		m := markerToken.FindStringSubmatch(rest)
		if m == nil {
			return nil, fmt.Errorf("parse marker %q: %w", text, ErrInvalid)
		}
		p.tokens, rest = append(p.tokens, m[1]), rest[len(m[0]):]
	}
	m := p.or()
	if m == nil || len(p.tokens) > 0 {
		return nil, fmt.Errorf("parse marker %q: %w", text, ErrInvalid)
	}
	return m, nil
}

// markerParser is a recursive descent over the tokens; nil is a mistake. The bound on the text bounds its depth.
type markerParser struct{ tokens []string }

func (p *markerParser) take(want ...string) string {
	if len(p.tokens) == 0 {
		return ""
	}
	t := p.tokens[0]
	for _, w := range want {
		if t == w {
			p.tokens = p.tokens[1:]
			return t
		}
	}
	return ""
}

func (p *markerParser) or() *Marker  { return p.chain("or", p.and) }
func (p *markerParser) and() *Marker { return p.chain("and", p.atom) }

func (p *markerParser) chain(op string, next func() *Marker) *Marker {
	m := next()
	for m != nil && p.take(op) != "" {
		right := next()
		if right == nil {
			return nil
		}
		m = &Marker{op: op, left: m, right: right}
	}
	return m
}

func (p *markerParser) atom() *Marker {
	if p.take("(") != "" {
		m := p.or()
		if m == nil || p.take(")") == "" {
			return nil
		}
		return m
	}
	a, ok := p.operand()
	if !ok {
		return nil
	}
	op := p.take("===", "==", "~=", "!=", "<=", ">=", "<", ">", "in", "not")
	if op == "not" {
		op = "not " + p.take("in")
	}
	b, ok := p.operand()
	if op == "" || op == "not " || !ok || a.variable == b.variable {
		return nil
	}
	return &Marker{op: op, a: a, b: b}
}

// oldNames are the dotted spellings of before PEP 508.
var oldNames = map[string]string{"os.name": "os_name", "sys.platform": "sys_platform", "platform.machine": "platform_machine",
	"platform.version": "platform_version", "platform.python_implementation": "platform_python_implementation",
	"python_implementation": "platform_python_implementation"}

var markerVariables = map[string]bool{"python_version": true, "python_full_version": true, "os_name": true, "sys_platform": true,
	"platform_release": true, "platform_system": true, "platform_version": true, "platform_machine": true, "extra": true,
	"platform_python_implementation": true, "implementation_name": true, "implementation_version": true}

func (p *markerParser) operand() (operand, bool) {
	if len(p.tokens) == 0 {
		return operand{}, false
	}
	t := p.tokens[0]
	p.tokens = p.tokens[1:]
	if t[0] == '"' || t[0] == '\'' {
		return operand{text: t[1 : len(t)-1]}, true
	}
	if now, old := oldNames[t]; old {
		t = now
	}
	return operand{text: t, variable: true}, markerVariables[t]
}

// Holds evaluates the marker in an environment.
func (m *Marker) Holds(env map[string]string) bool {
	switch m.op {
	case "and":
		return m.left.Holds(env) && m.right.Holds(env)
	case "or":
		return m.left.Holds(env) || m.right.Holds(env)
	}
	a, b, name := m.a.value(env), m.b.value(env), m.a.text
	if m.b.variable {
		name = m.b.text
	}
	if name == "extra" {
		a, b = Normal(a), Normal(b)
	}
	switch m.op {
	case "in":
		return strings.Contains(b, a)
	case "not in":
		return !strings.Contains(b, a)
	}
	if versionVariables[name] {
		set, err := ParseSet(m.op + b)
		v, wrong := Parse(a)
		if err == nil {
			return wrong == nil && set.Holds(v)
		}
	}
	return compareText(m.op, a, b)
}

// compareText knows equality only: an order of names means nothing.
func compareText(op, a, b string) bool {
	switch op {
	case "==", "===", "<=", ">=":
		return a == b
	case "!=":
		return a != b
	}
	return false
}

func (o operand) value(env map[string]string) string {
	if o.variable {
		return env[o.text]
	}
	return o.text
}
