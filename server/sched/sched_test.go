package sched

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"radish/server/seq"
)

func tokens(first, n int) []seq.Token {
	ts := make([]seq.Token, n)
	for i := range ts {
		ts[i] = seq.Token(first + i)
	}
	return ts
}

// rig drives a scheduler as the engine does, but collects each step before the next.
type rig struct {
	*Scheduler
	t      testing.TB
	lastID seq.ID
	batch  seq.Batch
	order  []seq.ID // of admissions
	ended  []*Task
}

func newRig(t testing.TB, cfg Config) *rig {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &rig{Scheduler: s, t: t}
}

func (r *rig) add(prompt []seq.Token, most int) *Task {
	r.t.Helper()
	r.lastID++
	t := &Task{Seq: seq.Seq{ID: r.lastID, Tokens: prompt, Params: seq.Params{MaxTokens: most, PromptLogprobs: -1}}}
	if err := r.Add(t); err != nil {
		r.t.Fatal(err)
	}
	return t
}

// step runs one step; every sampled token is 9.
func (r *rig) step() bool {
	r.t.Helper()
	if !r.Next(&r.batch) {
		return false
	}
	for i := range r.batch.Rows {
		if r.batch.Rows[i].Fresh != nil {
			r.order = append(r.order, r.batch.Rows[i].ID)
		}
	}
	r.collect()
	if err := r.Check(); err != nil {
		r.t.Fatal(err)
	}
	return true
}

func (r *rig) collect() {
	for _, row := range r.Oldest().Rows {
		t := row.Task
		if t.Ended() || !row.Sample {
			continue
		}
		t.Tokens, t.Pending = append(t.Tokens, 9), t.Pending-1
		if t.Generated() >= t.Params.MaxTokens {
			r.Finish(t)
			r.ended = append(r.ended, t)
		}
	}
	r.Collected()
}

func (r *rig) run(most int) {
	r.t.Helper()
	for range most {
		if !r.step() {
			return
		}
	}
	r.t.Fatalf("still busy after %d steps: %d run, %d wait", most, r.RunningCount(), r.Waiting())
}

func one() Config {
	return Config{Pages: 64, PageSize: 4, MaxSeqs: 1, ChunkTokens: 64, ContextLength: 256}
}

func TestParsePolicy(t *testing.T) {
	for _, p := range []Policy{FCFS, LPM, DFSWeight, Random, Priority} {
		if got, err := ParsePolicy(p.String()); got != p || err != nil {
			t.Errorf("parse %q: %v, %v", p, got, err)
		}
	}
	if _, err := ParsePolicy("lifo"); err == nil {
		t.Error("an unknown policy was accepted")
	}
}

func TestQueueIsAHeap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var q queue
	var all []*Task
	for i := range 300 {
		task := &Task{Seq: seq.Seq{ID: seq.ID(i + 1)}, place: place{key: rng.Int64N(20), group: rng.Uint64N(3)}}
		q.push(task)
		all = append(all, task)
	}
	for range 100 {
		task := all[rng.IntN(len(all))]
		task.place.key = rng.Int64N(20)
		q.fix(task)
	}
	for range 100 {
		i := rng.IntN(len(all))
		q.remove(all[i])
		all = slices.Delete(all, i, i+1)
	}
	slices.SortFunc(all, func(a, b *Task) int {
		if before(a, b) {
			return -1
		}
		return 1
	})
	for i, want := range all {
		if got := q.pop(); got != want {
			t.Fatalf("pop %d: %d, want %d", i, got.ID, want.ID)
		}
	}
}

