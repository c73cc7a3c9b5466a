package cuda

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"radish/kernels"
)

// TestFaults: what a card can do to a program is named by the sentinel that decides whether another try helps. A fault
// ends the process's use of the card, so each runs in a child.
func TestFaults(t *testing.T) {
	gpu(t)
	for name, want := range map[string]string{"illegal address": "GPU fault", "too much memory": "out of GPU memory", "no such card": "no usable NVIDIA GPU"} {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestFaultChild$", "-test.v")
		cmd.Env = append(os.Environ(), "RADISH_GPU_FAULT="+name)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "named: "+want) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

func TestFaultChild(t *testing.T) {
	name := os.Getenv("RADISH_GPU_FAULT")
	if name == "" {
		t.Skip("runs as a child of TestFaults")
	}
	if name == "no such card" {
		_, _, _, err := Survey(99)
		show(t, err, ErrNoGPU)
		return
	}
	b := open(t, Options{Act: kernels.BF16})
	if name == "too much memory" {
		_, err := b.Alloc(kernels.F32, 1<<39)
		show(t, err, ErrMemory)
		return
	}
	launch(b, "mark", grid{x: 1, threads: 1}, flagArgs{flag: 64, number: 1})
	err := b.Run()
	show(t, err, ErrFault)
	if err := b.Run(); !errors.Is(err, ErrFault) {
		t.Errorf("the next step ends with %v", err)
	}
}

func show(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
	t.Logf("named: %v (%v)", want, err)
}
