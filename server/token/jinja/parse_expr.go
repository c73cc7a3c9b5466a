package jinja

import (
	"fmt"
	"math/big"
	"slices"
	"strconv"
)

// parser turns tokens into a tree. It gives up by panicking with an *Error.
type parser struct {
	name    string
	toks    []token
	i       int
	depth   int
	loops   int       // loops around this point, inside the innermost macro
	soft    bool      // inside an if: an unknown filter or test is an error only when it is reached
	unknown []unknown // unknown filters and tests met outside one
}

type unknown struct {
	line int
	what string
}

// Nesting that a template may have. jinja2 stands on Python's own compiler, which stops at about these.
const (
	maxNesting = 200
	maxChain   = 1000
)

func (p *parser) cur() token { return p.toks[p.i] }

func (p *parser) fail(line int, format string, a ...any) {
	panic(&Error{Template: p.name, Line: line, Message: fmt.Sprintf(format, a...)})
}

// is says whether the current token is this operator or name.
func (p *parser) is(val string) bool {
	t := p.cur()
	return (t.kind == tokOp || t.kind == tokName) && t.val == val
}

func (p *parser) accept(val string) bool {
	if p.is(val) {
		p.i++
		return true
	}
	return false
}

func (p *parser) expect(val string) {
	if !p.accept(val) {
		p.fail(p.cur().line, "expected %q, got %s", val, p.cur())
	}
}

func (p *parser) expectKind(k kind, what string) token {
	t := p.cur()
	if t.kind != k {
		p.fail(t.line, "expected %s, got %s", what, t)
	}
	p.i++
	return t
}

// deeper bounds recursion; the caller defers the function it returns.
func (p *parser) deeper() func() {
	p.depth++
	if p.depth > maxNesting {
		p.fail(p.cur().line, "nested too deeply")
	}
	return func() { p.depth-- }
}

// expression reads a full expression, an inline if included.
func (p *parser) expression() expr {
	defer p.deeper()()
	mark := len(p.unknown)
	e := p.or()
	for chain := 0; p.is("if"); chain++ {
		c := &condExpr{then: e, line: p.cur().line}
		p.i++
		p.chain(chain)
		c.test = p.or()
		if p.accept("else") {
			c.otherwise = p.expression()
		}
		p.unknown = p.unknown[:mark]
		e = c
	}
	return e
}

// chain bounds operators in a row, since evaluating them recurses as deep as they are many.
func (p *parser) chain(n int) {
	if n > maxChain {
		p.fail(p.cur().line, "expression is too long")
	}
}

func (p *parser) or() expr {
	e := p.and()
	for n := 0; p.accept("or"); n++ {
		p.chain(n)
		e = &logicExpr{l: e, r: p.and(), or: true}
	}
	return e
}

func (p *parser) and() expr {
	e := p.not()
	for n := 0; p.accept("and"); n++ {
		p.chain(n)
		e = &logicExpr{l: e, r: p.not()}
	}
	return e
}

func (p *parser) not() expr {
	if p.accept("not") {
		defer p.deeper()()
		return &notExpr{p.not()}
	}
	return p.compare()
}

// compare reads a chain such as a < b <= c, which means a < b and b <= c.
func (p *parser) compare() expr {
	first := p.sum()
	c := &cmpExpr{first: first, line: p.cur().line}
	for {
		t := p.cur()
		next := p.toks[min(p.i+1, len(p.toks)-1)]
		switch {
		case t.kind == tokOp && slices.Contains([]string{"==", "!=", "<", "<=", ">", ">="}, t.val), p.is("in"):
			p.i++
		case p.is("not") && next.kind == tokName && next.val == "in":
			t.val = "not in"
			p.i += 2
		default:
			if c.ops == nil {
				return first
			}
			return c
		}
		c.ops = append(c.ops, cmpOp{t.val, p.sum()})
	}
}

// infix reads operands of next joined by any of ops, from the left.
func (p *parser) infix(next func() expr, ops ...string) expr {
	e := next()
	for n := 0; p.cur().kind == tokOp && slices.Contains(ops, p.cur().val); n++ {
		p.chain(n)
		t := p.cur()
		p.i++
		e = &binExpr{op: t.val, l: e, r: next(), line: t.line}
	}
	return e
}

