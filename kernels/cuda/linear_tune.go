package cuda

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"radish/kernels"
	"radish/kernels/cuda/driver"
	"radish/kernels/cuda/image"
)

// tuned is what was found about products on this card with this driver, library and code: own kernels or which of the
// library's candidates. It is found when a product of a new shape is queued for the first time, in some milliseconds, and
// kept in a file, so that the next start finds it.
type tuned struct {
	path   string         // "": not kept
	Key    string         `json:"key"`
	Choice map[string]int `json:"choice"` // by shape; ownKernel, or the library's candidate
	room   driver.Ptr     // for trial results
}

const (
	ownKernel  = -1
	widestTry  = 1024      // rows; beyond, the choice is that of so many
	candidates = 8         // of the library's, best guess first
	tryWeights = 8         // of as many layers, so that the cache does not flatter
	trySums    = 160 << 20 // bytes of results
	tryFused   = 32 << 20  // bytes of a fused form's results, behind them
)

// bucket is the number of rows that stands for n in tuning.
func bucket(n int) int {
	for size := 8; size < widestTry; size *= 2 {
		if n <= size {
			return size
		}
	}
	return widestTry
}

// readTuned reads what the file holds of this card and code; nothing, if it is not there or about something else.
func readTuned(path string, c Card, lt *driver.Lt) *tuned {
	t := &tuned{path: path, Key: tuningKey(c, lt), Choice: map[string]int{}}
	text, err := os.ReadFile(path)
	var old tuned
	if err == nil && json.Unmarshal(text, &old) == nil && old.Key == t.Key && old.Choice != nil {
		t.Choice = old.Choice
	}
	return t
}

// tuningKey names all that the choice depends on.
func tuningKey(c Card, lt *driver.Lt) string {
	m, err := image.ReadManifest()
	must(err == nil, "manifest: %v", err)
	h := sha256.New()
	for _, name := range []string{"gemm_hopper", "gemm_mma"} {
		fmt.Fprintln(h, m.Sources[name].SHA256)
	}
	return fmt.Sprintf("%s, driver %d, cublaslt %d, code %s", c.Name, c.Driver, lt.Version, hex.EncodeToString(h.Sum(nil)[:8]))
}

// save writes the file in one step, so that no reader sees half of it.
func (t *tuned) save() error {
	if t.path == "" {
		return nil
	}
	text, err := json.MarshalIndent(t, "", "\t")
	if err != nil {
		return fmt.Errorf("write tuning: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(t.path), 0o755); err != nil {
		return fmt.Errorf("write tuning: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(t.path), ".tuning-*")
	if err != nil {
		return fmt.Errorf("write tuning: %w", err)
	}
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), t.path)
	}
	if err != nil {
		return fmt.Errorf("write tuning: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

// choose is what the tuning says of a product, after trying if it says nothing yet.
func (b *Backend) choose(p product) int {
	t := b.gemm.lib.tuned
	key := fmt.Sprintf("%dx%d %s %d", p.w.out, p.w.in, [...]string{"assign", "add", "swiglu"}[p.form], bucket(int(p.x.rows)))
	pick, known := t.Choice[key]
	if !known {
		pick = b.try(p.w, p.form, bucket(int(p.x.rows)))
		t.Choice[key] = pick
		if err := t.save(); err != nil {
			t.path = "" // a full or read-only disk costs the next start some milliseconds, not this one its life
		}
	}
	return pick
}

// try times the own kernel and the library's candidates on the weights of one shape. Errors of the library leave the own
// kernel; what is queued meanwhile is not touched.
func (b *Backend) try(w *weight, f form, rows int) (pick int) {
	body, params := b.list.body, b.list.params
	defer func() { b.list.body, b.list.params = body, params }()
	b.list.body, b.list.params = nil, nil
	for rows > 8 && (rows*w.out*4 > trySums || rows > w.out) {
		rows /= 2
	}
	sums := view{b.gemm.lib.tuned.room, int64(w.out), int32(rows), int32(w.out)}
	p := product{w: w, form: f, x: view{w.at, int64(w.in), int32(rows), int32(w.in)}, dst: sums} // any matrix of true numbers will do
	if plain := p; !ltFits(plain) || rows > w.out {
		return ownKernel
	}
	if f == swiglu {
		p.dst = view{sums.p + trySums, int64(w.out / 2), int32(rows), int32(w.out / 2)}
	}
	best := b.timed(p, b.fast) / 50 * 49 // where both are as fast, the own kernels start sooner
	pick = ownKernel
	for i := range candidates {
		plan := b.gemm.lib.candidate(planKey{w.out, rows, w.in, w.in, w.out, i}, b.mem.scratch)
		if plan == nil {
			break
		}
		d := b.timed(p, func(p product) bool {
			b.list.body = append(b.list.body, plan.Op(sums.p, p.x.p, p.w.at, f == add))
			if p.form == swiglu {
				b.SwiGLU(p.dst.tensor(kernels.BF16), sums.tensor(kernels.F32))
			}
			return true
		})
		if d < best {
			best, pick = d, i
		}
	}
	return pick
}

// tensor is a dense view as operations take it.
func (v view) tensor(d kernels.DType) kernels.Tensor {
	n := int(v.rows) * int(v.cols)
	return kernels.Whole(&buffer{v.p, d, n}, int(v.rows), int(v.cols))
}

// timed is the time of one product, over several layers' weights in one graph: the shortest of three runs; the longest
// time there is when it cannot be had.
func (b *Backend) timed(p product, queue func(product) bool) time.Duration {
	weights := b.gemm.lib.shapes[[2]int{p.w.out, p.w.in}]
	n := max(1, min(len(weights), tryWeights))
	b.list.body, b.list.params = b.list.body[:0], b.list.params[:0]
	for i := range n {
		if len(weights) > 0 {
			p.w = weights[i]
		}
		if !queue(p) {
			return math.MaxInt64
		}
	}
	d, err := b.graphTime(3)
	if err != nil {
		return math.MaxInt64
	}
	return d / time.Duration(n)
}

// graphTime runs what is queued as a graph and returns the shortest of several times.
func (b *Backend) graphTime(runs int) (best time.Duration, err error) {
	g, err := b.stream.Capture(b.list.body, b.list.params)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	var marks [2]*driver.Event
	for i := range marks {
		if marks[i], err = driver.NewEvent(true); err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, marks[i].Close()) }()
	}
	best = math.MaxInt64
	for range runs {
		err := errors.Join(b.stream.Exec([]driver.Op{marks[0].Op()}, nil), b.stream.Launch(g), b.stream.Exec([]driver.Op{marks[1].Op()}, nil), marks[1].Wait())
		if err != nil {
			return 0, err
		}
		d, err := marks[1].Since(marks[0])
		if err != nil {
			return 0, err
		}
		best = min(best, d)
	}
	return best, nil
}
