package bench

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Outcomes of a request. A failure's outcome is "failed", its Reason a status or what broke.
const (
	Complete   = "complete"
	Incomplete = "incomplete"
	Failed     = "failed"
)

// Request is what was seen of one request: a line of the raw file. Times are seconds since the level's start.
type Request struct {
	Level    int       `json:"level"`
	Repeat   int       `json:"repeat"`
	Number   int       `json:"number"` // of the session: the same in two runs of one workload
	Turn     int       `json:"turn"`
	Measured bool      `json:"measured"` // sent inside the steady window
	Intended float64   `json:"intended_seconds"`
	Sent     float64   `json:"sent_seconds"`
	End      float64   `json:"end_seconds"`
	Chunks   []float64 `json:"chunk_seconds"` // each non-empty content delta
	Streamed bool      `json:"streamed"`
	Usage
	Outcome string `json:"outcome"`
	Reason  string `json:"reason,omitempty"`

	text  string        // the answer, for the next turn
	after time.Duration // Retry-After of a refusal
}

// Usage is tokens as the server counts them; -1: not said.
type Usage struct {
	Prompt     int `json:"prompt_tokens"`
	Cached     int `json:"cached_tokens"`
	Completion int `json:"completion_tokens"`
}

// latencies are NaN where there is none.
func (r *Request) latencies() (ttft, tpot, e2e float64) {
	ttft, tpot, e2e = math.NaN(), math.NaN(), r.End-r.Intended
	if len(r.Chunks) > 0 {
		ttft = r.Chunks[0] - r.Intended
	}
	if len(r.Chunks) > 0 && r.Completion > 1 {
		tpot = (e2e - ttft) / float64(r.Completion-1)
	}
	return ttft, tpot, e2e
}

// asker sends requests.
type asker struct {
	target     Target
	format     json.RawMessage // response_format; nil: none
	client     *http.Client
	url        string
	metricsURL string
}

func newAsker(o *Options) (*asker, error) {
	t := o.Target
	u, err := url.Parse(t.URL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("%w: %q is no http address", ErrOptions, t.URL)
	}
	base := strings.TrimSuffix(t.URL, "/")
	a := &asker{
		target: t, format: o.Workload.format(), client: t.Client, url: base + "/v1/chat/completions",
		metricsURL: cmp.Or(o.Beside.MetricsURL, base+"/metrics"),
	}
	if a.client == nil {
		tr := http.DefaultTransport.(*http.Transport).Clone()
		tr.MaxIdleConns, tr.MaxIdleConnsPerHost = 0, MaxUsers
		tr.DisableCompression = true // a compressed stream arrives in lumps
		a.client = &http.Client{Transport: tr}
	}
	return a, nil
}

// name asks which model the server has when none is named; a server that does not say is asked for "default".
func (a *asker) name(ctx context.Context) {
	if a.target.Model != "" {
		return
	}
	a.target.Model = "default"
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(a.target.URL, "/")+"/v1/models", nil)
	if err != nil {
		return
	}
	a.authorize(req)
	res, err := a.client.Do(req)
	if err != nil {
		return
	}
	defer res.Body.Close()
	var list struct{ Data []struct{ ID string } }
	if json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&list) == nil && len(list.Data) > 0 {
		a.target.Model = list.Data[0].ID
	}
}

func (a *asker) authorize(req *http.Request) {
	if a.target.Key != "" {
		req.Header.Set("Authorization", "Bearer "+a.target.Key)
	}
}

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

func (a *asker) body(messages []message) ([]byte, error) {
	b := map[string]any{
		"model": a.target.Model, "messages": messages, "max_tokens": a.target.MaxTokens, "temperature": 0,
		"stream": true, "stream_options": map[string]bool{"include_usage": true},
	}
	if !a.target.Natural {
		b["ignore_eos"] = true
	}
	if a.format != nil {
		b["response_format"] = a.format
	}
	if a.target.Edit != nil {
		a.target.Edit(b)
	}
	return json.Marshal(b)
}

// ask sends one request and fills r. since is the level's start.
func (a *asker) ask(ctx context.Context, messages []message, since time.Time, r *Request) {
	r.Usage = Usage{-1, -1, -1}
	r.Sent = time.Since(since).Seconds()
	if a.target.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, a.target.Timeout)
		defer cancel()
	}
	r.Outcome, r.Reason = a.exchange(ctx, messages, since, r)
	if r.End == 0 {
		r.End = time.Since(since).Seconds()
	}
}

