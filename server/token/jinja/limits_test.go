package jinja

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// bombs ask for more than any template needs. Each must end in ErrLimit within small limits.
var bombs = map[string]string{
	"range":            "{{ range(10 ** 9) | list }}",
	"range just over":  "{{ range(100001) }}",
	"nested loops":     "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}{% endfor %}",
	"repeat":           "{{ 'a' * 10 ** 9 }}",
	"repeat overflow":  "{{ 'ab' * (2 ** 62) }}",
	"repeat list":      "{{ [1] * 10 ** 9 }}",
	"repeat in vain":   "{% set x = 'a' * 10 ** 9 %}",
	"recursive macro":  "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
	"mutual macros":    "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ f() }}",
	"doubling":         "{% set n = namespace(x='ab') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
	"doubling by +":    "{% set n = namespace(x='ab') %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}",
	"doubling lists":   "{% set n = namespace(x=[1]) %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}",
	"doubling capture": "{% set n = namespace(x='ab') %}{% for i in range(99) %}{% set y %}{{ n.x }}{{ n.x }}{% endset %}{% set n.x = y %}{% endfor %}",
	"deep list":        "{% set n = namespace(x=[1]) %}{% for i in range(9999) %}{% set n.x = [n.x] %}{% endfor %}{{ n.x }}",
	"deep json":        "{% set n = namespace(x=[1]) %}{% for i in range(9999) %}{% set n.x = [n.x] %}{% endfor %}{{ n.x | tojson }}",
	"wide tree":        "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
	"wide json":        "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x | tojson }}",
	"wide equality":    "{% set n = namespace(x=[1], y=[1]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% set n.y = [n.y, n.y] %}{% endfor %}{{ n.x == n.y }}",
	"deep equality":    "{% set n = namespace(x=[1], y=[1]) %}{% for i in range(90000) %}{% set n.x = [n.x] %}{% set n.y = [n.y] %}{% endfor %}{{ n.x == n.y }}",
	"printf width":     "{{ '%1000000000d' % 1 }}",
	"printf huge":      "{{ '%99999999999999999999d' % 1 }}",
	"printf star":      "{{ '%*d' % (10 ** 9, 1) }}",
	"printf precision": "{{ '%.1000000000f' % 1 }}",
	"printf digits":    "{{ '%.1000000000d' % 1 }}",
	"format width":     "{{ '{:1000000000}'.format(1) }}",
	"format precision": "{{ '{:.1000000000f}'.format(1.0) }}",
	"center":           "{{ 'a' | center(10 ** 9) }}",
	"ljust":            "{{ 'a'.ljust(10 ** 9) }}",
	"zfill":            "{{ 'a'.zfill(10 ** 9) }}",
	"indent":           "{{ 'a' | indent(10 ** 9) }}",
	"json indent":      "{{ [[1]] | tojson(indent=10 ** 9) }}",
	"replace":          "{{ ('a' * 100000) | replace('a', 'b' * 100000) }}",
	"join":             "{{ (['a'] * 100000) | join('b' * 100000) }}",
	"power":            "{{ 10 ** (10 ** 10) }}",
	"power tower":      "{{ 9 ** (9 ** 9) }}",
	"squaring":         "{% set n = namespace(x=3) %}{% for i in range(999) %}{% set n.x = n.x * n.x %}{% endfor %}",
	"output":           "{% for a in range(99999) %}{{ 'a' * 10000 }}{% endfor %}",
	"indent lines":     "{{ ('a\n' * 100000) | indent(10000) }}",
	"endless chars":    "{% for a in 'a' * 100000 %}{% for b in 'a' * 100000 %}{% endfor %}{% endfor %}",
	"split":            "{% for a in range(99999) %}{% set x = ('a ' * 10000).split() %}{% endfor %}",
	"generator tower":  "{% set n = namespace(x=[1]) %}{% for i in range(1000) %}{% set n.x = n.x | map('string') %}{% endfor %}{{ n.x | list }}",
	"memory":           "{% for a in range(1000) %}{% set x = 'a' * 1000000 %}{% endfor %}",
	"strftime":         "{{ strftime_now('%A' * 10 ** 6) }}",
}