func (p *parser) sum() expr { return p.infix(p.concat, "+", "-") }

func (p *parser) concat() expr {
	items := []expr{p.product()}
	for p.accept("~") {
		items = append(items, p.product())
	}
	if len(items) == 1 {
		return items[0]
	}
	return &concatExpr{items}
}

func (p *parser) product() expr { return p.infix(p.power, "*", "/", "//", "%") }

func (p *parser) power() expr {
	return p.infix(func() expr { return p.unary(true) }, "**")
}

// unary binds tighter than ** on its left, unlike in Python: -2 ** 2 is 4. Filters bind to the signed value.
func (p *parser) unary(filters bool) expr {
	t := p.cur()
	var e expr
	if p.is("-") || p.is("+") {
		p.i++
		done := p.deeper()
		e = &signExpr{e: p.unary(false), neg: t.val == "-", line: t.line}
		done()
		e = p.postfix(e)
	} else {
		e = p.postfix(p.primary())
	}
	if filters {
		e = p.filters(e, false)
	}
	return e
}

func (p *parser) primary() expr {
	t := p.cur()
	p.i++
	switch t.kind {
	case tokName:
		if v, ok := constNames[t.val]; ok {
			return &constExpr{v}
		}
		return &nameExpr{name: t.val, line: t.line}
	case tokString:
		s := t.val
		for p.cur().kind == tokString {
			s += p.cur().val
			p.i++
		}
		return &constExpr{own(s)}
	case tokInt:
		return &constExpr{parseInt(t.val)}
	case tokFloat:
		f, _ := strconv.ParseFloat(t.val, 64)
		return &constExpr{f}
	case tokOp:
		switch t.val {
		case "(":
			e := p.tuple(true, true, "")
			p.expect(")")
			return e
		case "[":
			return &listExpr{items: p.items("]")}
		case "{":
			return p.dict()
		}
	}
	p.fail(t.line, "unexpected %s", t)
	return nil
}

var constNames = map[string]any{
	"true": true, "True": true, "false": false, "False": false, "none": nil, "None": nil,
}

func parseInt(s string) any {
	if n, err := strconv.ParseInt(s, 0, 64); err == nil {
		return int(n)
	}
	if b, ok := new(big.Int).SetString(s, 0); ok {
		return b
	}
	return 0 // 00, 0_0: Python's other spellings of zero
}

// items reads comma separated expressions up to a closer.
func (p *parser) items(end string) []expr {
	var out []expr
	for !p.accept(end) {
		if len(out) > 0 {
			p.expect(",")
			if p.accept(end) {
				break
			}
		}
		out = append(out, p.expression())
	}
	return out
}

func (p *parser) dict() expr {
	d := &dictExpr{line: p.cur().line}
	for !p.accept("}") {
		if len(d.keys) > 0 {
			p.expect(",")
			if p.accept("}") {
				break
			}
		}
		d.keys = append(d.keys, p.expression())
		p.expect(":")
		d.vals = append(d.vals, p.expression())
	}
	return d
}

// tuple reads one expression or a tuple without its own parentheses. cond allows an inline if; parens allows (), and
// stop is a name that ends it.
func (p *parser) tuple(cond, parens bool, stop string) expr {
	defer p.deeper()()
	one := p.or
	if cond {
		one = p.expression
	}
	line := p.cur().line
	var items []expr
	isTuple := false
	for !p.tupleEnd(stop) {
		items = append(items, one())
		if !p.is(",") {
			break
		}
		isTuple = true
		p.i++
	}
	if !isTuple {
		if len(items) == 1 {
			return items[0]
		}
		if !parens {
			p.fail(line, "expected an expression, got %s", p.cur())
		}
	}
	return &listExpr{items: items, tuple: true}
}

func (p *parser) tupleEnd(stop string) bool {
	k := p.cur().kind
	return k == tokVarEnd || k == tokBlockEnd || p.is(")") || stop != "" && p.is(stop)
}

