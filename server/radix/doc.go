// Package radix is RadixAttention's prefix tree (Zheng et al., "SGLang: Efficient Execution of Structured Language
// Model Programs", 2024): it remembers which pages of the KV pool hold the keys and values of which tokens, so that a
// sequence computes only what no sequence before it has computed.
//
// The tree holds whole pages but matches to the token. A node is a run of pages; where two sequences part inside a
// page, each has a page of its own, and Match names the page that shares the most tokens with the question, for the
// caller to copy:
//
//	m, pages := tree.Match(domain, tokens[:len(tokens)-1], pages[:0])
//	tree.Lock(m.Node)    // until the sequence gives up its pages
//	tree.Lock(m.Source)  // until the step that copies m.Partial has been launched
//	...                  // compute the rest of tokens into pages of one's own
//	ref, dup := tree.Insert(domain, tokens, pages, dup[:0])
//	pool.Free(dup)       // what the tree had already
//	tree.Unlock(m.Node)
//
// # Domains
//
// Prefixes are shared inside a domain and never across: each has its own root, found by the exact string. A domain
// whose last page is evicted leaves nothing behind.
//
// # Locks
//
// Lock(n) protects the path from the root to n. A node counts its own locks and its locked children, so a lock climbs
// only as far as nothing was locked before. If a locked node is split, the lock goes on protecting all of it.
//
// # Recency
//
// All unlocked nodes are in one list by their last use: a Match or an Insert that went through them to their end, or
// the moment their last lock was taken back. A path is moved to the front with every parent just ahead of its child,
// so a parent is always newer than its children, the last node of the list is always a leaf, and the order of
// eviction is exactly least recently used first, children before parents, without any search: when a node becomes a
// leaf, it stands where its own last use put it. Evict shortens that leaf from its end, page by page.
//
// # Memory
//
// Tokens and links are kept in tables indexed by the number of the page: 4 bytes a token and 16 bytes a page, 5 bytes
// a cached token at 16 tokens a page, and at most 60 bytes for a node with its fork. No table holds a pointer, so the
// garbage collector has nothing to scan. Tables grow to the largest page number seen, or to Options.Pages at once;
// after that no operation allocates, except that the first page of a new domain may (a map entry).
//
// # Speed
//
// Measured on 2026-11-24 on a 2-core Sapphire Rapids virtual machine, busy with other work (load 4
// to 10), by go test -bench . with pages of 16 tokens in random order. Medians (eviction: mean), no allocations:
//
//	match and lock 8,192 tokens, one node                                5 us
//	match and lock 8,192 tokens, every page a node (512, two children)  26 us  (with 50,000 other leaves: the same)
//	look up a prompt among 50,000 children that part in their first page 0.5 us
//	insert 8,192 fresh tokens beside 50,000 leaves                       5 us
//	insert 4,165 tokens that part from 8,192 in the middle of a page     3 us
//	evict, per page, 50,000 leaves of one page in random order           0.07 us (0.5 us at its worst)
package radix
