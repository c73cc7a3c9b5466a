package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"radish/kernels"
	"radish/kernels/cpu"
	"radish/kernels/cuda"
	"radish/server/engine"
	"radish/server/runner"
	"radish/server/seq"
	"radish/server/token"
	"radish/server/weights"
)

// Core is a loaded model behind a running-to-be engine, with its text side: what radish bench offline and
// radish generate use without HTTP.
type Core struct {
	Plan      *Plan
	Engine    *engine.Engine
	Tokenizer *token.Tokenizer // nil when skipped
	Chat      *ChatTemplate    // nil when the model has none
	Defaults  *weights.Generation
	Backend   string // description of the backend

	runner *runner.Runner
}

// NewCore loads what plan describes. obs may be nil. Close releases it.
func NewCore(cfg Config, plan *Plan, obs engine.Observer) (*Core, error) {
	c := &Core{Plan: plan}
	if err := c.load(cfg, obs); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Core) load(cfg Config, obs engine.Observer) (err error) {
	if c.Defaults, err = weights.ReadGeneration(c.Plan.files, c.Plan.Spec.Vocab); err != nil {
		return err
	}
	if err := c.loadText(cfg.Model); err != nil {
		return err
	}
	if err := c.loadRunner(cfg); err != nil {
		return err
	}
	c.Engine, err = engine.New(c.engineConfig(cfg), c.runner, obs)
	return err
}

func (c *Core) loadText(m ModelConfig) (err error) {
	if m.SkipTokenizer {
		return nil
	}
	if c.Tokenizer, err = token.Load(c.Plan.files); err != nil {
		return err
	}
	c.Chat, err = newChatTemplate(c.Tokenizer)
	return err
}

func (c *Core) loadRunner(cfg Config) error {
	source, err := c.openWeights(cfg.Model)
	if err != nil {
		return err
	}
	c.runner, err = runner.New(runner.Options{
		Open: func() (kernels.Backend, error) { return openBackend(cfg.Compute, c.Plan.Act) },
		Spec: c.Plan.Spec, Source: source, Pages: c.Plan.Pages, PageSize: c.Plan.PageSize,
		MaxSeqs: c.Plan.MaxRunning, ChunkTokens: c.Plan.Chunk, LogitRows: c.Plan.logits,
	})
	if err == nil {
		c.Backend = c.runner.Name()
	}
	return errors.Join(err, source.Close())
}

// openBackend is called on the thread that will use it.
func openBackend(c ComputeConfig, act kernels.DType) (kernels.Backend, error) {
	if c.cuda() {
		b, err := cuda.New(cuda.Options{GPU: c.GPU, Act: act, Arch: c.Kernels, Gemm: c.Gemm, Invariant: c.Invariant, Clock: c.Clock, Tuning: c.Cache})
		if err != nil {
			return nil, err
		}
		return b, nil
	}
	b, err := cpu.New(cpu.Options{Threads: c.Threads, Act: act, Force: c.Kernels})
	if err != nil {
		return nil, err
	}
	return b, nil
}

func (c *Core) openWeights(m ModelConfig) (weights.Source, error) {
	if m.Dummy {
		return weights.Dummy(c.Plan.config, m.DummySeed, c.Plan.Act), nil
	}
	ck, err := weights.OpenFS(c.Plan.files)
	if err != nil {
		return nil, err
	}
	return ck, nil
}

func (c *Core) engineConfig(cfg Config) engine.Config {
	return engine.Config{
		Pages: c.Plan.Pages, PageSize: c.Plan.PageSize, MaxSeqs: c.Plan.MaxRunning,
		MaxQueued: cfg.Sched.MaxQueued, ChunkTokens: c.Plan.Chunk,
		MaxPrefillTokens: orDefault(cfg.Sched.MaxPrefillTokens, defaultPrefill),
		ContextLength:    c.Plan.Context, Policy: cfg.Sched.Policy, Seed: cfg.Sched.Seed,
		DisableRadix: cfg.Sched.DisableRadix, EOS: c.eos(),
	}
}

// eos are the ids that end a text: what generation_config.json says, else config.json, else the tokenizer.
func (c *Core) eos() []seq.Token {
	ids := c.Plan.config.Special.EOS
	if c.Defaults != nil && len(c.Defaults.EOS) > 0 {
		ids = c.Defaults.EOS
	}
	if len(ids) == 0 && c.Tokenizer != nil {
		return c.Tokenizer.EOS()
	}
	out := make([]seq.Token, len(ids))
	for i, id := range ids {
		out[i] = seq.Token(id)
	}
	return out
}

// Clock is how long the device worked and waited between steps since the last call, where Config asked for it.
func (c *Core) Clock() (busy, idle time.Duration) { return c.runner.Clock() }

// Run is the engine's loop; see engine.Engine.Run.
func (c *Core) Run(ctx context.Context) error { return c.Engine.Run(ctx) }

// Close frees weights and KV memory. The engine's Run has returned before.
func (c *Core) Close() error {
	var errs []error
	if c.runner != nil {
		errs = append(errs, c.runner.Close())
	}
	errs = append(errs, c.Plan.Close())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close model: %w", err)
	}
	return nil
}
