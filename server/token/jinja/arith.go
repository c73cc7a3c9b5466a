package jinja

import (
	"math"
	"math/big"
	"strings"
	"unicode/utf8"
)

func runeSize(s string) int {
	_, n := utf8.DecodeRuneInString(s)
	return n
}

func (n *binExpr) eval(r *run, s *scope) any {
	r.step(1)
	a := n.l.eval(r, s)
	b := n.r.eval(r, s)
	r.line = n.line
	return r.binary(n.op, a, b)
}

// binary is one Python operator: numbers first, then what sequences do with + and *, and % as formatting.
func (r *run) binary(op string, a, b any) any {
	if x, ok := number(a); ok {
		if y, ok := number(b); ok {
			return r.arith(op, x, y)
		}
	}
	switch op {
	case "+":
		if v := r.join(a, b); v != nil {
			return v
		}
	case "*":
		if n, ok := number(b); ok {
			a, b = n, a
		}
		if n, ok := number(a); ok {
			if v := r.repeat(b, n); v != nil {
				return v
			}
		}
	case "%":
		if t, ok := a.(*text); ok {
			return r.printf(t, b)
		}
	}
	r.misuse(a)
	r.misuse(b)
	r.fail("unsupported operand type(s) for %s: '%s' and '%s'", op, typeName(a), typeName(b))
	return nil
}

// join is + of two sequences of a kind, or nil.
func (r *run) join(a, b any) any {
	switch x := a.(type) {
	case *text:
		if y, ok := b.(*text); ok {
			if x.markup || y.markup {
				r.charge(6 * (len(x.s) + len(y.s)))
				return markup(concat(x.escaped(), y.escaped()))
			}
			r.charge(len(x.s) + len(y.s))
			return concat(x, y)
		}
	case *list:
		if y, ok := b.(*list); ok && x.kind == y.kind && x.kind <= kindTuple {
			r.chargeList(len(x.items) + len(y.items))
			items := make([]any, 0, len(x.items)+len(y.items))
			return &list{items: append(append(items, x.items...), y.items...), kind: x.kind}
		}
	}
	return nil
}

// repeat is a sequence times a number, or nil.
func (r *run) repeat(v, n any) any {
	count, ok := n.(int)
	if !ok {
		return nil
	}
	count = max(count, 0)
	switch v := v.(type) {
	case *text:
		r.charge(product(len(v.s), count))
		if v.trusted() || len(v.ctl) == 0 {
			return v.mapped(func(s string) string { return strings.Repeat(s, count) })
		}
		parts := make([]*text, count)
		for i := range parts {
			parts[i] = v
		}
		return concat(parts...)
	case *list:
		if v.kind > kindTuple {
			return nil
		}
		r.chargeList(product(len(v.items), count))
		out := &list{kind: v.kind, items: make([]any, 0, len(v.items)*count)}
		for range count {
			if len(v.items) == 0 {
				break
			}
			out.items = append(out.items, v.items...)
		}
		return out
	}
	return nil
}

// product is a*b for lengths, and -1 where it is beyond any limit.
func product(a, b int) int {
	if a > 0 && b > math.MaxInt32/a {
		return -1
	}
	return a * b
}

// maxBits bounds integers: nothing in a chat template needs more.
const maxBits = 4096

// arith is arithmetic on numbers (no bools).
func (r *run) arith(op string, a, b any) any {
	_, fa := a.(float64)
	_, fb := b.(float64)
	if fa || fb || op == "/" {
		return r.floats(op, toFloat(a), toFloat(b))
	}
	x, ok := a.(int)
	y, ok2 := b.(int)
	if ok && ok2 && fits(op, x, y) {
		switch op {
		case "+":
			return x + y
		case "-":
			return x - y
		case "*":
			return x * y
		}
	}
	return r.bigs(op, toBig(a), toBig(b))
}

// fits says that the operation cannot overflow.
func fits(op string, x, y int) bool {
	const half = 1 << 31
	if op == "*" {
		return x > -half && x < half && y > -half && y < half
	}
	const quarter = 1 << 62
	return x > -quarter && x < quarter && y > -quarter && y < quarter
}

// bigs is integer arithmetic without overflow, bounded by maxBits.
func (r *run) bigs(op string, x, y *big.Int) any {
	z := new(big.Int)
	switch op {
	case "+":
		z.Add(x, y)
	case "-":
		z.Sub(x, y)
	case "*":
		z.Mul(x, y)
	case "//", "%":
		if y.Sign() == 0 {
			r.fail("integer division or modulo by zero")
		}
		q, m := new(big.Int), new(big.Int)
		q.QuoRem(x, y, m)
		if m.Sign() != 0 && m.Sign() != y.Sign() { // Python rounds down, and gives the remainder the divisor's sign
			q.Sub(q, big.NewInt(1))
			m.Add(m, y)
		}
		z = q
		if op == "%" {
			z = m
		}
	case "**":
		if y.Sign() < 0 {
			return r.floats(op, toFloat(small(x)), toFloat(small(y)))
		}
		if x.BitLen() > 1 && (!y.IsInt64() || y.Int64() > maxBits || int64(x.BitLen()-1)*y.Int64() > maxBits) {
			r.limit("integer is too large")
		}
		if x.BitLen() <= 1 && y.Sign() > 0 { // 0, 1 and -1: only the exponent's parity matters
			y = new(big.Int).Sub(big.NewInt(2), new(big.Int).And(y, big.NewInt(1)))
		}
		z.Exp(x, y, nil)
	}
	if z.BitLen() > maxBits {
		r.limit("integer is too large")
	}
	return small(z)
}

// floats is arithmetic on floats with Python's errors in place of infinities.
func (r *run) floats(op string, x, y float64) any {
	if y == 0 && (op == "/" || op == "//" || op == "%") || op == "**" && x == 0 && y < 0 {
		r.fail("division by zero")
	}
	switch op {
	case "+":
		return x + y
	case "-":
		return x - y
	case "*":
		return x * y
	case "/":
		return x / y
	case "//":
		m := floatMod(x, y)
		q := (x - m) / y
		if q == 0 {
			return math.Copysign(0, x/y)
		}
		return math.Round(q)
	case "%":
		return floatMod(x, y)
	}
	z := math.Pow(x, y)
	if math.IsNaN(z) && !math.IsNaN(x) && !math.IsNaN(y) {
		r.fail("complex numbers are not supported")
	}
	if math.IsInf(z, 0) && !math.IsInf(x, 0) && !math.IsInf(y, 0) {
		r.fail("numerical result out of range")
	}
	return z
}

// floatMod is Python's %, which takes the divisor's sign.
func floatMod(x, y float64) float64 {
	m := math.Mod(x, y)
	if m == 0 {
		return math.Copysign(0, y)
	}
	if (m < 0) != (y < 0) {
		m += y
	}
	return m
}
