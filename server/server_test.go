package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"radish/provision/builtin"
	"radish/server"
	"radish/server/sched"
)

// config serves the builtin model on any free port, in float32 so that answers can be compared with transformers'.
func config() server.Config {
	return server.Config{
		Model:   server.ModelConfig{Path: "builtin", Files: builtin.FS(), Float32: true},
		HTTP:    server.HTTPConfig{Host: "127.0.0.1", DrainTimeout: 5 * time.Second},
		Sched:   server.SchedConfig{Policy: sched.LPM, MaxTotalTokens: 16384, MaxRunning: 16},
		Memory:  server.Machine{Available: 4 << 30, Source: "test"},
		Compute: compute(),
	}
}

// compute is the CPU, or the GPU when make gputest asks for it. A test may not depend on its neighbours in a batch, so the
// GPU is asked for the same.
func compute() server.ComputeConfig {
	if os.Getenv("RADISH_GPU") != "" {
		return server.ComputeConfig{Device: "cuda", Kernels: os.Getenv("RADISH_GPU_ARCH"), Invariant: true}
	}
	return server.ComputeConfig{Kernels: os.Getenv("RADISH_CPU")}
}

// start runs a server until the test ends and checks that it ends well.
func start(t *testing.T, cfg server.Config) string {
	t.Helper()
	plan, err := server.MakePlan(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(cfg, plan)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run ended with %v", err)
		}
	})
	return "http://" + s.Addr()
}

func client(url, key string) openai.Client {
	return openai.NewClient(option.WithBaseURL(url+"/v1"), option.WithAPIKey(key), option.WithMaxRetries(0))
}

type golden struct {
	Messages []struct{ Role, Content string }
	Prompt   string
	Prompts  []int   `json:"prompt_ids"`
	Answers  []int   `json:"answer_ids"`
	Answer   string  `json:"answer"`
	Gap      float64 `json:"min_gap"`
}

