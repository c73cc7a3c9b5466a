package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/rogpeppe/go-internal/testscript"

	"radish/server/supervise"
)

// endDaemons ends what a script that failed has left below home.
func endDaemons(home string) {
	names, _ := supervise.Names(filepath.Join(home, "run"))
	ctx, stop := context.WithTimeout(context.Background(), 20*time.Second)
	defer stop()
	for _, name := range names {
		p, err := supervise.NewPlace(filepath.Join(home, "run"), filepath.Join(home, "logs"), name)
		if err != nil {
			continue
		}
		_, err = supervise.Ask(ctx, p, supervise.VerbStopNow)
		for err == nil && ctx.Err() == nil {
			time.Sleep(20 * time.Millisecond)
			_, err = supervise.Ask(ctx, p, supervise.VerbStatus)
		}
		if !errors.Is(err, supervise.ErrNotRunning) {
			supervise.Rescue(ctx, p)
		}
	}
}

// waitReady polls an instance until it is ready.
func waitReady(ts *testscript.TestScript, _ bool, args []string) {
	home := ts.Getenv(homeEnv)
	p, err := supervise.NewPlace(filepath.Join(home, "run"), filepath.Join(home, "logs"), args[0])
	ts.Check(err)
	for range 600 {
		if st, err := supervise.Look(context.Background(), p); err == nil && st.State == supervise.Ready {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	ts.Fatalf("instance %s was never ready", args[0])
}

// radish runs this test binary as the program.
func radish(t *testing.T, home string, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return &exec.Cmd{Path: exe, Args: append([]string{"radish"}, args...), Env: append(os.Environ(), homeEnv+"="+home)}
}

// ending is how a stream came to its end.
type ending struct {
	done   bool // with [DONE]
	events int
	err    string // of an error event, or of reading
}

// stream asks for tokens endless enough to be running when the stop comes, and reads to the end. begun is called at
// the first event.
func stream(url string, tokens int, begun func()) ending {
	body := fmt.Sprintf(`{"model":"builtin","prompt":"Tell me everything","max_tokens":%d,"stream":true,"ignore_eos":true,"temperature":1}`, tokens)
	patient := http.Client{Timeout: 3 * time.Minute} // a stream that never ends fails the test instead of holding it up
	res, err := patient.Post(url+"/v1/completions", "application/json", strings.NewReader(body))
	if err != nil {
		return ending{err: err.Error()}
	}
	defer res.Body.Close()
	var e ending
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		switch {
		case !ok:
			continue
		case data == "[DONE]":
			e.done = true
		case strings.HasPrefix(data, `{"error"`):
			e.err = data
		}
		if e.events++; e.events == 1 {
			begun()
		}
	}
	if err := lines.Err(); err != nil {
		e.err = err.Error()
	}
	return e
}

// A stop with a hundred streams open: every one of them comes to a proper end, whether it may finish or has to be cut.
func TestStopWithHundredStreams(t *testing.T) {
	for name, c := range map[string]struct {
		tokens int
		drain  string
		cut    bool // some streams are cut
		ended  func(ending) bool
	}{
		"they finish":   {60, "120s", false, func(e ending) bool { return e.done && e.err == "" }},
		"they are told": {1900, "100ms", true, func(e ending) bool { return strings.HasPrefix(e.err, `{"error"`) || e.done }},
	} {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			t.Cleanup(func() { endDaemons(home) })
			start := radish(t, home, "start", "--skip-doctor", "--port", "0", "--max-running-requests", "100", "--drain-timeout", c.drain)
			if out, err := start.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			p, err := supervise.NewPlace(filepath.Join(home, "run"), filepath.Join(home, "logs"), "default")
			if err != nil {
				t.Fatal(err)
			}
			st, err := supervise.Look(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			const n = 100
			var begun, all sync.WaitGroup
			endings := make([]ending, n)
			begun.Add(n)
			for i := range n {
				all.Go(func() {
					once := sync.OnceFunc(begun.Done)
					defer once() // a stream that fails at once must not keep the test waiting
					endings[i] = stream(st.Report.URL, c.tokens, once)
				})
			}
			begun.Wait()
			stop := radish(t, home, "stop")
			var said bytes.Buffer
			stop.Stderr = &said
			if err := stop.Run(); err != nil {
				t.Errorf("stop: %v: %s", err, &said)
			}
			all.Wait()
			cut := 0
			for i, e := range endings {
				if e.err != "" {
					cut++
				}
				if !c.ended(e) || e.events < 2 {
					t.Errorf("stream %d ended with %+v", i, e)
				}
			}
			if (cut > 0) != c.cut {
				t.Errorf("%d of %d streams were cut", cut, n)
			}
			if after, err := supervise.Look(t.Context(), p); err != nil || after.State != supervise.Stopped || len(after.Restarts.History) > 0 {
				t.Errorf("afterwards %+v, %v", after, err)
			}
		})
	}
}

