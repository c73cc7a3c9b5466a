package check

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"radish/doctor/host"
)

// machine is a fixture: the files of a root directory, the environment, and what only a kernel or driver can say. The
// figures are those of the named cards' data sheets; no machine was copied.
type machine struct {
	files  map[string]string
	env    []string
	nvml   host.NVML
	cuda   host.CUDA
	disk   host.Space
	shm    uint64
	taken  int
	model  string
	clock  time.Time
	wait   time.Duration
	engine string
}

func (m machine) Clock() (now time.Time, kept bool, err error) {
	if m.clock.IsZero() {
		m.clock = time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)
	}
	return m.clock, true, nil
}

// CUDA sees the cards that NVML sees, unless the machine says otherwise.
func (m machine) CUDA(context.Context) host.CUDA {
	if len(m.cuda.Devices) > 0 || m.cuda.Failed.Code != 0 || m.cuda.Err+m.cuda.Absent != "" || m.nvml.Err != "" {
		return m.cuda
	}
	c := host.CUDA{Driver: m.nvml.CUDA}
	for i, card := range m.nvml.Cards {
		c.Devices = append(c.Devices, host.CUDADevice{Index: i, Name: card.Name, Major: card.Major, Minor: card.Minor})
	}
	return c
}
func (machine) HostMemory() (total, free uint64, e error) { return 512 * gib, 400 * gib, nil }
func (m machine) NVML(context.Context) host.NVML          { return m.nvml }

func (m machine) Space(path string, _ uint64) (host.Space, error) {
	if path == "/dev/shm" {
		return host.Space{Total: m.shm, Free: m.shm}, nil
	}
	return m.disk, nil
}

func (m machine) Bind(port int) error {
	if port == m.taken || port == 8888 && m.files["proc/45/comm"] != "" {
		return fmt.Errorf("listen: %w", syscall.EADDRINUSE)
	}
	return nil
}

// read lays the files out below a fresh root and reads them as the live machine would be read.
func (m machine) read(t *testing.T) *host.Facts {
	t.Helper()
	root := t.TempDir()
	for name, text := range m.files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if to, link := strings.CutPrefix(text, "-> "); link {
			if err := os.Symlink(to, file); err != nil {
				t.Fatal(err)
			}
		} else if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f := host.Read(t.Context(), host.Options{Root: root, Environ: m.env, WorkDir: "/workspace", System: m, Model: m.model, Engine: m.engine,
		Kernels: []string{"ptx compute_80", "sm_80", "sm_90a"}, Wait: time.Minute})
	if f.Self.Wait = m.wait; m.wait == 0 {
		f.Self.Wait = host.DefaultWait
	}
	f.Limits.Processors = 16 // the one figure that comes from the machine the test runs on
	return f
}

// with lays more files over a machine's.
func with(files ...map[string]string) map[string]string {
	all := map[string]string{}
	for _, m := range files {
		for k, v := range m {
			all[k] = v
		}
	}
	return all
}

var nodes = map[string]string{"dev/nvidia0": "", "dev/nvidiactl": "", "dev/nvidia-uvm": "",
	"dev/kmsg":                                   "6,1,1,-;Linux version\n",
	"proc/driver/nvidia/version":                 "NVRM version: NVIDIA UNIX x86_64 Kernel Module\n",
	"usr/lib/x86_64-linux-gnu/libcuda.so.1":      "elf",
	"usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1": "elf"}

