package ui

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// lineEvery is the time between two lines of progress where bars cannot be drawn.
const lineEvery = 5 * time.Second

// Progress shows how far a number of files have come: bars on a terminal, elsewhere a line now and then. It writes to
// stderr. All methods may be called from several goroutines.
type Progress struct {
	term  *Terminal
	bars  *mpb.Progress // nil: lines
	whole *mpb.Bar
	stop  chan struct{}
	lines sync.WaitGroup

	total int64
	start int64 // done when it began
	done  atomic.Int64
	began time.Time

	mu    sync.Mutex
	files map[string]*fileBar
}

type fileBar struct {
	size, done int64
	bar        *mpb.Bar
}

// NewProgress shows total bytes, of which done are there.
func (t *Terminal) NewProgress(total, done int64) *Progress {
	p := &Progress{term: t, files: map[string]*fileBar{}, total: total, start: done, began: time.Now(), stop: make(chan struct{})}
	p.done.Store(done)
	if t.live {
		p.bars = mpb.New(mpb.WithOutput(t.Err), mpb.WithRefreshRate(200*time.Millisecond), mpb.WithAutoRefresh())
		rate := decor.Any(func(decor.Statistics) string { return ", " + Bytes(int64(p.rate(time.Now()))) + "/s" })
		p.whole = p.bar("all", total, []decor.Decorator{rate}, mpb.BarPriority(1<<20))
		p.whole.SetCurrent(done)
		return p
	}
	p.lines.Go(p.everyLine)
	return p
}

func (p *Progress) bar(name string, total int64, more []decor.Decorator, opts ...mpb.BarOption) *mpb.Bar {
	const nameWidth = 28 // of 80: the bar and the numbers want their part
	if len(name) > nameWidth {
		name = "..." + name[len(name)-nameWidth+3:]
	}
	count := decor.Any(func(s decor.Statistics) string { return " " + Bytes(s.Current) + " of " + Bytes(s.Total) })
	opts = append(opts,
		mpb.PrependDecorators(decor.Name(name, decor.WC{W: nameWidth + 1, C: decor.DindentRight})),
		mpb.AppendDecorators(append([]decor.Decorator{count}, more...)...))
	style := mpb.BarStyle().Lbound("[").Filler("=").Tip(">").Padding(" ").Rbound("]")
	return p.bars.New(total, style, opts...)
}

// File announces a file; Add counts it.
func (p *Progress) File(name string, size int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.files[name] = &fileBar{size: size}
}

// Add counts n more bytes of a file, or fewer.
func (p *Progress) Add(name string, n int64) {
	done := p.done.Add(n)
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.files[name]
	if f == nil || n == 0 {
		return
	}
	f.done += n
	if p.bars == nil {
		return
	}
	if f.bar == nil {
		f.bar = p.bar(name, f.size, nil, mpb.BarRemoveOnComplete())
	}
	f.bar.SetCurrent(f.done)
	p.whole.SetCurrent(done)
}

// Done takes a file's bar away.
func (p *Progress) Done(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.files[name]; f != nil && f.bar != nil {
		f.bar.Abort(true)
	}
}

// Say writes a line, above the bars if there are any.
func (p *Progress) Say(format string, args ...any) {
	if p.bars == nil {
		p.term.Say(format, args...)
		return
	}
	_, _ = io.WriteString(p.bars, fmt.Sprintf(format, args...)+"\n") // the bars are over
}

// Close ends the show.
func (p *Progress) Close() {
	close(p.stop)
	p.lines.Wait()
	if p.bars == nil {
		return
	}
	p.mu.Lock()
	for _, f := range p.files {
		if f.bar != nil {
			f.bar.Abort(true)
		}
	}
	p.whole.Abort(false)
	p.mu.Unlock()
	p.bars.Wait()
}

func (p *Progress) everyLine() {
	t := time.NewTicker(lineEvery)
	defer t.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-t.C:
			p.term.Say("%s", p.line(time.Now()))
		}
	}
}

// rate is bytes/s since the beginning, without what was there then.
func (p *Progress) rate(now time.Time) float64 {
	return max(0, float64(p.done.Load()-p.start)/max(now.Sub(p.began).Seconds(), 1e-3))
}

// line is "1.2 GiB of 3.4 GiB (35 %), 210.0 MiB/s, 11s left".
func (p *Progress) line(now time.Time) string {
	done, rate := p.done.Load(), p.rate(now)
	s := fmt.Sprintf("%s of %s", Bytes(done), Bytes(p.total))
	if p.total > 0 {
		s += fmt.Sprintf(" (%d %%)", done*100/p.total)
	}
	s += fmt.Sprintf(", %s/s", Bytes(int64(rate)))
	if rate > 0 {
		left := time.Duration(float64(p.total-done) / rate * float64(time.Second))
		s += fmt.Sprintf(", %s left", left.Round(time.Second))
	}
	return s
}