// postfix reads attributes, subscripts and calls.
func (p *parser) postfix(e expr) expr {
	for n := 0; ; n++ {
		p.chain(n)
		line := p.cur().line
		switch {
		case p.accept("."):
			t := p.cur()
			p.i++
			switch t.kind {
			case tokName:
				e = &attrExpr{obj: e, name: own(t.val), line: line}
			case tokInt:
				e = &itemExpr{obj: e, key: &constExpr{parseInt(t.val)}, line: line}
			default:
				p.fail(t.line, "expected name or number, got %s", t)
			}
		case p.accept("["):
			e = p.subscript(e, line)
		case p.is("("):
			e = &callExpr{fn: e, args: p.args(), line: line}
		default:
			return e
		}
	}
}

func (p *parser) subscript(obj expr, line int) expr {
	first, isSlice := p.slice(obj, line)
	if !p.is(",") {
		p.expect("]")
		if isSlice {
			return first
		}
		return &itemExpr{obj: obj, key: first, line: line}
	}
	items := []expr{first}
	for p.accept(",") && !p.is("]") {
		e, slice := p.slice(obj, line)
		isSlice = isSlice || slice
		items = append(items, e)
	}
	p.expect("]")
	if isSlice {
		p.fail(line, "slices inside a tuple are not supported")
	}
	return &itemExpr{obj: obj, key: &listExpr{items: items, tuple: true}, line: line}
}

// slice reads one subscript: an expression, or lo:hi:step (then the look-up itself, and true).
func (p *parser) slice(obj expr, line int) (expr, bool) {
	var part [3]expr
	n := 0
	for ; n < 3; n++ {
		if !p.is(":") && !p.is("]") && !p.is(",") {
			part[n] = p.expression()
			if n == 0 && !p.is(":") {
				return part[0], false
			}
		}
		if !p.accept(":") {
			break
		}
	}
	if n == 0 || n == 3 {
		p.fail(line, "unexpected %s", p.cur())
	}
	return &sliceExpr{obj: obj, part: part, line: line}, true
}

// filters reads |filter, is test and calls of their results. inline reads a block's filters, where the first has no bar
// and there is no value yet.
func (p *parser) filters(e expr, inline bool) expr {
	for n := 0; ; n++ {
		p.chain(n)
		line := p.cur().line
		switch {
		case p.is("|") || inline && n == 0:
			if !inline || n > 0 {
				p.i++
			}
			e = p.filter(e, line)
		case p.is("is") && !inline:
			p.i++
			e = p.test(e, line)
		case p.is("(") && !inline:
			e = &callExpr{fn: e, args: p.args(), line: line}
		default:
			return e
		}
	}
}

func (p *parser) dotted() string {
	s := p.expectKind(tokName, "a name").val
	for p.accept(".") {
		s += "." + p.expectKind(tokName, "a name").val
	}
	return s
}

// filter reads one filter's name and arguments.
func (p *parser) filter(in expr, line int) expr {
	f := &filterExpr{in: in, name: p.dotted(), line: line}
	f.fn = filterTable[f.name]
	if f.fn == nil {
		p.missing(line, "filter", f.name)
	}
	if p.is("(") {
		f.args = p.args()
	}
	return f
}

// missing notes an unknown name. jinja2 reports one while compiling only where it is sure to be met.
func (p *parser) missing(line int, what, name string) {
	if !p.soft {
		p.unknown = append(p.unknown, unknown{line, fmt.Sprintf("no %s named %q", what, name)})
	}
}

// test reads what follows `is`: a name, and arguments in parentheses or a single bare one.
func (p *parser) test(in expr, line int) expr {
	neg := p.accept("not")
	t := &testExpr{in: in, name: p.dotted(), line: line}
	t.fn = testTable[t.name]
	if t.fn == nil {
		p.missing(line, "test", t.name)
	}
	k := p.cur().kind
	switch {
	case p.is("("):
		t.args = p.args()
	case p.is("else") || p.is("or") || p.is("and"):
	case p.is("is"):
		p.fail(line, "you cannot chain multiple tests with is")
	case k == tokName || k == tokString || k == tokInt || k == tokFloat || p.is("[") || p.is("{"):
		t.args = argList{pos: []expr{p.postfix(p.primary())}}
	}
	if neg {
		return &notExpr{t}
	}
	return t
}
