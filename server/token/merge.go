package token

// merger holds the buffers in which words are merged; they are reused from word to word.
type merger struct {
	ids  []int32  // symbols
	pair []uint64 // pair[i]: packed merge of symbol i with the one after it, or none
	next []int32  // long words: the symbol after i, len(ids) at the end
	prev []int32  // long words: the symbol before i, -1 at the beginning
	heap []uint64 // long words: rank+1 <<32 | position, smallest first
}

// shortWord is the length in symbols up to which looking for the lowest rank over and over beats a heap.
const shortWord = 48

// keepSymbols bounds the buffers that stay allocated from one text to the next.
const keepSymbols = 1 << 16

// run merges m.ids in place.
func (m *merger) run(t *mergeTable) {
	n := len(m.ids)
	if n < 2 {
		return
	}
	m.pair = m.pair[:0]
	for i := 0; i+1 < n; i++ {
		m.pair = append(m.pair, t.find(m.ids[i], m.ids[i+1]))
	}
	m.pair = append(m.pair, none)
	if n <= shortWord {
		m.runShort(t)
	} else {
		m.runLong(t)
	}
}

// runShort closes the gap after every merge: O(n²) with a small constant.
func (m *merger) runShort(t *mergeTable) {
	ids, pair := m.ids, m.pair
	for len(ids) > 1 {
		best, at := none, 0
		for i, p := range pair[:len(ids)-1] {
			if p>>32 < best>>32 {
				best, at = p, i
			}
		}
		if best == none {
			break
		}
		ids[at] = int32(uint32(best))
		ids = append(ids[:at+1], ids[at+2:]...)
		pair = append(pair[:at], pair[at+1:]...)
		pair[at] = none
		if at+1 < len(ids) {
			pair[at] = t.find(ids[at], ids[at+1])
		}
		if at > 0 {
			pair[at-1] = t.find(ids[at-1], ids[at])
		}
	}
	m.ids = ids
}

// runLong merges over a doubly linked list with a heap of candidates: O(n log n). A candidate is stale when the pair
// at its position no longer has its rank; positions never move, so a rank names one product there.
func (m *merger) runLong(t *mergeTable) {
	n := len(m.ids)
	m.link(n)
	for len(m.heap) > 0 {
		top := m.pop()
		i := int32(uint32(top))
		if m.pair[i] == none || m.pair[i]>>32 != top>>32 {
			continue
		}
		j := m.next[i]
		m.ids[i] = int32(uint32(m.pair[i]))
		m.pair[j], m.ids[j] = none, -1
		k := m.next[j]
		m.next[i], m.pair[i] = k, none
		if int(k) < n {
			m.prev[k] = i
			m.candidate(t, i, k)
		}
		if h := m.prev[i]; h >= 0 {
			m.candidate(t, h, i)
		}
	}
	kept := m.ids[:0]
	for i := 0; i < n; i = int(m.next[i]) {
		kept = append(kept, m.ids[i])
	}
	m.ids = kept
}

// link builds the list and the heap of the first candidates.
func (m *merger) link(n int) {
	m.next, m.prev, m.heap = m.next[:0], m.prev[:0], m.heap[:0]
	for i := range n {
		m.next, m.prev = append(m.next, int32(i+1)), append(m.prev, int32(i-1))
		if p := m.pair[i]; p != none {
			m.heap = append(m.heap, p>>32<<32|uint64(i))
		}
	}
	for i := len(m.heap)/2 - 1; i >= 0; i-- {
		m.down(i)
	}
}

// candidate looks up the pair of neighbours i and j anew.
func (m *merger) candidate(t *mergeTable, i, j int32) {
	p := t.find(m.ids[i], m.ids[j])
	m.pair[i] = p
	if p == none {
		return
	}
	m.heap = append(m.heap, p>>32<<32|uint64(i))
	for c := len(m.heap) - 1; c > 0; {
		up := (c - 1) / 2
		if m.heap[up] <= m.heap[c] {
			break
		}
		m.heap[up], m.heap[c] = m.heap[c], m.heap[up]
		c = up
	}
}

// pop removes the smallest candidate.
func (m *merger) pop() uint64 {
	top, last := m.heap[0], len(m.heap)-1
	m.heap[0] = m.heap[last]
	m.heap = m.heap[:last]
	m.down(0)
	return top
}

// down restores the heap's order below i.
func (m *merger) down(i int) {
	h := m.heap
	for {
		c := 2*i + 1
		if c >= len(h) {
			return
		}
		if c+1 < len(h) && h[c+1] < h[c] {
			c++
		}
		if h[i] <= h[c] {
			return
		}
		h[i], h[c] = h[c], h[i]
		i = c
	}
}

// shrink drops buffers that one very long word has grown.
func (m *merger) shrink() {
	if cap(m.ids) > keepSymbols {
		*m = merger{}
	}
}
