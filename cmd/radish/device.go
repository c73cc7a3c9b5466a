package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"radish/cmd/internal/ui"
	"radish/doctor/host"
	"radish/kernels/cuda"
	"radish/server"
)

// device decides what computes and how much memory it has. auto takes the GPU when there is one that radish can use, and
// says why when it does not.
func (f *modelFlags) device(term *ui.Terminal, cfg *server.Config) error {
	if f.tensor != 1 {
		return &usageError{err: fmt.Errorf("tensor-parallel-size %d: radish runs a model on one device, only 1 is supported", f.tensor)}
	}
	switch f.gemm {
	case "own", "cublaslt", "auto":
	default:
		return &usageError{err: fmt.Errorf("read gemm: %q is not own, cublaslt or auto", f.gemm)}
	}
	switch f.where {
	case "cpu":
		return f.onCPU(cfg, "asked for")
	case "cuda":
		card, free, total, err := cuda.Survey(f.gpu)
		if err != nil {
			return advise(fmt.Errorf("device cuda: %w", err), "radish doctor, or radish serve --device cpu")
		}
		f.onGPU(cfg, card, free, total, "asked for")
		return f.trust(term, cfg, card)
	case "auto":
		card, free, total, err := cuda.Survey(f.gpu)
		if err == nil {
			f.onGPU(cfg, card, free, total, "auto: a usable GPU")
			return f.trust(term, cfg, card)
		}
		if !errors.Is(err, cuda.ErrNoGPU) {
			return advise(fmt.Errorf("device auto: %w", err), "radish doctor, or radish serve --device cpu")
		}
		if gpus, _, hostErr := host.GPUs(); hostErr == nil && len(gpus) > 0 {
			term.Say("device: cpu, although %s is here: %v", gpus[0].Name, err)
		}
		return f.onCPU(cfg, fmt.Sprintf("auto: %v", err))
	}
	return &usageError{err: fmt.Errorf("read device: %q is not auto, cpu or cuda", f.where)}
}

func (f *modelFlags) trust(term *ui.Terminal, cfg *server.Config, card cuda.Card) error {
	if f.untested {
		return nil
	}
	return trustCard(term, cfg, card)
}

func (f *modelFlags) onCPU(cfg *server.Config, why string) error {
	cfg.Compute = server.ComputeConfig{Device: "cpu", Why: why, Threads: f.threads, Kernels: os.Getenv(kernelsEnv)}
	mem, err := host.ReadMemory()
	if err != nil {
		return err
	}
	cfg.Memory = server.Machine{Available: int64(mem.Available()), Source: mem.Source}
	return nil
}

func (f *modelFlags) onGPU(cfg *server.Config, card cuda.Card, free, total int64, why string) {
	cfg.Compute = server.ComputeConfig{Device: "cuda", Why: why, Kernels: os.Getenv(imageEnv), GPU: f.gpu, Gemm: f.gemm, Invariant: f.invariant}
	if dir, err := os.UserCacheDir(); err == nil {
		cfg.Compute.Cache = filepath.Join(dir, "radish", "gpu-gemm.json")
	}
	cfg.Memory = server.Machine{Available: free, Source: fmt.Sprintf("%s, %s in all", card.Name, ui.Bytes(total))}
}
