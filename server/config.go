// Package server puts the rooms together: it sizes a model for the machine (MakePlan), loads it (NewCore), and serves
// it over HTTP (New, Run). It decides nothing about requests, text or kernels itself, and it is the only place that
// names a concrete backend.
//
//	cfg := server.Config{...}                 // filled by cmd from flags, environment and file
//	plan, err := server.MakePlan(cfg)         // reads config.json only; cmd prints it
//	s, err := server.New(cfg, plan)           // loads weights, listens
//	err = s.Run(ctx)                          // serves until ctx ends, then drains
package server

import (
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"time"

	"radish/server/sched"
)

// Errors that callers tell apart with errors.Is.
var (
	ErrDoesNotFit  = errors.New("does not fit in memory")
	ErrUnsupported = errors.New("not supported")
	ErrConfig      = errors.New("setting is not right")
)

// Config is everything that radish serve can be told. Zero values mean "sized from the machine" where a field's comment
// gives no other default.
type Config struct {
	Model   ModelConfig
	Compute ComputeConfig
	Sched   SchedConfig
	HTTP    HTTPConfig
	Memory  Machine
	Log     *slog.Logger // nil: silent
	Version string
	// Telemetry receives SGLang's "Prefill batch" and "Decode batch" lines; nil: none. DecodeLogInterval is the number of
	// decode steps between two of the latter, 0: 40.
	Telemetry         io.Writer
	DecodeLogInterval int
}

// ModelConfig says what to serve.
type ModelConfig struct {
	Path          string // a directory, or a name for Files
	Files         fs.FS  // the model's files when they are not a directory on disk: the builtin model
	ServedName    string // "": Path
	ContextLength int    // 0: the model's own, less if memory is short
	Dummy         bool   // seeded random weights from config.json alone
	DummySeed     uint64
	SkipTokenizer bool
	// NeutralSampling ignores what generation_config.json recommends for requests that do not say.
	NeutralSampling bool
	Float32         bool // weights, activations and KV in float32 instead of bfloat16
}

// ComputeConfig says what computes.
type ComputeConfig struct {
	Device    string // "cpu" (or "") or "cuda"
	Why       string // why this device, for those who ask the server
	Threads   int    // CPU: 0: one for each processor
	Kernels   string // forces a CPU path (see kernels/cpu) or a GPU image (see kernels/cuda); "" picks the best
	GPU       int    // index among the visible cards
	Gemm      string // GPU: own, cublaslt or auto
	Invariant bool   // GPU: a request's answer never depends on what shares its steps
	Cache     string // GPU: file that keeps what tuning found; "": nothing is kept
	Clock     bool   // GPU: measure how long it works and waits; see Core.Clock
}

// cuda reports whether a GPU computes.
func (c ComputeConfig) cuda() bool { return c.Device == "cuda" }

// SchedConfig bounds the engine.
type SchedConfig struct {
	MemFraction      float64 // share of available memory for weights and KV; 0: 0.8, on a GPU 0.9
	MaxTotalTokens   int     // KV pool in tokens; 0: what fits
	MaxRunning       int     // 0: 64, on a GPU 256, fewer if the pool is small
	MaxQueued        int     // 0: 1024
	Policy           sched.Policy
	ChunkedPrefill   int // tokens; 0: 512, on a GPU 8192; -1: prompts are not cut
	MaxPrefillTokens int // 0: 16384
	PageSize         int // 0: 16
	DisableRadix     bool
	Seed             uint64
}

// HTTPConfig says where and to whom.
type HTTPConfig struct {
	Host         string
	Port         int // 0: any free one
	Keys         []string
	AllowNoKey   bool
	ShareCache   bool          // one prefix cache for all API keys
	DrainTimeout time.Duration // 0: 30 s
}

// Machine is the memory that may be used, in bytes.
type Machine struct {
	Available int64
	Source    string // where the figure comes from, for the plan
}

// sizes are the defaults that hang on the device. A GPU is full only with many more rows a step, its memory serves
// nothing else, and its output head is best read once for all rows.
type sizes struct {
	fraction               float64
	running, chunk, logits int
}

func (c ComputeConfig) sizes() sizes {
	if c.cuda() {
		return sizes{fraction: 0.9, running: 256, chunk: 8192, logits: 256}
	}
	return sizes{fraction: 0.8, running: 64, chunk: 512}
}

// The defaults that do not depend on the machine.
const (
	defaultPrefill  = 16384
	defaultPageSize = 16
	defaultDrain    = 30 * time.Second
	maxPageSize     = 1024
)

func orDefault[T comparable](v, d T) T {
	var zero T
	if v == zero {
		return d
	}
	return v
}
