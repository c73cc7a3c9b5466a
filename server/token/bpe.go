package token

import (
	"fmt"
	"unicode/utf8"
)

// bpe merges the symbols of one word (Sennrich et al. 2016, arXiv:1508.07909): again and again the pair of
// neighbours with the lowest rank, the leftmost of equals, becomes one symbol.
type bpe struct {
	table    mergeTable
	whole    map[string]int32 // pieces, where a word that is one needs no merging (ignore_merges); nil otherwise
	special  func(int32) bool // control tokens, which no text spells
	chars    map[string]int32 // first symbols of a word of characters; nil when words are bytes
	bytes    [256]int32       // first symbols of a word of bytes, or of a character by bytes
	fallback bool             // characters outside the vocabulary become their bytes
	unk      int32            // what else stands for a symbol outside the vocabulary; -1: none
	fuseUnk  bool             // neighbouring unknown symbols are one
	longest  int              // most bytes that one token can stand for; 0: no bound
}

// newBPE prepares the merges of m. special says which ids are control tokens, which no merge may produce.
func newBPE(m *model, byteLevel bool, special func(int32) bool) (*bpe, error) {
	b := &bpe{unk: -1, fuseUnk: m.fuseUnk, special: special}
	if m.unk != nil {
		id, ok := m.ids[*m.unk]
		if !ok {
			return nil, fmt.Errorf("%w: unk_token %.40q is not of the vocabulary", ErrMalformed, *m.unk)
		}
		b.unk = id
	}
	b.table = newMergeTable(m.merges, special)
	for _, p := range m.pieces {
		b.longest = max(b.longest, len(p)) // a byte-level piece spells each byte with at least one
	}
	if b.unk >= 0 && b.fuseUnk {
		b.longest = 0
	}
	if byteLevel {
		return b, b.initBytes(m)
	}
	return b, b.initChars(m)
}

// initBytes sets the first symbols of byte-level words.
func (b *bpe) initBytes(m *model) error {
	for c := range b.bytes {
		id, ok := m.ids[string(byteRune[c])]
		if !ok && inUTF8(byte(c)) && !unassigned(byte(c)) {
			return fmt.Errorf("%w: the vocabulary has no piece for byte %#02x", ErrUnsupported, c)
		}
		if !ok {
			id = b.unk
		}
		b.bytes[c] = id
	}
	if m.ignoreMerges {
		b.whole = m.ids
	}
	return nil
}

// initChars sets the first symbols of words of characters.
func (b *bpe) initChars(m *model) error {
	b.fallback = m.byteFallback
	for c := range b.bytes {
		id, ok := m.ids[fmt.Sprintf("<0x%02X>", c)]
		b.bytes[c] = id
		if b.fallback && !ok && inUTF8(byte(c)) {
			return fmt.Errorf("%w: byte_fallback without the piece <0x%02X>", ErrUnsupported, c)
		}
	}
	if !b.fallback && b.unk < 0 {
		return fmt.Errorf("%w: neither byte_fallback nor unk_token, so characters would be lost", ErrUnsupported)
	}
	b.chars = make(map[string]int32)
	for id, p := range m.pieces {
		if _, n := utf8.DecodeRuneInString(p); n == len(p) && n > 0 {
			b.chars[p] = int32(id)
		}
	}
	if m.ignoreMerges {
		b.whole = m.ids
	}
	return nil
}

// wholeWord is the piece that spells all of a word, where such words need no merging.
func (b *bpe) wholeWord(w string) (int32, bool) {
	if b.whole == nil || len(w) > maxPiece {
		return 0, false
	}
	var id int32
	var ok bool
	if b.chars == nil {
		var buf [128]byte
		spelled := buf[:0]
		for i := 0; i < len(w); i++ {
			spelled = utf8.AppendRune(spelled, byteRune[w[i]])
		}
		id, ok = b.whole[string(spelled)]
	} else {
		id, ok = b.whole[w]
	}
	return id, ok && !b.special(id)
}

// inUTF8 reports whether a byte can occur in valid UTF-8.
func inUTF8(c byte) bool { return c < 0xC0 || c > 0xC1 && c < 0xF5 }

// unassigned reports whether a byte begins only characters that Unicode has not assigned (planes 4 to 11) or left to
// private use (plane 16). Trained vocabularies (StarCoder) can lack a piece for it; like the tokenizers library, Encode
// then leaves the byte out or takes unk_token for it.
func unassigned(c byte) bool { return c == 0xF1 || c == 0xF2 || c == 0xF4 }

// symbols appends the first symbols of a word.
func (b *bpe) symbols(dst []int32, word string) []int32 {
	if b.chars == nil {
		for i := 0; i < len(word); i++ {
			if id := b.bytes[word[i]]; id >= 0 {
				dst = append(dst, id)
			}
		}
		return dst
	}
	pending := false // an unknown symbol waits for its neighbours
	for i, n := 0, 0; i < len(word); i += n {
		_, n = utf8.DecodeRuneInString(word[i:])
		id, ok := b.chars[word[i:i+n]]
		if !ok && b.fallback {
			for _, c := range []byte(word[i : i+n]) {
				dst = append(dst, b.bytes[c])
			}
			continue
		}
		if !ok && pending && b.fuseUnk {
			continue
		}
		if !ok {
			id = b.unk
		}
		dst, pending = append(dst, id), !ok
	}
	return dst
}

// mergeTable finds the merge of two symbols: a hash table with open addressing, keys in one array and packed
// (rank+1, product) in another, half full at most. Zero values mark free places.
type mergeTable struct {
	keys  []uint64
	vals  []uint64
	shift uint
}

// newMergeTable fills the table; of a pair listed twice the later entry counts, as in the tokenizers library.
func newMergeTable(merges []merge, special func(int32) bool) mergeTable {
	bits := uint(4)
	for 1<<bits < 2*len(merges) {
		bits++
	}
	t := mergeTable{make([]uint64, 1<<bits), make([]uint64, 1<<bits), 64 - bits}
	for rank, m := range merges {
		if special(m.product) {
			continue
		}
		key := pairKey(m.left, m.right)
		i := t.slot(key)
		t.keys[i], t.vals[i] = key, uint64(rank+1)<<32|uint64(m.product)
	}
	return t
}

func pairKey(left, right int32) uint64 { return uint64(uint32(left))<<32 | uint64(uint32(right)) }

// slot is where key stands or would stand.
func (t *mergeTable) slot(key uint64) uint64 {
	mask := uint64(len(t.keys) - 1)
	i := key * 0x9E3779B97F4A7C15 >> t.shift
	for t.vals[i] != 0 && t.keys[i] != key {
		i = (i + 1) & mask
	}
	return i
}

// none is the packed value of no merge: greater than every rank.
const none = ^uint64(0)

// find returns (rank+1)<<32 | product, or none.
func (t *mergeTable) find(left, right int32) uint64 {
	if v := t.vals[t.slot(pairKey(left, right))]; v != 0 {
		return v
	}
	return none
}