// TestOrder lets each policy admit the same five sequences through one slot.
func TestOrder(t *testing.T) {
	for _, c := range []struct {
		policy Policy
		why    string
		want   []seq.ID
	}{
		{FCFS, "as they came", []seq.ID{1, 2, 3, 4, 5, 6}},
		{LPM, "5 and then 3 find most of the first one's tokens", []seq.ID{1, 5, 3, 2, 4, 6}},
		{DFSWeight, "2, 4 and 6 begin alike, 3 and 5 like nobody", []seq.ID{1, 2, 4, 6, 5, 3}},
		{Priority, "4 has the highest", []seq.ID{1, 4, 2, 3, 5, 6}},
	} {
		cfg := one()
		cfg.Policy = c.policy
		r := newRig(t, cfg)
		first := r.add(tokens(0, 40), 2)
		r.step()
		for id, prompt := range [][]seq.Token{
			slices.Concat(tokens(300, 8), tokens(0, 8)),
			slices.Concat(tokens(0, 20), tokens(100, 4)),
			slices.Concat(tokens(300, 8), tokens(50, 8)),
			slices.Concat(tokens(0, 36), tokens(100, 4)),
			slices.Concat(tokens(300, 8), tokens(90, 8)),
		} {
			if c.policy == DFSWeight && (id == 1 || id == 3) {
				prompt[0] += seq.Token(1000 * id) // no relatives
			}
			r.lastID++
			task := &Task{Seq: seq.Seq{ID: r.lastID, Tokens: prompt, Params: seq.Params{MaxTokens: 1, PromptLogprobs: -1}}}
			if r.lastID == 4 {
				task.Priority = 5
			}
			if err := r.Add(task); err != nil {
				t.Fatal(err)
			}
		}
		r.run(100)
		if first.Ended(); !slices.Equal(r.order, c.want) {
			t.Errorf("%v: admitted %v, want %v: %s", c.policy, r.order, c.want, c.why)
		}
	}
}

func TestRandomIsSeeded(t *testing.T) {
	order := func(seed uint64) []seq.ID {
		cfg := one()
		cfg.Policy, cfg.Seed = Random, seed
		r := newRig(t, cfg)
		for i := range 20 {
			r.add(tokens(i, 3), 1)
		}
		r.run(100)
		return r.order
	}
	if a := order(1); !slices.Equal(a, order(1)) || slices.Equal(a, order(2)) || slices.IsSorted(a) {
		t.Errorf("orders: %v, %v", a, order(2))
	}
}

// TestNobodyStarves floods the queue with what each policy likes better; the plain sequence must still get its turn.
func TestNobodyStarves(t *testing.T) {
	for _, policy := range []Policy{FCFS, LPM, DFSWeight, Random, Priority} {
		cfg := one()
		cfg.Policy = policy
		r := newRig(t, cfg)
		r.add(tokens(0, 100), 1)
		r.run(10)
		plain := r.add(tokens(500, 10), 1)
		for i := 0; !plain.Ended(); i++ {
			if i > maxPriority*agePriority {
				t.Fatalf("%v: the plain sequence still waits after %d others", policy, i)
			}
			task := r.add(append(tokens(0, 90), seq.Token(1000+i)), 1)
			task.Priority = 3
			r.rank(task)
			r.queue.fix(task)
			r.step()
		}
	}
}

func TestSmallOnesPassABigOneButNotForEver(t *testing.T) {
	cfg := one()
	cfg.MaxSeqs, cfg.Pages = 8, 40
	r := newRig(t, cfg)
	r.add(tokens(0, 60), 60) // holds half of the pool for a while
	r.step()
	big := r.add(tokens(200, 120), 1)
	for i := range 200 {
		if r.Waiting() < 4 {
			r.add(tokens(1000+10*i, 6), 2)
		}
		r.step()
		if big.Ended() {
			break
		}
	}
	at := slices.Index(r.order, big.ID)
	if at < 3 || at > maxPassed+12 {
		t.Errorf("the big sequence was admission %d of %d", at, len(r.order))
	}
}

func TestTheOldestIsNeverRetracted(t *testing.T) {
	cfg := one()
	cfg.MaxSeqs, cfg.Pages, cfg.Conservativeness = 4, 24, 0.001
	r := newRig(t, cfg)
	oldest := r.add(tokens(0, 4), 80) // the cheapest to recompute
	for i := range 3 {
		r.add(tokens(100*i+100, 16), 70)
	}
	r.run(2000)
	if oldest.Retracts != 0 || r.stats.Retracts == 0 {
		t.Errorf("the oldest was retracted %d times of %d", oldest.Retracts, r.stats.Retracts)
	}
	if r.ended[0] != oldest {
		t.Errorf("sequence %d ended first", r.ended[0].ID)
	}
}

