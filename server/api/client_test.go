package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

// The judge of these tests is OpenAI's own Go client.
func (w *world) client(key string) openai.Client {
	return openai.NewClient(option.WithBaseURL(w.URL+"/v1"), option.WithAPIKey(key), option.WithMaxRetries(0))
}

func ask(text string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{Model: "tiny",
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(text)}}
}

func TestClientChat(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client("none")
	got, err := c.Chat.Completions.New(t.Context(), ask("hi"))
	if err != nil {
		t.Fatal(err)
	}
	ch := got.Choices[0]
	if ch.Message.Content != script || ch.FinishReason != "stop" || ch.Message.Role != "assistant" {
		t.Errorf("answer %q, finish %q", ch.Message.Content, ch.FinishReason)
	}
	if got.Usage.CompletionTokens != int64(len(script)+1) || got.Usage.PromptTokens != int64(1+len("user:hi")) {
		t.Errorf("usage %+v", got.Usage)
	}
	if got.Object != "chat.completion" || got.Created == 0 || !strings.HasPrefix(got.ID, "chatcmpl-") {
		t.Errorf("object %q created %d id %q", got.Object, got.Created, got.ID)
	}
}

// A streamed answer must add up to the one that is not streamed, in whole characters, whatever stops it.
func TestClientStreamEqualsWhole(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client("none")
	for name, change := range map[string]func(*openai.ChatCompletionNewParams){
		"plain":    func(*openai.ChatCompletionNewParams) {},
		"length":   func(p *openai.ChatCompletionNewParams) { p.MaxCompletionTokens = openai.Int(9) },
		"cut rune": func(p *openai.ChatCompletionNewParams) { p.MaxCompletionTokens = openai.Int(2) },
		"stop":     func(p *openai.ChatCompletionNewParams) { p.Stop.OfString = openai.String(" END") },
		"near stops": func(p *openai.ChatCompletionNewParams) {
			p.Stop.OfStringArray = []string{"END of a", "stories", "二三 E"}
		},
		"stop at end": func(p *openai.ChatCompletionNewParams) { p.Stop.OfString = openai.String("story. ") },
		"two choices": func(p *openai.ChatCompletionNewParams) { p.N = openai.Int(2) },
		"logprobs":    func(p *openai.ChatCompletionNewParams) { p.Logprobs, p.TopLogprobs = openai.Bool(true), openai.Int(2) },
		"logprob stop": func(p *openai.ChatCompletionNewParams) {
			p.Logprobs, p.Stop.OfString = openai.Bool(true), openai.String("END")
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := ask("hi")
			change(&p)
			whole, err := c.Chat.Completions.New(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			p.StreamOptions.IncludeUsage = openai.Bool(true)
			stream := c.Chat.Completions.NewStreaming(t.Context(), p)
			var acc openai.ChatCompletionAccumulator
			tokens := map[int64]int{}
			for stream.Next() {
				chunk := stream.Current()
				for _, ch := range chunk.Choices {
					tokens[ch.Index] += len(ch.Logprobs.Content)
				}
				if !acc.AddChunk(chunk) {
					t.Fatal("chunks do not belong together")
				}
			}
			if err := stream.Err(); err != nil {
				t.Fatal(err)
			}
			for i, ch := range whole.Choices {
				got := acc.Choices[i]
				if got.Message.Content != ch.Message.Content || got.FinishReason != ch.FinishReason {
					t.Errorf("streamed %q (%s), whole %q (%s)", got.Message.Content, got.FinishReason,
						ch.Message.Content, ch.FinishReason)
				}
				if tokens[int64(i)] != len(ch.Logprobs.Content) {
					t.Errorf("streamed %d scored tokens, whole %d", tokens[int64(i)], len(ch.Logprobs.Content))
				}
			}
			if acc.Usage.CompletionTokens != whole.Usage.CompletionTokens || acc.Usage.PromptTokens != whole.Usage.PromptTokens {
				t.Errorf("streamed usage %+v, whole %+v", acc.Usage, whole.Usage)
			}
		})
	}
}

