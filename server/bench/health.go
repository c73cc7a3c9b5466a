package bench

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"runtime/metrics"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// pulse watches this process: its processors, its collector, and how late it wakes.
type pulse struct {
	lags          *hdrhistogram.Histogram // microseconds
	before, after usage
}

// usage is what the process has used so far.
type usage struct {
	at       time.Time
	cpu, gc  float64 // seconds
	pauses   *metrics.Float64Histogram
	resident int64 // bytes, the peak
}

// heartbeat is how long the pulse sleeps.
const heartbeat = 10 * time.Millisecond

func newPulse() pulse {
	return pulse{lags: newGaps(), before: readUsage()}
}

func (p *pulse) beat(ctx context.Context) {
	for ctx.Err() == nil {
		start := time.Now()
		time.Sleep(heartbeat)
		countGap(p.lags, max(0, (time.Since(start)-heartbeat).Seconds()))
	}
}

func (p *pulse) end() { p.after = readUsage() }

const (
	gcCPU    = "/cpu/classes/gc/total:cpu-seconds"
	gcPauses = "/sched/pauses/total/gc:seconds"
)

func readUsage() usage {
	u := usage{at: time.Now()}
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) == nil {
		u.cpu = time.Duration(r.Utime.Nano() + r.Stime.Nano()).Seconds()
		u.resident = r.Maxrss << 10 // Linux counts KiB
	}
	s := []metrics.Sample{{Name: gcCPU}, {Name: gcPauses}}
	metrics.Read(s)
	if s[0].Value.Kind() == metrics.KindFloat64 {
		u.gc = s[0].Value.Float64()
	}
	if s[1].Value.Kind() == metrics.KindFloat64Histogram {
		u.pauses = s[1].Value.Float64Histogram()
	}
	return u
}

// health judges the client during one load.
func (w *watch) health(m *Measures, late []float64) *Health {
	a, b := w.pulse.before, w.pulse.after
	h := &Health{Resident: b.resident, GCPause: longest(a.pauses, b.pauses)}
	if s := spreadOf(w.pulse.lags); s != nil {
		h.LagP99, h.LagMax = s.P99, s.Max
	}
	if wall := b.at.Sub(a.at).Seconds(); wall > 0 {
		h.CPU = (b.cpu - a.cpu) / wall / float64(runtime.GOMAXPROCS(0))
	}
	if b.cpu > a.cpu {
		h.GCShare = min(1, (b.gc-a.gc)/(b.cpu-a.cpu))
	}
	if s := NewSpread(late); w.load.users == 0 && s != nil {
		h.SendLag = &s.P99
	}
	h.judge(m)
	return h
}

// longest is the upper border of the highest bucket that grew.
func longest(before, after *metrics.Float64Histogram) float64 {
	if before == nil || after == nil {
		return 0
	}
	for i := len(after.Counts) - 1; i >= 0; i-- {
		if after.Counts[i] > before.Counts[i] {
			if top := after.Buckets[i+1]; !math.IsInf(top, 1) {
				return top
			}
			return after.Buckets[i]
		}
	}
	return 0
}

// The client is the bottleneck when it had no processor left, or when its own delays are of a size with what it
// measured: over 1 ms and over 5 % of the smallest median.
const (
	busiest   = 0.9
	lagFloor  = 1e-3 // seconds
	lagShare  = 0.05
	pauseRate = 1.0 // a pause this long in medians is felt
)

func (h *Health) judge(m *Measures) {
	least := math.Inf(1)
	for _, s := range []*Spread{m.Latency.TTFT, m.Latency.ICL, m.Latency.E2E} {
		if s != nil && s.P50 > 0 {
			least = min(least, s.P50)
		}
	}
	limit := max(lagFloor, lagShare*least)
	switch {
	case h.CPU > busiest:
		h.Why = fmt.Sprintf("its processors were %.0f %% busy", h.CPU*100)
	case h.LagP99 > limit:
		h.Why = fmt.Sprintf("it woke %.1f ms late (p99)", h.LagP99*1e3)
	case h.SendLag != nil && *h.SendLag > limit:
		h.Why = fmt.Sprintf("it sent %.1f ms late (p99)", *h.SendLag*1e3)
	case h.GCPause > max(lagFloor, pauseRate*least):
		h.Why = fmt.Sprintf("its collector paused it for %.1f ms", h.GCPause*1e3)
	}
	h.Bottleneck = h.Why != ""
}

// worse keeps the worst of two repeats; h may be nil.
func (h *Health) worse(o *Health) *Health {
	if h == nil || o == nil {
		return o
	}
	w := *h
	w.CPU, w.GCPause, w.GCShare = max(h.CPU, o.CPU), max(h.GCPause, o.GCPause), max(h.GCShare, o.GCShare)
	w.LagP99, w.LagMax, w.Resident = max(h.LagP99, o.LagP99), max(h.LagMax, o.LagMax), max(h.Resident, o.Resident)
	if o.SendLag != nil && (h.SendLag == nil || *o.SendLag > *h.SendLag) {
		w.SendLag = o.SendLag
	}
	if !h.Bottleneck {
		w.Bottleneck, w.Why = o.Bottleneck, o.Why
	}
	return &w
}
