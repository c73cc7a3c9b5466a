package model

import (
	"os"
	"runtime"
	"testing"

	"radish/kernels"
	"radish/kernels/cpu"
	"radish/kernels/cuda"
	"radish/kernels/ref"
)

// path is one way to run the operations.
type path struct {
	name string
	act  kernels.DType
	open func(testing.TB) kernels.Backend
}

// paths lists the oracle and every path of the CPU that this machine can run, and the GPU where make gputest asks for
// it, each in both activation types.
func paths(testing.TB) []path {
	var all []path
	for _, act := range []kernels.DType{kernels.F32, kernels.BF16} {
		all = append(all, path{"ref-" + act.String(), act, func(testing.TB) kernels.Backend { return ref.New(act) }})
		for _, force := range cpu.Paths() {
			all = append(all, path{force + "-" + act.String(), act, func(t testing.TB) kernels.Backend {
				b, err := cpu.New(cpu.Options{Act: act, Force: force, Threads: 2})
				must(t, err)
				return b
			}})
		}
		if os.Getenv("RADISH_GPU") != "" {
			all = append(all, path{"cuda-" + act.String(), act, func(t testing.TB) kernels.Backend {
				runtime.LockOSThread()
				b, err := cuda.New(cuda.Options{Act: act, Arch: os.Getenv("RADISH_GPU_ARCH")})
				must(t, err)
				return b
			}})
		}
	}
	return all
}