// The bands are those that the telemetry of servers of this kind is read with.
func TestKVBands(t *testing.T) {
	for usage, want := range map[float64]string{0: "healthy", 0.949: "healthy", 0.95: "warning", 0.98: "warning", 0.981: "critical", 1: "critical"} {
		if got := kvBand(usage); got != want {
			t.Errorf("%g: %s, want %s", usage, got, want)
		}
	}
}

// A key on the command line reaches the worker, and no list of processes.
func TestKeyTravelsInTheEnvironment(t *testing.T) {
	f := &startFlags{}
	c := newStartCommandInto(nil, f)
	if err := c.Flags().Parse([]string{"--api-key", "sk-secret", "--port=1", "--disable-radix-cache", "--name", "x", "--no-wait"}); err != nil {
		t.Fatal(err)
	}
	args, env := f.pass()
	if got := strings.Join(args, " "); got != "--disable-radix-cache=true --port=1" {
		t.Errorf("arguments %q", got)
	}
	if len(env) != 1 || env[0] != "RADISH_API_KEY=sk-secret" {
		t.Errorf("environment %q", env)
	}
	for _, kv := range workerEnv([]string{"HF_TOKEN=x", "RUNPOD_API_KEY=y", "NOTIFY_SOCKET=z", "PATH=/bin"}) {
		if kv != "PATH=/bin" {
			t.Errorf("the worker gets %s", kv)
		}
	}
}

// Every code that the daemon knows is one of ours, and none of them is promised for success.
func TestWorkerExits(t *testing.T) {
	for code, v := range workerExits {
		if code == exitOK || v.Reason == "" {
			t.Errorf("code %d: %+v", code, v)
		}
	}
	if v := workerExits[exitUsage]; v.Retry || !v.Early {
		t.Errorf("usage: %+v", v)
	}
}

// The live view: figures become curves, an error is shown and passes, q ends it.
func TestTop(t *testing.T) {
	m := &topModel{flags: &topFlags{every: time.Second}, ctx: t.Context()}
	st := &supervise.Status{Name: "x", State: supervise.Ready, Report: &supervise.Report{Figures: &supervise.Figures{TokensPerSec: 50, KVUsage: 0.99}}}
	for range 100 {
		if _, next := m.Update(looked{status: st}); next == nil {
			t.Fatal("no further look")
		}
	}
	st.Report.Figures.TokensPerSec = 0
	m.Update(looked{status: st})
	for _, want := range []string{"x: ready", "|" + strings.Repeat("@", mostPoints-1) + " |  up to 50.0", "99.0 % of 0 tokens held: critical"} {
		if !strings.Contains(m.text(), want) {
			t.Errorf("no %q in\n%s", want, m.text())
		}
	}
	m.Update(looked{err: errNoTokens})
	if !strings.Contains(m.text(), errNoTokens.Error()) {
		t.Errorf("the error is not shown: %s", m.text())
	}
	if _, cmd := m.Update(tea.KeyPressMsg{Code: 'q', Text: "q"}); cmd == nil {
		t.Error("q does nothing")
	}
	if got := curve([]float64{0, 0.5, 1}, 1); got != "|"+strings.Repeat(" ", mostPoints-3)+" +@|" {
		t.Errorf("curve %q", got)
	}
}

// The exposition of other servers is read as well: labels, several series, timestamps, scientific numbers.
func TestTokenCounter(t *testing.T) {
	for text, want := range map[string]float64{
		"vllm:generation_tokens_total{model_name=\"a b\"} 12.0\nvllm:generation_tokens_total{model_name=\"c\"} 3 1700000000000\n": 15,
		"# HELP radish_generation_tokens_total x\nradish_generation_tokens_total 1.5e+03\nsglang:generation_tokens_total 7\n":     1500,
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) }))
		h := &healthCheck{client: client{url: s.URL}}
		if got, err := h.counter(t.Context()); err != nil || got != want {
			t.Errorf("%v, %v, want %v from %q", got, err, want, text)
		}
		s.Close()
	}
}

// A server that answers nobody in time but makes tokens is busy; one that makes none is not healthy.
func TestBusyIsHealthy(t *testing.T) {
	for _, moves := range []bool{true, false} {
		var scrapes atomic.Int64
		mux := http.NewServeMux()
		mux.HandleFunc("/health", func(http.ResponseWriter, *http.Request) {})
		mux.HandleFunc("/v1/models", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"data":[{"id":"m"}]}`) })
		mux.HandleFunc("/v1/completions", func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		})
		mux.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) {
			n := scrapes.Add(1)
			if !moves {
				n = 1
			}
			fmt.Fprintf(w, "radish_generation_tokens_total %d\n", 100*n)
		})
		s := httptest.NewServer(mux)
		a := (&healthCheck{client: client{url: s.URL}, timeout: 500 * time.Millisecond}).climb(t.Context())
		if a.Healthy != moves || len(a.Steps) < 3 || a.Steps[2].OK != moves {
			t.Errorf("counter moves: %v, answer %+v", moves, a)
		}
		s.Close()
	}
}
