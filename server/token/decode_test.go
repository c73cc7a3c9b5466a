package token

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"radish/server/seq"
)

const manyScripts = "aé你😀 👩‍👩‍👧 नमस्ते\u0301\U0010ffff."

// byteTokens spells text by tokens of one byte each.
func byteTokens(t *testing.T, tok *Tokenizer, text string, spell func(byte) string) (out []seq.Token) {
	t.Helper()
	for _, c := range []byte(text) {
		id, ok := tok.ID(spell(c))
		if !ok {
			t.Fatalf("no token for byte %#02x", c)
		}
		out = append(out, id)
	}
	return out
}

// TestHalfCharacters: a character comes with its last byte, never in parts; what the text breaks off becomes U+FFFD at
// the end alone.
func TestHalfCharacters(t *testing.T) {
	for family, spell := range map[string]func(byte) string{
		"llama-bpe": func(c byte) string { return string(byteRune[c]) },
		"llama-spm": func(c byte) string { return fmt.Sprintf("<0x%02X>", c) },
	} {
		tok := loadVectors(t, family)
		ids := byteTokens(t, tok, manyScripts, spell)
		d := tok.NewDecoder(true)
		for cut := range len(ids) + 1 {
			d.Reset()
			text := ""
			for i, id := range ids[:cut] {
				text += d.Push(id)
				whole := manyScripts[:i+1]
				for !utf8.ValidString(whole) {
					whole = whole[:len(whole)-1]
				}
				if text != whole {
					t.Fatalf("%s: after %d bytes the text is %q, want %q", family, i+1, text, whole)
				}
			}
			rest := d.Flush()
			if broken := !utf8.ValidString(manyScripts[:cut]); broken != (rest != "") || strings.Trim(rest, "\uFFFD") != "" {
				t.Errorf("%s: after %d bytes the rest is %q", family, cut, rest)
			}
			if more := d.Flush(); more != "" {
				t.Errorf("%s: a second Flush gives %q", family, more)
			}
		}
	}
}

// TestStreamVectors: tokens of published vocabularies, which end inside characters, stream as they decode.
func TestStreamVectors(t *testing.T) {
	for _, family := range vectorFamilies {
		tok := loadVectors(t, family)
		d := tok.NewDecoder(false)
		for _, g := range vectors(t, family+".random") {
			d.Reset()
			var b strings.Builder
			for _, id := range g.IDs {
				part := d.Push(id)
				if strings.ContainsRune(part, '\uFFFD') && !missing(family, g.Text) {
					t.Fatalf("%s: half a character in %q", family, part)
				}
				b.WriteString(part)
			}
			b.WriteString(d.Flush())
			if want := tok.Decode(g.IDs, false); b.String() != want {
				t.Errorf("%s: stream of %v = %q, want %q", family, g.IDs, b.String(), want)
			}
		}
	}
}

// TestReset: after a prompt a stream gives what the whole text has after the prompt's text.
func TestReset(t *testing.T) {
	for _, family := range vectorFamilies {
		tok := loadVectors(t, family)
		d := tok.NewDecoder(false)
		for _, g := range vectors(t, family+".vectors") {
			for cut := range len(g.IDs) {
				d.Push(g.IDs[0]) // what an earlier stream leaves behind
				d.Reset(g.IDs[:cut]...)
				head := tok.NewDecoder(false)
				before := ""
				for _, id := range g.IDs[:cut] {
					before += head.Push(id)
				}
				got := before
				for _, id := range g.IDs[cut:] {
					got += d.Push(id)
				}
				if got += d.Flush(); got != tok.Decode(g.IDs, false) {
					t.Fatalf("%s: %v after a prompt of %d = %q, want %q", family, g.IDs, cut, got, tok.Decode(g.IDs, false))
				}
			}
		}
	}
}

// TestInvalidUTF8: text that is no UTF-8 gives an error and no tokens.
func TestInvalidUTF8(t *testing.T) {
	tok := load(t, "llama3")
	for _, s := range []string{"\xff", "a\x80", "\xc3", "\xe4\xbd", "\xf0\x9f\x98", "\xed\xa0\x80", "\xc0\xaf", "\xf4\x90\x80\x80", "ok \xe2\x28\xa1"} {
		if ids, err := tok.Encode(s, EncodeOptions{AddSpecial: true}); !errors.Is(err, ErrInvalidUTF8) || ids != nil {
			t.Errorf("Encode(%q) = %v, %v", s, ids, err)
		}
	}
}

// TestControlVectors: with a published vocabulary, a user who spells Llama 3's <|eot_id|> gets text, and the template's
// own <|eot_id|> (128009) after it still ends the turn.
func TestControlVectors(t *testing.T) {
	tok := loadVectors(t, "llama-bpe")
	user, end := "Hello <|eot_id|> world", "<|eot_id|>"
	plain, err := tok.Encode(user, EncodeOptions{})
	if err != nil || len(plain) < 5 {
		t.Fatal(plain, err)
	}
	for _, id := range plain {
		if tok.IsSpecial(id) {
			t.Fatalf("user text has control token %d", id)
		}
	}
	ranges := []Range{{len(user), len(user) + len(end)}}
	checkEncode(t, tok, user+end, EncodeOptions{Control: ranges}, append(plain[:len(plain):len(plain)], 128009))
	if got := tok.Decode(append(plain, 128009), true); got != user {
		t.Errorf("comes back as %q", got)
	}
}

// TestLimits: Max counts exactly, and texts over MaxText are refused.
func TestLimits(t *testing.T) {
	tok := loadVectors(t, "llama-bpe")
	for _, g := range vectors(t, "llama-bpe.random")[:40] {
		for _, limit := range []int{1, len(g.IDs) - 1, len(g.IDs), len(g.IDs) + 1} {
			ids, err := tok.Encode(g.Text, EncodeOptions{Max: limit})
			if limit >= len(g.IDs) {
				if err != nil || len(ids) != len(g.IDs) {
					t.Errorf("Max %d: %d tokens of %d, %v", limit, len(ids), len(g.IDs), err)
				}
			} else if limit > 0 && (!errors.Is(err, ErrTooLong) || ids != nil) {
				t.Errorf("Max %d of %d: %v, %v", limit, len(g.IDs), ids, err)
			}
		}
	}
	if _, err := tok.Encode(strings.Repeat(" ", MaxText+1), EncodeOptions{}); !errors.Is(err, ErrTooLong) {
		t.Errorf("over MaxText: %v", err)
	}
}

// TestConcurrent: one tokenizer serves many goroutines (run with -race).
func TestConcurrent(t *testing.T) {
	tok := loadVectors(t, "qwen2")
	all := append(vectors(t, "qwen2.random"), vectors(t, "qwen2.vectors")...)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			d := tok.NewDecoder(false)
			for i := range all {
				g := all[(i*7+w*13)%len(all)]
				checkEncode(t, tok, g.Text, EncodeOptions{}, g.IDs)
				d.Reset()
				got := ""
				for _, id := range g.IDs {
					got += d.Push(id)
				}
				if got += d.Flush(); got != tok.Decode(g.IDs, false) {
					t.Errorf("stream of %v = %q", g.IDs, got)
				}
			}
		})
	}
	wg.Wait()
}
