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

// TestSanitize is what scripts/gputest.sh runs under compute-sanitizer: every kernel once, in the shapes of a miniature
// model and of the operations' own tests.
func TestSanitize(t *testing.T) {
	if os.Getenv("RADISH_SANITIZE") == "" {
		t.Skip("runs under compute-sanitizer: make gputest")
	}
	b := open(t, Options{Act: kernels.BF16, Separate: true, Gemm: "own"}) // NVIDIA's kernels are theirs to check
	if err := kerneltest.SelfTest(b, 1); err != nil {
		t.Error(err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}