// podV1 is a rented pod: cgroup version 1, overlay, a volume, no systemd, Jupyter on 8888.
var podV1 = map[string]string{
	"proc/1/comm":         "docker-init\n",
	"proc/self/cgroup":    "5:memory:/docker/abc\n4:pids:/docker/abc\n3:cpu,cpuacct:/docker/abc\n",
	"proc/self/limits":    "Max open files            1048576              1048576              files\nMax locked memory         65536                65536                bytes\n",
	"proc/self/status":    "CapEff:\t00000000a80425fb\nNoNewPrivs:\t0\nSeccomp:\t2\n",
	"proc/self/mountinfo": "1 0 0:1 / / rw - overlay overlay rw\n2 1 0:2 / /workspace rw - ext4 /dev/sdb rw\n",
	"sys/fs/cgroup/memory/memory.limit_in_bytes": "53687091200\n",
	"sys/fs/cgroup/memory/memory.usage_in_bytes": "50465865728\n",
	"sys/fs/cgroup/memory/memory.stat":           "total_inactive_file 42949672960\n",
	"sys/fs/cgroup/memory/memory.oom_control":    "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
	"sys/fs/cgroup/cpu/cpu.cfs_quota_us":         "900000\n",
	"sys/fs/cgroup/cpu/cpu.cfs_period_us":        "100000\n",
	"sys/fs/cgroup/pids/pids.max":                "2048\n",
	"sys/fs/cgroup/pids/pids.current":            "90\n",
	"proc/net/tcp":                               "sl\n0: 00000000:22B8 00000000:0000 0A 0:0 0:0 0 0 0 501 1\n",
	"proc/45/comm":                               "jupyter-lab\n",
	"proc/45/cmdline":                            "/usr/bin/python3\x00/usr/bin/jupyter-lab\x00",
	"proc/45/cwd":                                "-> /workspace",
	"workspace/notebook.ipynb":                   "{}",
	"proc/45/fd/6":                               "-> socket:[501]",
}

// usedPod is what a day of work leaves behind: a server that died and left its scheduler, half a download, one model in
// the cache and again in a directory. HASH stands for 64 digits.
var usedPod = map[string]string{
	"proc/812/comm":    "sglang::schedul\n",
	"proc/812/cmdline": "sglang::scheduler_TP0\x00",
	"proc/812/stat":    "812 (sglang::schedul) S 1 40",
	"proc/812/fd/9":    "-> /dev/nvidia0",
	"root/.cache/huggingface/hub/models--meta--Llama/blobs/" + hash:                  "0123456789",
	"root/.cache/huggingface/hub/models--meta--Llama/blobs/abc.incomplete":           "01234",
	"root/.cache/huggingface/hub/models--meta--Llama/snapshots/c0/model.safetensors": "-> ../../blobs/" + hash,
	"workspace/.cache/huggingface/download/model.safetensors.metadata":               "c0\n" + hash + "\n1.0\n",
	"workspace/model.safetensors":                                                    "0123456789",
}

const hash = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// serverV2 is a machine with cgroup version 2 and systemd.
var serverV2 = map[string]string{
	"proc/1/comm":                    "systemd\n",
	"proc/self/cgroup":               "0::/user.slice\n",
	"proc/self/limits":               "Max open files            1024                 524288               files\nMax locked memory         unlimited            unlimited            bytes\n",
	"proc/self/status":               "CapEff:\t000001ffffffffff\nNoNewPrivs:\t0\nSeccomp:\t0\n",
	"proc/self/mountinfo":            "1 0 0:1 / / rw - ext4 /dev/nvme0n1p2 rw\n",
	"sys/fs/cgroup/memory.events":    "oom_kill 0\n",
	"sys/fs/cgroup/user.slice/dummy": "",
}

var roomy = host.Space{Total: 1000 * gib, Free: 600 * gib, Inodes: 1 << 26, InodesFree: 1 << 25}

func theCard(name string, sm int, gibs uint64, watts uint32) host.Card {
	return host.Card{GPU: host.GPU{Name: name, Major: sm / 10, Minor: sm % 10, MemoryTotal: gibs * gib, MemoryFree: gibs*gib - 400<<20},
		Heat: host.Heat{Now: 38, SlowdownAt: 95}, Power: host.Power{Limit: watts * 1000, Default: watts * 1000}, ClocksReasons: 1,
		PCIe: host.PCIe{Width: 16, MaxWidth: 16, Generation: 1, MaxGeneration: 4}, Persistence: true,
		Unread: map[string]string{"nvlink": host.NotSupported, "fabric": host.NotSupported}}
}

func driver(version string, cuda int, cards ...host.Card) host.NVML {
	return host.NVML{Driver: version, CUDA: cuda, Cards: cards}
}

