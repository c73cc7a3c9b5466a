package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// stampEnv makes the test binary a server whose tokens are the times at which they were written, in a process of its own.
const stampEnv = "RADISH_BENCH_STAMPS"

func TestMain(m *testing.M) {
	if os.Getenv(stampEnv) != "" {
		serveStamps()
		return
	}
	os.Exit(m.Run())
}

const (
	stampTokens = 60
	stampGap    = 50 * time.Millisecond // 20 tokens/s a stream
)

// serveStamps serves until its stdin closes. The streams are out of step, as if many small batches ran.
func serveStamps() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(l.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		out := http.NewResponseController(w)
		for range stampTokens {
			time.Sleep(time.Duration(float64(stampGap) * (0.5 + rand.Float64())))
			fmt.Fprintf(w, "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,"+
				"\"delta\":{\"content\":\"%d \"},\"finish_reason\":null}]}\n\n", time.Now().UnixNano())
			_ = out.Flush()
		}
		fmt.Fprintf(w, "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":%d}}\n\ndata: [DONE]\n\n", stampTokens)
	}))
}

// BenchmarkClient prints what the client itself adds: the time from the server's write of a token to the client's note of
// it, with 1,000 streams at 20 tokens/s each, and the client's memory.
//
//	go test ./server/bench -run - -bench Client -benchtime 1x -count 5
func BenchmarkClient(b *testing.B) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), stampEnv+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() { in.Close(); _ = cmd.Wait() }()
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		measureClient(b, "http://"+strings.TrimSpace(address))
	}
}

func measureClient(b *testing.B, address string) {
	added := newGaps()
	o := Options{
		Target:   Target{URL: address, Model: "m", MaxTokens: stampTokens},
		Workload: &Workload{Kind: Diverse, Words: 100, Turns: 1, Seed: 1}, Users: []int{1000}, Requests: 1000,
	}
	o.complete()
	a, err := newAsker(&o)
	if err != nil {
		b.Fatal(err)
	}
	l := newLoad(&run{opts: &o, asker: a, levels: make([]pooled, 1)}, 0, 0)
	o.Hooks.Observe = func(r Request) {
		for i, stamp := range strings.Fields(r.text) {
			wrote, err := strconv.ParseInt(stamp, 10, 64)
			if err != nil || !r.Measured {
				return
			}
			countGap(added, max(0, r.Chunks[i]-time.Unix(0, wrote).Sub(l.start).Seconds()))
		}
	}
	w := startWatch(context.Background(), l)
	l.closed(context.Background())
	w.stop()
	rep := summarize(l, w, nil)
	if rep.Counts.Complete < 1000 {
		b.Fatalf("%+v %v", rep.Counts, rep.Failures)
	}
	s := spreadOf(added)
	b.ReportMetric(s.P50*1e3, "p50-ms")
	b.ReportMetric(s.P99*1e3, "p99-ms")
	b.ReportMetric(s.Max*1e3, "max-ms")
	b.ReportMetric(rep.Rates.Output, "tok/s")
	b.ReportMetric(rep.Concurrency.Achieved, "streams")
	b.ReportMetric(float64(rep.Health.Resident)/(1<<20), "MiB")
	b.ReportMetric(rep.Health.CPU*100, "cpu-%")
	wall := w.pulse.after.at.Sub(w.pulse.before.at).Seconds()
	b.ReportMetric(rep.Health.CPU*float64(runtime.GOMAXPROCS(0))*wall/l.tally.received*1e6, "cpu-us/token")
	b.ReportMetric(rep.Health.LagP99*1e3, "lag-p99-ms")
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		b.Logf("load average %s", strings.TrimSpace(string(load)))
	}
}
