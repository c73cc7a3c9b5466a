package server

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"
)

// shape is a Llama-3.2-1B config: 2.47 GB of weights, 32 KiB of KV per token.
const shape = `{"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_size":2048,"intermediate_size":8192,
"num_hidden_layers":16,"num_attention_heads":32,"num_key_value_heads":8,"head_dim":64,"vocab_size":128256,
"rms_norm_eps":1e-5,"rope_theta":500000.0,"tie_word_embeddings":true,"max_position_embeddings":131072,"hidden_act":"silu"}`

func planFor(t *testing.T, available int64, change func(*Config)) (*Plan, error) {
	t.Helper()
	cfg := Config{
		Model:  ModelConfig{Path: "m", Files: fstest.MapFS{"config.json": {Data: []byte(shape)}}, Dummy: true},
		Memory: Machine{Available: available},
	}
	if change != nil {
		change(&cfg)
	}
	return MakePlan(cfg)
}

func TestPlanFillsTheBudget(t *testing.T) {
	p, err := planFor(t, 24<<30, nil)
	if err != nil {
		t.Fatal(err)
	}
	if p.Weights < 2_470_000_000 || p.Weights > 2_480_000_000 {
		t.Errorf("weights %d", p.Weights)
	}
	if p.PerToken != 32<<10 {
		t.Errorf("%d bytes of KV per token, want 32 KiB", p.PerToken)
	}
	if p.Total() > p.Budget || p.Budget-p.Total() > p.PerToken*int64(p.PageSize) {
		t.Errorf("total %d of budget %d", p.Total(), p.Budget)
	}
	if p.Context != 131072 {
		t.Errorf("context %d, want the model's own", p.Context)
	}
}

func TestPlanShrinksTheContextAndSaysSo(t *testing.T) {
	p, err := planFor(t, 5<<30, nil)
	if err != nil {
		t.Fatal(err)
	}
	if p.Context >= 131072 || p.Context >= p.Tokens() || len(p.Notes) != 1 {
		t.Errorf("context %d, pool %d, notes %q", p.Context, p.Tokens(), p.Notes)
	}
}

func TestPlanRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		available int64
		change    func(*Config)
		is        error
		says      string
	}{
		"weights too large": {2 << 30, nil, ErrDoesNotFit, "needs at least"},
		"context asked for": {5 << 30, func(c *Config) { c.Model.ContextLength = 131072 }, ErrDoesNotFit, "the largest context-length is"},
		"tokens asked for":  {5 << 30, func(c *Config) { c.Sched.MaxTotalTokens = 1 << 20 }, ErrDoesNotFit, "the largest max-total-tokens is"},
		"context too long":  {24 << 30, func(c *Config) { c.Model.ContextLength = 131073 }, ErrConfig, "131072"},
		"negative page":     {24 << 30, func(c *Config) { c.Sched.PageSize = -1 }, ErrConfig, "page-size"},
		"huge page":         {24 << 30, func(c *Config) { c.Sched.PageSize = 1 << 20 }, ErrConfig, "page-size"},
		"fraction":          {24 << 30, func(c *Config) { c.Sched.MemFraction = 1.5 }, ErrConfig, "mem-fraction-static"},
		"chunk":             {24 << 30, func(c *Config) { c.Sched.ChunkedPrefill = -2 }, ErrConfig, "chunked-prefill-size"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := planFor(t, c.available, c.change)
			if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
		})
	}
}

// What the refusal proposes must be accepted.
func TestTheLargestSettingFits(t *testing.T) {
	for _, name := range []string{"context-length", "max-total-tokens"} {
		set := func(n int) func(*Config) {
			return func(c *Config) {
				if name == "context-length" {
					c.Model.ContextLength = n
				} else {
					c.Sched.MaxTotalTokens = n
				}
			}
		}
		_, err := planFor(t, 5<<30, set(131072))
		_, proposed, ok := strings.Cut(err.Error(), "the largest "+name+" is ")
		if !ok {
			t.Fatalf("%s: %v", name, err)
		}
		n := 0
		for _, d := range proposed {
			n = n*10 + int(d-'0')
		}
		if _, err := planFor(t, 5<<30, set(n)); err != nil {
			t.Errorf("%s %d was proposed and refused: %v", name, n, err)
		}
		if _, err := planFor(t, 5<<30, set(n+17)); err == nil {
			t.Errorf("%s %d is more than the largest and was accepted", name, n+17)
		}
	}
}

func TestLoopback(t *testing.T) {
	for host, want := range map[string]bool{"127.0.0.1": true, "localhost": true, "::1": true, "0.0.0.0": false, "": false, "10.0.0.1": false} {
		if loopback(host) != want {
			t.Errorf("loopback(%q) = %v", host, !want)
		}
	}
}
