package host

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock"
)

// fake is a machine without a kernel.
type fake struct {
	Live
	taken map[int]bool
	hang  chan struct{}
}

func (f fake) Bind(port int) error {
	if f.taken[port] {
		return fmt.Errorf("bind: %w", syscall.EADDRINUSE)
	}
	return nil
}

func (fake) Space(path string, _ uint64) (Space, error) {
	return Space{Total: 100, Free: 50, Inodes: 10, InodesFree: 5}, nil
}

func (fake) CUDA(context.Context) CUDA { return CUDA{Driver: 1} }

func (f fake) NVML(context.Context) NVML {
	if f.hang != nil {
		<-f.hang
	}
	return NVML{Driver: "1"}
}

func TestReadNeverHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		begin := time.Now()
		f := Read(t.Context(), Options{Root: t.TempDir(), System: fake{hang: hang}})
		if took := time.Since(begin); took > 3*time.Second {
			t.Errorf("took %s", took)
		}
		if !strings.Contains(f.NVIDIA.NVML.Err, "no answer within 2.5s") || f.Ports[0].Number != DefaultPort {
			t.Errorf("nvml %+v ports %+v", f.NVIDIA.NVML, f.Ports)
		}
		close(hang)
		f = Read(t.Context(), Options{Root: t.TempDir(), System: panics{}})
		if !strings.Contains(f.NVIDIA.NVML.Err, "panicked: gpu on fire") {
			t.Errorf("a panic while reading: %+v", f.NVIDIA.NVML)
		}
	})
}

// TestNothingAnswers hangs every reader that can hang on a dead disk or driver.
func TestNothingAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		begin := time.Now()
		f := Read(t.Context(), Options{Root: t.TempDir(), System: dead{fake{hang: hang}}, WorkDir: "/", Model: "/m"})
		if took := time.Since(begin); took > 3*time.Second {
			t.Errorf("took %s", took)
		}
		for _, why := range []string{f.NVIDIA.NVML.Err, f.NVIDIA.CUDA.Err, f.Disks[0].Err, f.Ports[0].Err, f.Limits.ShmErr} {
			if !strings.Contains(why, "no answer within 2.5s") {
				t.Errorf("an answer %q", why)
			}
		}
		close(hang)
	})
}

// dead is a machine of which only the clock goes.
type dead struct{ fake }

func (d dead) Bind(int) error {
	<-d.hang
	return nil
}

func (d dead) Space(string, uint64) (Space, error) {
	<-d.hang
	return Space{}, nil
}

func (d dead) CUDA(context.Context) CUDA {
	<-d.hang
	return CUDA{}
}

// inTurn notes who is on the card at the same time as somebody else.
type inTurn struct {
	fake
	busy *atomic.Bool
	met  *atomic.Bool
}

func (i inTurn) use() {
	i.met.Store(!i.busy.CompareAndSwap(false, true) || i.met.Load())
	time.Sleep(time.Second)
	i.busy.Store(false)
}

func (i inTurn) NVML(context.Context) NVML { i.use(); return NVML{} }
func (i inTurn) CUDA(context.Context) CUDA { i.use(); return CUDA{Driver: 1} }

// TestOwnContextIsNotSeen: CUDA starts after NVML has looked, or its context would be taken for a stranger's.
func TestOwnContextIsNotSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := inTurn{busy: &atomic.Bool{}, met: &atomic.Bool{}}
		f := Read(t.Context(), Options{Root: t.TempDir(), System: i})
		if i.met.Load() || f.NVIDIA.CUDA.Driver != 1 {
			t.Errorf("side by side %t, cuda %+v", i.met.Load(), f.NVIDIA.CUDA)
		}
	})
}

func TestTokenFileInTime(t *testing.T) {
	e, secret := envWithin(waiter{t.Context(), -1}, Options{Root: t.TempDir(), Environ: []string{"HF_TOKEN=hf_aaaaaaaaaaaaaaaaaaaa", "HOME=/h"}})
	if secret == "" || e.Token.Masked != "hf_...aaaa" {
		t.Errorf("the variable was lost with the file: %+v", e.Token)
	}
}

