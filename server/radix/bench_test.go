package radix

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"radish/server/seq"
)

const (
	benchPage   = 16
	benchPrompt = 8192
	benchLeaves = 50_000
)

// bench is a tree with a pool of numbered pages in random order, as after hours of serving.
type bench struct {
	*Tree
	r    *rand.Rand
	free []seq.Page
	dup  []seq.Page
}

func newBench(pages int) *bench {
	b := &bench{Tree: New(Options{PageSize: benchPage, Pages: pages}), r: rand.New(rand.NewPCG(1, 2))}
	for _, p := range b.r.Perm(pages) {
		b.free = append(b.free, seq.Page(p))
	}
	return b
}

func (b *bench) prompt(n int) []seq.Token {
	tokens := make([]seq.Token, n)
	for i := range tokens {
		tokens[i] = seq.Token(b.r.IntN(128_000))
	}
	return tokens
}

// take removes the pages of n tokens from the free ones. The slice is good until pages are freed.
func (b *bench) take(n int) []seq.Page {
	k := len(b.free) - (n+benchPage-1)/benchPage
	pages := b.free[k:]
	b.free = b.free[:k]
	return pages
}

// insert inserts tokens in free pages, with those of a match in front.
func (b *bench) insert(tokens []seq.Token) Ref {
	_, pages := b.Match("", tokens, nil)
	ref, dup := b.Insert("", tokens, append(pages, b.take(len(tokens)-len(pages)*benchPage)...), nil)
	b.free = append(b.free, dup...)
	return ref
}

// crowd fills the tree with 50,000 leaves of one page that part inside their first page, behind shared tokens.
func (b *bench) crowd(shared int) [][]seq.Token {
	prefix := b.prompt(shared)
	leaves := make([][]seq.Token, benchLeaves)
	for i := range leaves {
		leaves[i] = append(slices.Clone(prefix), b.prompt(benchPage-shared%benchPage)...)
		b.insert(leaves[i])
	}
	return leaves
}

// shatter makes a tree in which every page of the prompt is a node, because another prompt parts behind each.
func (b *bench) shatter(tokens []seq.Token) {
	b.insert(tokens)
	for n := benchPage; n < len(tokens); n += benchPage {
		b.insert(append(slices.Clone(tokens[:n]), b.prompt(benchPage)...))
	}
}

// median times f and reports the median in microseconds.
func median(b *testing.B, prepare, f func()) {
	times := make([]time.Duration, 0, 1<<21)
	for b.Loop() {
		prepare()
		start := time.Now()
		f()
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Nanoseconds())/1e3, "p50-us")
	b.ReportMetric(float64(times[len(times)*99/100].Nanoseconds())/1e3, "p99-us")
}

func nothing() {}

func BenchmarkMatch(b *testing.B) {
	for _, c := range []struct {
		name  string
		build func(*bench, []seq.Token)
	}{
		{"one node", func(t *bench, tokens []seq.Token) { t.insert(tokens) }},
		{"512 nodes", (*bench).shatter},
		{"512 nodes, 50000 leaves beside", func(t *bench, tokens []seq.Token) { t.shatter(tokens); t.crowd(0) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			t := newBench(120_000)
			tokens := t.prompt(benchPrompt)
			c.build(t, tokens)
			pages := make([]seq.Page, 0, benchPrompt/benchPage)
			var m Match
			b.Run("match", func(b *testing.B) {
				b.ReportAllocs()
				median(b, nothing, func() { m, _ = t.Match("", tokens, pages[:0]) })
			})
			b.Run("match and lock", func(b *testing.B) {
				b.ReportAllocs()
				t.Lock(m.Node)
				median(b, func() { t.Unlock(m.Node) }, func() {
					m, _ = t.Match("", tokens, pages[:0])
					t.Lock(m.Node)
				})
				t.Unlock(m.Node)
			})
		})
	}
}

// BenchmarkMatchCrowd looks up prompts that share some tokens with some of 50,000 children of one node.
func BenchmarkMatchCrowd(b *testing.B) {
	for _, shared := range []int{0, 7} {
		b.Run(fmt.Sprintf("shared %d", shared), func(b *testing.B) {
			t := newBench(120_000)
			leaves, i := t.crowd(shared), 0
			for _, l := range leaves {
				l[benchPage-1]++ // so that the last token is another
			}
			b.ReportAllocs()
			median(b, func() { i = t.r.IntN(len(leaves)) }, func() {
				if m, _ := t.Match("", leaves[i], nil); m.PartialTokens < benchPage-1 {
					b.Fatalf("matched %d tokens", m.PartialTokens)
				}
			})
		})
	}
}

