package token

import (
	"strings"
	"testing"
)

// BenchmarkEncode prints MB/s on English-like text; BenchmarkLongWord encodes one word of 16,000 letters.
func BenchmarkEncode(b *testing.B) {
	text := strings.Repeat("The server reads a model, and then it answers every question about the pod's cache of pages. ", 5000)
	for _, family := range []string{"llama3", "llama2-legacy"} {
		tok := load(b, family)
		b.Run(family, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if _, err := tok.Encode(text, EncodeOptions{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkLongWord(b *testing.B) {
	word := strings.Repeat("thecachedserver", 16000/15+1)[:16000]
	for _, family := range []string{"llama3", "llama2-legacy"} {
		tok := load(b, family)
		b.Run(family, func(b *testing.B) {
			for b.Loop() {
				if _, err := tok.Encode(word, EncodeOptions{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
