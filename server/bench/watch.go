package bench

import (
	"context"
	"sync"
	"time"
)

// watch is what goes on beside one load: readings of the server and the device, and of the client's own health.
type watch struct {
	load   *load
	cancel context.CancelFunc
	wg     sync.WaitGroup

	readings readings
	power    power
	pulse    pulse
	server   string
}

// startWatch begins to read. The first reading is taken before it returns.
func startWatch(ctx context.Context, l *load) *watch {
	ctx, cancel := context.WithCancel(ctx)
	w := &watch{load: l, cancel: cancel, pulse: newPulse()}
	w.read(ctx)
	w.wg.Go(func() { w.pulse.beat(ctx) })
	w.wg.Go(func() { w.loop(ctx) })
	return w
}

func (w *watch) loop(ctx context.Context) {
	tick := time.NewTicker(w.load.opts.Beside.Every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			w.read(ctx)
			w.progress()
		case <-ctx.Done():
			return
		}
	}
}

// stop takes the last reading and ends.
func (w *watch) stop() {
	w.cancel()
	w.wg.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	w.read(ctx)
	w.pulse.end()
}

func (w *watch) read(ctx context.Context) {
	if meter := w.load.opts.Beside.Meter; meter != nil {
		w.power.read(meter, w.load.now())
	}
	if w.load.opts.Beside.Telemetry && w.readings.misses < 3 {
		at := w.load.now()
		families, err := w.load.asker.scrape(ctx)
		if err != nil {
			w.readings.misses++
			return
		}
		w.readings.misses = 0
		if w.server == "" {
			w.server = serverOf(families)
		}
		w.readings.add(w.server, families, at)
	}
}

func (w *watch) series() []Series {
	return append(w.readings.list(), w.power.series()...)
}

func (w *watch) progress() {
	report := w.load.opts.Hooks.Progress
	if report == nil {
		return
	}
	l := w.load
	l.mu.Lock()
	p := Progress{
		Level: l.level, Levels: max(len(l.opts.Users), len(l.opts.Rates)), Repeat: l.nth, Repeats: l.opts.Repeats,
		Users: l.users, Rate: l.rate, Seconds: l.now(), Done: len(l.tally.spans), Steady: l.window.isOpen(),
	}
	l.mu.Unlock()
	report(p)
}
