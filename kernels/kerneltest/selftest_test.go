package kerneltest

import (
	"strings"
	"testing"

	"radish/kernels"
	"radish/kernels/ref"
)

// skewed is an oracle with one wrong operation.
type skewed struct {
	kernels.Backend
	panics bool
}

func (s skewed) SwiGLU(dst, gateUp kernels.Tensor) {
	if s.panics {
		panic("lost")
	}
	s.Backend.SwiGLU(dst, gateUp.RowsFrom(0, gateUp.Rows))
	if dst.Rows > 16 && dst.Cols < 64 {
		s.Backend.RMSNorm(dst, dst, kernels.Tensor{}, kernels.Whole(dst.Buf, 1, dst.Cols), 1)
	}
}

// TestSelfTest: the oracle passes its own test; a wrong operation and a panic are named.
func TestSelfTest(t *testing.T) {
	if err := SelfTest(ref.New(kernels.F32), 1); err != nil {
		t.Errorf("oracle: %v", err)
	}
	if err := SelfTest(skewed{Backend: ref.New(kernels.F32)}, 1); err == nil || !strings.Contains(err.Error(), "SwiGLU") {
		t.Errorf("wrong SwiGLU: %v", err)
	}
	if err := SelfTest(skewed{ref.New(kernels.F32), true}, 1); err == nil || !strings.Contains(err.Error(), "SwiGLU: panic") {
		t.Errorf("panic: %v", err)
	}
}
