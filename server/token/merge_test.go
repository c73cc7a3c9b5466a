package token

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"radish/server/seq"
)

// mergePlainly is the definition: the neighbours with the lowest rank, the leftmost of equals, until none are left.
func mergePlainly(ids []int32, merges []merge) []int32 {
	for {
		rank, at := len(merges), -1
		for i := 0; i+1 < len(ids); i++ {
			for r, m := range merges[:rank] {
				if m.left == ids[i] && m.right == ids[i+1] {
					rank, at = r, i
					break
				}
			}
		}
		if at < 0 {
			return ids
		}
		ids = slices.Replace(ids, at, at+2, merges[rank].product)
	}
}

// randomMerges draws merges over 3 first symbols, each product a new symbol or, to be nasty, an old one.
func randomMerges(r *rand.Rand) []merge {
	symbols := int32(3)
	var out []merge
	seen := map[uint64]bool{}
	for range 2 + r.IntN(12) {
		m := merge{r.Int32N(symbols), r.Int32N(symbols), symbols}
		if seen[pairKey(m.left, m.right)] {
			continue
		}
		if r.IntN(4) == 0 {
			m.product = r.Int32N(symbols)
		} else {
			symbols++
		}
		seen[pairKey(m.left, m.right)] = true
		out = append(out, m)
	}
	return out
}

// TestMerge: words of every length, through the short way and the heap, merge as the definition says.
func TestMerge(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	none := func(int32) bool { return false }
	var m merger
	for range 3000 {
		merges := randomMerges(r)
		table := newMergeTable(merges, none)
		word := make([]int32, r.IntN(2*shortWord+20))
		for i := range word {
			word[i] = r.Int32N(3)
		}
		m.ids = append(m.ids[:0], word...)
		m.run(&table)
		if want := mergePlainly(slices.Clone(word), merges); !slices.Equal(m.ids, want) {
			t.Fatalf("%v by %v = %v, want %v", word, merges, m.ids, want)
		}
	}
}

// TestLongWord: the buffers that a long word needs are not kept, and the next text is none the worse.
func TestLongWord(t *testing.T) {
	tok := load(t, "llama3")
	e := newEncoder(tok)
	tok.pool.New = func() any { return e }
	long := strings.Repeat("servercache", keepSymbols/2)
	ids, err := tok.Encode(long, EncodeOptions{})
	if err != nil || tok.Decode(ids, false) != long {
		t.Fatalf("%d tokens, %v", len(ids), err)
	}
	if c := cap(e.merge.ids) + cap(e.merge.heap) + cap(e.merge.pair); c > 3*keepSymbols {
		t.Errorf("%d entries are kept", c)
	}
	first := goldens(t, "llama3")[0]
	checkEncode(t, tok, first.Text, EncodeOptions{}, first.Plain)
}

// TestWholeWord: ignore_merges takes a word that is a piece, whatever the merges say, unless it is a control token.
func TestWholeWord(t *testing.T) {
	model := `{"type":"BPE","ignore_merges":true,"vocab":` + strings.Replace(letters(), `"ab":256`, `"ab":256,"abc":258`, 1) +
		`,"merges":["a b"]}`
	for config, want := range map[string][]seq.Token{`{}`: {258}, `{"bos_token":"abc"}`: {256, 99}} {
		fsys := file(parts{"model": model})
		fsys["tokenizer_config.json"] = file(nil)["tokenizer.json"]
		fsys["tokenizer_config.json"].Data = []byte(config)
		tok, err := Load(fsys)
		if err != nil {
			t.Fatal(err)
		}
		checkEncode(t, tok, "abc", EncodeOptions{}, want)
	}
}
