package kvpool

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"radish/server/seq"
)

// TestPoolIsASet drives the pool against the set of the pages that are out.
func TestPoolIsASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := rapid.IntRange(0, 140).Draw(t, "total")
		p := New(total)
		var out []seq.Page
		t.Repeat(map[string]func(*rapid.T){
			"alloc": func(t *rapid.T) {
				dst := make([]seq.Page, rapid.IntRange(0, 20).Draw(t, "n"))
				for i := range dst {
					dst[i] = -1
				}
				if ok := p.Alloc(dst); ok != (len(dst) <= total-len(out)) {
					t.Fatalf("%d of %d out, Alloc of %d says %v", len(out), total, len(dst), ok)
				} else if ok {
					out = append(out, dst...)
				} else if slices.ContainsFunc(dst, func(p seq.Page) bool { return p != -1 }) {
					t.Fatalf("a refused Alloc wrote %v", dst)
				}
			},
			"free": func(t *rapid.T) {
				i := rapid.IntRange(0, len(out)).Draw(t, "from")
				j := rapid.IntRange(i, len(out)).Draw(t, "to")
				p.Free(out[i:j])
				out = slices.Delete(out, i, j)
			},
			"": func(t *rapid.T) {
				if p.Available() != total-len(out) || p.Total() != total {
					t.Fatalf("%d available of %d, %d out of %d", p.Available(), p.Total(), len(out), total)
				}
				half := len(out) / 2
				if err := p.Check(out[:half], out[half:]); err != nil {
					t.Fatal(err)
				}
			},
		})
	})
}

// TestRunsComeBackInOrder: what was freed together is handed out next, in the same order.
func TestRunsComeBackInOrder(t *testing.T) {
	p := New(10)
	run, again := make([]seq.Page, 4), make([]seq.Page, 4)
	p.Alloc(run)
	if !slices.Equal(run, []seq.Page{0, 1, 2, 3}) {
		t.Errorf("first pages are %v", run)
	}
	p.Free(run)
	p.Alloc(again)
	if !slices.Equal(run, again) {
		t.Errorf("freed %v, then got %v", run, again)
	}
}

func TestMisusePanics(t *testing.T) {
	for name, misuse := range map[string]func(*Pool){
		"freed twice":      func(p *Pool) { p.Free([]seq.Page{1, 1}) },
		"never allocated":  func(p *Pool) { p.Free([]seq.Page{3}) },
		"beyond the pool":  func(p *Pool) { p.Free([]seq.Page{4}) },
		"negative":         func(p *Pool) { p.Free([]seq.Page{-1}) },
		"pool of -1 pages": func(*Pool) { New(-1) },
	} {
		t.Run(name, func(t *testing.T) {
			p := New(4)
			p.Alloc(make([]seq.Page, 3))
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			misuse(p)
		})
	}
}

func TestCheckFindsFaults(t *testing.T) {
	for _, c := range []struct {
		want         string
		cached, held []seq.Page
		damage       func(*Pool)
	}{
		{want: "page 2 is lost", cached: []seq.Page{0}, held: []seq.Page{1}},
		{want: "page 1 is cached and held", cached: []seq.Page{0, 1}, held: []seq.Page{1, 2}},
		{want: "page 0 is cached and cached", cached: []seq.Page{0, 0}, held: []seq.Page{1, 2}},
		{want: "page 3 is free and held", cached: []seq.Page{0}, held: []seq.Page{1, 2, 3}},
		{want: "held page 4 is not one of 4", held: []seq.Page{0, 1, 2, 4}},
		{want: "free bit", held: []seq.Page{0, 1, 2}, damage: func(p *Pool) { p.mark(2) }},
	} {
		p := New(4)
		p.Alloc(make([]seq.Page, 3))
		if c.damage != nil {
			c.damage(p)
		}
		if err := p.Check(c.cached, c.held); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Check(%v, %v) = %v, want %q", c.cached, c.held, err, c.want)
		}
	}
}

func TestNothingIsAllocated(t *testing.T) {
	p, pages := New(1000), make([]seq.Page, 100)
	if n := testing.AllocsPerRun(100, func() {
		p.Alloc(pages)
		p.Free(pages)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAllocFree(b *testing.B) {
	p, pages := New(100_000), make([]seq.Page, 512)
	for b.Loop() {
		p.Alloc(pages)
		p.Free(pages)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/512, "ns/page")
}