type panics struct{ fake }

func (panics) NVML(context.Context) NVML { panic("gpu on fire") }

// TestNoSecretIsKept prints everything that was read and looks for what must not be there.
func TestNoSecretIsKept(t *testing.T) {
	const sentinel = "SENTINELSENTINEL"
	root := fixture(t, map[string]string{
		"home/hf/token":       "hf_" + sentinel + "filefile\n",
		"proc/net/tcp":        "  sl local rem st\n 0: 00000000:7530 00000000:0000 0A 0:0 0:0 0 0 0 77 1\n",
		"proc/45/comm":        "python3\n",
		"proc/45/cmdline":     "python3\x00-m\x00sglang.launch_server\x00--api-key\x00" + sentinel + "\x00",
		"proc/45/environ":     "KEY=" + sentinel,
		"proc/45/fd/.present": "",
	})
	if err := os.Symlink("socket:[77]", filepath.Join(root, "proc/45/fd/3")); err != nil {
		t.Fatal(err)
	}
	for _, env := range [][]string{
		{"HF_TOKEN=hf_" + sentinel + "1234"},
		{"HUGGING_FACE_HUB_TOKEN=" + sentinel[:8]},
		{},
	} {
		env = append(env, "HF_HOME=/home/hf", "RUNPOD_API_KEY="+sentinel, "HTTPS_PROXY=http://u:"+sentinel+"@p",
			"HF_ENDPOINT=https://u:"+sentinel+"@hub.example/x?key="+sentinel, "OPENAI_API_KEY="+sentinel)
		f := Read(t.Context(), Options{Root: root, Environ: env, System: fake{taken: map[int]bool{30000: true}}, Wait: time.Minute})
		if all := fmt.Sprintf("%+v %+v", *f, f.Ports[0].Owner); strings.Contains(all, sentinel[:8]) {
			t.Errorf("with %d variables a secret is kept: %s", len(env), all)
		}
		if o := f.Ports[0].Owner; o == nil || o.Name != "python3 -m sglang.launch_server" || o.PID != 45 || f.Ports[0].Free != 30001 {
			t.Errorf("port %+v owner %+v", f.Ports[0], o)
		}
		if f.Env.Token.Masked == "" || !f.Env.Token.File {
			t.Errorf("token %+v", f.Env.Token)
		}
		if e, _ := f.Env.Get("HF_ENDPOINT"); e != "https://hub.example/x" {
			t.Errorf("endpoint %s", e)
		}
	}
}

func TestTokenOrder(t *testing.T) {
	root := fixture(t, map[string]string{"h/.cache/huggingface/token": "hf_bbbbbbbbbbbbbbbbbbbb"})
	e := envOf(root, []string{"HOME=/h", "HUGGING_FACE_HUB_TOKEN=hf_cccccccccccccccccccc", "HF_TOKEN=hf_aaaaaaaaaaaaaaaaaaaa"})
	if e.Token.Masked != "hf_...aaaa" || e.Token.Source != "HF_TOKEN" || e.Token.Other != "/h/.cache/huggingface/token" {
		t.Errorf("token %+v", e.Token)
	}
	if e = envOf(root, []string{"HOME=/h"}); e.Token.Masked != "hf_...bbbb" || e.Token.Mode != 0o644 {
		t.Errorf("token %+v", e.Token)
	}
	if e = envOf(root, []string{"HF_TOKEN=hunter2"}); e.Token.Masked != "(set)" {
		t.Errorf("a short token shows: %+v", e.Token)
	}
	if e = envOf(root, nil); e.Token.Masked != "" {
		t.Errorf("a token from nowhere: %+v", e.Token)
	}
}

