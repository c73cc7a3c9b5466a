package jinja

import (
	"encoding/json"
	"errors"
	"testing"
)

// FuzzParse feeds sources: whatever they are, Parse and Render end in a text or an *Error, within the limits, and the
// ranges of the output are sorted, apart and inside it.
func FuzzParse(f *testing.F) {
	var snippets struct {
		Templates []string
	}
	if err := json.Unmarshal(readFile(f, "snippets.json"), &snippets); err != nil {
		f.Fatal(err)
	}
	for _, s := range snippets.Templates {
		f.Add(s)
	}
	o := func() map[string]any {
		v, err := ParseJSON(readFile(f, "snippets.json"))
		if err != nil {
			f.Fatal(err)
		}
		vars, _ := v.(*Object).Get("vars")
		return vars.(*Object).vals
	}()
	f.Fuzz(func(t *testing.T, source string) {
		tmpl, err := Parse("fuzz", source)
		var e *Error
		if err != nil {
			if !errors.As(err, &e) {
				t.Fatalf("error %v is not an *Error", err)
			}
			return
		}
		out, err := tmpl.Render(o, Limits{Steps: 100_000, Output: 1 << 18, Memory: 8 << 20})
		if err != nil && !errors.As(err, &e) {
			t.Fatalf("error %v is not an *Error", err)
		}
		at := -1
		for _, c := range out.Control {
			if c.From <= at || c.To <= c.From || c.To > len(out.Text) {
				t.Fatalf("bad ranges %v of %d bytes", out.Control, len(out.Text))
			}
			at = c.To
		}
	})
}
