package supervise

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// probe is an answer of the worker's own address, or why there was none.
type probe struct {
	url string
	err error
}

// The pace of probes, and how many failures in a row count.
const (
	probePause    = 10 * time.Second // between two of a worker that is ready
	probeTimeout  = 10 * time.Second
	probeFailures = 3
)

// prober asks the worker's address now and then whether it takes requests, without keeping the loop waiting. It kills
// nothing: a busy server may be slow to answer.
type prober struct {
	results chan probe
	asking  bool
	wait    time.Duration
	failed  int
}

func newProber(results chan probe) prober {
	if results == nil {
		results = make(chan probe, 4)
	}
	return prober{results: results}
}

// ask probes url when it is time; a worker that is not ready is asked at every tick.
func (p *prober) ask(url string, ready bool, d time.Duration) {
	if p.wait -= d; p.asking || url == "" || ready && p.wait > 0 {
		return
	}
	p.asking, p.wait = true, probePause
	go func(results chan<- probe) { results <- probe{url, askReady(url)} }(p.results)
}

// took notes a result and says whether the address counts as answering.
func (p *prober) took(r probe) bool {
	p.asking = false
	if p.failed++; r.err == nil {
		p.failed = 0
	}
	return p.fine()
}

func (p *prober) fine() bool { return p.failed < probeFailures }

// askReady wants a 200 from /readyz, which needs no key. It goes to the worker itself, whatever proxy is set.
func askReady(url string) error {
	ctx, stop := context.WithTimeout(context.Background(), probeTimeout)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/readyz", nil)
	if err != nil {
		return fmt.Errorf("probe %s: %w", url, err)
	}
	direct := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := direct.Do(req)
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	defer res.Body.Close()
	io.Copy(io.Discard, io.LimitReader(res.Body, 4096)) // the status says it all
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("probe %s: %s", url, res.Status)
	}
	return nil
}
