package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"radish/cmd/internal/ui"
	"radish/kernels/cuda"
	"radish/provision/builtin"
	"radish/server"
	"radish/server/sched"
)

var errDoesNotFit = server.ErrDoesNotFit

// modelFlags are what every command that loads a model takes.
type modelFlags struct {
	path       string
	context    int
	loadFormat string
	seed       uint64
	dtype      string
	skipText   bool
	where      string
	tensor     int
	threads    int
	gpu        int
	gemm       string
	invariant  bool
	untested   bool // only to plan: the card's kernels need no test now
}

func (f *modelFlags) add(c *cobra.Command) {
	set := c.Flags()
	set.StringVar(&f.path, "model-path", "builtin", "directory of a Hugging Face model, ORG/NAME[@REV] after radish pull, or builtin")
	set.IntVar(&f.context, "context-length", 0, "most tokens of one request, prompt and answer (default: the model's own)")
	set.StringVar(&f.loadFormat, "load-format", "safetensors", "safetensors, or dummy: seeded random weights from config.json alone")
	set.Uint64Var(&f.seed, "random-seed", 0, "seed of dummy weights and of the random schedule policy")
	set.StringVar(&f.dtype, "dtype", "auto", "bfloat16 (which auto means, and to which other checkpoints are rounded) or float32: weights, activations and KV")
	set.BoolVar(&f.skipText, "skip-tokenizer-init", false, "serve token ids only")
	set.StringVar(&f.where, "device", "auto", "auto, cpu or cuda")
	set.IntVar(&f.tensor, "tensor-parallel-size", 1, "number of GPUs a layer is split over; only 1 is supported")
	set.IntVar(&f.gpu, "gpu", 0, "which of the GPUs that CUDA_VISIBLE_DEVICES leaves")
	set.StringVar(&f.gemm, "gemm", "auto", "matrix products on a GPU: own kernels, cublaslt where it is installed, or auto: the faster one")
	set.BoolVar(&f.invariant, "batch-invariant", false, "on a GPU: no answer depends on the requests beside it (on a CPU none ever does)")
	set.IntVar(&f.threads, "threads", 0, "CPU threads (default: one for each processor)")
}

// schedFlags bound the engine.
type schedFlags struct {
	server.SchedConfig
	policy string
}

func (f *schedFlags) add(c *cobra.Command) {
	set := c.Flags()
	set.Float64Var(&f.MemFraction, "mem-fraction-static", 0, "share of the available memory for weights and KV pool (0: 0.8, on a GPU 0.9)")
	set.IntVar(&f.MaxTotalTokens, "max-total-tokens", 0, "size of the KV pool in tokens (default: what fits)")
	set.IntVar(&f.MaxRunning, "max-running-requests", 0, "requests that run at once (default 64, on a GPU 256, fewer if memory is short)")
	set.IntVar(&f.MaxQueued, "max-queued-requests", 0, "requests that may wait; more are refused with 429 (default 1024)")
	set.StringVar(&f.policy, "schedule-policy", "lpm", "order of the queue: lpm, fcfs, dfs-weight, random or priority")
	set.IntVar(&f.ChunkedPrefill, "chunked-prefill-size", 0, "most prompt tokens in one step, -1: prompts are not cut (default 512, on a GPU 8192)")
	set.IntVar(&f.MaxPrefillTokens, "max-prefill-tokens", 0, "most prompt tokens in one step when prompts are not cut (default 16384)")
	set.BoolVar(&f.DisableRadix, "disable-radix-cache", false, "reuse no prefixes")
	set.IntVar(&f.PageSize, "page-size", 0, "tokens in a page of the KV pool (default 16)")
}

// serveFlags are the rest of radish serve.
type serveFlags struct {
	model  modelFlags
	sched  schedFlags
	http   server.HTTPConfig
	served string
	key    string
	level  string
	sample string
	every  int
	file   string
}

