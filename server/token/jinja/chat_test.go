package jinja

import (
	"errors"
	"testing"
)

const probe = `{% for k in ['role','content','name','tool_call_id','tool_calls','reasoning_content'] %}{{ k in messages[0] }} {% endfor %}` +
	`{{ tools is none }} {{ documents is none }} {{ bos_token is defined }} {{ eos_token }} {{ x }} {{ messages | length }} {{ add_generation_prompt }}`

func TestChatVariables(t *testing.T) {
	tmpl, err := Parse("probe", probe)
	if err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]Conversation{
		"True True False False False False True True False  k 1 False": {
			Messages: []Message{{Role: "user", Content: "c"}}, Kwargs: map[string]any{"x": "k"}},
		"True True True True True True False True True E  1 True": {
			Messages: []Message{{Role: "tool", Name: "n", ToolCallID: "i", ToolCalls: []any{},
				Extra: (&Object{}).Set("reasoning_content", "r")}},
			Tools: []any{}, BOS: "B", EOS: "E", AddGenerationPrompt: true},
		// a client's variables never replace the conversation or a special token
		"True True False False False False True True False   1 False": {
			Messages: []Message{{Role: "user"}},
			Kwargs:   map[string]any{"messages": []any{}, "bos_token": "b", "eos_token": "e", "tools": 1, "add_generation_prompt": true}},
	} {
		out, err := Chat(tmpl, c)
		if err != nil || out.Text != want {
			t.Errorf("got %q, %v\nwant %q", out.Text, err, want)
		}
	}
}

// TestDataStays says that rendering leaves its data alone.
func TestDataStays(t *testing.T) {
	o := (&Object{}).Set("a", []any{1})
	for _, source := range []string{
		"{{ d.a.append(2) }}", "{{ d.update({'b': 1}) }}", "{% set d.b = 1 %}", "{{ d.pop('a') }}", "{{ d.a.sort() }}",
		"{{ d.setdefault('b', 1) }}", "{{ d.clear() }}", "{{ d['a']['clear']() }}", "{{ (d.a|attr('append'))(1) }}",
	} {
		if out, err := renderVars(source, map[string]any{"d": o}); err == nil {
			t.Errorf("%s: rendered %q", source, out.Text)
		}
	}
	if _, ok := o.Get("b"); ok || len(o.Keys()) != 1 {
		t.Error("data changed")
	}
}

func TestNoGoValues(t *testing.T) {
	type secret struct{ Key string }
	for _, v := range []any{secret{"k"}, &secret{"k"}, func() {}, make(chan int), map[int]int{}} {
		var e *Error
		if out, err := renderVars("{{ v }}", map[string]any{"v": v}); !errors.As(err, &e) {
			t.Errorf("%T: rendered %q, error %v", v, out.Text, err)
		}
	}
}

func TestParseJSON(t *testing.T) {
	for source, want := range map[string]string{
		`{"b":1,"a":{"z":1.0,"y":[]},"b":2}`:     `{"b": 2, "a": {"z": 1.0, "y": []}}`,
		`[1e5, 12345678901234567890, -0, 1E400]`: `[100000.0, 12345678901234567890, 0, Infinity]`,
		`"\u00e9\n"`:                             `"é\n"`,
	} {
		v, err := ParseJSON([]byte(source))
		if err != nil {
			t.Fatal(err)
		}
		out, err := renderVars("{{ v | tojson }}", map[string]any{"v": v})
		if err != nil || out.Text != want {
			t.Errorf("%s: %q, %v; want %q", source, out.Text, err, want)
		}
	}
	for _, source := range []string{"", "{", `{"a":1} 2`, "[1,]", "nul", `{1:2}`} {
		if v, err := ParseJSON([]byte(source)); err == nil {
			t.Errorf("%q: accepted as %v", source, v)
		}
	}
}

// BenchmarkLlama31 renders three messages; it prints, it does not judge.
func BenchmarkLlama31(b *testing.B) {
	tmpl, err := Parse("llama-3.1", string(readFile(b, "templates/llama-3.1.jinja")))
	if err != nil {
		b.Fatal(err)
	}
	c := Conversation{BOS: "<|begin_of_text|>", AddGenerationPrompt: true, Now: goldenNow, Messages: []Message{
		{Role: "system", Content: "You are terse."}, {Role: "user", Content: "Hello"}, {Role: "assistant", Content: "Hi."},
	}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Chat(tmpl, c); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	source := string(readFile(b, "templates/llama-3.1.jinja"))
	for b.Loop() {
		if _, err := Parse("llama-3.1", source); err != nil {
			b.Fatal(err)
		}
	}
}