func a40() machine {
	c := theCard("NVIDIA A40", 86, 45, 300)
	c.MemoryFree = 23 * gib
	c.Holders = []host.Holder{{PID: 3141592, Bytes: 21 * gib}}
	c.Unread["mig"] = host.NotSupported
	files := with(nodes, podV1, usedPod)
	delete(files, "dev/kmsg")
	return machine{files: files, nvml: driver("550.54.15", 12040, c), disk: host.Space{Total: 50 * gib, Free: 4 * gib, Inodes: 1 << 20, InodesFree: 9000},
		shm: 64 << 20, env: []string{"HOME=/root", "RUNPOD_POD_ID=p", "RUNPOD_GPU_COUNT=2", "RUNPOD_MEM_GB=50", "RUNPOD_TCP_PORT_22=10022", "RUNPOD_API_KEY=" + sentinel, "HF_TOKEN=hf_" + sentinel + "abcd"}}
}

func rtx4090() machine {
	c := theCard("NVIDIA GeForce RTX 4090", 89, 24, 450)
	c.Power.Limit, c.ClocksReasons, c.Heat.Now = 300000, 0x44, 91
	c.Unread["ecc"], c.Unread["mig"] = "switched off", host.NotSupported
	files := with(nodes, serverV2, map[string]string{"usr/local/cuda/compat/libcuda.so.1": "elf",
		"usr/local/cuda/version.json": `{"cuda": {"version": "12.8.0"}}`, "usr/local/cuda/bin/nvcc": "elf"})
	no := host.CUDA{Failed: host.Call{Step: "cuInit", Code: 804, Name: "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE"}}
	return machine{files: files, nvml: driver("580.95.05", 13000, c), cuda: no, disk: roomy, shm: 8 * gib, taken: 30000,
		env: []string{"HOME=/root", "LD_LIBRARY_PATH=/usr/local/cuda/compat", "HF_HUB_ENABLE_HF_TRANSFER=1"}}
}

func h100() machine {
	return machine{files: with(nodes, serverV2), nvml: driver("580.95.05", 13000, theCard("NVIDIA H100 80GB HBM3", 90, 80, 700)),
		disk: roomy, shm: 32 * gib, env: []string{"HOME=/root"}}
}

func a100mig() machine {
	c := theCard("NVIDIA A100-SXM4-80GB", 80, 80, 400)
	c.MIG.On, c.ECC.Volatile = true, 2
	return machine{files: with(nodes, serverV2), nvml: driver("470.57.02", 11040, c), disk: roomy, shm: 8 * gib, env: []string{"HOME=/root"}}
}

func noDriver() machine {
	return machine{files: serverV2, nvml: host.NVML{Err: "nvmlInit: ERROR_LIBRARY_NOT_FOUND", Absent: true}, disk: roomy, shm: 8 * gib, env: []string{"HOME=/root"}}
}

func stub() machine {
	m := h100()
	m.files = with(m.files, map[string]string{"usr/local/cuda/lib64/stubs/libcuda.so.1": "stub"})
	delete(m.files, "usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1")
	m.env = append(m.env, "LD_LIBRARY_PATH=/usr/local/cuda/lib64/stubs", "NVIDIA_DRIVER_CAPABILITIES=compute")
	m.nvml = noDriver().nvml
	return m
}

func noRuntime() machine {
	m := noDriver()
	m.files = with(podV1, map[string]string{"proc/driver/nvidia/version": "NVRM version: 550.54.15\n"})
	return m
}

func hanging() machine {
	m := h100()
	m.nvml, m.cuda = host.NVML{Err: "no answer within 20s"}, host.CUDA{Err: "no answer within 20s"}
	m.wait = 20 * time.Second
	return m
}

// wrongDriver had its kernel module exchanged under the running container.
func wrongDriver() machine {
	m := h100()
	m.nvml = host.NVML{Err: "nvmlInit: ERROR_LIB_RM_VERSION_MISMATCH"}
	m.cuda = host.CUDA{Failed: host.Call{Step: "cuInit", Code: 803, Name: "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"}}
	return m
}

// t4 is an old card with an old driver and a toolkit older than the card.
func t4() machine {
	m := h100()
	m.nvml = driver("535.183.01", 12020, theCard("Tesla T4", 75, 15, 70))
	m.files = with(m.files, map[string]string{"usr/local/cuda/version.json": `{"cuda": {"version": "9.2.148"}}`})
	return m
}

// slow is hanging's machine, looked at for a short time only: nobody can say yet what it is.
func slow() machine {
	m := hanging()
	m.wait = 0
	return m
}
