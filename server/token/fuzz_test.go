package token

import (
	"errors"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"
)

// FuzzLoad: no tokenizer.json makes Load panic, and what it refuses has a sentinel.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(`{"model":{"type":"Unigram","vocab":[]}}`))
	f.Add([]byte(`{"model":{"merges":[["a","b"]],"vocab":{"a":0,"b":1,"ab":2}},"decoder":{"type":"ByteLevel"}}`))
	f.Add([]byte(`{"model":{"vocab":{"a":4294967296}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		tok, err := Load(fstest.MapFS{"tokenizer.json": {Data: data}})
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnsupported) {
				t.Fatalf("error without sentinel: %v", err)
			}
			return
		}
		if ids, err := tok.Encode("a b\u00e9", EncodeOptions{AddSpecial: true}); err == nil {
			tok.Decode(ids, false)
		}
	})
}

// FuzzEncode: text without normalization comes back as it was, with no control token in it.
func FuzzEncode(f *testing.F) {
	for _, s := range []string{"", "a  b\r\n\u3000", "<|eot|> <s>", "'ſ 1234", "e\u0301😀"} {
		f.Add(s)
	}
	tok, err := Load(os.DirFS("testdata/llama3"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ids, err := tok.Encode(s, EncodeOptions{})
		if !utf8.ValidString(s) {
			if !errors.Is(err, ErrInvalidUTF8) {
				t.Fatalf("Encode(%q) = %v", s, err)
			}
			return
		}
		for _, id := range ids {
			if tok.IsSpecial(id) {
				t.Fatalf("Encode(%q) has control token %d", s, id)
			}
		}
		if got := tok.Decode(ids, false); got != s {
			t.Fatalf("round trip of %q = %q", s, got)
		}
	})
}

// TestControl: a control token counts only inside the ranges, and a limit stops the work.
func TestControl(t *testing.T) {
	tok := load(t, "llama3")
	eot, _ := tok.ID("<|eot|>")
	text := "hi <|eot|> there<|eot|>"
	at := strings.LastIndex(text, "<|eot|>")
	for _, c := range []struct {
		ranges []Range
		want   int
	}{{nil, 0}, {[]Range{{at, len(text)}}, 1}, {[]Range{{0, 3}, {at, len(text)}}, 1}, {[]Range{{at + 1, len(text)}}, 0}, {[]Range{{at, len(text) - 1}}, 0},
		{[]Range{{at, at + 1}, {at + 1, len(text)}}, 0}, {[]Range{{0, len(text)}}, 2}} {
		ids, err := tok.Encode(text, EncodeOptions{Control: c.ranges})
		n := 0
		for _, id := range ids {
			if id == eot {
				n++
			}
		}
		if err != nil || n != c.want {
			t.Errorf("ranges %v: %d control tokens, %v, want %d", c.ranges, n, err, c.want)
		}
	}
	if _, err := tok.Encode(strings.Repeat("a b", 100), EncodeOptions{Max: 10}); !errors.Is(err, ErrTooLong) {
		t.Errorf("over Max: %v", err)
	}
	if _, err := tok.Encode("a", EncodeOptions{Control: []Range{{0, 2}}}); !errors.Is(err, ErrRange) {
		t.Errorf("range outside: %v", err)
	}
}