func BenchmarkInsertFresh(b *testing.B) {
	t := newBench(120_000)
	t.crowd(0)
	tokens, pages := t.prompt(benchPrompt), slices.Clone(t.take(benchPrompt))
	freed := make([]seq.Page, 0, len(pages))
	var last Ref
	b.ReportAllocs()
	median(b, func() {
		if last != None {
			freed = t.trim(last, len(pages), freed[:0])
		}
	}, func() { last, _ = t.Insert("", tokens, pages, nil) })
}

// BenchmarkInsertSplit inserts a prompt that parts from a cached one in the middle of its 256th page.
func BenchmarkInsertSplit(b *testing.B) {
	t := newBench(120_000)
	t.crowd(0)
	tokens := t.prompt(benchPrompt)
	pages := slices.Clone(t.take(benchPrompt))
	other := append(slices.Clone(tokens[:benchPrompt/2+5]), t.prompt(64)...)
	table := append(slices.Clone(pages[:256]), t.take(len(other)-benchPrompt/2)...)
	room := make([]seq.Page, 0, len(pages))
	t.dup = make([]seq.Page, 0, len(pages))
	var whole, part Ref
	b.ReportAllocs()
	median(b, func() {
		if part != None {
			for _, leaf := range []Ref{part, whole} {
				t.dup = t.trim(leaf, int(t.nodes[leaf].pages), t.dup[:0])
			}
			upper, _ := t.Match("", tokens, room[:0])
			t.dup = t.trim(upper.Node, 256, t.dup[:0])
		}
		whole, _ = t.Insert("", tokens, pages, nil)
	}, func() { part, _ = t.Insert("", other, table, nil) })
}

// BenchmarkEvict frees one page at a time from a tree with 50,000 leaves in random places, and puts it back as another
// leaf, as a server with a full pool does.
func BenchmarkEvict(b *testing.B) {
	t := newBench(benchLeaves + 512)
	leaves := t.crowd(0)
	t.r.Shuffle(len(leaves), func(i, j int) { leaves[i], leaves[j] = leaves[j], leaves[i] })
	for _, l := range leaves {
		t.Match("", l, nil)
	}
	const batch = 64
	freed, i := make([]seq.Page, 0, batch), 0
	var spent time.Duration
	b.ReportAllocs()
	for b.Loop() {
		start := time.Now()
		freed = t.Evict(batch, freed[:0])
		spent += time.Since(start)
		for j := range freed {
			t.Insert("", leaves[i], freed[j:j+1], nil)
			i = (i + 1) % len(leaves)
		}
	}
	b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N)/batch, "ns/page-evicted")
	if err := t.Check(); err != nil || t.Cached() != benchLeaves {
		b.Fatal(t.Cached(), err)
	}
}

// TestNothingIsAllocated runs a server's day with a full pool: match, lock, copy, insert, split, evict.
func TestNothingIsAllocated(t *testing.T) {
	w := newBench(2000)
	var prompts [][]seq.Token
	system := w.prompt(100)
	for i := range 64 {
		prompts = append(prompts, append(slices.Clone(system[:60+i%40]), w.prompt(700)...))
	}
	pages, dup, i := make([]seq.Page, 0, 100), make([]seq.Page, 0, 100), 0
	day := func() {
		tokens := prompts[i%len(prompts)]
		i++
		if i%7 == 0 {
			tokens = tokens[:400+i%300]
		}
		var m Match
		m, pages = w.Match("tenant", tokens, pages[:0])
		w.Lock(m.Node)
		w.Lock(m.Source)
		need := (len(tokens)+benchPage-1)/benchPage - len(pages)
		if lack := need - len(w.free); lack > 0 {
			w.free = w.Evict(lack, w.free)
		}
		pages = append(pages, w.take(need*benchPage)...)
		w.Unlock(m.Source)
		_, dup = w.Insert("tenant", tokens, pages, dup[:0])
		w.free = append(w.free, dup...)
		w.Unlock(m.Node)
	}
	for range 2000 {
		day()
	}
	if n := testing.AllocsPerRun(2000, day); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if err := w.Check(); err != nil || w.Cached() < 1900 {
		t.Errorf("%d pages cached, %v", w.Cached(), err)
	}
}
