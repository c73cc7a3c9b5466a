package radix

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"radish/server/seq"
)

// chooser is where a run takes its decisions from: rapid, or a seeded generator.
type chooser func(n int) int

// world drives a tree and the model side by side, as an engine would: sequences match, lock, copy the partial page,
// compute the rest into pages of their own, insert and let go, while others evict. memory is what stands in the
// pages, so that every page returned can be compared with what it is said to hold.
type world struct {
	tree    *Tree
	model   *model
	pick    chooser
	size    int
	free    []seq.Page
	memory  map[seq.Page][]seq.Token
	running []*sequence
	tokens  int // alphabet
}

// sequence is a running request: a prefix shared with the tree, and pages of its own.
type sequence struct {
	domain string
	tokens []seq.Token
	pages  []seq.Page
	shared int // the first pages, owned by the tree
	locks  []hold
	early  bool // its short last page was inserted already
}

// hold is a lock and what it covers.
type hold struct {
	ref  Ref
	path []*entry
}

func newWorld(size, pages int, pick chooser) *world {
	w := &world{size: size, pick: pick, memory: map[seq.Page][]seq.Token{}, tokens: 2 + pick(3)}
	w.tree = New(Options{PageSize: size, Pages: pages * pick(2)})
	w.model = newModel(size)
	for p := range pages {
		w.free = append(w.free, seq.Page(p))
	}
	return w
}

// run does n random operations and checks everything after each.
func (w *world) run(n int) error {
	for i := range n {
		name, err := w.operation()
		if err == nil {
			err = w.check()
		}
		if err != nil {
			return fmt.Errorf("operation %d, %s: %w", i, name, err)
		}
	}
	return nil
}

func (w *world) operation() (string, error) {
	switch k := w.pick(20); {
	case k < 7:
		return "start", w.start()
	case k < 9:
		return "look", w.look()
	case k < 11:
		return "early insert", w.insertEarly()
	case k < 16:
		return "finish", w.finish()
	case k < 19:
		return "evict", w.evict(1 + w.pick(6))
	}
	if w.pick(8) > 0 {
		return "nothing", nil
	}
	return "reset", w.compareFreed(w.tree.Reset(nil), w.model.evict(len(w.memory)+1))
}

// text makes tokens that often repeat what was there before: a running sequence or a cached page, cut and continued.
func (w *world) text() (string, []seq.Token) {
	domain := []string{"", "a", "b"}[w.pick(3)]
	var tokens []seq.Token
	if len(w.running) > 0 && w.pick(3) == 0 {
		s := w.running[w.pick(len(w.running))]
		domain, tokens = s.domain, slices.Clone(s.tokens[:w.pick(len(s.tokens)+1)])
	}
	for range 1 + w.pick(3*w.size) {
		tokens = append(tokens, seq.Token(w.pick(w.tokens))*w.stride())
	}
	return domain, tokens
}

// stride spreads tokens over the range of their type now and then, negative ones included.
func (w *world) stride() seq.Token {
	if w.pick(50) == 0 {
		return -1 << 29
	}
	return 1
}

// match compares Match with the model and returns both.
func (w *world) match(domain string, tokens []seq.Token) (Match, []seq.Page, []*entry, error) {
	m, pages := w.tree.Match(domain, tokens, []seq.Page{-7})
	pages = pages[1:]
	path := w.model.path(domain, tokens)
	w.model.use(unlocked(path))
	whole := len(path) * w.size
	want := whole + w.model.shared(domain, tokens, whole)
	if len(pages) != len(path) || m.Tokens != want || m.PartialTokens != want-whole {
		return m, nil, nil, fmt.Errorf("matched %d pages, %d tokens, %d partial: want %d, %d, %d",
			len(pages), m.Tokens, m.PartialTokens, len(path), want, want-whole)
	}
	for i, page := range pages {
		if err := w.contains(page, tokens[i*w.size:(i+1)*w.size]); err != nil {
			return m, nil, nil, err
		}
	}
	if (m.PartialTokens > 0) != (m.Partial >= 0) || (m.Source != None) != (m.Partial >= 0) || (m.Node == None) != (whole == 0) {
		return m, nil, nil, fmt.Errorf("match %+v contradicts itself", m)
	}
	if m.Partial >= 0 {
		return m, pages, path, w.contains(m.Partial, tokens[whole:want])
	}
	return m, pages, path, nil
}

// unlocked drops the entries whose last use does not matter, because the end of their lock will be it.
func unlocked(path []*entry) []*entry {
	return slices.DeleteFunc(slices.Clone(path), func(e *entry) bool { return e.locks > 0 })
}

// contains compares a page of the shadow memory with the tokens it is said to hold.
func (w *world) contains(page seq.Page, tokens []seq.Token) error {
	if mem := w.memory[page]; len(mem) < len(tokens) || !slices.Equal(mem[:len(tokens)], tokens) {
		return fmt.Errorf("page %d holds %v, said to hold %v", page, mem, tokens)
	}
	return nil
}

