package cuda

import (
	"math/rand/v2"
	"testing"

	"radish/kernels"
)

// anyLayout has up to nine sequences over pages that some of them share.
func anyLayout(rng *rand.Rand, size int) *kernels.Ragged {
	r := &kernels.Ragged{RowStart: []int32{0}, PageStart: []int32{0}}
	var before []int32 // page table of some earlier sequence
	for next, n := int32(0), 1+rng.IntN(16); len(r.Start) < n; {
		rows := []int32{0, 1, 1, 1, 2, 7, 40, 300}[rng.IntN(8)]
		start := rng.Int32N([]int32{1, 1000, 9000, 20000}[rng.IntN(4)])
		var table []int32
		if len(before) > 0 && rng.IntN(3) > 0 {
			table = append(table, before[:min(len(before)*(1+rng.IntN(3))/3, int(start)/size)]...)
		}
		for int32(len(table)*size) < start+rows {
			table, next = append(table, next), next+1
		}
		if len(before) < 100 || rng.IntN(9) == 0 {
			before = table
		}
		r.Start = append(r.Start, start)
		r.RowStart = append(r.RowStart, r.RowStart[len(r.RowStart)-1]+rows)
		r.Pages = append(r.Pages, table...)
		r.PageStart = append(r.PageStart, int32(len(r.Pages)))
	}
	return r
}

// TestPlan requires of random steps that the items of each row cover the keys that it may see once and in its own pages,
// that their partial results have slots of their own, and that none lies outside the scratch.
func TestPlan(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 1))
	shared := 0
	b, o, p := &Backend{}, &planner{gain: 1 << 20}, &plan{} // no card is asked; memory is used again from step to step
	for try := range 120 {
		size := []int{1, 4, 12, 16, 64}[rng.IntN(5)]
		group := []int{1, 2, 4, 7, 16}[rng.IntN(5)]
		window := []int32{0, 0, 0, 17, 300, 5000}[rng.IntN(6)]
		slots := []int{60, 4000, 4000}[rng.IntN(3)]
		layout := anyLayout(rng, size)
		h := kernels.Heads{Q: 8 * group, KV: 8, Dim: 256}
		b.Begin(layout)
		p.heads, p.window, p.size, p.slots = h, window, size, slots
		o.make(p, &b.step, 132, rng.IntN(5) == 0)
		s := &b.step
		shared += min(1, len(o.segments))
		if bad := o.check(s, layout); bad != "" {
			t.Fatalf("try %d (size %d, group %d, window %d, slots %d): %s\n%+v", try, size, group, window, slots, bad, layout)
		}
	}
	if shared < 10 {
		t.Errorf("%d of the steps had a shared segment", shared)
	}
}

// check follows every item of every row.
func (o *planner) check(s *step, l *kernels.Ragged) string {
	seen, parts, wave := make([][]bool, len(s.pos)), make([]map[int32]bool, len(s.pos)), make([]int, len(s.pos))
	total := make([]int32, len(s.pos))
	for i := range seen {
		seen[i], parts[i] = make([]bool, s.pos[i]+1), map[int32]bool{}
	}
	for w := range o.waves {
		owner := map[int32]int32{}
		for kind, p := range []pass{o.waves[w].tall, o.waves[w].short} {
			for _, it := range p.items {
				if it.n <= 0 || it.from >= it.end || int(it.n*o.group) > []int{tileRows, shortTile}[kind] || kind == 1 && it.end-it.from > mostKeys {
					return "an item of a wrong size"
				}
				for _, r := range o.rows[it.first : it.first+it.n] {
					row := r.row
					if r.pos != s.pos[row] || total[row] != 0 && total[row] != r.parts {
						return "a row is listed wrongly"
					}
					total[row] = r.parts
					if (r.parts == 1) != (o.rows[it.first].parts == 1) {
						return "some rows of an item are whole, others are not"
					}
					if parts[row][it.part] || it.part >= r.parts || it.part < 0 {
						return "a part twice or out of range"
					}
					if parts[row][it.part] = true; len(parts[row]) > 1 && wave[row] != w {
						return "a row in two waves"
					}
					wave[row] = w
					if r.parts > 1 {
						slot := r.slot + it.part
						if _, taken := owner[slot]; taken || int(slot) >= o.slots {
							return "a slot taken twice, or outside the scratch"
						}
						owner[slot] = row
					}
					mine := l.Pages[l.PageStart[s.seq[row]]:l.PageStart[s.seq[row]+1]]
					for p := it.from; p < it.end; p++ {
						if p > s.pos[row] || o.window > 0 && p <= s.pos[row]-o.window {
							continue
						}
						if seen[row][p] {
							return "a key twice"
						}
						if seen[row][p] = true; l.Pages[int(it.table)+int(p)/o.size] != mine[int(p)/o.size] {
							return "a foreign page"
						}
					}
				}
			}
		}
	}
	for row, pos := range s.pos {
		want := pos + 1
		if o.window > 0 {
			want = min(want, o.window)
		}
		have := int32(0)
		for _, ok := range seen[row] {
			if ok {
				have++
			}
		}
		if have != want || len(parts[row]) != int(total[row]) {
			return "keys or parts are missing"
		}
	}
	return ""
}
