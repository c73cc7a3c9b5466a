package explain

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

// TestLogs judges whole logs by what a person who knows the trouble says of each.
func TestLogs(t *testing.T) {
	for _, c := range []struct {
		log, cause string
		line       int64
		facts      Facts
	}{
		{"capture.log", "mem.oom-capture", 5, Facts{}},
		{"restart.log", "jit.nvcc-old", 7, Facts{}},
		{"survived.log", "mem.oom-serve", 9, Facts{}},
		{"nccl.log", "nccl.shm", 4, Facts{}},
		{"import.log", "py.libnuma", 6, Facts{}},
		{"killed.log", "host.oom", 4, Facts{OOMKnown: true, OOMKills: 1}},
		{"killed.log", "host.killed", 4, Facts{OOMKnown: true}},
		{"vllm.log", "mem.held", 4, Facts{}},
		{"kernel.log", "xid.host", 3, Facts{}},
		{"pip.log", "py.flashinfer-name", 3, Facts{}},
	} {
		b, err := os.ReadFile(filepath.Join("testdata/logs", c.log))
		if err != nil {
			t.Fatal(err)
		}
		rep := explainString(t, string(b), c.facts)
		if rep.Cause == nil || rep.Cause.ID != c.cause || rep.Cause.Line != c.line {
			t.Errorf("%s: cause %+v, want %s at line %d", c.log, rep.Cause, c.cause, c.line)
		}
		crlf := explainString(t, strings.ReplaceAll(string(b), "\n", "\r\n"), c.facts)
		if crlf.Cause == nil || crlf.Cause.Line != c.line || crlf.Cause.Text != rep.Cause.Text {
			t.Errorf("%s with CR LF: %+v", c.log, crlf.Cause)
		}
	}
}

func TestEchoPointsAtItsCause(t *testing.T) {
	rep := explainString(t, "Received sigquit from a child process\nOSError: [Errno 24] Too many open files\n", Facts{})
	if rep.Cause == nil || rep.Cause.ID != "proc.nofile" || rep.Echoes[0].Because != "proc.nofile" {
		t.Errorf("%+v", rep)
	}
	alone := explainString(t, "Received sigquit from a child process\n", Facts{})
	if alone.Cause != nil || alone.Echoes[0].Because != "" {
		t.Errorf("an echo alone: %+v", alone)
	}
	// An echo of a run without a cause does not point into another run.
	two := explainString(t, "Too many open files\nserver_args=ServerArgs(x)\nReceived sigquit from a child process\n", Facts{})
	if !two.Cause.Survived || two.Echoes[0].Because != "" {
		t.Errorf("%+v", two)
	}
}

func TestLinesOfEveryShape(t *testing.T) {
	const said = "OSError: [Errno 24] Too many open files"
	for name, c := range map[string]struct {
		log         string
		line, lines int64
	}{
		"no line end":     {said, 1, 1},
		"colours":         {"a\n\x1b[31mOSError\x1b[0m: [Errno 24] Too many \x1b[1;4mopen files\x1b[m\n", 2, 2},
		"hyperlink":       {"\x1b]8;;http://x\aToo many\x1b]8;;\a open files\n", 1, 1},
		"progress bar":    {"10%\r20%\r" + said + "\rdone\nnext\n", 1, 2},
		"docker json":     {`{"log":"` + said + `\n","stream":"stderr"}` + "\n", 1, 1},
		"deep in a line":  {strings.Repeat("x ", 50_000) + said + strings.Repeat(" y", 50_000) + "\nz\n", 1, 2},
		"after long line": {strings.Repeat("x", 100_000) + "\n" + said, 2, 2},
		"zero bytes":      {"\x00\x00\n\xff\xfe" + said, 2, 2},
	} {
		rep := explainString(t, c.log, Facts{})
		if rep.Cause == nil || rep.Cause.Line != c.line || rep.Lines != c.lines || rep.Cause.Count != 1 || rep.Bytes != int64(len(c.log)) {
			t.Errorf("%s: %d lines, %d of %d bytes, %+v", name, rep.Lines, rep.Bytes, len(c.log), rep.Cause)
			continue
		}
		if strings.ContainsAny(rep.Cause.Text, "\x1b\x00\r\n") || len(rep.Cause.Text) > widest+10 {
			t.Errorf("%s: text %q", name, rep.Cause.Text)
		}
	}
}

