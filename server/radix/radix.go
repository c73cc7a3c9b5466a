// Package radix is the prefix tree of the KV cache.
package radix

import "radish/server/seq"

// Options of a Tree.
type Options struct {
	PageSize int // positions per page, >= 1
	Pages    int // pages of the pool, to size the tables once; they grow on demand if it is 0 or too small
}

// Ref names a node of the tree, that is a path from a root.
type Ref int32

// None is no node. It may be locked and unlocked, to no effect.
const None Ref = 0

// Match is what the tree knows of a token sequence.
type Match struct {
	Node          Ref      // holds the last whole page matched; None when there is none. Lock it for as long as the pages are read
	Tokens        int      // whole pages matched * PageSize + PartialTokens
	Partial       seq.Page // page whose first PartialTokens positions continue the whole pages; -1 when none
	PartialTokens int      // 0 <= PartialTokens < PageSize
	Source        Ref      // holds Partial; None when none. Lock it from Match until the copy is launched
}

// Tree is the prefix tree.
type Tree struct{ version uint64 }

// New returns an empty tree.
func New(o Options) *Tree { return &Tree{} }

// Match finds the longest cached prefix of tokens.
func (t *Tree) Match(domain string, tokens []seq.Token, pages []seq.Page) (Match, []seq.Page) {
	return Match{Partial: -1}, pages
}

// Insert records that the keys and values of tokens stand in pages.
func (t *Tree) Insert(domain string, tokens []seq.Token, pages []seq.Page, dup []seq.Page) (Ref, []seq.Page) {
	return None, append(dup, pages...)
}

// Lock protects the path from the root to n.
func (t *Tree) Lock(n Ref) {}

// Unlock takes one Lock back.
func (t *Tree) Unlock(n Ref) {}

// Evict frees n pages if it can.
func (t *Tree) Evict(n int, freed []seq.Page) []seq.Page { return freed }

// Evictable is the number of pages that Evict could free.
func (t *Tree) Evictable() int { return 0 }

// Cached is the number of pages in the tree.
func (t *Tree) Cached() int { return 0 }

// Pages appends all pages of the tree to dst.
func (t *Tree) Pages(dst []seq.Page) []seq.Page { return dst }

// Reset drops everything unlocked.
func (t *Tree) Reset(freed []seq.Page) []seq.Page { return freed }

// Version changes when a match could have become longer.
func (t *Tree) Version() uint64 { return t.version }

// Check proves every invariant.
func (t *Tree) Check() error { return nil }
