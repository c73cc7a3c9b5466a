package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const (
	fakeTTFT   = 150 * time.Millisecond
	fakeITL    = 10 * time.Millisecond
	fakeTokens = 20
)

// fake is a server whose timings are known exactly, on virtual time and pipes.
type fake struct {
	mu       sync.Mutex
	rng      *rand.Rand
	errors   float64 // share answered with 500 after a second: an error's time must move nothing
	start    time.Time
	stallAt  time.Duration // for one second nothing begins; 0: never
	whole    bool
	withhold bool // usage
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	f.mu.Lock()
	fail := f.rng.Float64() < f.errors
	f.mu.Unlock()
	if fail {
		time.Sleep(time.Second)
		http.Error(w, "broken", http.StatusInternalServerError)
		return
	}
	if since := time.Since(f.start); f.stallAt > 0 && since >= f.stallAt && since < f.stallAt+time.Second {
		time.Sleep(f.stallAt + time.Second - since)
	}
	time.Sleep(fakeTTFT)
	usage := fmt.Sprintf(`"usage":{"prompt_tokens":100,"completion_tokens":%d,"prompt_tokens_details":{"cached_tokens":25}}`, fakeTokens)
	if f.whole {
		fmt.Fprintf(w, `{"choices":[{"message":{"content":"a"},"finish_reason":"length"}],%s}`, usage)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprint(w, "data: {\"choices\":[{\"delta\":{\"content\":\"\"}}]}\n\n") // no first token yet
	for i := range fakeTokens {
		if i > 0 {
			time.Sleep(fakeITL)
		}
		fmt.Fprint(w, "data: {\"choices\":[{\"delta\":{\"content\":\"a \"}}]}\n\n")
		w.(http.Flusher).Flush()
	}
	fmt.Fprint(w, "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}]}\n\n")
	if !f.withhold {
		fmt.Fprintf(w, "data: {\"choices\":[],%s}\n\n", usage)
	}
	fmt.Fprint(w, "data: [DONE]\n\n")
}

// pipes is a listener whose connections stay in memory.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }
func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	p.conns <- there
	return here, nil
}

// measure runs o against f on virtual time and returns its one level.
func measure(t *testing.T, f *fake, o Options) (level Level, res *Result) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		f.rng, f.start = rand.New(rand.NewPCG(7, 7)), time.Now()
		server := &http.Server{Handler: f}
		go server.Serve(p)
		tr := &http.Transport{DialContext: p.dial, MaxIdleConnsPerHost: 1000}
		o.Target = Target{Natural: o.Target.Natural, URL: "http://user:sentinel@fake", Key: "sentinel", Model: "m", MaxTokens: fakeTokens, Client: &http.Client{Transport: tr}}
		var err error
		if o.Workload, err = NewWorkload(Diverse, 20, 0, 1); err != nil {
			t.Fatal(err)
		}
		if res, err = Run(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		tr.CloseIdleConnections()
		server.Close()
		level = res.Levels[0]
	})
	return level, res
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if !(math.Abs(got-want) <= 0.02*want) {
		t.Errorf("%s is %v, the server's is %v", what, got, want)
	}
}

func TestKnownTimings(t *testing.T) {
	l, res := measure(t, &fake{}, Options{Users: []int{10}, Requests: 500})
	if !l.Valid || l.Latency.ITL == nil {
		t.Fatalf("not valid: %+v", l)
	}
	e2e := (fakeTTFT + (fakeTokens-1)*fakeITL).Seconds()
	near(t, "ttft p50", l.Latency.TTFT.P50, fakeTTFT.Seconds())
	near(t, "ttft p99", l.Latency.TTFT.P99, fakeTTFT.Seconds())
	near(t, "tpot", l.Latency.TPOT.P95, fakeITL.Seconds())
	near(t, "itl", l.Latency.ITL.P50, fakeITL.Seconds())
	near(t, "e2e", l.Latency.E2E.P99, e2e)
	near(t, "output", l.Rates.Output, 10*fakeTokens/e2e)
	near(t, "input", l.Rates.Input, 10*100/e2e)
	near(t, "concurrency", l.Concurrency.Achieved, 10)
	near(t, "cached", *l.Rates.Cached, 0.25)
	if b, _ := json.Marshal(res); strings.Contains(string(b), "sentinel") {
		t.Error("the key or password is in the result")
	}
}

func TestErrorsMoveNoLatency(t *testing.T) {
	l, _ := measure(t, &fake{errors: 0.05}, Options{Users: []int{10}, Requests: 500})
	if l.Failures["500"] < 10 || l.Counts.Complete+l.Counts.Failed != l.Counts.Measured {
		t.Fatalf("counts %+v failures %v", l.Counts, l.Failures)
	}
	near(t, "ttft max", l.Latency.TTFT.Max, fakeTTFT.Seconds())
	near(t, "e2e max", l.Latency.E2E.Max, 0.34)
}

func TestStallShowsInOpenLoop(t *testing.T) {
	calm, _ := measure(t, &fake{}, Options{Rates: []float64{40}, Requests: 800, Seed: 3})
	near(t, "calm p99", calm.Latency.TTFT.P99, fakeTTFT.Seconds())
	l, _ := measure(t, &fake{stallAt: 10 * time.Second}, Options{Rates: []float64{40}, Requests: 800, Seed: 3})
	near(t, "p50", l.Latency.TTFT.P50, fakeTTFT.Seconds())
	if l.Latency.TTFT.P99 < 0.8 || l.Latency.TTFT.Max > 1.16 {
		t.Errorf("a stall of 1 s gives p99 %v, max %v", l.Latency.TTFT.P99, l.Latency.TTFT.Max)
	}
}

func TestUnstreamedHasNoTTFT(t *testing.T) {
	l, _ := measure(t, &fake{whole: true}, Options{Users: []int{2}, Requests: 10})
	if l.Latency.TTFT != nil || l.Latency.TPOT != nil || l.Latency.E2E == nil || len(l.Reasons) == 0 {
		t.Errorf("%+v", l)
	}
}

func TestInvalidWithoutUsageOrSuccess(t *testing.T) {
	for name, f := range map[string]*fake{"usage": {withhold: true}, "complete": {errors: 1}} {
		l, _ := measure(t, f, Options{Users: []int{2}, Requests: 10})
		if l.Valid || !strings.Contains(strings.Join(l.Reasons, ";"), name) {
			t.Errorf("%s: %v %v", name, l.Valid, l.Reasons)
		}
	}
}

func TestWorkloadsShareWhatTheySay(t *testing.T) {
	for _, c := range []struct {
		kind      string
		overlap   float64
		low, high float64
	}{{Diverse, 0, 0, 0.05}, {MultiTurn, 0, 0, 0.05}, {RAG, 0.3, 0.29, 0.32}, {RAG, 0.95, 0.94, 0.96}} {
		w, err := NewWorkload(c.kind, 400, c.overlap, 1)
		if err != nil {
			t.Fatal(err)
		}
		if s := w.Shared(); s < c.low || s > c.high {
			t.Errorf("%s %v shares %v", c.kind, c.overlap, s)
		}
		again, _ := NewWorkload(c.kind, 400, c.overlap, 1)
		other, _ := NewWorkload(c.kind, 400, c.overlap, 2)
		if w.Hash() != again.Hash() || w.Hash() == other.Hash() {
			t.Errorf("%s: the hash does not identify the workload", c.kind)
		}
	}
}
