package model

import (
	"testing"

	"radish/kernels"
	"radish/kernels/ref"
)

// path is one way to run the operations.
type path struct {
	name string
	act  kernels.DType
	open func(testing.TB) kernels.Backend
}

// paths lists the oracle in both activation types.
func paths(testing.TB) []path {
	var all []path
	for _, act := range []kernels.DType{kernels.F32, kernels.BF16} {
		all = append(all, path{"ref-" + act.String(), act, func(testing.TB) kernels.Backend { return ref.New(act) }})
	}
	return all
}