func TestBombs(t *testing.T) {
	small := Limits{Steps: 500_000, Output: 1 << 20, Memory: 16 << 20}
	for name, source := range bombs {
		t.Run(name, func(t *testing.T) {
			tmpl, err := Parse("bomb", source)
			if err != nil {
				t.Fatal(err)
			}
			if out, err := tmpl.Render(nil, small); !errors.Is(err, ErrLimit) {
				t.Errorf("rendered %d bytes, error %v; want a limit", len(out.Text), err)
			}
		})
	}
}

// TestDeepSources feeds nesting that must be refused while parsing, before any stack runs out.
func TestDeepSources(t *testing.T) {
	const n = 100_000
	for name, source := range map[string]string{
		"parentheses": "{{ " + strings.Repeat("(", n) + "1" + strings.Repeat(")", n) + " }}",
		"lists":       "{{ " + strings.Repeat("[", n) + strings.Repeat("]", n) + " }}",
		"dicts":       "{{ " + strings.Repeat("{1:", n) + "1" + strings.Repeat("}", n) + " }}",
		"nots":        "{{ " + strings.Repeat("not ", n) + "1 }}",
		"signs":       "{{ " + strings.Repeat("-", n) + "1 }}",
		"sums":        "{{ 1" + strings.Repeat("+1", n) + " }}",
		"powers":      "{{ 1" + strings.Repeat("**1", n) + " }}",
		"ors":         "{{ 1" + strings.Repeat(" or 1", n) + " }}",
		"ifs":         "{{ 1" + strings.Repeat(" if 1 else 1", n) + " }}",
		"attributes":  "{{ a" + strings.Repeat(".a", n) + " }}",
		"subscripts":  "{{ a" + strings.Repeat("[0]", n) + " }}",
		"calls":       "{{ a" + strings.Repeat("()", n) + " }}",
		"filters":     "{{ a" + strings.Repeat("|list", n) + " }}",
		"blocks":      strings.Repeat("{% if 1 %}", n) + strings.Repeat("{% endif %}", n),
		"targets":     "{% for " + strings.Repeat("(", n) + "a" + strings.Repeat(")", n) + " in b %}{% endfor %}",
		"size":        strings.Repeat("x", MaxSource+1),
	} {
		if _, err := Parse("deep", source); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	tmpl, err := Parse("loop", "{% for a in range(99999) %}{{ a }}{% endfor %}")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tmpl.Render(nil, Limits{Context: ctx}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}

// TestEnoughForReal says that the default limits let a long and large conversation through.
func TestEnoughForReal(t *testing.T) {
	tmpl, err := Parse("llama-3.1", string(readFile(t, "templates/llama-3.1.jinja")))
	if err != nil {
		t.Fatal(err)
	}
	c := Conversation{BOS: "<|begin_of_text|>", AddGenerationPrompt: true}
	for i := range 2000 {
		role := []string{"user", "assistant"}[i%2]
		c.Messages = append(c.Messages, Message{Role: role, Content: strings.Repeat("word ", 400)})
	}
	out, err := Chat(tmpl, c)
	if err != nil || len(out.Text) < 2000*1999 {
		t.Errorf("%d bytes, error %v", len(out.Text), err)
	}
}

func TestErrors(t *testing.T) {
	for source, want := range map[string]struct {
		line   int
		raised bool
	}{
		"a\n{{ raise_exception('no') }}":                         {2, true},
		"a\n\n{{ 1 + 'a' }}":                                     {3, false},
		"a\n{% if 1 %}\n{{ x.y.z }}\n{% endif %}":                {3, false},
		"a\n{%- if 1 %}\n\n{% endfor %}\n":                       {4, false},
		"{# a\nb #}\n{{ 'x' | nope }}":                           {3, false},
		"{% macro f() %}\n{{ [] + 1 }}{% endmacro %}\n{{ f() }}": {2, false},
	} {
		_, err := renderVars(source, nil)
		var e *Error
		if !errors.As(err, &e) || e.Line != want.line || e.Raised != want.raised || e.Template != "test" {
			t.Errorf("%q: error %v, want line %d, raised %v", source, err, want.line, want.raised)
		}
	}
}