func (w *world) look() error {
	_, _, _, err := w.match(w.text())
	return err
}

// cover translates a node to the pages its lock must protect, by walking up the tree, and proves that want is there.
func (w *world) cover(ref Ref, want ...seq.Page) (path []*entry, err error) {
	seen := map[seq.Page]bool{}
	for n := ref; n != None; n = w.tree.nodes[n].parent {
		for page := w.tree.nodes[n].head; page >= 0; page = w.tree.leaves[page].next {
			seen[page] = true
			path = append(path, w.model.held(page))
		}
	}
	for _, page := range want {
		if !seen[page] {
			return nil, fmt.Errorf("node %d does not cover page %d", ref, page)
		}
	}
	return path, nil
}

// lock locks ref for s in tree and model.
func (w *world) lock(s *sequence, ref Ref, want ...seq.Page) error {
	path, err := w.cover(ref, want...)
	w.tree.Lock(ref)
	w.model.lock(path)
	s.locks = append(s.locks, hold{ref, path})
	return err
}

func (w *world) unlock(h hold) {
	w.tree.Unlock(h.ref)
	if h.ref != None {
		w.model.unlock(h.path)
	}
}

// alloc takes a page, evicting if it must; -1 when everything is locked.
func (w *world) alloc() (seq.Page, error) {
	if len(w.free) == 0 {
		if err := w.evict(1); err != nil || len(w.free) == 0 {
			return -1, err
		}
	}
	page := w.free[len(w.free)-1]
	w.free = w.free[:len(w.free)-1]
	w.memory[page] = make([]seq.Token, 0, w.size)
	return page, nil
}

func (w *world) start() error {
	domain, tokens := w.text()
	m, pages, _, err := w.match(domain, tokens)
	if err != nil || len(w.running) > 5 {
		return err
	}
	s := &sequence{domain: domain, tokens: tokens[:m.Tokens-m.PartialTokens], pages: pages, shared: len(pages)}
	err = w.lock(s, m.Node, pages...)
	if err == nil && len(s.locks[0].path) != len(pages) {
		err = fmt.Errorf("node %d covers %d pages of the %d matched", m.Node, len(s.locks[0].path), len(pages))
	}
	if err == nil && m.Partial >= 0 {
		err = w.lock(s, m.Source, m.Partial)
	}
	if err != nil {
		return err
	}
	w.running = append(w.running, s)
	if m.Partial >= 0 { // the step's PageCopy: the lock must have kept the source as it was
		own, err := w.alloc()
		if err == nil && own >= 0 {
			err = w.contains(m.Partial, tokens[len(s.tokens):m.Tokens])
			w.memory[own] = append(w.memory[own], w.memory[m.Partial][:m.PartialTokens]...)
			s.pages, s.tokens = append(s.pages, own), tokens[:m.Tokens]
		}
		if err != nil {
			return err
		}
	}
	if len(s.tokens) < m.Tokens {
		return nil
	}
	return w.compute(s, tokens[m.Tokens:])
}

// compute writes more tokens into s's own pages, as far as there are pages.
func (w *world) compute(s *sequence, more []seq.Token) error {
	for _, token := range more {
		if len(s.tokens) == len(s.pages)*w.size {
			page, err := w.alloc()
			if err != nil || page < 0 {
				return err
			}
			s.pages = append(s.pages, page)
		}
		last := s.pages[len(s.pages)-1]
		w.memory[last] = append(w.memory[last], token)
		s.tokens = append(s.tokens[:len(s.tokens):len(s.tokens)], token)
	}
	return nil
}

// insert gives all of s to both sides, and returns the node.
func (w *world) insert(s *sequence) (Ref, error) {
	before, version, cached := w.model.shared(s.domain, s.tokens, 0), w.tree.Version(), w.tree.Cached()
	ref, dup := w.tree.Insert(s.domain, s.tokens, s.pages, []seq.Page{-7})
	want := w.model.insert(s.domain, s.tokens, s.pages)
	if err := w.compareFreed(dup[1:], want); err != nil {
		return ref, err
	}
	if (w.tree.Cached() > cached || w.model.shared(s.domain, s.tokens, 0) > before) && w.tree.Version() == version {
		return ref, fmt.Errorf("version stayed %d", version)
	}
	if len(s.tokens) == 0 {
		return ref, nil
	}
	path := w.model.path(s.domain, s.tokens)
	cover, err := w.cover(ref)
	if err == nil && len(cover) != len(s.pages) {
		err = fmt.Errorf("node %d covers %d pages of %d", ref, len(cover), len(s.pages))
	}
	if last := len(s.pages) - 1; err == nil && len(path) == last {
		w.model.use(unlocked(cover)) // the page that held the short end already was used, too
	}
	return ref, err
}

