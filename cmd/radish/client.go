package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// client speaks to an OpenAI-compatible endpoint.
type client struct {
	url   string // without /v1
	key   string
	model string
}

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// askOptions are the request's sampling settings.
type askOptions struct {
	MaxTokens   int
	Temperature float64
	Seed        int64
}

// answer is a finished stream: its text and what it cost.
type answer struct {
	Text         string  `json:"text"`
	Finish       string  `json:"finish_reason"`
	Prompt       int     `json:"prompt_tokens"`
	Cached       int     `json:"cached_tokens"`
	Completion   int     `json:"completion_tokens"`
	TTFT         float64 `json:"ttft_seconds"`
	TokensPerSec float64 `json:"tokens_per_second"` // decode: after the first token
}

// chunk is the part of a stream's chunk that is read here.
type chunk struct {
	Choices []struct {
		Delta  message `json:"delta"`
		Finish *string `json:"finish_reason"`
	} `json:"choices"`
	Usage *struct {
		Prompt     int `json:"prompt_tokens"`
		Completion int `json:"completion_tokens"`
		Details    struct {
			Cached int `json:"cached_tokens"`
		} `json:"prompt_tokens_details"`
	} `json:"usage"`
	Error *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// chat streams one completion, handing each piece of text to emit.
func (c *client) chat(ctx context.Context, messages []message, o askOptions, emit func(string)) (answer, error) {
	body := map[string]any{
		"model": c.model, "messages": messages, "stream": true, "temperature": o.Temperature,
		"stream_options": map[string]bool{"include_usage": true},
	}
	if o.MaxTokens > 0 {
		body["max_tokens"] = o.MaxTokens
	}
	if o.Seed >= 0 {
		body["seed"] = o.Seed
	}
	res, err := c.post(ctx, "/v1/chat/completions", body)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	return readStream(res.Body, emit)
}

func (c *client) post(ctx context.Context, path string, body any) (*http.Response, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+path, bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", c.url, err)
	}
	if res.StatusCode != http.StatusOK {
		defer res.Body.Close()
		return nil, fmt.Errorf("ask %s: %s: %s", c.url, res.Status, errorText(res.Body))
	}
	return res, nil
}

func errorText(r io.Reader) string {
	b, err := io.ReadAll(io.LimitReader(r, 64<<10))
	if err != nil {
		return err.Error()
	}
	var c chunk
	if json.Unmarshal(b, &c) == nil && c.Error != nil {
		return c.Error.Message
	}
	return strings.TrimSpace(string(b))
}

// readStream reads server-sent events until [DONE].
func readStream(r io.Reader, emit func(string)) (answer, error) {
	var a answer
	var text strings.Builder
	start, first := time.Now(), time.Time{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		if data == "[DONE]" {
			a.Text = text.String()
			a.time(start, first)
			return a, nil
		}
		var c chunk
		if err := json.Unmarshal([]byte(data), &c); err != nil {
			return a, fmt.Errorf("read stream: %w", err)
		}
		if c.Error != nil {
			return a, fmt.Errorf("read stream: %s", c.Error.Message)
		}
		if piece := a.take(&c); piece != "" {
			if first.IsZero() {
				first = time.Now()
			}
			text.WriteString(piece)
			emit(piece)
		}
	}
	if err := lines.Err(); err != nil {
		return a, fmt.Errorf("read stream: %w", err)
	}
	return a, errors.New("read stream: it ended without [DONE]")
}

// take notes a chunk's facts and returns its text.
func (a *answer) take(c *chunk) string {
	if c.Usage != nil {
		a.Prompt, a.Completion, a.Cached = c.Usage.Prompt, c.Usage.Completion, c.Usage.Details.Cached
	}
	if len(c.Choices) == 0 {
		return ""
	}
	if c.Choices[0].Finish != nil {
		a.Finish = *c.Choices[0].Finish
	}
	return c.Choices[0].Delta.Content
}

func (a *answer) time(start, first time.Time) {
	if first.IsZero() {
		return
	}
	a.TTFT = first.Sub(start).Seconds()
	if d := time.Since(first).Seconds(); a.Completion > 1 && d > 0 {
		a.TokensPerSec = float64(a.Completion-1) / d
	}
}

// pickModel takes the first model that the server lists, unless one was named.
func (c *client) pickModel(ctx context.Context) error {
	if c.model != "" {
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/v1/models", nil)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return advise(fmt.Errorf("ask %s: %w", c.url, err), "radish serve, then the same command; or leave --url out")
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("list models at %s: %s: %s", c.url, res.Status, errorText(res.Body))
	}
	var list struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&list); err != nil {
		return fmt.Errorf("list models at %s: %w", c.url, err)
	}
	if len(list.Data) == 0 {
		return fmt.Errorf("list models at %s: there is none", c.url)
	}
	c.model = list.Data[0].ID
	return nil
}
