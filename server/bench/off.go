package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

// ErrNoCache says that no way was seen in which prefix caching makes a difference on a server.
var ErrNoCache = errors.New("the server reuses no prefix, or does not say so")

// OffMode is how a server is asked to answer a request without its prefix cache.
type OffMode string

// The ways, in the order in which they are tried. With the first, radish schedules a request exactly as under
// --disable-radix-cache. With the others a request finds nothing, but still pays for looking and for keeping its own
// prefix, so that a ratio near 1 says nothing about the cost of the cache.
const (
	OffByFlag  OffMode = "cache_prompt" // "cache_prompt": false in the body
	OffBySalt  OffMode = "cache_salt"   // a cache_salt of its own for each request
	OffByNonce OffMode = "nonce"        // a random word before each prompt
)

// edit makes each request's body go without the cache.
func (m OffMode) edit() func(map[string]any) {
	return func(body map[string]any) {
		switch m {
		case OffByFlag:
			body["cache_prompt"] = false
		case OffBySalt:
			body["cache_salt"] = nonce()
		case OffByNonce:
			messages := body["messages"].([]message)
			first := messages[0]
			first.Content = nonce() + " " + first.Content
			body["messages"] = append([]message{first}, messages[1:]...)
		}
	}
}

// leaves is the share of a prompt that may come from the cache all the same: with a nonce, the chat template's beginning.
func (m OffMode) leaves() float64 {
	if m == OffByNonce {
		return 0.1
	}
	return 0
}

func nonce() string { return strconv.FormatUint(rand.Uint64(), 36) }

// probeWords is the length of the prompt that is sent again and again; long enough for pages of 64 tokens.
const probeWords = 200

// findOff sends one prompt until the server says that it was cached, and then in each way that might prevent that.
func (a *asker) findOff(ctx context.Context) (OffMode, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	p := *a
	p.target.MaxTokens = 1
	text := words(rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), probeWords)
	cached := func(edit func(map[string]any)) (int, error) {
		p.target.Edit = edit
		var r Request
		p.ask(ctx, []message{{"user", text}}, time.Now(), &r)
		if r.Outcome == Failed {
			return 0, fmt.Errorf("probe the prefix cache: %s", r.Reason)
		}
		return r.Cached, nil
	}
	for range 2 {
		if _, err := cached(nil); err != nil {
			return "", err
		}
	}
	full, err := cached(nil)
	if err != nil {
		return "", err
	}
	if full <= 0 {
		return "", fmt.Errorf("probe the prefix cache: a prompt sent three times has no cached tokens: %w", ErrNoCache)
	}
	for _, m := range []OffMode{OffByFlag, OffBySalt, OffByNonce} {
		if n, err := cached(m.edit()); err == nil && float64(n) <= m.leaves()*float64(full) {
			return m, nil
		}
	}
	return "", fmt.Errorf("probe the prefix cache: a prompt is always cached: %w", ErrNoCache)
}
