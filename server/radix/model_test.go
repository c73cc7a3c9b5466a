package radix

import (
	"encoding/binary"
	"fmt"
	"slices"

	"radish/server/seq"
)

// model is the slow and obvious prefix cache that the tree is judged by: a map from everything a page stands for (its
// domain and all tokens from the first to its own last) to the page. It knows no nodes, no runs and no lists.
type model struct {
	size  int
	clock int
	pages map[string]*entry
}

// entry is one cached page.
type entry struct {
	domain string
	before string // the tokens of the whole pages in front of it
	own    []seq.Token
	page   seq.Page
	used   int
	locks  int
}

func newModel(size int) *model { return &model{size: size, pages: map[string]*entry{}} }

func spell(tokens []seq.Token) string {
	var b []byte
	for _, t := range tokens {
		b = binary.BigEndian.AppendUint32(b, uint32(t))
	}
	return string(b)
}

func (m *model) key(domain string, tokens []seq.Token) string {
	return fmt.Sprintf("%q:%s", domain, spell(tokens))
}

// path returns the entries of the whole pages that begin tokens.
func (m *model) path(domain string, tokens []seq.Token) (path []*entry) {
	for n := m.size; n <= len(tokens); n += m.size {
		e := m.pages[m.key(domain, tokens[:n])]
		if e == nil {
			break
		}
		path = append(path, e)
	}
	return path
}

// children are the pages that continue the whole pages before.
func (m *model) children(domain, before string) (all []*entry) {
	for _, e := range m.pages {
		if e.domain == domain && e.before == before {
			all = append(all, e)
		}
	}
	return all
}

// shared is the most tokens that any page behind the first n tokens shares with the rest of them.
func (m *model) shared(domain string, tokens []seq.Token, n int) int {
	best := 0
	for _, e := range m.children(domain, spell(tokens[:n])) {
		best = max(best, common(e.own, tokens[n:]))
	}
	return best
}

func (m *model) use(path []*entry) {
	m.clock++
	for _, e := range path {
		e.used = m.clock
	}
}

// insert does what Insert promises and returns the pages to be freed.
func (m *model) insert(domain string, tokens []seq.Token, pages []seq.Page) (dup []seq.Page) {
	path := m.path(domain, tokens)
	for i, e := range path {
		if e.page != pages[i] && !m.owns(pages[i]) {
			dup = append(dup, pages[i])
		}
	}
	n := len(path) * m.size
	if rest := tokens[n:]; len(rest) > 0 && m.shared(domain, tokens, n) == len(rest) {
		// A page as long or longer is there: of several, the tree says which it used.
		if own := pages[len(path)]; !m.owns(own) {
			dup = append(dup, own)
		}
		m.use(path)
		return dup
	} else if len(rest) > 0 {
		dup = append(dup, m.supersede(domain, tokens, n, pages[len(path)])...)
	}
	for i := len(path); i < len(pages); i++ {
		from, to := i*m.size, min((i+1)*m.size, len(tokens))
		e := m.held(pages[i])
		if e == nil {
			e = &entry{domain: domain, page: pages[i]}
		}
		delete(m.pages, m.keyOf(e)) // its own shorter self keeps its locks
		e.before, e.own = spell(tokens[:from]), slices.Clone(tokens[from:to])
		m.pages[m.key(domain, tokens[:to])] = e
		path = append(path, e)
	}
	m.use(path)
	return dup
}

// supersede removes the entry that the page of tokens[n:] replaces, if it is not an entry already: the unlocked page
// that holds exactly what the best of its siblings share with it.
func (m *model) supersede(domain string, tokens []seq.Token, n int, page seq.Page) []seq.Page {
	if m.owns(page) {
		return nil
	}
	k := m.shared(domain, tokens, n)
	key := m.key(domain, tokens[:n+k])
	if e := m.pages[key]; k > 0 && e != nil && e.locks == 0 {
		delete(m.pages, key)
		return []seq.Page{e.page}
	}
	return nil
}

func (m *model) keyOf(e *entry) string { return fmt.Sprintf("%q:%s", e.domain, e.before+spell(e.own)) }

func (m *model) held(page seq.Page) *entry {
	for _, e := range m.pages {
		if e.page == page {
			return e
		}
	}
	return nil
}

func (m *model) owns(page seq.Page) bool { return m.held(page) != nil }

// evict removes n pages, the least recently used first and of a path the deepest first.
func (m *model) evict(n int) (freed []seq.Page) {
	for ; n > 0; n-- {
		var oldest *entry
		for _, e := range m.pages {
			if e.locks == 0 && (oldest == nil || e.used < oldest.used ||
				e.used == oldest.used && len(e.before) > len(oldest.before)) {
				oldest = e
			}
		}
		if oldest == nil {
			break
		}
		delete(m.pages, m.keyOf(oldest))
		freed = append(freed, oldest.page)
	}
	return freed
}

// lock counts a lock on every page of a path; unlock takes it back, and what is free then was used until now.
func (m *model) lock(path []*entry) {
	for _, e := range path {
		e.locks++
	}
}

func (m *model) unlock(path []*entry) {
	m.clock++
	for _, e := range path {
		if e.locks--; e.locks == 0 {
			e.used = m.clock
		}
	}
}

func (m *model) evictable() (n int) {
	for _, e := range m.pages {
		if e.locks == 0 {
			n++
		}
	}
	return n
}
