package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"radish/cmd/internal/ui"
	"radish/doctor"
	"radish/doctor/check"
)

// exits runs a command and demands its exit code; "any" demands none but its end.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: exits CODE|any command...")
	}
	code := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("run %s: %v", args[1], err)
	}
	if args[0] != "any" && args[0] != strconv.Itoa(code) {
		ts.Fatalf("%s exited with %d, want %s\n%s", args[1], code, args[0], ts.ReadFile("stdout"))
	}
}

// listen takes a port until the script ends and puts it into $TAKEN.
func listen(ts *testscript.TestScript, _ bool, _ []string) {
	l, err := net.Listen("tcp", ":0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	ts.Setenv("TAKEN", strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
}

// TestWatch opens a token file to others while it is watched, and interrupts when that has been told.
func TestWatch(t *testing.T) {
	t.Setenv("HF_HOME", t.TempDir())
	t.Setenv("HF_TOKEN", "")
	ctx, cancel := context.WithCancel(t.Context())
	out := &told{want: "hf.token: ok -> warn", then: cancel}
	file := filepath.Join(os.Getenv("HF_HOME"), "token")
	checks, err := doctor.Select(check.All(), []string{"hf.token"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	before := &doctor.Report{Findings: []doctor.Finding{{ID: "hf.token", State: doctor.OK}}}
	if err := os.WriteFile(file, []byte("hf_abcdefghabcdefghabcdefgh"), 0o644); err != nil {
		t.Fatal(err)
	}
	err = watch(ctx, &ui.Terminal{Out: out}, checks, doctorFlags{every: time.Millisecond, port: 1}, before)
	if exitCode(err) != exitInterrupted || !strings.Contains(out.String(), out.want) || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("%v after %q", err, out.String())
	}
}

// told is a writer that calls then once it has been told something.
type told struct {
	bytes.Buffer
	want string
	then func()
}

func (w *told) Write(p []byte) (int, error) {
	n, err := w.Buffer.Write(p)
	if strings.Contains(w.String(), w.want) {
		w.then()
	}
	return n, err
}

// TestGPUCode: what the binary carries runs on the cards that the README names.
func TestGPUCode(t *testing.T) {
	code, err := gpuCode()
	if err != nil || strings.Join(code, ", ") != "ptx compute_80, sm_80, sm_90a" {
		t.Errorf("code %v, %v", code, err)
	}
}

// TestProbeLoadsTheLibrary runs the hidden command as doctor does, on a driver library that refuses and on one that works.
func TestProbeLoadsTheLibrary(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for macro, want := range map[string]string{"-DINIT=802": "CUDA_ERROR_SYSTEM_NOT_READY", "-DINIT=0": "Fake GPU"} {
		dir := t.TempDir()
		cc := exec.CommandContext(t.Context(), "cc", "-shared", "-fPIC", "-w", macro, "-o", filepath.Join(dir, "libcuda.so.1"), "../../doctor/host/testdata/fakecuda.c")
		if out, err := cc.CombinedOutput(); err != nil {
			t.Fatalf("cc: %v\n%s", err, out)
		}
		ask := exec.CommandContext(t.Context(), exe)
		ask.Args = []string{"radish", "__probe", "cuda"}
		ask.Env = append(os.Environ(), "LD_LIBRARY_PATH="+dir)
		out, err := ask.CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v\n%s", macro, err, out)
		}
	}
}
