// Package cpu runs the operations of kernels.Backend on the processor: SIMD kernels in C, chosen at run time, and the
// same operations in plain Go where no SIMD path fits.
//
// Paths. "avx512bf16" multiplies pairs with VDPBF16PS, "avx512" and "avx2" widen bfloat16 to float32 and use fused
// multiply-adds, "generic" is Go. On Intel's Sapphire and Emerald Rapids VDPBF16PS has half the throughput of float32
// FMA (measured, see ../SPEED.md), on AMD's Zen 4 twice, so the default is avx512bf16 on AMD only. Paths differ in the
// last bits from one another; within a path a row's result depends on nothing but the row and its sequence.
//
// Weights are packed at load into panels of 16 outputs, for BF16 [in/2][16][2], for F32 [in][16]: one layout for one row
// and for many. Every output element is one chain of multiply-adds in rising order of the input index; threads share
// outputs and rows, never a sum.
//
// The queue is a list of small structs in memory that C can read (ops.go, ops.h); Run hands it to a pool of pinned
// threads in one call. Sampling chooses in Go, after the logits, one goroutine
// per share of the rows; what must look at a whole row is a scan in C (scan.go), and nothing is sorted but what a cut
// leaves undecided.
package cpu

import (
	"errors"
	"fmt"
	"runtime"
	"slices"

	"radish/kernels"
)

// ErrPath is wrapped by New when a forced path cannot run here.
var ErrPath = errors.New("no such kernel path on this machine")

// Options sizes a Backend. The zero value takes every core, BF16 activations and the best path.
type Options struct {
	Threads int           // workers, the caller's thread included; 0: one per physical core that the process may use
	Act     kernels.DType // BF16 (0 means BF16) or F32
	Force   string        // a name from Paths, or "" for the best
}

// engine executes a list of operations with one instruction set.
type engine interface {
	run(ops []op)
	scans() scans
	close()
}

// Backend is the processor as a kernels.Backend.
type Backend struct {
	path     string
	threads  int
	act      kernels.DType
	exec     engine
	mem      memory
	ops      []op
	samples  []sampling
	choosers []*chooser // scratch of sampling
	step     step
	wide     region // F32 copy of a Linear's input
	closed   bool
}

var _ kernels.Backend = (*Backend)(nil)

// Paths lists the paths that this machine can run, the default one first, "generic" always last.
func Paths() []string { return append(simdPaths(), "generic") }

// New makes a backend and starts its workers. An unknown or unsupported forced path is ErrPath.
func New(o Options) (kernels.Backend, error) {
	if o.Act == 0 {
		o.Act = kernels.BF16
	}
	if o.Act != kernels.BF16 && o.Act != kernels.F32 {
		return nil, fmt.Errorf("make cpu backend: activations cannot be %v", o.Act)
	}
	paths := Paths()
	if o.Force == "" {
		o.Force = paths[0]
	}
	if !slices.Contains(paths, o.Force) {
		return nil, fmt.Errorf("make cpu backend: %w: %q, have %v", ErrPath, o.Force, paths)
	}
	cpus := cores()
	if o.Threads <= 0 {
		o.Threads = min(len(cpus), runtime.GOMAXPROCS(0))
	}
	b := &Backend{path: o.Force, threads: min(o.Threads, 512), act: o.Act}
	var err error
	if b.exec, err = newEngine(b.path, b.threads, cpus); err != nil {
		return nil, fmt.Errorf("make cpu backend: %w", err)
	}
	return b, nil
}

// Name is "cpu", the path and the number of threads.
func (b *Backend) Name() string { return fmt.Sprintf("cpu %s x%d", b.path, b.threads) }

// Act is the type of activations and weights.
func (b *Backend) Act() kernels.DType { return b.act }

// Run executes the queue, then the sampling that was queued last.
func (b *Backend) Run() error {
	from := 0
	for i := range b.ops {
		if b.ops[i].kind == kindSample {
			b.exec.run(b.ops[from:i])
			b.sample(&b.samples[b.ops[i].chunks])
			from = i + 1
		}
	}
	if from < len(b.ops) {
		b.exec.run(b.ops[from:])
	}
	clear(b.samples)
	b.ops, b.samples = b.ops[:0], b.samples[:0]
	b.mem.reset()
	b.step.placed = false
	return nil
}

// Close stops the workers and frees all memory, weights and KV included. Buffers must not be used afterwards.
func (b *Backend) Close() error {
	if b.closed {
		return nil
	}
	b.closed = true
	b.exec.close()
	return b.mem.close()
}
