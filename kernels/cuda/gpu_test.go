package cuda

import (
	"os"
	"runtime"
	"testing"

	"radish/kernels"
	"radish/kernels/kerneltest"
)

// gpu marks a test that needs an NVIDIA GPU: `make gputest` sets RADISH_GPU and runs them; then a machine without one
// fails. Elsewhere they are not part of the run.
func gpu(t testing.TB) {
	t.Helper()
	if os.Getenv("RADISH_GPU") == "" {
		t.Skip("needs a GPU: make gputest")
	}
}

// open makes a Backend for a test and locks the goroutine to its thread. The kernels' architecture can be forced with
// RADISH_GPU_ARCH.
func open(t testing.TB, o Options) *Backend {
	t.Helper()
	gpu(t)
	runtime.LockOSThread()
	if o.Arch == "" {
		o.Arch = os.Getenv("RADISH_GPU_ARCH")
	}
	b, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestKernelsBF16(t *testing.T) {
	gpu(t)
	kerneltest.Run(t, func(t *testing.T) kernels.Backend { return open(t, Options{Act: kernels.BF16}) })
}

func TestKernelsF32(t *testing.T) {
	gpu(t)
	kerneltest.Run(t, func(t *testing.T) kernels.Backend { return open(t, Options{Act: kernels.F32}) })
}

func TestInvariant(t *testing.T) {
	gpu(t)
	kerneltest.Invariant(t, func(t *testing.T) kernels.Backend {
		return open(t, Options{Act: kernels.BF16, Invariant: true})
	})
}
