package ui

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestStreams(t *testing.T) {
	var out, err bytes.Buffer
	term := &Terminal{Out: &out, Err: &err}
	term.Answer("%d\n", 42)
	term.Say("hello %s", "there")
	term.Problem(errors.New("open file: gone"), "look again")
	if out.String() != "42\n" {
		t.Errorf("stdout %q", out.String())
	}
	want := "hello there\nradish: open file: gone\n  try: look again\n"
	if err.String() != want {
		t.Errorf("stderr %q, want %q", err.String(), want)
	}
}

func TestColourOnlyOnTerminals(t *testing.T) {
	var err bytes.Buffer
	term := &Terminal{Err: &err, colour: true}
	term.Problem(errors.New("x"), "")
	if !strings.Contains(err.String(), "\x1b[") {
		t.Errorf("no colour in %q", err.String())
	}
}

func TestJSONIsOneValue(t *testing.T) {
	var out bytes.Buffer
	if err := (&Terminal{Out: &out}).JSON(map[string]int{"a": 1}); err != nil {
		t.Fatal(err)
	}
	if out.String() != "{\n  \"a\": 1\n}\n" {
		t.Errorf("json %q", out.String())
	}
	if err := (&Terminal{Out: &out}).JSON(func() {}); err == nil {
		t.Error("a func became JSON")
	}
}

func TestTableAndBytes(t *testing.T) {
	var out bytes.Buffer
	if err := Table(&out, [][]string{{"a", "b"}, {"long", "c"}}); err != nil {
		t.Fatal(err)
	}
	if out.String() != "a     b\nlong  c\n" {
		t.Errorf("table %q", out.String())
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 3 << 29: "1.5 GiB"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %s, want %s", n, got, want)
		}
	}
}

// Steps carry their outcome in a mark, in words where the locale has none.
func TestSteps(t *testing.T) {
	for _, c := range []struct {
		ascii bool
		want  string
	}{
		{false, "\u2713 pull     here\n\u2717 start    taken\n  try: another\n"},
		{true, "ok pull     here\nFAIL start    taken\n  try: another\n"},
	} {
		var err bytes.Buffer
		term := &Terminal{Err: &err, ascii: c.ascii}
		term.Step(true, "pull", "here", "")
		term.Step(false, "start", "taken", "another")
		if err.String() != c.want {
			t.Errorf("steps %q, want %q", err.String(), c.want)
		}
	}
	for want, cases := range map[bool][][]string{
		true:  {{"", "", ""}, {"", "", "de_DE.UTF-8"}, {"C.utf8", "", "C"}},
		false: {{"C", "", "en_US.UTF-8"}, {"", "", "POSIX"}, {"", "ISO-8859-1", ""}},
	} {
		for _, vars := range cases {
			if utf8Locale(vars...) != want {
				t.Errorf("%q: not %v", vars, want)
			}
		}
	}
}
