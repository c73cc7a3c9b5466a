package host

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock"
)

// fixture writes files below a fresh root, given as "path: content" lines.
func fixture(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestCgroups(t *testing.T) {
	const gib = 1 << 30
	for name, c := range map[string]struct {
		files       map[string]string
		limit, left uint64
	}{
		"no cgroup file": {nil, 0, 100 * gib},
		"v2, own group unlimited, ancestor limited": {map[string]string{
			"proc/self/cgroup":                           "0::/pod/app\n",
			"sys/fs/cgroup/pod/app/memory.max":           "max\n",
			"sys/fs/cgroup/pod/memory.max":               "8589934592\n",
			"sys/fs/cgroup/pod/memory.current":           "3221225472\n",
			"sys/fs/cgroup/pod/memory.stat":              "anon 1\ninactive_file 1073741824\n",
			"sys/fs/cgroup/pod/app/memory.current":       "1\n",
			"sys/fs/cgroup/unrelated/memory.max":         "1\n",
			"sys/fs/cgroup/pod/app/other/memory.max":     "1\n",
			"sys/fs/cgroup/pod/app/other/memory.current": "1\n",
		}, 8 * gib, 6 * gib},
		"v2, throttled below its maximum, full of a checkpoint's pages": {map[string]string{
			"proc/self/cgroup":             "0::/\n",
			"sys/fs/cgroup/memory.max":     "80530636800\n",
			"sys/fs/cgroup/memory.high":    "75161927680\n",
			"sys/fs/cgroup/memory.current": "74678829056\n",
			"sys/fs/cgroup/memory.stat":    "anon 536870912\nfile 73987522560\nshmem 0\nactive_file 64424509440\ninactive_file 9663676416\n",
		}, 70 * gib, 70*gib - 590643200},
		"v1, hybrid, both kinds of page cache": {map[string]string{
			"proc/self/cgroup":                           "4:memory:/docker/x\n0::/docker/x\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "4294967296\n",
			"sys/fs/cgroup/memory/memory.usage_in_bytes": "4294967296\n",
			"sys/fs/cgroup/memory/memory.stat":           "total_active_file 1073741824\ntotal_inactive_file 1073741824\n",
			"sys/fs/cgroup/unified/memory.max":           "1\n",
		}, 4 * gib, 2 * gib},
		"v2, path of the host's view": {map[string]string{
			"proc/self/cgroup":             "0::/docker/abc\n",
			"sys/fs/cgroup/memory.max":     "2147483648\n",
			"sys/fs/cgroup/memory.current": "2147483649\n",
		}, 2 * gib, 0},
		"v1, no limit word": {map[string]string{
			"proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/x\n",
			"sys/fs/cgroup/memory/x/memory.limit_in_bytes": "9223372036854771712\n",
		}, 0, 100 * gib},
		"v1, limited": {map[string]string{
			"proc/self/cgroup": "4:memory:/x\n",
			"sys/fs/cgroup/memory/x/memory.limit_in_bytes": "4294967296\n",
			"sys/fs/cgroup/memory/x/memory.usage_in_bytes": "1073741824\n",
			"sys/fs/cgroup/memory/x/memory.stat":           "inactive_file 5\ntotal_inactive_file 1073741824\n",
		}, 4 * gib, 4 * gib},
	} {
		t.Run(name, func(t *testing.T) {
			m := Memory{HostTotal: 200 * gib, HostAvailable: 100 * gib}
			applyCgroup(&m, fixture(t, c.files))
			if m.Limit != c.limit || m.Available() != c.left {
				t.Errorf("limit %d available %d, want %d and %d (%s)", m.Limit, m.Available(), c.limit, c.left, m.Source)
			}
		})
	}
}

func TestReadMemory(t *testing.T) {
	m, err := ReadMemory()
	if err != nil {
		t.Fatal(err)
	}
	if m.HostTotal == 0 || m.Available() == 0 || m.Available() > m.HostTotal {
		t.Errorf("implausible memory %+v", m)
	}
	if CPUs() < 1 {
		t.Error("no processor")
	}
}

func card() *mock.Device {
	return &mock.Device{
		GetNameFunc:                  func() (string, nvml.Return) { return "NVIDIA A40", nvml.SUCCESS },
		GetCudaComputeCapabilityFunc: func() (int, int, nvml.Return) { return 8, 6, nvml.SUCCESS },
		GetMemoryInfoFunc: func() (nvml.Memory, nvml.Return) {
			return nvml.Memory{Total: 48 << 30, Free: 47 << 30}, nvml.SUCCESS
		},
	}
}

func machine(driver string, handle nvml.Return) *mock.Interface {
	return &mock.Interface{
		SystemGetDriverVersionFunc: func() (string, nvml.Return) { return driver, nvml.SUCCESS },
		DeviceGetCountFunc:         func() (int, nvml.Return) { return 1, nvml.SUCCESS },
		DeviceGetHandleByIndexFunc: func(int) (nvml.Device, nvml.Return) { return card(), handle },
		ErrorStringFunc:            func(nvml.Return) string { return "gpu is lost" },
	}
}

func TestList(t *testing.T) {
	gpus, driver, err := list(machine("550.54.14", nvml.SUCCESS))
	if err != nil || len(gpus) != 1 || gpus[0].Name != "NVIDIA A40" || gpus[0].Minor != 6 {
		t.Fatalf("gpus %+v, %v", gpus, err)
	}
	if driver.Segments()[0] != 550 {
		t.Errorf("driver %s", driver)
	}
}

func TestListErrors(t *testing.T) {
	if _, _, err := list(machine("550.54.14", nvml.ERROR_GPU_IS_LOST)); err == nil || !strings.Contains(err.Error(), "gpu 0: gpu is lost") {
		t.Errorf("lost gpu: %v", err)
	}
	if _, _, err := list(machine("not a version", nvml.SUCCESS)); err == nil {
		t.Error("a driver version that is none was accepted")
	}
}

func TestGPUsHere(t *testing.T) {
	gpus, _, err := GPUs()
	if err != nil && !errors.Is(err, ErrNoDriver) && len(gpus) > 0 {
		t.Errorf("gpus and an error: %v", err)
	}
}