func TestClientStops(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client("none")
	p := ask("hi")
	p.Stop.OfStringArray = []string{"of", " END of"}
	got, err := c.Chat.Completions.New(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	want := script[:strings.Index(script, " END")]
	if got.Choices[0].Message.Content != want || got.Choices[0].FinishReason != "stop" {
		t.Errorf("got %q, want %q", got.Choices[0].Message.Content, want)
	}
	if n := got.Usage.CompletionTokens; n != int64(len(want+" END of")) {
		t.Errorf("%d completion tokens", n)
	}
	eventually(t, "engine idle after a stop string", w.idle)
}

func TestClientCompletions(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client("none")
	got, err := c.Completions.New(t.Context(), openai.CompletionNewParams{Model: "tiny", N: openai.Int(2),
		Prompt:   openai.CompletionNewParamsPromptUnion{OfArrayOfStrings: []string{"abc", "de"}},
		Logprobs: openai.Int(2), Echo: openai.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Choices) != 4 || got.Usage.PromptTokens != 5 || got.Usage.CompletionTokens != 4*defaultCompletion {
		t.Fatalf("%d choices, usage %+v", len(got.Choices), got.Usage)
	}
	first := got.Choices[0]
	if !strings.HasPrefix(first.Text, "abcHéllo") || first.FinishReason != "length" {
		t.Errorf("text %q finish %q", first.Text, first.FinishReason)
	}
	l := first.Logprobs
	if len(l.Tokens) != 3+defaultCompletion || len(l.TextOffset) != len(l.Tokens) || l.TextOffset[3] != 3 || l.Tokens[1] != "b" {
		t.Errorf("logprobs %+v", l)
	}
	if got.Choices[2].Text[:2] != "de" || got.Choices[3].Index != 3 {
		t.Errorf("choices out of order: %+v", got.Choices[2:])
	}
}

func TestClientCachedTokens(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client("none")
	var cached int64
	for range 2 {
		got, err := c.Chat.Completions.New(t.Context(), ask(strings.Repeat("same words ", 20)))
		if err != nil {
			t.Fatal(err)
		}
		cached = got.Usage.PromptTokensDetails.CachedTokens
	}
	if cached < 200 {
		t.Errorf("%d cached tokens the second time", cached)
	}
}

func TestClientErrors(t *testing.T) {
	w := newWorld(t, func(o *Options, _ *fakeRunner) { o.Keys = []Secret{"right", "also"} })
	c := w.client("right")
	p := ask("hi")
	p.Model = "other"
	_, err := c.Chat.Completions.New(t.Context(), p)
	var e *openai.Error
	if !errors.As(err, &e) || e.StatusCode != 404 || e.Code != "model_not_found" || e.Param != "model" {
		t.Errorf("unknown model: %v", err)
	}
	c = w.client("wrong")
	_, err = c.Models.List(t.Context())
	if !errors.As(err, &e) || e.StatusCode != 401 || e.Code != "invalid_api_key" {
		t.Errorf("wrong key: %v", err)
	}
	c = w.client("also")
	if m, err := c.Models.Get(t.Context(), "tiny"); err != nil || m.ID != "tiny" || m.OwnedBy != "radish" {
		t.Errorf("model: %v %v", m, err)
	}
	if l, err := c.Models.List(t.Context()); err != nil || len(l.Data) != 1 {
		t.Errorf("models: %v %v", l, err)
	}
}

// A broken engine must end a stream with an error that the client sees.
func TestClientBrokenEngine(t *testing.T) {
	w := newWorld(t, func(_ *Options, r *fakeRunner) { r.pace, r.script = 2*time.Millisecond, strings.Repeat("x", 3000) })
	c := w.client("none")
	stream := c.Chat.Completions.NewStreaming(t.Context(), ask("hi"))
	for n := 0; stream.Next(); n++ {
		if n == 3 {
			w.runner.mu.Lock()
			w.runner.fail = true
			w.runner.mu.Unlock()
		}
	}
	if stream.Err() == nil {
		t.Error("the stream ended well")
	}
	_, err := c.Chat.Completions.New(t.Context(), ask("hi"))
	var e *openai.Error
	if !errors.As(err, &e) || e.StatusCode != 503 {
		t.Errorf("afterwards: %v", err)
	}
}

func TestClientAbort(t *testing.T) {
	w := newWorld(t, func(_ *Options, r *fakeRunner) { r.pace, r.script = 2*time.Millisecond, strings.Repeat("x", 3000) })
	c := w.client("none")
	stream := c.Chat.Completions.NewStreaming(t.Context(), ask("hi"), option.WithJSONSet("rid", "mine"))
	finish := ""
	for n := 0; stream.Next(); n++ {
		if n == 3 {
			if res := w.post(t, "/abort_request", `{"rid":"mine"}`); res.StatusCode != 200 {
				t.Fatal(res.Status)
			}
		}
		finish = stream.Current().Choices[0].FinishReason
	}
	if stream.Err() != nil || finish != "abort" {
		t.Errorf("finish %q, %v", finish, stream.Err())
	}
}

func TestClientLeaves(t *testing.T) {
	for _, streamed := range []bool{true, false} {
		w := newWorld(t, func(_ *Options, r *fakeRunner) { r.pace, r.script = 2*time.Millisecond, strings.Repeat("x", 3000) })
		c := w.client("none")
		ctx, leave := context.WithCancel(t.Context())
		go func() {
			if streamed {
				for s := c.Chat.Completions.NewStreaming(ctx, ask("hi")); s.Next(); {
				}
				return
			}
			c.Chat.Completions.New(ctx, ask("hi"))
		}()
		eventually(t, "request running", func() bool { return w.engine.Stats().Running == 1 })
		leave()
		eventually(t, "engine idle", w.idle)
		eventually(t, "client counted as gone", func() bool { return w.cuts.has("client_gone") })
	}
}

func TestClientHundredStreams(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client("none")
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			s := c.Chat.Completions.NewStreaming(t.Context(), ask(strings.Repeat("q", i)))
			var text strings.Builder
			for s.Next() {
				text.WriteString(s.Current().Choices[0].Delta.Content)
			}
			if s.Err() != nil || text.String() != script {
				t.Errorf("stream %d: %q, %v", i, text.String(), s.Err())
			}
		})
	}
	wg.Wait()
	eventually(t, "engine idle", w.idle)
}

func TestQueueFull(t *testing.T) {
	w := newWorld(t, func(o *Options, _ *fakeRunner) { o.Engine = fullEngine{o.Engine} })
	res := w.post(t, "/v1/completions", `{"prompt":"a"}`)
	h := res.Header
	if res.StatusCode != http.StatusTooManyRequests || h.Get("Retry-After") != "2" || h.Get("Retry-After-Ms") != "1500" ||
		h.Get("X-Should-Retry") != "" {
		t.Errorf("%s %v", res.Status, h)
	}
}
