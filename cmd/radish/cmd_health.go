package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"radish/cmd/internal/ui"
	"radish/server/supervise"
)

const healthSchema = "radish.health/1"

type healthFlags struct {
	instance
	url, key, model string
	timeout         time.Duration
	json            bool
}

func newHealthCommand(term *ui.Terminal) *cobra.Command {
	f := &healthFlags{}
	c := &cobra.Command{
		Use:   "health",
		Short: "prove that a server works: alive, a real token made, its counters advancing",
		Long: `Prove that a server works, step by step: it answers, it lists its model, it makes real tokens for a prompt, and
its counter of generated tokens has advanced by them. A server that is too busy to answer in time is told from a dead
one by that counter. Any OpenAI-compatible server will do that counts its tokens at /metrics (SGLang and vLLM too).

Without --url the instance of radish start is asked. scripts/health.sh does the same with nothing but curl.

  radish health
  radish health --name small --json
  radish health --url http://127.0.0.1:30000 --api-key "$KEY" --timeout 10s

EXIT STATUS
  0    healthy
  1    not healthy, or an error
  2    a flag or argument that is not right
  3    the instance is not running
  130  interrupted
`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runHealth(c.Context(), term, f) },
	}
	f.add(c)
	s := c.Flags()
	s.StringVar(&f.url, "url", "", "the server (default: where the instance serves)")
	s.StringVar(&f.key, "api-key", os.Getenv(envPrefix+"API_KEY"), "key to send")
	s.StringVar(&f.model, "model", "", "model to ask (default: the first one listed)")
	s.DurationVar(&f.timeout, "timeout", 30*time.Second, "for each step")
	s.BoolVar(&f.json, "json", false, "print one JSON object")
	return c
}

// healthStep is one rung of the ladder.
type healthStep struct {
	Name    string  `json:"name"`
	OK      bool    `json:"ok"`
	Detail  string  `json:"detail"`
	Seconds float64 `json:"seconds"`
}

type healthAnswer struct {
	Schema  string       `json:"schema"`
	URL     string       `json:"url"`
	Healthy bool         `json:"healthy"`
	Steps   []healthStep `json:"steps"`
}

func runHealth(ctx context.Context, term *ui.Terminal, f *healthFlags) error {
	if f.url == "" {
		st, err := f.look(ctx)
		if err != nil {
			return err
		}
		if st.State == supervise.Stopped {
			return adviseDaemon(supervise.ErrNotRunning, f.name)
		}
		if f.url = urlOf(st); f.url == "-" {
			return advise(fmt.Errorf("instance %s does not serve yet: it is %s", f.name, st.State), "radish status --name %s", f.name)
		}
	}
	h := &healthCheck{client: client{url: strings.TrimSuffix(f.url, "/"), key: strings.SplitN(f.key, ",", 2)[0], model: f.model}, timeout: f.timeout}
	a := h.climb(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if f.json {
		if err := term.JSON(a); err != nil {
			return err
		}
	} else {
		for _, s := range a.Steps {
			term.Answer("%-4s %-10s %s\n", map[bool]string{true: "ok", false: "FAIL"}[s.OK], s.Name, s.Detail)
		}
	}
	if !a.Healthy {
		return exitCodeOnly(exitError)
	}
	return nil
}

// healthCheck climbs the ladder; every rung needs the one below.
type healthCheck struct {
	client
	timeout time.Duration
	before  float64 // the counter of tokens before ours were asked for
	made    int
	busy    bool
}

func (h *healthCheck) climb(ctx context.Context) healthAnswer {
	a := healthAnswer{Schema: healthSchema, URL: h.url, Healthy: true}
	for _, rung := range []struct {
		name string
		run  func(context.Context) (string, error)
	}{{"alive", h.alive}, {"model", h.lists}, {"token", h.token}, {"telemetry", h.telemetry}} {
		begin := time.Now()
		limited, stop := context.WithTimeout(ctx, h.timeout)
		detail, err := rung.run(limited)
		stop()
		if err != nil {
			detail = err.Error()
		}
		a.Steps = append(a.Steps, healthStep{rung.name, err == nil, detail, time.Since(begin).Seconds()})
		if err != nil {
			a.Healthy = false
			break
		}
	}
	return a
}

func (h *healthCheck) get(ctx context.Context, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.url+path, nil)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	if h.key != "" {
		req.Header.Set("Authorization", "Bearer "+h.key)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", path, err)
	}
	return res, nil
}

