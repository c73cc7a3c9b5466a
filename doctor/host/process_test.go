package host

import (
	"os"
	"path/filepath"
	"testing"
)

func TestProcesses(t *testing.T) {
	root := fixture(t, map[string]string{
		"proc/1/comm":      "docker-init\n",
		"proc/1/cmdline":   "docker-init\x00--\x00sh",
		"proc/1/stat":      "1 (docker-init) S 0 1",
		"proc/40/comm":     "python3\n",
		"proc/40/cmdline":  "python3\x00-m\x00sglang.launch_server\x00--model-path\x00meta/Llama\x00--api-key\x00SENTINEL\x00",
		"proc/40/stat":     "40 (python3) S 1 40",
		"proc/41/comm":     "sglang::schedul\n",
		"proc/41/cmdline":  "sglang::scheduler_TP0\x00",
		"proc/41/stat":     "41 (sglang::) x) D 40 40",
		"proc/41/fd/.keep": "",
		"proc/50/comm":     "vllm\n",
		"proc/50/cmdline":  "/usr/bin/python3\x00/usr/bin/vllm\x00serve\x00Qwen/Qwen3\x00",
		"proc/51/comm":     "ollama\n",
		"proc/51/cmdline":  "/usr/bin/ollama\x00serve\x00",
		"proc/52/comm":     "radish\n",
		"proc/52/cmdline":  "/bin/radish\x00serve\x00--model-path=https://u:SENTINEL@hub/x\x00",
		"proc/53/comm":     "radish\n",
		"proc/53/cmdline":  "/bin/radish\x00doctor\x00",
		"proc/60/comm":     "bash\n",
		"proc/60/cmdline":  "bash\x00",
	})
	if err := os.Symlink("/dev/nvidia0", filepath.Join(root, "proc/41/fd/9")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/nvidiactl", filepath.Join(root, "proc/41/fd/8")); err != nil {
		t.Fatal(err)
	}
	o := readProcesses(root, 60)
	if o.Err != "" || len(o.List) != 5 {
		t.Fatalf("others %+v", o)
	}
	for i, want := range []struct {
		pid           int
		engine, model string
		worker, gpu   bool
	}{{40, "sglang", "meta/Llama", false, false}, {41, "sglang", "", true, true}, {50, "vllm", "", false, false},
		{51, "ollama", "", false, false}, {52, "radish", "https://hub/x", false, false}} {
		p := o.List[i]
		if p.PID != want.pid || p.Engine != want.engine || p.Model != want.model || p.Worker != want.worker || p.GPU != want.gpu {
			t.Errorf("process %+v, want %+v", p, want)
		}
	}
	if p := o.List[1]; p.Parent != 40 || p.State != "D" {
		t.Errorf("a name with brackets: %+v", p)
	}
	if o = readProcesses(root, 40); len(o.List) != 3 || o.List[0].PID != 50 {
		t.Errorf("the one who asks and its child are among the others: %+v", o.List)
	}
	if o = readProcesses(t.TempDir(), 1); o.Err == "" {
		t.Error("no /proc, and yet an answer")
	}
}

func TestXids(t *testing.T) {
	root := fixture(t, map[string]string{"dev/kmsg": "6,1,1,-;usb\n3,2,2,-;NVRM: Xid (PCI:0000:3b:00): 79, pid=812, GPU has fallen off the bus.\n3,3,3,-;NVRM: Xid (PCI:0000:3b:00): 13\n"})
	x := readXids(root)
	if x.Err != "" || len(x.Numbers) != 2 || x.Numbers[0] != 79 || x.Numbers[1] != 13 {
		t.Errorf("xids %+v", x)
	}
	if x = readXids(t.TempDir()); x.Err == "" {
		t.Error("no kernel log, and yet an answer")
	}
}

func TestToolkit(t *testing.T) {
	root := fixture(t, map[string]string{"usr/local/cuda/version.json": `{"cuda":{"name":"CUDA SDK","version":"12.4.1"}}`, "usr/local/cuda/bin/nvcc": "",
		"opt/cuda/x": ""})
	if got := readToolkit(root, envOf(root, nil)); got != (Toolkit{"/usr/local/cuda", "12.4.1", "/usr/local/cuda/bin/nvcc"}) {
		t.Errorf("toolkit %+v", got)
	}
	if got := readToolkit(root, envOf(root, []string{"CUDA_HOME=/opt/cuda"})); got != (Toolkit{Dir: "/opt/cuda"}) {
		t.Errorf("toolkit %+v", got)
	}
	if got := readToolkit(t.TempDir(), Env{}); got != (Toolkit{}) {
		t.Errorf("toolkit %+v", got)
	}
}

// TestSelf reads what a container's process finds.
func TestSelf(t *testing.T) {
	root := fixture(t, map[string]string{"proc/self/status": "Name:\tradish\nCapEff:\t00000000a80425fb\nNoNewPrivs:\t1\nSeccomp:\t2\n", "proc/1/comm": "tini\n"})
	s := readSelf(Options{Root: root})
	if s.Err != "" || s.Seccomp != 2 || !s.NoNewPrivs || s.CapEff != 0xa80425fb || s.PID1 != "tini" {
		t.Errorf("self %+v", s)
	}
	if s = readSelf(Options{Root: t.TempDir()}); s.Err == "" || s.Seccomp != -1 {
		t.Errorf("nothing to read, and yet %+v", s)
	}
}
