package host

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The first 48 bytes of entries as nvcc wrote them into published wheels: torch 2.8.0 (sm_70, compressed), torchvision
// 0.23.0 (sm_100 and PTX of 5.0), sgl-kernel 0.3.21 (sm_90a, sm_100a), vLLM 0.33.0 (sm_100f).
var entries = map[string]string{
	"sm_70":      "020001014000000068350000000000006535000000000000070001004600000000000000000000001120000000000000",
	"sm_100":     "020001016000000080ba0700000000000000000040000000080001006400000000000000000000001100000100000000",
	"compute_50": "0100010150000000d041010000000000c941010040000000070008003200000000000000000000001120000000000000",
	"sm_90a":     "0200010140000000e0da0100000000000000000000000000070001005a00000000000000000000001100100000000000",
	"sm_100a":    "020001016000000010bc0300000000000000000040000000080001006400000000000000000000001100100100000000",
	"sm_100f":    "0200010170000000f056000000000000ec56000040000000080001006400000000000000000000001180200100000000",
}

func TestEntriesOfRealWheels(t *testing.T) {
	for want, text := range entries {
		b, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		c, length := fatCode(b)
		if c.String() != want || length < fatEntry {
			t.Errorf("%s was read as %s, %d bytes", want, c, length)
		}
	}
}

// TestWhichCardRunsWhat is NVIDIA's table of binary and PTX compatibility, by example.
func TestWhichCardRunsWhat(t *testing.T) {
	for _, c := range []struct {
		code Code
		yes  []int
		no   []int
	}{
		{Code{SM: 80}, []int{80, 86, 89}, []int{75, 90, 120}},
		{Code{SM: 86}, []int{86, 89}, []int{80, 90}},
		{Code{SM: 90}, []int{90}, []int{89, 100}},
		{Code{SM: 90, Exact: true}, []int{90}, []int{86, 100}},
		{Code{SM: 100, Exact: true}, []int{100}, []int{103, 120}},
		{Code{SM: 100, Family: true}, []int{100, 103}, []int{90, 110, 120}},
		{Code{SM: 120}, []int{120, 121}, []int{100, 90}},
		{Code{SM: 80, PTX: true}, []int{80, 86, 90, 120}, []int{75}},
		{Code{SM: 90, PTX: true, Exact: true}, []int{90}, []int{100, 120}},
	} {
		for _, sm := range c.yes {
			if !c.code.Runs(sm) {
				t.Errorf("%s does not run on %d", c.code, sm)
			}
		}
		for _, sm := range c.no {
			if c.code.Runs(sm) {
				t.Errorf("%s runs on %d", c.code, sm)
			}
		}
	}
}

func TestHowWellACardIsServed(t *testing.T) {
	// torch 2.9.1's libtorch_cuda.so, counted in the published wheel.
	torch := []Code{{SM: 70, Files: 397}, {SM: 86, Files: 397}, {SM: 89, Files: 1}, {SM: 90, Files: 397}, {SM: 90, Exact: true, Files: 4}, {SM: 100, Exact: true, Files: 2}}
	for sm, want := range map[int]string{70: "most", 86: "most", 89: "most", 90: "most", 100: "few", 120: "none", 61: "none"} {
		got := "none"
		if most, few := Cover(torch, sm); most {
			got = "most"
		} else if few {
			got = "few"
		}
		if got != want {
			t.Errorf("sm_%d is served by %s, want %s", sm, got, want)
		}
	}
}

func FuzzFatbin(f *testing.F) {
	f.Add([]byte("\x50\xed\x55\xba\x01\x00\x10\x00\x20\x00\x00\x00\x00\x00\x00\x00"))
	f.Add(bytes.Repeat([]byte{0xff}, 200))
	f.Fuzz(func(t *testing.T, b []byte) {
		codes, err := readFat(t.Context(), bytes.NewReader(b), int64(len(b)))
		if err == nil && len(b) >= 8 && b[0] != 0 && len(codes) > len(b)/fatEntry {
			t.Errorf("%d codes in %d bytes", len(codes), len(b))
		}
	})
}

func TestNotAFatbin(t *testing.T) {
	for _, b := range []string{"this is no fat binary, it is text", "\x50\xed\x55\xba\x01\x00\x10\x00\xff\xff\xff\xff\xff\xff\xff\x7f"} {
		if _, err := readFat(t.Context(), strings.NewReader(b), int64(len(b))); !errors.Is(err, ErrNotFatbin) {
			t.Errorf("%q: %v", b, err)
		}
	}
}

// TestLinksStayBelowTheRoot: an absolute link in a fixture means the fixture's root, and a circle ends.
func TestLinksStayBelowTheRoot(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"usr/bin", "venv/bin"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "usr/bin/python3.12"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{"venv/bin/python3": "/usr/bin/python3", "usr/bin/python3": "python3.12", "round": "/round", "up": "../../../usr"} {
		if err := os.Symlink(to, filepath.Join(root, from)); err != nil {
			t.Fatal(err)
		}
	}
	d := disk{root: root, ctx: t.Context()}
	for name, want := range map[string]string{"/venv/bin/python3": "/usr/bin/python3.12", "/up/bin/python3": "/usr/bin/python3.12", "/round": "", "/usr/none": ""} {
		got, ok := d.resolve(name)
		if ok != (want != "") || ok && got != want {
			t.Errorf("%s leads to %s, %v, want %q", name, got, ok, want)
		}
	}
}

func TestInfoNames(t *testing.T) {
	for name, want := range map[string]string{
		"torch-2.8.0+cu128.dist-info":             "torch 2.8.0+cu128",
		"flashinfer_python-0.7.2.post1.dist-info": "flashinfer_python 0.7.2.post1",
		"nvidia_cublas_cu12-12.8.4.1.dist-info":   "nvidia_cublas_cu12 12.8.4.1",
		"ruamel.yaml-0.18.6-py3.12.egg-info":      "ruamel.yaml 0.18.6",
		"sglang-0.5.11.dev3+g1a2b3c4.dist-info":   "sglang 0.5.11.dev3+g1a2b3c4",
		"torch":                                   "",
		"some-package.dist-info":                  "",
		"__editable___sglang_0_5_10_finder.py":    "",
	} {
		got := ""
		if m := infoName.FindStringSubmatch(name); m != nil {
			got = m[1] + " " + m[2]
		}
		if got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}