func (a *asker) exchange(ctx context.Context, messages []message, since time.Time, r *Request) (outcome, reason string) {
	body, err := a.body(messages)
	if err != nil {
		return Failed, "encode"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url, bytes.NewReader(body))
	if err != nil {
		return Failed, "address"
	}
	req.Header.Set("Content-Type", "application/json")
	a.authorize(req)
	res, err := a.client.Do(req)
	if err != nil {
		return Failed, transportReason(ctx)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		_, _ = io.CopyN(io.Discard, res.Body, 64<<10) // so that the connection lives on
		if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil {
			r.after = time.Duration(min(max(s, 0), 3600)) * time.Second
		}
		return Failed, strconv.Itoa(res.StatusCode)
	}
	if !strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		return a.whole(res.Body, r)
	}
	r.Streamed = true
	return a.stream(ctx, res.Body, since, r)
}

func transportReason(ctx context.Context) string {
	if ctx.Err() != nil {
		return "timeout"
	}
	return "transport"
}

// answerLimit bounds an unstreamed answer and one line of a stream, in bytes.
const answerLimit = 16 << 20

// whole reads an answer that was not streamed. It has no first token.
func (a *asker) whole(in io.Reader, r *Request) (outcome, reason string) {
	var c chunk
	if err := json.NewDecoder(io.LimitReader(in, answerLimit)).Decode(&c); err != nil || len(c.Choices) == 0 {
		return Incomplete, "no answer"
	}
	c.count(r)
	r.text = c.Choices[0].Message.Content
	return a.judge(c.Choices[0].Finish != "", r)
}

// chunk is what is read of an answer or one piece of it.
type chunk struct {
	Choices []struct {
		Delta struct {
			Content   string
			Reasoning string `json:"reasoning_content"`
		}
		Message struct{ Content string }
		Finish  string `json:"finish_reason"`
	}
	Usage *struct {
		Prompt     int `json:"prompt_tokens"`
		Completion int `json:"completion_tokens"`
		Details    *struct {
			Cached int `json:"cached_tokens"`
		} `json:"prompt_tokens_details"`
	}
	Error json.RawMessage
}

// count takes what usage says, where it is a number of tokens.
func (c *chunk) count(r *Request) {
	if c.Usage == nil {
		return
	}
	said := Usage{c.Usage.Prompt, -1, c.Usage.Completion}
	if c.Usage.Details != nil {
		said.Cached = c.Usage.Details.Cached
	}
	const most = 1 << 30
	if min(said.Prompt, said.Completion) >= 0 && max(said.Prompt, said.Completion) < most && said.Cached <= said.Prompt {
		r.Usage = said
	}
}

// stream reads server-sent events and takes the time of each that carries text. It reads past the last event, to the
// end of the body, so that the connection can be used again.
func (a *asker) stream(ctx context.Context, in io.Reader, since time.Time, r *Request) (outcome, reason string) {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 4096), answerLimit)
	var text strings.Builder
	finished := false
	for lines.Scan() {
		now := time.Since(since).Seconds()
		data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data:"))
		data = bytes.TrimSpace(data)
		if !ok || len(data) == 0 || r.End > 0 {
			continue
		}
		if string(data) == "[DONE]" {
			r.End = now
			continue
		}
		var c chunk
		if err := json.Unmarshal(data, &c); err != nil {
			return Incomplete, "malformed event"
		}
		if len(c.Error) > 0 && string(c.Error) != "null" {
			return Failed, "error event"
		}
		c.count(r)
		for _, choice := range c.Choices {
			if choice.Delta.Content != "" || choice.Delta.Reasoning != "" {
				r.Chunks = append(r.Chunks, now)
				text.WriteString(choice.Delta.Content)
			}
			finished = finished || choice.Finish != ""
		}
	}
	if err := lines.Err(); err != nil && r.End == 0 {
		return Incomplete, "cut: " + transportReason(ctx)
	}
	r.text = text.String()
	return a.judge(finished, r)
}

// judge says whether an ended answer is all that was asked for.
func (a *asker) judge(finished bool, r *Request) (outcome, reason string) {
	switch {
	case !finished:
		return Incomplete, "no finish reason"
	case r.Streamed && len(r.Chunks) == 0:
		return Incomplete, "no text"
	case a.format != nil && !json.Valid([]byte(r.text)):
		return Incomplete, "not JSON"
	case !a.target.Natural && r.Completion >= 0 && r.Completion != a.target.MaxTokens:
		return Incomplete, "wrong length"
	}
	return Complete, ""
}
