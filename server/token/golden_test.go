package token

import (
	"bufio"
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"radish/server/seq"
)

// families are the tokenizers that testdata/make_goldens.py trains.
var families = []string{"gpt2", "gpt2-prefix", "llama3", "qwen2", "llama2-legacy", "llama2-always", "mistral-first"}

// golden is what the tokenizers library makes of one text.
type golden struct {
	Text    string      `json:"text"`
	IDs     []seq.Token `json:"ids"`
	Full    []seq.Token `json:"full"`
	Plain   []seq.Token `json:"plain"`
	Mixed   []seq.Token `json:"mixed"`
	TextIDs string      `json:"text_of_ids"`
	TextMix string      `json:"text_of_mixed"`
}

func load(t testing.TB, family string) *Tokenizer {
	t.Helper()
	tok, err := Load(os.DirFS("testdata/" + family))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func goldens(t testing.TB, family string) (out []golden) {
	t.Helper()
	data, err := os.ReadFile("testdata/" + family + "/goldens.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		var g golden
		if err := json.Unmarshal(lines.Bytes(), &g); err != nil {
			t.Fatal(err)
		}
		out = append(out, g)
	}
	return out
}

// TestGoldens: every text and every token list gives what the tokenizers library gives.
func TestGoldens(t *testing.T) {
	for _, family := range families {
		t.Run(family, func(t *testing.T) {
			tok := load(t, family)
			for _, g := range goldens(t, family) {
				checkEncode(t, tok, g.Text, EncodeOptions{AllControl: true}, g.IDs)
				checkEncode(t, tok, g.Text, EncodeOptions{AllControl: true, AddSpecial: true}, g.Full)
				checkEncode(t, tok, g.Text, EncodeOptions{Control: []Range{{0, len(g.Text)}}}, g.IDs)
				checkEncode(t, tok, g.Text, EncodeOptions{}, g.Plain)
				if got := tok.Decode(g.IDs, false); got != g.TextIDs {
					t.Errorf("Decode(%v) = %q, want %q", g.IDs, got, g.TextIDs)
				}
				if got := tok.Decode(g.Mixed, true); got != g.TextMix {
					t.Errorf("Decode(%v) = %q, want %q", g.Mixed, got, g.TextMix)
				}
			}
		})
	}
}

func checkEncode(t *testing.T, tok *Tokenizer, text string, o EncodeOptions, want []seq.Token) {
	t.Helper()
	got, err := tok.Encode(text, o)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("Encode(%q, %+v) = %v, %v, want %v", text, o, got, err, want)
	}
}

// TestStream: a Decoder returns the text of Decode, whole characters at a time.
func TestStream(t *testing.T) {
	for _, family := range families {
		tok := load(t, family)
		for _, g := range goldens(t, family) {
			d := tok.NewDecoder(false)
			var parts []string
			for _, id := range g.IDs {
				parts = append(parts, d.Push(id))
			}
			for _, p := range parts {
				if strings.ContainsRune(p, '\uFFFD') {
					t.Errorf("%s: half a character in %q", family, parts)
				}
			}
			if got := strings.Join(parts, "") + d.Flush(); got != g.TextIDs {
				t.Errorf("%s: stream of %v = %q, want %q", family, g.IDs, got, g.TextIDs)
			}
		}
	}
}
