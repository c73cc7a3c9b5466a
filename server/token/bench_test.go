package token

import (
	"math/rand/v2"
	"os"
	"testing"
	"testing/fstest"
)

// BenchmarkEncode prints MB/s on ordinary English by published merges: cold forgets the words of the round before.
func BenchmarkEncode(b *testing.B) {
	text, err := os.ReadFile("testdata/vectors/prose.txt")
	if err != nil {
		b.Fatal(err)
	}
	for _, family := range []string{"llama-bpe", "llama-spm"} {
		tok := loadVectors(b, family)
		for _, cold := range []bool{true, false} {
			name := family + "/warm"
			if cold {
				name = family + "/cold"
			}
			b.Run(name, func(b *testing.B) {
				b.SetBytes(int64(len(text)))
				for b.Loop() {
					if cold {
						e := tok.pool.Get().(*encoder)
						clear(e.cache)
						tok.pool.Put(e)
					}
					if _, err := tok.Encode(string(text), EncodeOptions{}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkLongWord encodes one word of 16,000 random letters, and one of a million.
func BenchmarkLongWord(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	const letters = "eeeeeettttaaaooiinnsshhrrddlluucmfwygpbvkxqjz"
	for _, family := range []string{"llama-bpe", "llama-spm"} {
		tok := loadVectors(b, family)
		for name, n := range map[string]int{"/16000": 16000, "/1Mi": 1 << 20} {
			word := make([]byte, n)
			for i := range word {
				word[i] = letters[r.IntN(len(letters))]
			}
			b.Run(family+name, func(b *testing.B) {
				b.SetBytes(int64(n))
				for b.Loop() {
					if _, err := tok.Encode(string(word), EncodeOptions{}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkDecode streams the tokens of ordinary English.
func BenchmarkDecode(b *testing.B) {
	tok := loadVectors(b, "llama-bpe")
	random := vectors(b, "llama-bpe.random")
	prose := random[len(random)-1]
	d := tok.NewDecoder(true)
	b.SetBytes(int64(len(prose.Text)))
	for b.Loop() {
		d.Reset()
		for _, id := range prose.IDs {
			d.Push(id)
		}
	}
}

// BenchmarkLoad reads the reduced Llama 3 vocabulary.
func BenchmarkLoad(b *testing.B) {
	data := unzip(b, "llama-bpe.tokenizer")
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := Load(fstest.MapFS{"tokenizer.json": {Data: data}}); err != nil {
			b.Fatal(err)
		}
	}
}