// TestWindowsMeet puts a message at every place around the border of two windows.
func TestWindowsMeet(t *testing.T) {
	for at := window - 60; at < window+20; at++ {
		rep := explainString(t, strings.Repeat("x", at)+" Too many open files "+strings.Repeat("y", window), Facts{})
		if rep.Cause == nil || rep.Cause.Count != 1 || rep.Lines != 1 {
			t.Fatalf("at %d: %+v", at, rep)
		}
	}
}

func TestReadErrorsAreReturned(t *testing.T) {
	gone := errors.New("gone")
	if _, err := Read(iotest.ErrReader(gone), Facts{}); !errors.Is(err, gone) {
		t.Errorf("error %v", err)
	}
}

func TestMask(t *testing.T) {
	for _, secret := range []string{
		"hf_SeCrEtSeCrEtSeCrEtSeCrEtSeCrEtSe01", "hf_secret", "sk-SeCrEt0123456789", "sk-proj-SeCrEt_01-23", "ghp_SeCrEt0123456789",
		"api_key='SeCrEt with blanks'", `"api_key": "SeCrEt"`, "api_key=SeCrEt", "RADISH_API_KEY=SeCrEt", "--api-key SeCrEt", "HF_TOKEN=SeCrEt",
		"Authorization: Bearer SeCrEt.a.b", "https://me:SeCrEt@host/x", "https://h/x?X-Amz-Signature=SeCrEt&y=1", "admin_api_key='SeCrEt'",
		"password: SeCrEt", "https://pod-8888.host/?token=SeCrEt",
	} {
		got := Mask("before " + secret + " after")
		if strings.Contains(strings.ToLower(got), "secret") || !strings.HasPrefix(got, "before ") || !strings.HasSuffix(got, " after") {
			t.Errorf("Mask(%q) = %q", secret, got)
		}
		log := strings.Repeat("x", 3*window-40) + " " + secret + " Too many open files"
		rep := explainString(t, log+"\n"+secret+" Too many open files\n", Facts{})
		b, err := json.Marshal(rep)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(strings.ToLower(string(b)+rep.Text()), "secret") {
			t.Errorf("%q leaks: %s", secret, rep.Text())
		}
	}
	for _, open := range []string{"hf_transfer is enabled", "#new-token: 128, token usage: 0.12", "task-force-delta", "hf_hub_download(repo)", "tokenizer_path='m'"} {
		if got := Mask(open); got != open {
			t.Errorf("Mask(%q) = %q", open, got)
		}
	}
}

// TestSecretsCutByWindows slides a token over the borders of windows, before and after a message. What is invisible
// does not count towards the width of what is shown, so it brings a far token near.
func TestSecretsCutByWindows(t *testing.T) {
	const token, said = " hf_SECRETSECRETSECRETSECRETSECRETSE", " Too many open files"
	hidden := strings.Repeat("\x01", 480)
	for at := window - 600; at < window+10; at++ {
		if at == window-490 {
			at = window - 70 // between these nothing meets a border
		}
		for _, log := range []string{
			strings.Repeat("x", at) + token + said + strings.Repeat(" y", window),
			strings.Repeat("x", at) + said + token + strings.Repeat(" y", window),
			strings.Repeat("x", at) + token + hidden + said,
		} {
			if text := explainString(t, log, Facts{}).Text(); strings.Contains(text, "SECRET") || strings.Contains(text, "hf_S") || !strings.Contains(text, said) {
				t.Fatalf("at %d: %s", at, text)
			}
		}
	}
}

// TestSieve is the example of Aho and Corasick's paper: words within words.
func TestSieve(t *testing.T) {
	s := newSieve([][]string{{"he"}, {"she"}, {"his"}, {"hers"}, {"e"}})
	found := newCandidates(s.ids)
	s.scan("uSHErs", &found)
	if got := fmt.Sprint(found.seen); got != "[true true false true true]" {
		t.Errorf("found %s", got)
	}
	found.reset()
	if s.scan("xxx", &found); len(found.list) != 0 {
		t.Errorf("found %v", found.list)
	}
}

