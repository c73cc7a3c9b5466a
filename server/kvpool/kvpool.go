// Package kvpool hands out the pages of the KV memory by number. It knows nothing of the memory itself: a page is an
// index in [0, Total) and is either free or out. Who holds the pages that are out (the prefix tree or a running
// sequence) is not its business, but Check proves that somebody does, and only one.
//
// The free pages are a stack, so the page freed last, whose memory is the likeliest to be warm, is the next one
// handed out. A run of pages that was freed together comes back in the same order, so sequences of consecutive pages
// stay consecutive as long as the pool is lightly used; nothing else is done against fragmentation, because every
// reader goes through a page table.
//
// Every operation is O(pages passed) and allocates nothing. A Pool is not safe for concurrent use: it belongs to the
// engine's goroutine.
package kvpool

import (
	"fmt"

	"radish/server/seq"
)

// Pool is a set of pages, numbered from 0.
type Pool struct {
	stack []seq.Page // free pages, the next one last
	free  []uint64   // bit p: page p is in stack
	total int
}

// New returns a pool of the given number of pages, all free. The first pages allocated are 0, 1, 2, ...
func New(pages int) *Pool {
	if pages < 0 {
		panic(fmt.Sprintf("kvpool: pool of %d pages", pages))
	}
	p := &Pool{stack: make([]seq.Page, pages), free: make([]uint64, (pages+63)/64), total: pages}
	for i := range p.stack {
		page := seq.Page(pages - 1 - i)
		p.stack[i] = page
		p.mark(page)
	}
	return p
}

// Total is the number of pages of the pool, free or not.
func (p *Pool) Total() int { return p.total }

// Available is the number of free pages.
func (p *Pool) Available() int { return len(p.stack) }

// Alloc fills dst with free pages. It reports false, and takes none, when there are fewer than len(dst).
func (p *Pool) Alloc(dst []seq.Page) bool {
	left := len(p.stack) - len(dst)
	if left < 0 {
		return false
	}
	for i := range dst {
		page := p.stack[len(p.stack)-1-i]
		p.free[page>>6] &^= 1 << (page & 63)
		dst[i] = page
	}
	p.stack = p.stack[:left]
	return true
}

// Free takes pages back. A page that is free already, or was never part of the pool, is a programming error that
// would let two sequences write to the same memory: Free panics.
func (p *Pool) Free(pages []seq.Page) {
	for i := len(pages) - 1; i >= 0; i-- {
		page := pages[i]
		if page < 0 || int(page) >= p.total {
			panic(fmt.Sprintf("kvpool: free page %d of a pool of %d", page, p.total))
		}
		if p.isFree(page) {
			panic(fmt.Sprintf("kvpool: page %d freed twice", page))
		}
		p.mark(page)
		p.stack = append(p.stack, page)
	}
}

// Check proves that every page is exactly one of free, cached and held: cached and held list the pages that the
// prefix tree and the running sequences own. Pages that a sequence shares with the tree belong to the tree alone.
// It is O(Total) and allocates; it is meant for tests and for idle moments.
func (p *Pool) Check(cached, held []seq.Page) error {
	owner := make([]string, p.total)
	for _, set := range []struct {
		name  string
		pages []seq.Page
	}{{"free", p.stack}, {"cached", cached}, {"held", held}} {
		for _, page := range set.pages {
			if page < 0 || int(page) >= p.total {
				return fmt.Errorf("check pool: %s page %d is not one of %d", set.name, page, p.total)
			}
			if owner[page] != "" {
				return fmt.Errorf("check pool: page %d is %s and %s", page, owner[page], set.name)
			}
			owner[page] = set.name
		}
	}
	for page, name := range owner {
		if name == "" {
			return fmt.Errorf("check pool: page %d is lost: neither free nor cached nor held", page)
		}
		if (name == "free") != p.isFree(seq.Page(page)) {
			return fmt.Errorf("check pool: page %d is %s, its free bit says otherwise", page, name)
		}
	}
	return nil
}

func (p *Pool) isFree(page seq.Page) bool { return p.free[page>>6]>>(page&63)&1 == 1 }

func (p *Pool) mark(page seq.Page) { p.free[page>>6] |= 1 << (page & 63) }
