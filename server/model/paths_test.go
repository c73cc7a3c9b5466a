package model

import (
	"testing"

	"radish/kernels"
	"radish/kernels/cpu"
	"radish/kernels/ref"
)

// path is one way to run the operations.
type path struct {
	name string
	act  kernels.DType
	open func(testing.TB) kernels.Backend
}

// paths lists the oracle and every path of the CPU that this machine can run, each in both activation types.
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
	}
	return all
}
