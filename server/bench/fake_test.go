package bench

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const (
	fakeTTFT   = 150 * time.Millisecond
	fakeITL    = 10 * time.Millisecond
	fakeTokens = 20
)

// fake is a server whose timings are known exactly, on virtual time and pipes. The zero value keeps fakeTTFT and
// fakeITL to the nanosecond.
type fake struct {
	slower   float64       // factor of its times; 0: 1
	offset   uint64        // of its random seed
	jitter   float64       // standard deviation of its times, as a share of them
	errors   float64       // share answered with status after a second: an error's time must move nothing
	status   int           // of errors; 0: 500
	stallAt  time.Duration // for one second nothing begins; 0: never
	dieAt    time.Duration // from then on connections are cut after three tokens; 0: never
	whole    bool          // not streamed
	withhold bool          // usage
	usage    int           // tokens that it claims; 0: the truth
	lump     int           // tokens in a chunk; 0: 1
	hush     int           // tokens at the end that have no text
	answer   string        // of one token; empty: "a "
	metrics  func() string // nil: 404

	mu    sync.Mutex
	rng   *rand.Rand
	start time.Time
	now   int // streams under way
	joules
	ttft  []float64
	gap   []float64
	last  string // the last request's body
	dials atomic.Int32
}

// around draws a time near d.
func (f *fake) around(d time.Duration) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Duration(float64(d) * max(0.2, 1+f.jitter*f.rng.NormFloat64()) * cmp.Or(f.slower, 1))
}

func (f *fake) fails() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rng.Float64() < f.errors
}

func (f *fake) running(by int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.spend()
	f.now += by
}

// joules is the energy of a device that takes 50 W idle and 20 W more for each stream.
type joules struct {
	used float64
	at   time.Time
}

// spend brings the counter up to date. The caller holds the lock.
func (f *fake) spend() float64 {
	f.used += (50 + 20*float64(f.now)) * time.Since(f.at).Seconds()
	f.at = time.Now()
	return f.used
}

// keep notes what it did, as the truth to be found.
func (f *fake) keep(to *[]float64, d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*to = append(*to, d.Seconds())
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		if f.metrics == nil {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, f.metrics())
		return
	}
	body, _ := io.ReadAll(r.Body)
	f.mu.Lock()
	f.last = string(body)
	f.mu.Unlock()
	if f.fails() {
		time.Sleep(time.Second)
		w.Header().Set("Retry-After", "7")
		http.Error(w, "broken", cmp.Or(f.status, http.StatusInternalServerError))
		return
	}
	f.running(1)
	defer f.running(-1)
	if since := time.Since(f.start); f.stallAt > 0 && since >= f.stallAt && since < f.stallAt+time.Second {
		time.Sleep(f.stallAt + time.Second - since)
	}
	first := f.around(fakeTTFT)
	f.keep(&f.ttft, first)
	time.Sleep(first)
	if f.whole {
		fmt.Fprintf(w, `{"choices":[{"message":{"content":"a"},"finish_reason":"length"}],%s}`, f.said())
		return
	}
	f.stream(w)
}

func (f *fake) said() string {
	n := f.usage
	if n == 0 {
		n = fakeTokens
	}
	return fmt.Sprintf(`"usage":{"prompt_tokens":100,"completion_tokens":%d,"prompt_tokens_details":{"cached_tokens":25}}`, n)
}

func (f *fake) stream(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprint(w, "data: {\"choices\":[{\"delta\":{\"content\":\"\"}}]}\n\n") // no first token yet
	lump, token := max(1, f.lump), f.answer
	if token == "" {
		token = "a "
	}
	for i := 0; i < fakeTokens-f.hush; i += lump {
		if i > 0 {
			gap := f.around(time.Duration(lump) * fakeITL)
			f.keep(&f.gap, gap)
			time.Sleep(gap)
		}
		if i > 2 && f.dieAt > 0 && time.Since(f.start) >= f.dieAt {
			panic(http.ErrAbortHandler)
		}
		fmt.Fprintf(w, "data: {\"choices\":[{\"delta\":{\"content\":%q}}]}\n\n", strings.Repeat(token, lump))
		w.(http.Flusher).Flush()
	}
	fmt.Fprint(w, "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}]}\n\n")
	if !f.withhold {
		fmt.Fprintf(w, "data: {\"choices\":[],%s}\n\n", f.said())
	}
	fmt.Fprint(w, "data: [DONE]\n\n")
	w.(http.Flusher).Flush() // the body's end comes by itself
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
func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	p.conns <- there
	return here, nil
}

// measure runs o against f on virtual time and returns its first level. The workload is diverse unless o has one.
func measure(t *testing.T, f *fake, o Options) (level Level, res *Result) {
	t.Helper()
	res, err := measureUntil(t, f, o, 0)
	if err != nil {
		t.Fatal(err)
	}
	return res.Levels[0], res
}

// measureUntil interrupts the run after a time, if that is not 0.
func measureUntil(t *testing.T, f *fake, o Options, interrupt time.Duration) (res *Result, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		f.rng, f.start, f.at = rand.New(rand.NewPCG(7, 7+f.offset)), time.Now(), time.Now()
		server := &http.Server{Handler: f}
		go server.Serve(p)
		tr := &http.Transport{MaxIdleConnsPerHost: 1000, DialContext: func(ctx context.Context, a, b string) (net.Conn, error) {
			f.dials.Add(1)
			return p.dial(ctx, a, b)
		}}
		o.Target = Target{
			URL: "http://user:sentinel@fake", Key: "sentinel", Model: "m", MaxTokens: fakeTokens, Natural: o.Target.Natural, Obey: o.Target.Obey,
			Client: &http.Client{Transport: tr},
		}
		if o.Workload == nil {
			o.Workload = &Workload{Kind: Diverse, Words: 20, Turns: 1, Seed: 1}
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if interrupt > 0 {
			time.AfterFunc(interrupt, cancel)
		}
		res, err = Run(ctx, o)
		tr.CloseIdleConnections()
		server.Close()
		time.Sleep(3 * time.Second) // until abandoned handlers have slept
	})
	return res, err
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if !(math.Abs(got-want) <= 0.02*want) {
		t.Errorf("%s is %v, the server's is %v", what, got, want)
	}
}

// quantile is the test's own.
func quantile(v []float64, p float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[min(len(v)-1, int(p*float64(len(v))))]
}