// TestRadishOwnLog: radish's lines mark the phases too.
func TestRadishOwnLog(t *testing.T) {
	rep := explainString(t, "plan: weights 10 MiB + KV 2 MiB\nready: http://127.0.0.1:30000 (model m, cpu)\n", Facts{})
	if rep.Phase != Serve || rep.Cause != nil {
		t.Errorf("%+v", rep)
	}
	rep = explainString(t, "Too many open files\nplan: weights 10 MiB\n", Facts{})
	if rep.Phase != Load || !rep.Cause.Survived {
		t.Errorf("%+v", rep)
	}
}

func TestGroupsInCommands(t *testing.T) {
	rep := explainString(t, "flashinfer-cubin version (0.4.0) does not match flashinfer version (0.4.1)\n", Facts{})
	if got := strings.Join(rep.Cause.Fix[0].Argv, " "); got != "uv pip install --no-deps flashinfer-cubin==0.4.1" {
		t.Errorf("command %q", got)
	}
	rep = explainString(t, "flashinfer-cubin version (0) does not match flashinfer version ($(rm -rf x);`y`)\n", Facts{})
	if got := strings.Join(rep.Cause.Fix[0].Argv, " "); got != "uv pip install --no-deps flashinfer-cubin==VALUE" {
		t.Errorf("command from a hostile log %q", got)
	}
}

func TestNotes(t *testing.T) {
	for _, c := range []struct {
		log, note string
		facts     Facts
	}{
		{"no kernel image is available for execution on the device", "sm_120 and needs packages built with CUDA 12.8", Facts{SM: 120}},
		{"no kernel image is available for execution on the device", "sm_86: torch for CUDA 12.6", Facts{SM: 86}},
		{"no kernel image is available for execution on the device", "begins at sm_75", Facts{SM: 70}},
		{"NVIDIA driver on your system is too old (found version 12040)", "offers CUDA 12.4", Facts{}},
		{"CUDA driver version is insufficient for CUDA runtime version", "550.54.14: CUDA 12 at most", Facts{Driver: "550.54.14"}},
		{"CUDA driver version is insufficient for CUDA runtime version", "good for CUDA 13", Facts{Driver: "580.65.06"}},
		{"CUDA driver version is insufficient for CUDA runtime version", "too old for CUDA 12", Facts{Driver: "470.1"}},
		{"x: error: unrecognized arguments: --enable-flashinfer", "write --attention-backend flashinfer", Facts{}},
		{"Exit code: -9", "counts 3 kill(s)", Facts{OOMKnown: true, OOMKills: 3}},
	} {
		if got := explainString(t, c.log, c.facts).Cause; got == nil || !strings.Contains(got.Note, c.note) {
			t.Errorf("%q: %+v, want note %q", c.log, got, c.note)
		}
	}
}

// TestTelemetry: the figures are those of the owner's own log lines, added by hand.
func TestTelemetry(t *testing.T) {
	rep := explainString(t, `[2025-12-10 10:38:08] Decode batch, #running-req: 11, #token: 921, token usage: 0.00, cuda graph: True, gen throughput (token/s): 2418.77, #queue-req: 0
[2025-12-10 10:38:08] Prefill batch, #new-seq: 2, #new-token: 2, #cached-token: 33, token usage: 0.01, #running-req: 11, #queue-req: 0
[2025-12-10 10:38:08] Prefill batch, #new-seq: 1, #new-token: 1, #cached-token: 16, token usage: 0.01, #running-req: 13, #queue-req: 4
`, Facts{})
	got := rep.Telemetry
	if got == nil || got.Lines != 3 || got.PeakRunning != 13 || got.PeakQueued != 4 || got.PeakUsage != 0.01 ||
		got.NewTokens != 3 || got.CachedTokens != 49 || got.MeanGen != 2418.77 || rep.Phase != Serve || rep.Cause != nil {
		t.Errorf("telemetry %+v", got)
	}
	var fields []string
	for _, term := range got.Glossary {
		fields = append(fields, term.Field)
	}
	want := "#new-seq #new-token #cached-token #running-req #token token usage cuda graph gen throughput #queue-req"
	if strings.Join(fields, " ") != want {
		t.Errorf("glossary %q, want %q", strings.Join(fields, " "), want)
	}
}

