package jinja

import (
	"slices"
)

// Template is a parsed template. It is never changed and may be rendered by many goroutines at once.
type Template struct {
	name string
	body []stmt
}

// Name is the name given to Parse.
func (t *Template) Name() string { return t.name }

// MaxSource is the size of a template's source, in bytes, that Parse accepts.
const MaxSource = 1 << 20

// Parse reads a template. name appears in errors only.
func Parse(name, source string) (t *Template, err error) {
	defer catch(&err)
	if len(source) > MaxSource {
		return nil, &Error{Template: name, Line: 1, Message: "template is too long", Err: ErrLimit}
	}
	p := &parser{name: name, toks: lex(name, source)}
	body, _ := p.body()
	if len(p.unknown) > 0 {
		p.fail(p.unknown[0].line, "%s", p.unknown[0].what)
	}
	return &Template{name: name, body: body}, nil
}

// body reads statements up to a tag with one of the names in ends, which it leaves as the current token.
func (p *parser) body(ends ...string) ([]stmt, string) {
	defer p.deeper()()
	out := []stmt{}
	for {
		t := p.cur()
		p.i++
		switch t.kind {
		case tokEOF:
			if len(ends) > 0 {
				p.fail(t.line, "unexpected end of template, expected %q", ends)
			}
			p.i--
			return out, ""
		case tokData:
			out = append(out, &dataStmt{own(t.val)})
		case tokVarBegin:
			out = append(out, &printStmt{[]expr{p.tuple(true, false, "")}, t.line})
			p.expectKind(tokVarEnd, "end of print statement")
		case tokBlockBegin:
			if name := p.cur(); name.kind == tokName && slices.Contains(ends, name.val) {
				p.i++
				return out, name.val
			}
			if s := p.statement(); s != nil {
				out = append(out, s)
			}
			p.blockEnd()
		}
	}
}

func (p *parser) blockEnd() { p.expectKind(tokBlockEnd, "end of statement block") }

// block reads the rest of a tag, statements, and the closing tag's name.
func (p *parser) block(ends ...string) ([]stmt, string) {
	p.blockEnd()
	return p.body(ends...)
}

// statement reads one tag, and its body where it has one.
func (p *parser) statement() stmt {
	t := p.expectKind(tokName, "a tag name")
	switch t.val {
	case "if":
		return p.ifStmt(t.line)
	case "for":
		return p.forStmt(t.line)
	case "set":
		return p.setStmt(t.line)
	case "macro":
		name := p.target().name
		return &macroStmt{p.macro(name, "endmacro")}
	case "call":
		return p.callStmt(t.line)
	case "generation":
		body, _ := p.inFunction("endgeneration")
		return &scopeStmt{body: body}
	case "with":
		return p.withStmt()
	case "filter":
		f := p.filters(nil, true).(*filterExpr)
		body, _ := p.block("endfilter")
		return &filterStmt{f: f, body: body, line: t.line}
	case "print":
		s := &printStmt{line: t.line}
		for p.cur().kind != tokBlockEnd {
			if len(s.items) > 0 {
				p.expect(",")
			}
			s.items = append(s.items, p.expression())
		}
		return s
	case "break", "continue":
		if p.loops == 0 {
			p.fail(t.line, "%s outside of a loop", t.val)
		}
		return &jumpStmt{map[string]signal{"break": sigBreak, "continue": sigContinue}[t.val]}
	}
	p.fail(t.line, "unknown or unsupported tag %q", t.val)
	return nil
}

// guarded reads with p.soft set to soft and puts it back.
func (p *parser) guarded(soft bool, f func()) {
	was := p.soft
	p.soft = soft
	f()
	p.soft = was
}

func (p *parser) ifStmt(line int) stmt {
	s := &ifStmt{}
	p.guarded(true, func() {
		for {
			b := branch{line: line, test: p.tuple(false, false, "")}
			end := ""
			b.body, end = p.block("elif", "else", "endif")
			s.branches = append(s.branches, b)
			line = p.cur().line
			if end == "elif" {
				continue
			}
			if end == "else" {
				s.otherwise, _ = p.block("endif")
			}
			return
		}
	})
	return s
}