// insertEarly inserts what a running sequence computed and lets it go on: with its whole pages, or also with the short
// last one, to which it then writes on.
func (w *world) insertEarly() error {
	if len(w.running) == 0 {
		return nil
	}
	s := w.running[w.pick(len(w.running))]
	part := *s
	if w.pick(2) == 0 {
		part.pages = s.pages[:len(s.tokens)/w.size]
		part.tokens = s.tokens[:len(part.pages)*w.size]
	}
	own := part.pages[min(s.shared, len(part.pages)):]
	ref, err := w.insert(&part)
	if err != nil {
		return err
	}
	// It keeps the locks it has, takes one on the new node, and stops if any of its pages went to others: an engine
	// would go on with the tree's page instead.
	if err := w.lock(s, ref); err != nil {
		return err
	}
	for _, page := range own {
		if w.model.held(page) == nil {
			return w.drop(s)
		}
	}
	s.shared = max(s.shared, len(part.pages))
	_, tokens := w.text()
	if w.pick(2) == 0 {
		return w.compute(s, tokens)
	}
	return nil
}

// drop ends s without inserting it: its locks and its own pages come back.
func (w *world) drop(s *sequence) error {
	for _, page := range s.pages {
		if w.model.held(page) == nil && !slices.Contains(w.free, page) {
			w.free = append(w.free, page)
		}
	}
	for _, h := range s.locks {
		w.unlock(h)
	}
	w.running = slices.DeleteFunc(w.running, func(r *sequence) bool { return r == s })
	return nil
}

func (w *world) finish() error {
	if len(w.running) == 0 {
		return nil
	}
	s := w.running[w.pick(len(w.running))]
	if w.pick(6) == 0 {
		return w.drop(s) // cancelled
	}
	if w.pick(2) == 0 && len(s.locks) > 1 { // the copy is long done
		w.unlock(s.locks[1])
		s.locks = slices.Delete(s.locks, 1, 2)
		if s.shared*w.size < len(s.tokens) && w.model.held(s.pages[len(s.pages)-1]) != nil {
			return w.drop(s)
		}
	}
	if _, err := w.insert(s); err != nil {
		return err
	}
	return w.drop(s)
}

func (w *world) evict(n int) error {
	return w.compareFreed(w.tree.Evict(n, nil), w.model.evict(n))
}

// compareFreed demands the same pages in the same order, and frees them.
func (w *world) compareFreed(got, want []seq.Page) error {
	if !slices.Equal(got, want) {
		return fmt.Errorf("freed %v, want %v", got, want)
	}
	w.free = append(w.free, got...)
	for _, page := range got {
		delete(w.memory, page)
	}
	return nil
}

func (w *world) check() error {
	if err := w.tree.Check(); err != nil {
		return err
	}
	var want []seq.Page
	domains := map[string]bool{}
	for _, e := range w.model.pages {
		want = append(want, e.page)
		domains[e.domain] = true
		if err := w.contains(e.page, e.own); err != nil {
			return fmt.Errorf("the model is wrong: %w", err)
		}
	}
	slices.Sort(want)
	if got := w.tree.Pages(nil); !slices.Equal(got, want) {
		return fmt.Errorf("tree holds %v, want %v", got, want)
	}
	if w.tree.Cached() != len(want) || w.tree.Evictable() != w.model.evictable() || len(w.tree.roots) != len(domains) {
		return fmt.Errorf("%d cached, %d evictable, %d domains: want %d, %d, %d", w.tree.Cached(),
			w.tree.Evictable(), len(w.tree.roots), len(want), w.model.evictable(), len(domains))
	}
	return nil
}

var pageSizes = []int{1, 4, 16}

func TestTreeIsTheModel(t *testing.T) {
	for _, size := range pageSizes {
		t.Run(fmt.Sprint("page ", size), rapid.MakeCheck(func(t *rapid.T) {
			w := newWorld(size, 8+60/size, func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "") })
			if err := w.run(40); err != nil {
				t.Fatal(err)
			}
		}))
	}
}

func TestLongRuns(t *testing.T) {
	for _, size := range pageSizes {
		for range 8 {
			seed := rand.Uint64()
			t.Logf("page %d, seed %d", size, seed)
			r := rand.New(rand.NewPCG(seed, 0))
			if err := newWorld(size, 40, r.IntN).run(2000); err != nil {
				t.Fatalf("page %d, seed %d: %v", size, seed, err)
			}
		}
	}
}

func FuzzTree(f *testing.F) {
	f.Add([]byte("radix"), uint8(0))
	f.Add([]byte{0, 9, 3, 200, 7, 11, 0, 0, 14, 2, 5, 5, 5}, uint8(2))
	f.Fuzz(func(t *testing.T, data []byte, size uint8) {
		data = data[:min(len(data), 4096)]
		at := 0
		w := newWorld(pageSizes[int(size)%len(pageSizes)], 12, func(n int) int {
			if at == len(data) {
				return 0
			}
			at++
			return int(data[at-1]) % n
		})
		for at < len(data) {
			if err := w.run(1); err != nil {
				t.Fatal(err)
			}
		}
	})
}