func newServeCommand(term *ui.Terminal) *cobra.Command {
	f := &serveFlags{}
	c := &cobra.Command{
		Use:   "serve",
		Short: "serve a model over an OpenAI-compatible API, in the foreground",
		Long: `Serve a model over an OpenAI-compatible API until interrupted. What it will take in memory is printed
before anything is loaded. Flags may also be given as RADISH_* variables (RADISH_PORT=8000) or in a YAML file
(--config radish.yaml, keys as the flags); flags win over variables, variables over the file.

  radish serve --model-path builtin
  radish serve --model-path /models/Llama-3.2-1B-Instruct --port 8000
  radish serve --model-path DIR --host 0.0.0.0 --api-key "$KEY"

SIGTERM and SIGINT refuse new requests, finish the running ones (--drain-timeout), and exit with 0.
` + exitStatus,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := layer(c, f.file); err != nil {
				return err
			}
			return runServe(c, term, f)
		},
	}
	f.model.add(c)
	f.sched.add(c)
	f.add(c)
	return c
}

func (f *serveFlags) add(c *cobra.Command) {
	set := c.Flags()
	set.StringVar(&f.served, "served-model-name", "", "the model's name in the API (default: its path)")
	set.StringVar(&f.http.Host, "host", "127.0.0.1", "address to listen on")
	set.IntVar(&f.http.Port, "port", 30000, "port to listen on, 0: any free one")
	set.StringVar(&f.key, "api-key", "", "key that clients must send; several with commas")
	set.BoolVar(&f.http.AllowNoKey, "allow-no-api-key", false, "listen on a public address without a key")
	set.BoolVar(&f.http.ShareCache, "share-prefix-cache", false, "let all API keys share one prefix cache")
	set.DurationVar(&f.http.DrainTimeout, "drain-timeout", 30*time.Second, "time for running requests after SIGTERM")
	set.StringVar(&f.sample, "sampling-defaults", "model", "model: what generation_config.json recommends, or openai: temperature 1 and nothing else")
	set.StringVar(&f.level, "log-level", "info", "debug, info, warning or error")
	set.IntVar(&f.every, "decode-log-interval", 40, "decode steps between telemetry lines")
	set.StringVar(&f.file, "config", "", "YAML file with flags as keys")
}

// config turns model and scheduler flags into a server.Config, sized for this machine.
func (f *modelFlags) config(term *ui.Terminal, s *schedFlags) (server.Config, error) {
	cfg := server.Config{Version: version, Sched: s.SchedConfig}
	policy, err := sched.ParsePolicy(s.policy)
	if err != nil {
		return cfg, &usageError{err: fmt.Errorf("read schedule-policy: %w", err)}
	}
	cfg.Sched.Policy, cfg.Sched.Seed = policy, f.seed
	if cfg.Model, err = f.modelConfig(); err != nil {
		return cfg, err
	}
	return cfg, f.device(term, &cfg)
}

func (f *modelFlags) modelConfig() (server.ModelConfig, error) {
	m := server.ModelConfig{Path: f.path, ContextLength: f.context, DummySeed: f.seed, SkipTokenizer: f.skipText}
	switch f.dtype {
	case "auto", "bfloat16":
	case "float32":
		m.Float32 = true
	default:
		return m, &usageError{err: fmt.Errorf("read dtype: %q is not auto, bfloat16 or float32", f.dtype)}
	}
	switch f.loadFormat {
	case "safetensors":
	case "dummy":
		m.Dummy = true
	default:
		return m, &usageError{err: fmt.Errorf("read load-format: %q is not safetensors or dummy", f.loadFormat)}
	}
	if f.path == "builtin" {
		m.Files = builtin.FS()
		return m, nil
	}
	err := fromStore(&m)
	return m, err
}

