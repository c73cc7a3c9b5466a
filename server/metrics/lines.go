package metrics

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"radish/server/engine"
)

// Lines writes SGLang's telemetry lines (sglang, srt/observability/scheduler_metrics_mixin.py), one line for each
// prefill step and one for every Interval steps that decode. They end in ", " so that a pattern written for the older
// form, which has a trailing comma after the queue length, finds it too.
//
// The engine calls from its loop, so lines go through a small buffer; when the sink is slower than that, they are
// dropped and counted.
type Lines struct {
	interval int
	graph    bool
	ch       chan string
	dropped  atomic.Uint64
	decodes  int
	tokens   int           // decoded since the last decode line
	elapsed  time.Duration // likewise
	now      func() time.Time
}

// NewLines writes to w from a goroutine of its own until the process ends. interval < 1 means 40, SGLang's default.
// graph is what "cuda graph" says of decode steps: whether the device replays those that come again; prompts seldom do.
func NewLines(w io.Writer, interval int, graph bool) *Lines {
	if interval < 1 {
		interval = 40
	}
	l := &Lines{interval: interval, graph: graph, ch: make(chan string, 64), now: time.Now}
	go func() {
		for line := range l.ch {
			io.WriteString(w, line)
		}
	}()
	return l
}

// step is called for every step, by one goroutine.
func (l *Lines) step(i engine.StepInfo) {
	l.elapsed += i.Wall
	if i.PrefillRows > 0 {
		l.put(l.prefill(i))
	}
	if i.DecodeRows == 0 {
		return
	}
	l.tokens += i.DecodeRows
	if l.decodes++; l.decodes >= l.interval {
		l.put(l.decode(i))
		l.decodes, l.tokens, l.elapsed = 0, 0, 0
	}
}

func (l *Lines) put(line string) {
	select {
	case l.ch <- l.now().Format("[2006-01-02 15:04:05] ") + line + "\n":
	default:
		l.dropped.Add(1)
	}
}

func (l *Lines) prefill(i engine.StepInfo) string {
	return fmt.Sprintf("Prefill batch, #new-seq: %d, #new-token: %d, #cached-token: %d, token usage: %.2f, "+
		"#running-req: %d, #queue-req: %d, #pending-token: %d, cuda graph: False, input throughput (token/s): %.2f",
		i.NewSeqs, i.PrefillTokens, i.CachedTokens, i.Pages.Usage(),
		i.Running, i.Queued, i.QueuedTokens, rate(i.PrefillTokens, i.Wall))
}

func (l *Lines) decode(i engine.StepInfo) string {
	return fmt.Sprintf("Decode batch, #running-req: %d, #token: %d, token usage: %.2f, cuda graph: %s, "+
		"gen throughput (token/s): %.2f, #queue-req: %d, ",
		i.Running, i.Pages.Held*i.Pages.Size, i.Pages.Usage(), l.python(), rate(l.tokens, l.elapsed), i.Queued)
}

// python is the flag as Python prints it.
func (l *Lines) python() string {
	if l.graph {
		return "True"
	}
	return "False"
}

func rate(n int, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}