// forStmt reads a loop. Its condition and bodies are sure to be compiled, hence not soft.
func (p *parser) forStmt(line int) stmt {
	f := &forStmt{line: line, targets: p.targets("in")}
	p.expect("in")
	f.iter = p.tuple(false, false, "recursive")
	p.guarded(false, func() {
		if p.accept("if") {
			f.test = p.expression()
		}
		if p.is("recursive") {
			p.fail(line, "recursive loops are not supported")
		}
		p.loops++
		end := ""
		f.body, end = p.block("endfor", "else")
		p.loops--
		if end == "else" {
			f.otherwise, _ = p.block("endfor")
		}
	})
	return f
}

// target reads one name to assign to.
func (p *parser) target() *nameExpr {
	t := p.expectKind(tokName, "a name")
	if _, bad := constNames[t.val]; bad {
		p.fail(t.line, "cannot assign to %q", t.val)
	}
	return &nameExpr{name: t.val, line: t.line}
}

// targets is what a for or set assigns to: a name, or a tuple of targets.
func (p *parser) targets(stop string) *target {
	defer p.deeper()()
	one := func() *target {
		if p.accept("(") {
			t := p.targets("")
			p.expect(")")
			return t
		}
		return &target{name: p.target().name}
	}
	first := one()
	if !p.is(",") {
		return first
	}
	t := &target{parts: []*target{first}}
	for p.accept(",") && !p.is("=") && !p.is(")") && !(stop != "" && p.is(stop)) {
		t.parts = append(t.parts, one())
	}
	return t
}

// setStmt reads the inline and the block form, and the one that sets a namespace's attribute.
func (p *parser) setStmt(line int) stmt {
	s := &setStmt{line: line}
	if dot := p.toks[min(p.i+1, len(p.toks)-1)]; dot.kind == tokOp && dot.val == "." {
		s.ns = p.target()
		p.i++
		s.attr = p.expectKind(tokName, "a name").val
	} else {
		s.targets = p.targets("")
	}
	if p.accept("=") {
		s.value = p.tuple(true, false, "")
		return s
	}
	if s.targets != nil && s.targets.parts != nil {
		p.fail(line, "expected %q, got %s", "=", p.cur())
	}
	if p.accept("|") {
		s.filter = p.filters(nil, true).(*filterExpr)
	}
	s.body, _ = p.block("endset")
	return s
}

func (p *parser) withStmt() stmt {
	s := &scopeStmt{}
	for p.cur().kind != tokBlockEnd {
		if len(s.targets) > 0 {
			p.expect(",")
		}
		s.targets = append(s.targets, p.targets(""))
		p.expect("=")
		s.values = append(s.values, p.expression())
	}
	s.body, _ = p.block("endwith")
	return s
}

// inFunction reads a body that is a function of its own for jinja2: loops outside it cannot be left from inside.
func (p *parser) inFunction(end string) (body []stmt, name string) {
	was := p.loops
	p.loops = 0
	p.guarded(false, func() { body, name = p.block(end) })
	p.loops = was
	return body, name
}

// macro reads a signature and body; the name was read before.
func (p *parser) macro(name, end string) *macroDef {
	m := &macroDef{name: name}
	if end == "endmacro" || p.is("(") {
		p.signature(m)
	}
	if end == "endcall" {
		return m
	}
	mark := p.i
	m.body, _ = p.inFunction(end)
	m.uses(p.toks[mark:p.i])
	return m
}

func (p *parser) signature(m *macroDef) {
	p.expect("(")
	for n := 0; !p.accept(")"); n++ {
		if n > 0 {
			p.expect(",")
		}
		t := p.target()
		m.params = append(m.params, t.name)
		if p.accept("=") {
			m.defaults = append(m.defaults, p.expression())
		} else if len(m.defaults) > 0 {
			p.fail(t.line, "non-default argument follows default argument")
		}
	}
}

// uses notes which of the special names a macro's body reads: only then may it be called with more arguments.
func (m *macroDef) uses(toks []token) {
	for _, t := range toks {
		if t.kind == tokName {
			m.varargs = m.varargs || t.val == "varargs"
			m.kwargs = m.kwargs || t.val == "kwargs"
			m.caller = m.caller || t.val == "caller"
		}
	}
}

// callStmt reads {% call %}: its body becomes a macro that the called one gets as caller.
func (p *parser) callStmt(line int) stmt {
	m := p.macro("caller", "endcall")
	e := p.expression()
	call, ok := e.(*callExpr)
	if !ok {
		p.fail(line, "expected call")
	}
	mark := p.i
	m.body, _ = p.inFunction("endcall")
	m.uses(p.toks[mark:p.i])
	return &callStmt{call: call, body: m, line: line}
}
