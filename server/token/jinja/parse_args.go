package jinja

import "slices"

// args reads a call's arguments, parentheses included.
func (p *parser) args() argList {
	defer p.deeper()()
	var a argList
	p.expect("(")
	for n := 0; !p.accept(")"); n++ {
		if n > 0 {
			p.expect(",")
			if p.accept(")") {
				break
			}
		}
		p.arg(&a)
	}
	return a
}

// arg reads one argument; they come in the order positional, keyword, *star, **starstar.
func (p *parser) arg(a *argList) {
	t := p.cur()
	next := p.toks[min(p.i+1, len(p.toks)-1)]
	bad := false
	switch {
	case p.accept("*"):
		bad = a.star != nil || a.starstar != nil
		a.star = p.expression()
	case p.accept("**"):
		bad = a.starstar != nil
		a.starstar = p.expression()
	case t.kind == tokName && next.kind == tokOp && next.val == "=":
		bad = a.starstar != nil
		p.i += 2
		if slices.ContainsFunc(a.kw, func(k kwExpr) bool { return k.name == t.val }) {
			p.fail(t.line, "keyword argument repeated: %s", t.val)
		}
		a.kw = append(a.kw, kwExpr{t.val, p.expression()})
	default:
		bad = a.star != nil || a.starstar != nil || a.kw != nil
		a.pos = append(a.pos, p.expression())
	}
	if bad {
		p.fail(t.line, "invalid syntax for function call expression")
	}
}