// TestSizeIsConstant reads 64 MiB of every kind of line and looks at what is live afterwards, and while.
func TestSizeIsConstant(t *testing.T) {
	var noise strings.Builder
	for _, fx := range loadFixtures(t) {
		noise.WriteString(fx.log)
	}
	noise.WriteString(strings.Repeat("long ", 40_000) + "\n")
	var base, top, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&base)
	r := &repeated{piece: noise.String(), left: 64 << 20, each: func() {
		runtime.GC()
		runtime.ReadMemStats(&now)
		top.HeapAlloc = max(top.HeapAlloc, now.HeapAlloc)
	}}
	if _, err := Read(r, Facts{}); err != nil {
		t.Fatal(err)
	}
	if grown := int64(top.HeapAlloc) - int64(base.HeapAlloc); grown > 2<<20 || r.calls < 4 {
		t.Errorf("the heap grew by %d bytes over %d samples", grown, r.calls)
	}
}

// repeated is a reader that gives piece again and again, and calls each every 8 MiB.
type repeated struct {
	piece            string
	at, left, sample int
	each             func()
	calls            int
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.left <= 0 {
		return 0, io.EOF
	}
	n := copy(p, r.piece[r.at:])
	r.at = (r.at + n) % len(r.piece)
	r.left -= n
	if r.sample += n; r.sample >= 8<<20 && r.each != nil {
		r.sample = 0
		r.calls++
		r.each()
	}
	return n, nil
}

func FuzzRead(f *testing.F) {
	for _, fx := range loadFixtures(f) {
		f.Add(fx.log)
	}
	f.Add("\x1b[31m\r\x1b]0;x\a\x1b")
	f.Fuzz(func(t *testing.T, log string) {
		rep := explainString(t, log, Facts{SM: 86, OOMKnown: true})
		if rep.Bytes != int64(len(log)) {
			t.Fatalf("%d of %d bytes", rep.Bytes, len(log))
		}
		if want := int64(strings.Count(strings.TrimSuffix(log, "\n"), "\n") + 1); log != "" && rep.Lines != want {
			t.Fatalf("%d lines, want %d", rep.Lines, want)
		}
		if text := rep.Text(); strings.ContainsAny(text, "\x1b\x00\r") {
			t.Fatalf("control characters in %q", text)
		}
		if _, err := json.Marshal(rep); err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(log, "\n") {
			checkSieve(t, line)
		}
		for _, found := range rep.all() {
			if found.Line < 1 || found.Line > rep.Lines || found.Count < 1 {
				t.Fatalf("%+v in %d lines", found, rep.Lines)
			}
		}
	})
}

func benchmarkLog() string {
	var b strings.Builder
	for i := range 100_000 {
		switch {
		case i%50 == 0:
			fmt.Fprintf(&b, "[2025-12-10 10:38:08] Prefill batch, #new-seq: 2, #new-token: %d, #cached-token: 33, token usage: 0.01, #running-req: 11, #queue-req: 0\n", i)
		case i%3 == 0:
			fmt.Fprintf(&b, "[2025-12-10 10:38:08] Decode batch, #running-req: 11, #token: %d, token usage: 0.00, cuda graph: True, gen throughput (token/s): 2418.77, #queue-req: 0\n", i)
		default:
			fmt.Fprintf(&b, "[2025-12-10 10:38:08] INFO:     127.0.0.1:%d - \"POST /v1/chat/completions HTTP/1.1\" 200 OK\n", i%65536)
		}
	}
	return b.String()
}

func BenchmarkRead(b *testing.B) {
	log := benchmarkLog()
	b.SetBytes(int64(len(log)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Read(strings.NewReader(log), Facts{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(100_000*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}