func TestCacheDir(t *testing.T) {
	for want, env := range map[string][]string{
		"/c":                        {"HF_HUB_CACHE=/c", "HF_HOME=/d", "HOME=/h"},
		"/d/hub":                    {"HF_HOME=/d", "HOME=/h"},
		"/x/huggingface/hub":        {"XDG_CACHE_HOME=/x", "HOME=/h"},
		"/h/.cache/huggingface/hub": {"HOME=/h"},
	} {
		if got := envOf("/", env).CacheDir(); got != want {
			t.Errorf("%v gives %s", env, got)
		}
	}
}

func TestDisks(t *testing.T) {
	root := fixture(t, map[string]string{
		"workspace/models/x": "",
		"proc/self/mountinfo": `22 1 0:21 / / rw - overlay overlay rw
23 22 0:22 / /workspace rw,relatime shared:1 - fuse mfs#host rw
24 22 0:22 / /workspaces rw - ext4 /dev/sda rw
`})
	disks := readDisks(Options{Root: root, WorkDir: "/root", System: fake{}}, envOf(root, []string{"HF_HOME=/workspace/models/hf"}))
	if d := disks[0]; d.Kind != "fuse" || d.Mount != "/workspace" || d.Asked != "/workspace/models" || d.Free != 50 {
		t.Errorf("cache %+v", d)
	}
	if d := disks[1]; d.Kind != "overlay" || d.Asked != "/" {
		t.Errorf("working directory %+v", d)
	}
}

func TestLimitsV1(t *testing.T) {
	l := readLimits(Options{System: fake{}, Root: fixture(t, map[string]string{
		"proc/self/cgroup":                             "4:memory:/docker/x\n3:pids:/docker/x\n2:cpu,cpuacct:/docker/x\n0::/\n",
		"proc/self/limits":                             "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 4096                 files\n",
		"sys/fs/cgroup/memory/memory.oom_control":      "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
		"sys/fs/cgroup/cpu/cpu.cfs_quota_us":           "850000\n",
		"sys/fs/cgroup/cpu/cpu.cfs_period_us":          "100000\n",
		"sys/fs/cgroup/cpu/docker/x/cpu.cfs_quota_us":  "900000\n",
		"sys/fs/cgroup/cpu/docker/x/cpu.cfs_period_us": "100000\n",
		"sys/fs/cgroup/pids/pids.max":                  "1000\n",
		"sys/fs/cgroup/pids/pids.current":              "970\n",
		"sys/fs/cgroup/unified/memory.events":          "oom_kill 9\n",
		"sys/fs/cgroup/memory/other/memory.failcnt":    "1\n",
		"sys/fs/cgroup/pids/other/container/nothing":   "",
	})})
	if l.OOMKills.Value != 3 || l.OOMKills.Err != "" || l.CPUs != 8.5 || l.PidsMax.Value != 1000 || l.PidsNow.Value != 970 {
		t.Errorf("limits %+v", l)
	}
	if l.NoFile.Value != 1024 || l.NoFileHard.Value != 4096 {
		t.Errorf("open files %+v %+v", l.NoFile, l.NoFileHard)
	}
}

func TestLimitsV2(t *testing.T) {
	l := readLimits(Options{System: fake{}, Root: fixture(t, map[string]string{
		"proc/self/cgroup":                    "0::/pod/app\n",
		"proc/self/limits":                    "Max open files            1024                 unlimited            files\n",
		"sys/fs/cgroup/pod/app/memory.events": "low 0\noom 2\noom_kill 1\n",
		"sys/fs/cgroup/pod/memory.events":     "oom_kill 2\n",
		"sys/fs/cgroup/pod/app/cpu.max":       "max 100000\n",
		"sys/fs/cgroup/pod/cpu.max":           "400000 100000\n",
		"sys/fs/cgroup/pod/app/pids.max":      "max\n",
	})})
	if l.OOMKills.Value != 2 || l.CPUs != 4 || !l.PidsMax.None || !l.NoFileHard.None {
		t.Errorf("limits %+v", l)
	}
	if l = readLimits(Options{Root: t.TempDir()}); l.OOMKills.Err == "" || l.PidsMax.Err == "" || l.NoFile.Err == "" {
		t.Errorf("nothing was readable, and yet %+v", l)
	}
}

