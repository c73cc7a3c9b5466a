package cpu_test

import (
	"testing"

	"radish/kernels"
	"radish/kernels/cpu"
	"radish/kernels/kerneltest"
)

// TestSuite runs the two suites that every backend passes, on every path of this machine.
func TestSuite(t *testing.T) {
	eachPath(t, func(t *testing.T, o cpu.Options) {
		if o.Force == "avx512bf16" && o.Act == kernels.F32 {
			return // line by line the code of avx512: only products of BF16 differ
		}
		fresh := func(t *testing.T) kernels.Backend { return open(t, o) }
		t.Run("oracle", func(t *testing.T) { kerneltest.Run(t, fresh) })
		if o.Force == "generic" && o.Act == kernels.F32 {
			return // the same Go code as for BF16, and slow
		}
		t.Run("invariant", func(t *testing.T) { kerneltest.Invariant(t, fresh) })
	})
}
