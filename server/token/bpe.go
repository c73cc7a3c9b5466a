package token

import (
	"fmt"
	"unicode/utf8"
)

// bpe merges the symbols of one word (Sennrich et al. 2016, arXiv:1508.07909): again and again the pair of
// neighbours with the lowest rank, the leftmost of equals, becomes one symbol.
type bpe struct {
	table    mergeTable
	whole    map[string]int32 // words that are pieces and need no merging (ignore_merges); nil otherwise
	chars    map[string]int32 // first symbols of a word of characters; nil when words are bytes
	bytes    [256]int32       // first symbols of a word of bytes, or of a character by bytes
	fallback bool             // characters outside the vocabulary become their bytes
	unk      int32            // what else stands for a symbol outside the vocabulary; -1: none
	fuseUnk  bool             // neighbouring unknown symbols are one
	longest  int              // most bytes that one token can stand for; 0: no bound
}

// newBPE prepares the merges of m. special says which ids no merge may produce: text never spells a control token.
func newBPE(m *model, byteLevel bool, special func(int32) bool) (*bpe, error) {
	b := &bpe{unk: -1, fuseUnk: m.fuseUnk}
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
		return b, b.initBytes(m, special)
	}
	return b, b.initChars(m, special)
}

// initBytes sets the first symbols of byte-level words.
func (b *bpe) initBytes(m *model, special func(int32) bool) error {
	for c := range b.bytes {
		id, ok := m.ids[string(byteRune[c])]
		if !ok && inUTF8(byte(c)) {
			return fmt.Errorf("%w: the vocabulary has no piece for byte %#02x", ErrUnsupported, c)
		}
		b.bytes[c] = id
	}
	if !m.ignoreMerges {
		return nil
	}
	b.whole = make(map[string]int32, len(m.pieces))
	var buf []byte
	for id, p := range m.pieces {
		raw, ok := appendByteLevel(buf[:0], p)
		if ok && p != "" && !special(int32(id)) {
			b.whole[string(raw)] = int32(id)
		}
		buf = raw
	}
	return nil
}

// initChars sets the first symbols of words of characters.
func (b *bpe) initChars(m *model, special func(int32) bool) error {
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
		b.whole = make(map[string]int32, len(m.ids))
		for p, id := range m.ids {
			if !special(id) {
				b.whole[p] = id
			}
		}
	}
	return nil
}

// inUTF8 reports whether a byte can occur in valid UTF-8.
func inUTF8(c byte) bool { return c < 0xC0 || c > 0xC1 && c < 0xF5 }

// symbols appends the first symbols of a word.
func (b *bpe) symbols(dst []int32, word string) []int32 {
	if b.chars == nil {
		for i := 0; i < len(word); i++ {
			dst = append(dst, b.bytes[word[i]])
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