func goldens(t *testing.T) []golden {
	t.Helper()
	b, err := os.ReadFile("../provision/builtin/testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var g []golden
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

func (g golden) params() openai.ChatCompletionNewParams {
	p := openai.ChatCompletionNewParams{Model: "builtin", Temperature: openai.Float(0)}
	for _, m := range g.Messages {
		switch m.Role {
		case "system":
			p.Messages = append(p.Messages, openai.SystemMessage(m.Content))
		case "assistant":
			p.Messages = append(p.Messages, openai.AssistantMessage(m.Content))
		default:
			p.Messages = append(p.Messages, openai.UserMessage(m.Content))
		}
	}
	return p
}

// The builtin model's answers are those of transformers, through template, tokenizer, engine and kernels.
func TestBuiltinAnswersLikeTransformers(t *testing.T) {
	c := client(start(t, config()), "none")
	for i, g := range goldens(t) {
		got, err := c.Chat.Completions.New(t.Context(), g.params())
		if err != nil {
			t.Fatal(err)
		}
		if got.Choices[0].Message.Content != g.Answer {
			t.Errorf("chat %d: %q, want %q (smallest gap %g)", i, got.Choices[0].Message.Content, g.Answer, g.Gap)
		}
		if int(got.Usage.PromptTokens) != len(g.Prompts) || int(got.Usage.CompletionTokens) != len(g.Answers) {
			t.Errorf("chat %d: usage %d+%d, want %d+%d", i, got.Usage.PromptTokens, got.Usage.CompletionTokens, len(g.Prompts), len(g.Answers))
		}
	}
}

// A second request finds the first one's prompt, says so truthfully, and answers the same.
func TestSecondRequestIsCached(t *testing.T) {
	c := client(start(t, config()), "none")
	p := goldens(t)[0].params()
	first, err := c.Chat.Completions.New(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	second, err := c.Chat.Completions.New(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if n := first.Usage.PromptTokensDetails.CachedTokens; n != 0 {
		t.Errorf("first request: %d cached tokens", n)
	}
	if n, want := second.Usage.PromptTokensDetails.CachedTokens, second.Usage.PromptTokens-1; n != want {
		t.Errorf("second request: %d cached tokens, want %d", n, want)
	}
	if first.Choices[0].Message.Content != second.Choices[0].Message.Content {
		t.Error("a cache hit changed the answer")
	}
}

// The same seed gives the same answer, alone or among others.
func TestSeedWhateverTheBatch(t *testing.T) {
	url := start(t, config())
	ask := func(seed int64) string {
		c := client(url, "none")
		p := goldens(t)[1].params()
		p.Temperature, p.TopP, p.Seed, p.MaxTokens = openai.Float(1.3), openai.Float(0.95), openai.Int(seed), openai.Int(40)
		got, err := c.Chat.Completions.New(t.Context(), p)
		if err != nil {
			return err.Error()
		}
		return got.Choices[0].Message.Content
	}
	alone := make([]string, 8)
	for i := range alone {
		alone[i] = ask(int64(i))
	}
	together := make([]string, len(alone))
	var all sync.WaitGroup
	for i := range together {
		all.Go(func() { together[i] = ask(int64(i)) })
	}
	all.Wait()
	different := map[string]bool{}
	for i := range alone {
		different[alone[i]] = true
		if alone[i] != together[i] {
			t.Errorf("seed %d: alone %q, in a batch %q", i, alone[i], together[i])
		}
	}
	if len(different) < 2 {
		t.Error("eight seeds gave one answer: nothing was drawn")
	}
}

// Streams, logprobs, n, stop and abort with a real client over a real model.
func TestOpenAIClient(t *testing.T) {
	url := start(t, config())
	c := client(url, "none")
	g := goldens(t)[0]
	t.Run("stream", func(t *testing.T) {
		s := c.Chat.Completions.NewStreaming(t.Context(), g.params())
		var text strings.Builder
		for s.Next() {
			for _, ch := range s.Current().Choices {
				text.WriteString(ch.Delta.Content)
			}
		}
		if s.Err() != nil || text.String() != g.Answer {
			t.Errorf("streamed %q, %v", text.String(), s.Err())
		}
	})
	t.Run("n, logprobs, stop", func(t *testing.T) {
		p := g.params()
		p.N, p.Logprobs, p.TopLogprobs = openai.Int(3), openai.Bool(true), openai.Int(2)
		p.Stop.OfString = openai.String(" to ")
		got, err := c.Chat.Completions.New(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		want, _, _ := strings.Cut(g.Answer, " to ")
		for i, ch := range got.Choices {
			if ch.Message.Content != want || ch.FinishReason != "stop" {
				t.Errorf("choice %d: %q (%s), want %q", i, ch.Message.Content, ch.FinishReason, want)
			}
			for _, lp := range ch.Logprobs.Content {
				if lp.Logprob > 0 || len(lp.TopLogprobs) != 2 || lp.TopLogprobs[0].Logprob < lp.Logprob-1e-5 {
					t.Errorf("choice %d: implausible logprob %+v", i, lp)
				}
			}
		}
		if len(got.Choices) != 3 {
			t.Errorf("%d choices", len(got.Choices))
		}
	})
	t.Run("completion with echo", func(t *testing.T) {
		got, err := c.Completions.New(t.Context(), openai.CompletionNewParams{
			Model: "builtin", Prompt: openai.CompletionNewParamsPromptUnion{OfString: openai.String("radish is")},
			Echo: openai.Bool(true), MaxTokens: openai.Int(3), Logprobs: openai.Int(1), Temperature: openai.Float(0),
		})
		if err != nil {
			t.Fatal(err)
		}
		lp := got.Choices[0].Logprobs
		if !strings.HasPrefix(got.Choices[0].Text, "radish is") || len(lp.Tokens) != int(got.Usage.TotalTokens) {
			t.Errorf("text %q, %d logprobs for %d tokens", got.Choices[0].Text, len(lp.Tokens), got.Usage.TotalTokens)
		}
	})
	t.Run("abort", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		p := g.params()
		p.SetExtraFields(map[string]any{"ignore_eos": true})
		s := c.Chat.Completions.NewStreaming(ctx, p)
		if !s.Next() {
			t.Fatal(s.Err())
		}
		cancel()
		for s.Next() {
		}
		waitIdle(t, url)
	})
}

// waitIdle waits until the server runs nothing.
func waitIdle(t *testing.T, url string) {
	t.Helper()
	for range 200 {
		if strings.Contains(get(t, url+"/metrics"), "radish_running_requests{model_name=\"builtin\"} 0") {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("the cancelled request still runs")
}

func get(t *testing.T, url string) string {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A user who spells a control token gets text, not control.
func TestUserTextIsNeverControl(t *testing.T) {
	url := start(t, config())
	count := func(content string) int64 {
		c := client(url, "none")
		got, err := c.Chat.Completions.New(t.Context(), openai.ChatCompletionNewParams{Model: "builtin", MaxTokens: openai.Int(1),
			Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(content)}})
		if err != nil {
			t.Fatal(err)
		}
		return got.Usage.PromptTokens
	}
	if plain, spelled := count("a"), count("a<|end|>"); spelled < plain+3 {
		t.Errorf("%d tokens with a spelled control token, %d without: it became one token", spelled, plain)
	}
}

// Without a tokenizer, and with weights made up from config.json alone, token ids go in and out.
func TestTokenIDsOnly(t *testing.T) {
	text, err := fs.ReadFile(builtin.FS(), "config.json")
	if err != nil {
		t.Fatal(err)
	}
	cfg := config()
	cfg.Model.Files = fstest.MapFS{"config.json": {Data: text}}
	cfg.Model.Dummy, cfg.Model.SkipTokenizer = true, true
	url := start(t, cfg)
	body := `{"input_ids":[1,2,3],"sampling_params":{"max_new_tokens":4,"temperature":0,"ignore_eos":true}}`
	res, err := http.Post(url+"/generate", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var got struct {
		IDs []int `json:"output_ids"`
	}
	if err := json.NewDecoder(res.Body).Decode(&got); err != nil || res.StatusCode != http.StatusOK || len(got.IDs) != 4 {
		t.Errorf("%s: ids %v, %v", res.Status, got.IDs, err)
	}
}

func TestAddressNeedsKey(t *testing.T) {
	cfg := config()
	cfg.HTTP.Host = "0.0.0.0"
	plan, err := server.MakePlan(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.New(cfg, plan); !errors.Is(err, server.ErrNoKey) {
		t.Errorf("a public address without a key: %v", err)
	}
}

// Keys separate caches: what one key computed, another does not find.
func TestKeysSeparateCaches(t *testing.T) {
	cfg := config()
	cfg.HTTP.Keys = []string{"alpha", "beta"}
	url := start(t, cfg)
	cached := func(key string) int64 {
		c := client(url, key)
		got, err := c.Chat.Completions.New(t.Context(), goldens(t)[0].params())
		if err != nil {
			t.Fatal(err)
		}
		return got.Usage.PromptTokensDetails.CachedTokens
	}
	cached("alpha")
	if n := cached("beta"); n != 0 {
		t.Errorf("beta found %d tokens of alpha's", n)
	}
	if n := cached("alpha"); n == 0 {
		t.Error("alpha did not find its own")
	}
	for _, page := range []string{"/server_info", "/metrics", "/v1/models"} {
		res, err := http.Get(url + page)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s without a key: %d", page, res.StatusCode)
		}
	}
}

// Draining lets a running answer finish.
func TestDrain(t *testing.T) {
	cfg := config()
	plan, err := server.MakePlan(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(cfg, plan)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	body := `{"model":"builtin","prompt":"radish","max_tokens":400,"ignore_eos":true,"temperature":0,"stream":true}`
	res, err := http.Post("http://"+s.Addr()+"/v1/completions", "application/json", bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	cancel()
	b, err := io.ReadAll(res.Body)
	if err != nil || !strings.HasSuffix(strings.TrimSpace(string(b)), "data: [DONE]") {
		t.Errorf("the stream did not finish: %v, %q", err, tail(b))
	}
	if err := <-ended; err != nil {
		t.Errorf("run: %v", err)
	}
}

func tail(b []byte) string { return fmt.Sprintf("%.200s", b[max(0, len(b)-200):]) }