func (h *healthCheck) alive(ctx context.Context) (string, error) {
	res, err := h.get(ctx, "/health")
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("/health answers %s: %s", res.Status, errorText(res.Body))
	}
	return "/health answers " + res.Status, nil
}

func (h *healthCheck) lists(ctx context.Context) (string, error) {
	wanted := h.model
	h.model = ""
	if err := h.pickModel(ctx); err != nil {
		return "", err
	}
	if wanted != "" {
		h.model = wanted // the server refuses one that it does not have
	}
	return h.model, nil
}

var errNoTokens = errors.New("no token came")

// token asks for a few. When they do not come in time but the counter moves, the server is busy, not dead.
func (h *healthCheck) token(ctx context.Context) (string, error) {
	before, err := h.counter(ctx)
	if err != nil {
		return "", err
	}
	h.before = before
	res, err := h.post(ctx, "/v1/completions", map[string]any{"model": h.model, "prompt": "Hello", "max_tokens": 5, "temperature": 0})
	if ctx.Err() != nil {
		late, stop := context.WithTimeout(context.WithoutCancel(ctx), h.timeout)
		defer stop()
		if now, countErr := h.counter(late); countErr == nil && now > before {
			h.busy = true
			return fmt.Sprintf("no answer within %s, but %.0f tokens for others meanwhile: busy", h.timeout, now-before), nil
		}
	}
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var c chunk
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&c); err != nil {
		return "", fmt.Errorf("read completion: %w", err)
	}
	if c.Usage == nil || c.Usage.Completion == 0 {
		return "", errNoTokens
	}
	h.made = c.Usage.Completion
	return fmt.Sprintf("%d tokens for a prompt of %d", c.Usage.Completion, c.Usage.Prompt), nil
}

// telemetry wants the counter to have advanced by what was made; others may have advanced it further.
func (h *healthCheck) telemetry(ctx context.Context) (string, error) {
	for {
		now, err := h.counter(ctx)
		if err != nil {
			return "", err
		}
		if h.busy || now-h.before >= float64(h.made) {
			return fmt.Sprintf("tokens generated: %.0f, then %.0f", h.before, now), nil
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("the counter of generated tokens stands at %.0f and %d were made", now, h.made)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// tokenCounters are what servers call it.
var tokenCounters = []string{"radish_generation_tokens_total", "sglang:generation_tokens_total", "vllm:generation_tokens_total"}

var errNoCounter = errors.New("there is no counter of generated tokens at /metrics (SGLang needs --enable-metrics)")

// counter sums the first of tokenCounters that the exposition has.
func (h *healthCheck) counter(ctx context.Context) (float64, error) {
	res, err := h.get(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%w: %s", errNoCounter, res.Status)
	}
	sums, seen := map[string]float64{}, map[string]bool{}
	lines := bufio.NewScanner(io.LimitReader(res.Body, 16<<20))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		name, _, _ := strings.Cut(lines.Text(), "{")
		name, _, _ = strings.Cut(name, " ")
		fields := strings.Fields(lines.Text()[strings.LastIndexByte(lines.Text(), '}')+1:])
		if len(fields) == 0 {
			continue
		}
		last := fields[len(fields)-1]
		if strings.Contains(lines.Text(), "}") {
			last = fields[0] // a timestamp may follow
		}
		if v, err := strconv.ParseFloat(last, 64); err == nil {
			sums[name], seen[name] = sums[name]+v, true
		}
	}
	if err := lines.Err(); err != nil {
		return 0, fmt.Errorf("read metrics: %w", err)
	}
	for _, name := range tokenCounters {
		if seen[name] {
			return sums[name], nil
		}
	}
	return 0, errNoCounter
}