func runServe(c *cobra.Command, term *ui.Terminal, f *serveFlags) error {
	cfg, err := f.config(term)
	if err != nil {
		return err
	}
	supervisor, err := attach()
	if err != nil {
		return err
	}
	ctx, cancel := supervisor.orphaned(c.Context())
	defer cancel()
	plan, err := makePlan(term, cfg)
	if err != nil {
		return err
	}
	loaded := supervisor.loading(plan, cfg.Compute.Why)
	s, err := server.New(cfg, plan)
	loaded()
	if err != nil {
		return adviseServe(err, cfg)
	}
	term.Say("ready: http://%s (model %s, %s)", s.Addr(), s.Name(), s.Backend())
	go supervisor.serving(ctx, s)
	return s.Run(ctx)
}

func (f *serveFlags) config(term *ui.Terminal) (server.Config, error) {
	cfg, err := f.model.config(term, &f.sched)
	if err != nil {
		return cfg, err
	}
	if f.sample != "model" && f.sample != "openai" {
		return cfg, &usageError{err: fmt.Errorf("read sampling-defaults: %q is not model or openai", f.sample)}
	}
	if f.served != "" {
		cfg.Model.ServedName = f.served
	}
	cfg.Model.NeutralSampling = f.sample == "openai"
	cfg.HTTP = f.http
	if f.key != "" {
		cfg.HTTP.Keys = strings.Split(f.key, ",")
	}
	cfg.DecodeLogInterval = f.every
	level, err := logLevel(f.level)
	if err != nil {
		return cfg, &usageError{err: err}
	}
	cfg.Log = slog.New(newLineHandler(term.Err, level))
	if level <= slog.LevelInfo {
		cfg.Telemetry = term.Err
	}
	return cfg, nil
}

// makePlan sizes the model and prints what it will take.
func makePlan(term *ui.Terminal, cfg server.Config) (*server.Plan, error) {
	plan, err := server.MakePlan(cfg)
	if err != nil {
		return nil, advisePlan(err, cfg)
	}
	term.Say("plan: weights %s + KV %s (%d tokens in pages of %d) + workspace %s = %s of %s available (%s)",
		ui.Bytes(plan.Weights), ui.Bytes(plan.KV), plan.Tokens(), plan.PageSize, ui.Bytes(plan.Workspace),
		ui.Bytes(plan.Total()), ui.Bytes(plan.Available), cfg.Memory.Source)
	term.Say("plan: max_total_num_tokens=%d, chunked_prefill_size=%d, max_running_requests=%d, context_len=%d",
		plan.Tokens(), plan.Chunk, plan.MaxRunning, plan.Context)
	for _, n := range plan.Notes {
		term.Say("plan: %s", n)
	}
	return plan, nil
}

func advisePlan(err error, cfg server.Config) error {
	switch {
	case errors.Is(err, server.ErrDoesNotFit):
		return advise(err, "a smaller --context-length or --max-total-tokens, a larger --mem-fraction-static, or a machine with more memory")
	case errors.Is(err, server.ErrConfig):
		return &usageError{err: err}
	case cfg.Model.Files == nil:
		return advise(err, "ls %s (a Hugging Face model directory has config.json, tokenizer.json and *.safetensors), or --model-path builtin",
			filepath.Clean(cfg.Model.Path))
	}
	return err
}

func adviseServe(err error, cfg server.Config) error {
	switch {
	case errors.Is(err, server.ErrNoKey):
		return advise(err, "--api-key KEY, or --host 127.0.0.1; --allow-no-api-key if the network is really closed")
	case errors.Is(err, fs.ErrNotExist):
		return advise(err, "ls %s; without tokenizer.json --skip-tokenizer-init serves token ids, without weights --load-format dummy measures",
			filepath.Clean(cfg.Model.Path))
	case errors.Is(err, cuda.ErrMemory):
		return advise(err, "nvidia-smi shows who holds the card's memory; a smaller --mem-fraction-static or --context-length, or --gpu N for another card")
	case errors.Is(err, cuda.ErrLost), errors.Is(err, cuda.ErrFault):
		return advise(err, "radish doctor, and dmesg | radish explain: the driver logs the cause as an Xid")
	case errors.Is(err, server.ErrListen):
		return advise(err, "radish serve --port %d, or --port 0 for any free one", cfg.HTTP.Port+1)
	}
	return err
}