func TestDecodeRowsComeFirst(t *testing.T) {
	cfg := one()
	cfg.MaxSeqs, cfg.ChunkTokens = 3, 16
	r := newRig(t, cfg)
	r.add(tokens(0, 10), 50)
	r.step()
	r.add(tokens(100, 40), 1)
	r.add(tokens(200, 2), 1)
	r.Next(&r.batch)
	if rows := r.batch.Rows; len(rows) != 2 || rows[0].ID != 1 || rows[0].Tokens != nil || rows[1].N != 15 || rows[1].Sample {
		t.Errorf("first mixed step: %+v", rows)
	}
	r.collect()
	r.step()
	r.Next(&r.batch)
	if rows := r.batch.Rows; len(rows) != 3 || rows[1].N != 10 || !rows[1].Sample || rows[2].N != 2 || rows[2].Fresh == nil {
		t.Errorf("two chunks share a step: %+v", rows)
	}
	r.collect()
}

func TestTooLongIsRefused(t *testing.T) {
	r := newRig(t, one())
	err := r.Add(&Task{Seq: seq.Seq{ID: 1, Tokens: tokens(0, 200), Params: seq.Params{MaxTokens: 57}}})
	if !errors.Is(err, ErrTooLong) {
		t.Errorf("add: %v", err)
	}
	if _, err := New(Config{Pages: 1, PageSize: 1, MaxSeqs: 0, ContextLength: 1}); err == nil {
		t.Error("a scheduler without slots was made")
	}
}

// crowd is a scheduler with a full house: 256 sequences decode, the others wait.
func crowd(t testing.TB, policy Policy, waiting int) *rig {
	r := newRig(t, Config{Pages: 1 << 17, PageSize: 16, MaxSeqs: 256, ChunkTokens: 8192, ContextLength: 8192, Policy: policy})
	for i := range 256 + waiting {
		r.add(tokens(i*7, 128), 8000)
	}
	for r.RunningCount() < 256 {
		r.step()
	}
	for range 64 {
		r.tick()
	}
	return r
}

// tick is step without its checks.
func (r *rig) tick() {
	r.Next(&r.batch)
	r.collect()
}

func TestSteadyStepsAllocateNothing(t *testing.T) {
	r := crowd(t, LPM, 100)
	for _, task := range r.running { // room for what the test appends
		task.Tokens, task.Pages = slices.Grow(task.Tokens, 500), slices.Grow(task.Pages, 50)
	}
	if n := testing.AllocsPerRun(200, r.tick); n != 0 {
		t.Errorf("%v allocations in a decode step", n)
	}
}

func BenchmarkStep(b *testing.B) {
	for _, policy := range []Policy{FCFS, LPM, DFSWeight, Priority} {
		b.Run(fmt.Sprintf("%v/waiting=1000,running=256", policy), func(b *testing.B) {
			r := crowd(b, policy, 1000)
			b.ReportAllocs()
			for b.Loop() {
				if r.running[0].Generated() > 7000 {
					b.StopTimer()
					r = crowd(b, policy, 1000)
					b.StartTimer()
				}
				r.tick()
			}
		})
	}
}

// BenchmarkTurnover is a step in which a sequence ends and another of 1,000 waiting ones is admitted, 2,048 tokens long,
// half of them cached, by a tree that changes all the time.
func BenchmarkTurnover(b *testing.B) {
	for _, policy := range []Policy{FCFS, LPM, DFSWeight} {
		b.Run(policy.String(), func(b *testing.B) {
			r := newRig(b, Config{Pages: 1 << 15, PageSize: 16, MaxSeqs: 64, ChunkTokens: 8192, ContextLength: 8192, Policy: policy})
			prompt := func(i int) []seq.Token { return append(tokens(1e6*(i%10), 1024), tokens(2e7+2000*i, 1024)...) }
			n := 0
			fill := func() {
				for r.Waiting() < 1000 {
					r.add(prompt(n), 40)
					n++
				}
			}
			fill()
			for range 200 {
				r.tick()
				fill()
			}
			steps := 0
			for b.Loop() {
				r.tick()
				if steps++; r.Waiting() < 900 {
					b.StopTimer()
					fill()
					b.StartTimer()
				}
			}
			b.ReportMetric(float64(r.tickets)/float64(steps+200), "admissions/step")
		})
	}
}
