package jinja

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// goldenNow is the time that testdata/make_goldens.py gives strftime_now.
var goldenNow = time.Date(2025, 7, 4, 5, 6, 7, 0, time.UTC)

// goldens are what Python's jinja2 made; a nil text means that it refused.
type goldens struct {
	Renders []struct {
		Template, Conversation string
		Text                   *string
	}
	Snippets []struct {
		Source string
		Text   *string
	}
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", path))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// readVars reads ordered JSON objects by name.
func readVars(t testing.TB, raw []byte) map[string]any {
	t.Helper()
	v, err := ParseJSON(raw)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	o := v.(*Object)
	for _, k := range o.Keys() {
		out[k], _ = o.Get(k)
	}
	return out
}

// renderVars parses and renders.
func renderVars(source string, vars map[string]any) (Output, error) {
	tmpl, err := Parse("test", source)
	if err != nil {
		return Output{}, err
	}
	return tmpl.Render(vars, Limits{Now: goldenNow})
}

func check(t *testing.T, want *string, got Output, err error) {
	t.Helper()
	switch {
	case want == nil && err == nil:
		t.Errorf("rendered %q, jinja2 refuses", got.Text)
	case want != nil && err != nil:
		t.Errorf("error %v, jinja2 renders %q", err, *want)
	case want != nil && got.Text != *want:
		t.Errorf("differs from jinja2\n got %q\nwant %q", got.Text, *want)
	}
	var e *Error
	if err != nil && !errors.As(err, &e) {
		t.Errorf("error %v is not an *Error", err)
	}
}

func TestGoldens(t *testing.T) {
	var g goldens
	if err := json.Unmarshal(readFile(t, "goldens.json"), &g); err != nil {
		t.Fatal(err)
	}
	conversations := readVars(t, readFile(t, "conversations.json"))
	if len(g.Renders) < 100 {
		t.Fatalf("only %d renders", len(g.Renders))
	}
	for _, c := range g.Renders {
		t.Run(c.Template+"/"+c.Conversation, func(t *testing.T) {
			o := conversations[c.Conversation].(*Object)
			vars := map[string]any{}
			for _, k := range o.Keys() {
				vars[k], _ = o.Get(k)
			}
			got, err := renderVars(string(readFile(t, "templates/"+c.Template)), vars)
			check(t, c.Text, got, err)
		})
	}
}

func TestSnippets(t *testing.T) {
	var g goldens
	if err := json.Unmarshal(readFile(t, "goldens.json"), &g); err != nil {
		t.Fatal(err)
	}
	o := readVars(t, readFile(t, "snippets.json"))["vars"].(*Object)
	if len(g.Snippets) < 400 {
		t.Fatalf("only %d snippets", len(g.Snippets))
	}
	for _, c := range g.Snippets {
		t.Run(c.Source, func(t *testing.T) {
			got, err := renderVars(c.Source, o.vals)
			check(t, c.Text, got, err)
		})
	}
}
