package host

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// fakeCUDA compiles a driver library that answers as the macros say.
func fakeCUDA(t *testing.T, macros ...string) string {
	t.Helper()
	lib := filepath.Join(t.TempDir(), "libcuda.so.1")
	args := append([]string{"-shared", "-fPIC", "-w", "-o", lib, "testdata/fakecuda.c"}, macros...)
	if out, err := exec.Command("cc", args...).CombinedOutput(); err != nil {
		t.Fatalf("cc: %v\n%s", err, out)
	}
	return lib
}

func TestProbeCUDA(t *testing.T) {
	c := probeCUDA(fakeCUDA(t))
	if c.Err+c.Absent != "" || c.Failed != (Call{}) || c.Driver != 12040 || len(c.Devices) != 2 || c.Took <= 0 {
		t.Fatalf("probe %+v", c)
	}
	for i, d := range c.Devices {
		if d != (CUDADevice{Index: i, Name: "Fake GPU", Major: 8, Minor: 6}) {
			t.Errorf("device %+v", d)
		}
	}
}

func TestProbeCUDAFails(t *testing.T) {
	c := probeCUDA(fakeCUDA(t, "-DINIT=802"))
	if c.Failed != (Call{"cuInit", 802, "CUDA_ERROR_SYSTEM_NOT_READY"}) || len(c.Devices) != 0 {
		t.Errorf("no fabric manager: %+v", c)
	}
	for macro, want := range map[string]string{"-DRETAIN=46": "cuDevicePrimaryCtxRetain", "-DALLOC=2": "cuMemAlloc"} {
		if c = probeCUDA(fakeCUDA(t, macro)); len(c.Devices) != 2 || c.Devices[1].Failed.Step != want || c.Devices[1].Failed.Code == 0 {
			t.Errorf("%s: %+v", macro, c)
		}
	}
	if c = probeCUDA(fakeCUDA(t, "-DDEVICES=0")); c.Failed.Code != 0 || len(c.Devices) != 0 {
		t.Errorf("no device: %+v", c)
	}
	if c = probeCUDA(fakeCUDA(t, "-DOLD")); !strings.Contains(c.Absent, "has no cuMemAlloc_v2") {
		t.Errorf("a library without a call: %+v", c)
	}
	if c = probeCUDA(filepath.Join(t.TempDir(), "libcuda.so.1")); !strings.Contains(c.Absent, "No such file") {
		t.Errorf("no library: %+v", c)
	}
}