func TestModel(t *testing.T) {
	dir := fixture(t, map[string]string{
		"config.json":                       `{"model_type":"llama"}`,
		"tokenizer.json":                    "{}",
		"model-00001-of-00002.safetensors":  strings.Repeat("x", 2000),
		"pointer.safetensors":               "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n",
		"model.safetensors.index.json":      `{"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}`,
		"notes/model-of-another.safetensor": "",
	})
	m := readModel(Options{Model: dir}, Env{})
	if m.Config == nil || m.Config.Kind != "llama" || len(m.Broken) != 1 || !m.Tokens || m.Weights != 2 || len(m.Pointers) != 1 || len(m.Missing) != 1 || m.Bytes < 2000 || m.Bytes > 2100 {
		t.Errorf("model %+v", m)
	}
	if m = readModel(Options{Model: filepath.Join(dir, "nowhere")}, Env{}); m.Err == "" {
		t.Error("a directory that is not there was read")
	}
	if m = readModel(Options{Model: fixture(t, map[string]string{"config.json": "{" + strings.Repeat(" ", maxConfig)})}, Env{}); !strings.Contains(m.Problem, "larger than") {
		t.Errorf("an endless config.json: %s", m.Problem)
	}
}

// TestHeaders cuts and bends a file of two tensors, 8 + 4 bytes of data.
func TestHeaders(t *testing.T) {
	header := `{"__metadata__":{"a":"b"},"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"y":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}`
	file := func(length int, header, data string) string {
		return string(binary.LittleEndian.AppendUint64(nil, uint64(length))) + header + data
	}
	whole := file(len(header), header, "012345678901")
	for name, c := range map[string]struct{ text, want string }{
		"whole":      {whole, ""},
		"cut":        {whole[:len(whole)-1], "12 bytes of tensors are announced, 11 are there"},
		"longer":     {whole + "x", "12 bytes of tensors are announced, 13 are there"},
		"no header":  {"abc", "too short"},
		"long":       {file(1<<40, header, ""), "a header of 1099511627776 bytes"},
		"html":       {file(13, "<html></html>", ""), "no JSON"},
		"no offsets": {file(7, `{"a":1}`, ""), "offsets"},
		"backwards":  {file(28, `{"a":{"data_offsets":[5,1]}}`, ""), "offsets"},
	} {
		path := filepath.Join(fixture(t, map[string]string{"m.safetensors": c.text}), "m.safetensors")
		if got := brokenHeader(path, int64(len(c.text))); !strings.Contains(got, c.want) || (c.want == "") != (got == "") {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestLibs(t *testing.T) {
	n := readNVIDIA(fixture(t, map[string]string{
		"dev/nvidia0":    "",
		"dev/nvidiactl":  "",
		"opt/libcuda.so": "", "etc/ld.so.cache": "glibc-ld.so.cache1.1\x00libcuda.so.1\x00/opt/nv/libcuda.so.1\x00",
		"opt/nv/libcuda.so.1":                            "elf",
		"usr/local/cuda/lib64/stubs/libcuda.so.1":        "stub",
		"usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1":     "elf",
		"proc/driver/nvidia/version":                     "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15\nGCC version:\n",
		"usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1.bak": "",
	}), envOf("/", []string{"LD_LIBRARY_PATH=/usr/local/cuda/lib64/stubs:/nowhere"}))
	if l, ok := n.Lib("libcuda.so.1"); !ok || l.Path != "/usr/local/cuda/lib64/stubs/libcuda.so.1" {
		t.Errorf("libcuda %+v", l)
	}
	if len(n.Libs) != 3 || len(n.Nodes) != 2 || !strings.HasSuffix(n.KernelDriver, "550.54.15") {
		t.Errorf("nvidia %+v", n)
	}
}

func TestReadNVML(t *testing.T) {
	lib := machine("550.54.15", nvml.SUCCESS)
	dev := card()
	lib.DeviceGetHandleByIndexFunc = func(int) (nvml.Device, nvml.Return) { return dev, nvml.SUCCESS }
	lib.SystemGetCudaDriverVersionFunc = func() (int, nvml.Return) { return 12040, nvml.SUCCESS }
	lib.ShutdownFunc = func() nvml.Return { return nvml.SUCCESS }
	lib.ExtensionsFunc = func() nvml.ExtendedInterface { return symbols{"nvmlDeviceGetGpuFabricInfo": true} }
	lib.InitFunc = func() nvml.Return { return nvml.ERROR_LIBRARY_NOT_FOUND }
	if n := ReadNVML(lib); !n.Absent || n.Err == "" {
		t.Errorf("without a library: %+v", n)
	}
	lib.InitFunc = func() nvml.Return { return nvml.SUCCESS }
	healthy(dev)
	dev.GetEccModeFunc = func() (nvml.EnableState, nvml.EnableState, nvml.Return) { return 0, 0, nvml.ERROR_NOT_SUPPORTED }
	dev.GetTemperatureFunc = func(nvml.TemperatureSensors) (uint32, nvml.Return) { return 0, nvml.ERROR_UNKNOWN }
	n := ReadNVML(lib)
	if n.Err != "" || len(n.Cards) != 1 || n.CUDA != 12040 {
		t.Fatalf("nvml %+v", n)
	}
	c := n.Cards[0]
	if c.Unread["ecc"] != NotSupported || c.Unread["temperature"] == "" || c.Unread["temperature"] == NotSupported ||
		!strings.Contains(c.Unread["fabric"], "no nvmlDeviceGetGpuFabricInfo") || !strings.Contains(c.Unread["pcie_replays"], "panicked") || len(c.Unread) != 4 {
		t.Errorf("unread %v", c.Unread)
	}
	if c.Power != (Power{250000, 300000}) || c.Heat.SlowdownAt != 95 || c.MIG != (MIG{true, 2, 10 << 30}) || c.Holders[0].PID != 4711 || c.ClocksReasons != 4 {
		t.Errorf("card %+v", c)
	}
	if c.PCIe != (PCIe{8, 16, 1, 4, 0}) || c.NVLink.Up != 3 || c.NVLink.Down != 1 || c.Rows != (Rows{1, 2, true, false}) || !c.Persistence {
		t.Errorf("links, rows and persistence of %+v", c)
	}
	lib.DeviceGetHandleByIndexFunc = func(int) (nvml.Device, nvml.Return) { return nil, nvml.ERROR_GPU_IS_LOST }
	if n = ReadNVML(lib); n.Err != "" || n.Cards[0].Unread["card"] == "" {
		t.Errorf("a lost card: %+v", n)
	}
}

// symbols are what a driver's library lacks.
type symbols map[string]bool

func (s symbols) LookupSymbol(name string) error {
	if s[name] {
		return errors.New("not found")
	}
	return nil
}

func TestP2P(t *testing.T) {
	a, b := card(), card()
	a.GetP2PStatusFunc = func(nvml.Device, nvml.GpuP2PCapsIndex) (nvml.GpuP2PStatus, nvml.Return) {
		return nvml.P2P_STATUS_CHIPSET_NOT_SUPPORTED, nvml.SUCCESS
	}
	if got := withoutP2P(make([]Card, 2), []nvml.Device{a, b}); len(got) != 1 || got[0] != "0-1: chipset not supported" {
		t.Errorf("pairs %v", got)
	}
	if nvml.P2P_STATUS_OK != 0 {
		t.Error("ok is not 0")
	}
}

// healthy gives a mock every answer that readCard asks for.
func healthy(dev *mock.Device) {
	dev.GetUUIDFunc = func() (string, nvml.Return) { return "GPU-1", nvml.SUCCESS }
	dev.GetComputeModeFunc = func() (nvml.ComputeMode, nvml.Return) { return nvml.COMPUTEMODE_DEFAULT, nvml.SUCCESS }
	dev.GetMigModeFunc = func() (int, int, nvml.Return) { return nvml.DEVICE_MIG_ENABLE, nvml.DEVICE_MIG_ENABLE, nvml.SUCCESS }
	dev.GetMaxMigDeviceCountFunc = func() (int, nvml.Return) { return 7, nvml.SUCCESS }
	dev.GetMigDeviceHandleByIndexFunc = func(i int) (nvml.Device, nvml.Return) {
		if i < 2 {
			return &mock.Device{GetMemoryInfoFunc: func() (nvml.Memory, nvml.Return) {
				return nvml.Memory{Total: uint64(10*(i+1)) << 30}, nvml.SUCCESS
			}}, nvml.SUCCESS
		}
		return nil, nvml.ERROR_NOT_FOUND
	}
	dev.GetComputeRunningProcessesFunc = func() ([]nvml.ProcessInfo, nvml.Return) {
		return []nvml.ProcessInfo{{Pid: 4711, UsedGpuMemory: 1 << 30}}, nvml.SUCCESS
	}
	dev.GetTemperatureThresholdFunc = func(nvml.TemperatureThresholds) (uint32, nvml.Return) { return 95, nvml.SUCCESS }
	dev.GetEnforcedPowerLimitFunc = func() (uint32, nvml.Return) { return 250000, nvml.SUCCESS }
	dev.GetPowerManagementDefaultLimitFunc = func() (uint32, nvml.Return) { return 300000, nvml.SUCCESS }
	dev.GetPersistenceModeFunc = func() (nvml.EnableState, nvml.Return) { return nvml.FEATURE_ENABLED, nvml.SUCCESS }
	dev.GetRemappedRowsFunc = func() (int, int, bool, bool, nvml.Return) { return 1, 2, true, false, nvml.SUCCESS }
	dev.GetCurrPcieLinkWidthFunc = func() (int, nvml.Return) { return 8, nvml.SUCCESS }
	dev.GetMaxPcieLinkWidthFunc = func() (int, nvml.Return) { return 16, nvml.SUCCESS }
	dev.GetCurrPcieLinkGenerationFunc = func() (int, nvml.Return) { return 1, nvml.SUCCESS }
	dev.GetMaxPcieLinkGenerationFunc = func() (int, nvml.Return) { return 4, nvml.SUCCESS }
	dev.GetNvLinkStateFunc = func(i int) (nvml.EnableState, nvml.Return) {
		switch {
		case i < 3:
			return nvml.FEATURE_ENABLED, nvml.SUCCESS
		case i == 3:
			return nvml.FEATURE_DISABLED, nvml.SUCCESS
		}
		return 0, nvml.ERROR_INVALID_ARGUMENT
	}
	dev.GetCurrentClocksThrottleReasonsFunc = func() (uint64, nvml.Return) { return 4, nvml.SUCCESS }
}

// TestLive judges the live readers by what any Linux has.
func TestLive(t *testing.T) {
	f := Read(t.Context(), Options{Environ: os.Environ(), WorkDir: t.TempDir(), Wait: time.Minute})
	if f.Memory.Err != "" || f.Memory.HostTotal == 0 || f.Self.PID1 == "" || f.Limits.NoFileHard.Err != "" || len(f.Disks) != 2 || f.Disks[1].Kind == "" {
		t.Errorf("facts %+v", f)
	}
	var live Live
	if err := live.Bind(1 << 20); err == nil || errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("an impossible port: %v", err)
	}
}

// envOf drops the secret that readEnv gives beside the masked one.
func envOf(root string, environ []string) Env {
	e, _ := readEnv(root, environ)
	return e
}
