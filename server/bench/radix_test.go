package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// cacher is a server with a prefix cache of words: a millisecond for each word that it has not seen after the same
// beginning, a millisecond for each further token.
type cacher struct {
	honours OffMode // the ways of going without the cache that it knows; OffByNonce: none
	deaf    bool    // caches, but honours not even a nonce: it knows all words
	silent  bool    // says nothing about cached tokens
	noFlush bool
	pool    int // tokens, as it says

	mu             sync.Mutex
	seen           map[string]bool
	prompt, cached int
}

func (c *cacher) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/get_server_info":
		fmt.Fprintf(w, `{"max_total_num_tokens":%d}`, c.pool)
		return
	case "/metrics":
		c.mu.Lock()
		defer c.mu.Unlock()
		fmt.Fprintf(w, "radish_prompt_tokens_total %d\nradish_cached_tokens_total %d\nradish_queued_requests 3\n", c.prompt, c.cached)
		return
	}
	if r.URL.Path == "/flush_cache" {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.noFlush {
			http.NotFound(w, r)
		} else {
			c.seen = map[string]bool{}
		}
		return
	}
	var body struct {
		Messages  []message
		MaxTokens int    `json:"max_tokens"`
		Cache     *bool  `json:"cache_prompt"`
		Salt      string `json:"cache_salt"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var all []string
	for _, m := range body.Messages {
		all = append(all, strings.Fields(m.Role+" "+m.Content)...)
	}
	cached := 0
	if c.honours != OffByFlag || body.Cache == nil || *body.Cache {
		if c.honours != OffBySalt {
			body.Salt = ""
		}
		cached = c.match(body.Salt, all)
	}
	if c.deaf {
		cached = len(all) - 1
	}
	c.mu.Lock()
	c.prompt, c.cached = c.prompt+len(all), c.cached+cached
	c.mu.Unlock()
	time.Sleep(time.Duration(len(all)-cached) * time.Millisecond)
	w.Header().Set("Content-Type", "text/event-stream")
	for i := range body.MaxTokens {
		if i > 0 {
			time.Sleep(time.Millisecond)
		}
		fmt.Fprint(w, "data: {\"choices\":[{\"delta\":{\"content\":\" a\"}}]}\n\n")
		w.(http.Flusher).Flush()
	}
	details := fmt.Sprintf(`,"prompt_tokens_details":{"cached_tokens":%d}`, cached)
	if c.silent {
		details = ""
	}
	fmt.Fprintf(w, "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}],\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":%d%s}}\n\ndata: [DONE]\n\n",
		len(all), body.MaxTokens, details)
}

// match is how many words were seen in this order from the beginning, all but the last at most; it keeps them all.
func (c *cacher) match(salt string, all []string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen == nil {
		c.seen = map[string]bool{}
	}
	n, whole, key := 0, true, salt
	for i, word := range all {
		key += " " + word
		whole = whole && c.seen[key]
		if whole && i < len(all)-1 {
			n++
		}
		c.seen[key] = true
	}
	return n
}

// onPipes runs f against handler on virtual time.
func onPipes(t *testing.T, handler http.Handler, f func(context.Context, Target)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		server := &http.Server{Handler: handler}
		go server.Serve(p)
		tr := &http.Transport{DialContext: p.dial, MaxIdleConnsPerHost: 1000}
		f(t.Context(), Target{URL: "http://user:sentinel@fake", Key: "sentinel", Model: "m", MaxTokens: 5, Client: &http.Client{Transport: tr}})
		tr.CloseIdleConnections()
		server.Close()
	})
}

func runRadix(t *testing.T, c *cacher, pairs int) (res *RadixResult, err error) {
	t.Helper()
	scenarios, err := Scenarios(200, 5)
	if err != nil {
		t.Fatal(err)
	}
	onPipes(t, c, func(ctx context.Context, target Target) {
		res, err = RunRadix(ctx, RadixOptions{Target: target, Scenarios: scenarios, Users: 2, Pairs: pairs, Requests: 20})
	})
	return res, err
}

// TestRadixRatios runs the experiment on a server whose times follow from the words it has to read.
func TestRadixRatios(t *testing.T) {
	res, err := runRadix(t, &cacher{honours: OffByFlag}, 2)
	if err != nil {
		t.Fatal(err)
	}
	if res.Off != OffByFlag || !res.Flushed {
		t.Errorf("off by %q, flushed %v", res.Off, res.Flushed)
	}
	for i, want := range []struct{ cached, ttft, rate float64 }{
		{1.0 / 201, 200.0 / 201, 205.0 / 204},
		{161.0 / 201, 40.0 / 201, 205.0 / 44},
		{191.0 / 201, 10.0 / 201, 205.0 / 14},
	} {
		row := res.Scenarios[i]
		if !row.Valid || row.CachedOn == nil || *row.CachedOff != 0 {
			t.Fatalf("%s: %+v", row.Name, row)
		}
		for _, c := range []struct {
			what      string
			got, want float64
		}{{"cached", *row.CachedOn, want.cached}, {"ttft", row.TTFT.Median, want.ttft}, {"throughput", row.Throughput.Median, want.rate}} {
			if math.Abs(c.got-c.want) > 0.03*c.want {
				t.Errorf("%s: %s is %v, the server's is %v", row.Name, c.what, c.got, c.want)
			}
		}
	}
	turns := res.Scenarios[3]
	if !turns.Valid || math.Abs(*turns.CachedOn-turns.Implied) > 0.1 || turns.Throughput.Median < 2 {
		t.Errorf("%+v %+v", turns, turns.Throughput)
	}
	if p := res.Scenarios[0].Pairs; len(p) != 2 || p[0].OnFirst == p[1].OnFirst {
		t.Errorf("the order of the pairs does not alternate: %+v", p)
	}
	b, err := json.Marshal(res)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), "sentinel") {
		t.Error("the key or password is in the result")
	}
	if err := validate(t, "schema/radix.json", b); err != nil {
		t.Error(err)
	}
}

// TestRadixOnForeignServers finds the best way that a server knows, and never calls off what is not.
func TestRadixOnForeignServers(t *testing.T) {
	for _, c := range []*cacher{{honours: OffBySalt}, {honours: OffByNonce}, {honours: OffByNonce, noFlush: true}} {
		res, err := runRadix(t, c, 1)
		if err != nil {
			t.Fatal(err)
		}
		if res.Off != c.honours || res.Flushed == c.noFlush {
			t.Errorf("off by %q, want %q; flushed %v", res.Off, c.honours, res.Flushed)
		}
		for _, row := range res.Scenarios {
			if row.Name != "diverse" && row.Throughput.Median < 2 {
				t.Errorf("%s: %+v", row.Name, row.Throughput)
			}
			if *row.CachedOff > 0.05 || *row.CachedOn > row.Implied+0.05 {
				t.Errorf("%s: cached %v on, %v off, implied %v", row.Name, *row.CachedOn, *row.CachedOff, row.Implied)
			}
		}
	}
	for _, c := range []*cacher{{silent: true}, {deaf: true}} {
		if _, err := runRadix(t, c, 1); !errors.Is(err, ErrNoCache) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestOverlap(t *testing.T) {
	for _, c := range []struct {
		why    string
		sent   []Exchange
		shared float64
	}{
		{"nothing", []Exchange{{"abcd", ""}, {"efgh", ""}}, 0},
		{"half of the second, all but one of the third", []Exchange{{"abcd", ""}, {"abxy", ""}, {"abcz", ""}}, 5.0 / 12},
		{"an answer counts as kept", []Exchange{{"ab", "cd"}, {"abcdef", ""}}, 4.0 / 8},
		{"a later prompt does not count", []Exchange{{"abcdef", ""}, {"ab", ""}}, 2.0 / 8},
		{"its own answer does not count", []Exchange{{"ab", "cd"}, {"xy", "zz"}}, 0},
		{"the same again", []Exchange{{"ab", ""}, {"ab", ""}, {"ab", ""}}, 4.0 / 6},
	} {
		if o := MeasureOverlap(c.sent); math.Abs(o.Shared-c.shared) > 1e-9 {
			t.Errorf("%s: shared %v, want %v", c.why, o.Shared, c.shared)
		}
	}
}

// TestOverlapAgainstAllPairs judges the sorted walk by comparing every text with every earlier one.
func TestOverlapAgainstAllPairs(t *testing.T) {
	var sent []Exchange
	for _, kind := range []string{Diverse, RAG, MultiTurn} {
		w, err := NewWorkload(kind, 6, 0.5, 3)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 30 {
			history := ""
			for _, turn := range w.Session(i % 20) {
				history += turn
				sent = append(sent, Exchange{history, "answer"})
			}
		}
	}
	got := earlier(sent)
	for i := range sent {
		want := 0
		for j := range i {
			want = max(want, begin(sent[i].Prompt+sent[i].Answer, sent[j].Prompt+sent[j].Answer))
		}
		if got[i] != want {
			t.Fatalf("text %d shares %d bytes with an earlier one, want %d", i, got[i], want)
		}
	}
}
