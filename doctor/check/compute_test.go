package check

import (
	"strings"
	"testing"
	"time"

	"radish/doctor"
	"radish/doctor/host"
)

func TestCuInit(t *testing.T) {
	well := host.CUDA{Driver: 12040, Devices: []host.CUDADevice{{Name: "x", Major: 9}, {Index: 1, Name: "x", Major: 9}}}
	sick := well
	sick.Devices = append([]host.CUDADevice{}, well.Devices...)
	sick.Devices[1].Failed = host.Call{Step: "cuMemAlloc", Code: 2, Name: "CUDA_ERROR_OUT_OF_MEMORY"}
	for _, c := range []struct {
		cuda host.CUDA
		wait time.Duration
		want doctor.State
		text string
		kind doctor.FixKind
	}{
		{well, time.Second, doctor.OK, "device 0,1: computes", ""},
		{sick, time.Second, doctor.Fail, "device 1: out of memory", doctor.RunCommand},
		{host.CUDA{}, time.Second, doctor.Fail, "sees no device", ""},
		{host.CUDA{Err: "no answer within 2s"}, 2 * time.Second, doctor.Unknown, "slow, or it hangs", doctor.SetFlag},
		{host.CUDA{Err: "no answer within 20s"}, 20 * time.Second, doctor.Fail, "does not answer", doctor.RecreatePod},
		{host.CUDA{Err: "asking the driver ended with signal: segmentation fault"}, 0, doctor.Fail, "segmentation", doctor.RecreatePod},
		{host.CUDA{Absent: "libcuda.so.1 has no cuInit"}, 0, doctor.Fail, "has no cuInit", doctor.EditTemplate},
		{host.CUDA{Failed: host.Call{Step: "cuInit", Code: 802}}, 0, doctor.Fail, "fabric manager", doctor.ChangeHost},
		{host.CUDA{Failed: host.Call{Step: "cuInit", Code: 803}}, 0, doctor.Fail, "differ", doctor.RecreatePod},
		{host.CUDA{Failed: host.Call{Step: "cuInit", Code: 804}}, 0, doctor.Fail, "forward-compat", doctor.EditTemplate},
		{host.CUDA{Failed: host.Call{Step: "cuInit", Code: 101}}, 0, doctor.Fail, "CUDA_VISIBLE_DEVICES", doctor.SetFlag},
		{host.CUDA{Failed: host.Call{Step: "cuInit", Code: 12345, Name: "NEW"}}, 0, doctor.Fail, "does not start", doctor.RecreatePod},
	} {
		m := &host.Facts{Self: host.Self{Wait: c.wait}}
		m.NVIDIA.CUDA = c.cuda
		f := cuInit(t.Context(), m)
		if f.State != c.want || !strings.Contains(f.Summary, c.text) || (c.kind == "") != (f.Fix == nil) || f.Fix != nil && f.Fix.Kind != c.kind {
			t.Errorf("%+v: %s %q %+v", c.cuda, f.State, f.Summary, f.Fix)
		}
	}
}

// TestBest judges by NVIDIA's rule of binary compatibility: same major, same or later minor; "a" exactly; PTX forward.
func TestBest(t *testing.T) {
	code := []string{"sm_80", "sm_90a", "ptx compute_80"}
	for sm, want := range map[int]string{75: "", 80: "sm_80", 86: "sm_80", 89: "sm_80", 90: "sm_90a", 100: "ptx compute_80"} {
		if got, jit := best(code, sm); got != want || jit != strings.HasPrefix(want, "ptx") {
			t.Errorf("sm_%d runs %q (jit %t), want %q", sm, got, jit, want)
		}
	}
	if got, _ := best([]string{"sm_80", "sm_86", "sm_90a"}, 89); got != "sm_86" {
		t.Errorf("sm_89 runs %q", got)
	}
	if got, _ := best([]string{"sm_120f"}, 121); got != "sm_120f" {
		t.Errorf("sm_121 runs %q", got)
	}
	if got, _ := best([]string{"sm_100a"}, 103); got != "" {
		t.Errorf("sm_103 runs %q", got)
	}
}

func TestKernels(t *testing.T) {
	m := &host.Facts{}
	m.NVIDIA.CUDA.Devices = []host.CUDADevice{{Major: 9}, {Index: 1, Major: 10}}
	for want, code := range map[doctor.State][]string{doctor.Skipped: nil, doctor.Fail: {"sm_90a"}, doctor.Warn: {"sm_90a", "ptx compute_90"}, doctor.OK: {"sm_90", "sm_100"}} {
		m.Self.Kernels = code
		if f := kernels(t.Context(), m); f.State != want {
			t.Errorf("%v: %s %s", code, f.State, f.Summary)
		}
	}
	m.Self.Kernels = []string{"sm_90a", "ptx compute_80"}
	for driver, want := range map[string]doctor.State{"550.54.13": doctor.Fail, "550.54.14": doctor.Warn} {
		m.NVIDIA.NVML.Driver = driver
		if f := kernels(t.Context(), m); f.State != want {
			t.Errorf("PTX of CUDA 12.4 on driver %s is %s, want %s", driver, f.State, want)
		}
	}
	m.Self.Kernels, m.NVIDIA.CUDA.Devices = []string{"sm_80"}, nil
	if f := kernels(t.Context(), m); f.State != doctor.Unknown {
		t.Errorf("no devices: %s", f.State)
	}
}

func TestMerged(t *testing.T) {
	got := strings.Join(merged([]string{"gpu 0: off", "gpu 1: on", "x", "gpu 2: off", "x", "device 0: off"}), "; ")
	if want := "gpu 0,2: off; gpu 1: on; x; device 0: off"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
}

func TestXid(t *testing.T) {
	for n, want := range map[int]doctor.State{13: doctor.OK, 79: doctor.Fail, 109: doctor.Fail, 48: doctor.Warn, 74: doctor.Warn, 9999: doctor.Warn} {
		m := &host.Facts{}
		m.NVIDIA.Xids = host.Xids{Numbers: []int{43, n}, Lines: []string{"a", "b"}}
		if f := xid(t.Context(), m); f.State != want || want != doctor.OK && f.Fix == nil {
			t.Errorf("Xid %d is %s, want %s", n, f.State, want)
		}
	}
	seen := map[int]bool{}
	for _, row := range table().Xids {
		for _, n := range row.Numbers {
			if seen[n] {
				t.Errorf("Xid %d stands twice in the table", n)
			}
			seen[n] = true
		}
	}
}

func TestOrphansAndHolders(t *testing.T) {
	worker := host.Process{Owner: host.Owner{PID: 812, Name: "sglang::scheduler_TP0"}, Parent: 1, GPU: true, Engine: "sglang", Worker: true}
	server := host.Process{Owner: host.Owner{PID: 1, Name: "python3"}, Engine: "sglang"}
	m := &host.Facts{Others: host.Others{List: []host.Process{worker}}}
	m.NVIDIA.NVML.Cards = []host.Card{{Unread: map[string]string{}, Holders: []host.Holder{{PID: 812}}}}
	if f := orphans(t.Context(), m); f.State != doctor.Warn || f.Fix == nil || len(f.Fix.Argv) > 0 {
		t.Errorf("an orphan: %+v", f)
	}
	if f := holders(t.Context(), m); f.State != doctor.Warn || !strings.Contains(f.Summary, "sglang::scheduler_TP0 (pid 812)") || strings.Contains(f.Summary, "cannot be seen") {
		t.Errorf("a holder that is seen: %+v", f)
	}
	m.Others.List = []host.Process{server, worker}
	if f := orphans(t.Context(), m); f.State != doctor.OK {
		t.Errorf("a worker below process 1, which is the server: %+v", f)
	}
	m.Others.List = nil
	if f := holders(t.Context(), m); f.State != doctor.Warn || !strings.Contains(f.Summary, "cannot be seen") {
		t.Errorf("a holder outside: %+v", f)
	}
	m.NVIDIA.NVML.Cards[0].Holders = nil
	if f := holders(t.Context(), m); f.State != doctor.OK {
		t.Errorf("no holder: %+v", f)
	}
}

func TestToolkit(t *testing.T) {
	for have, want := range map[string]doctor.State{"12.8.0": doctor.OK, "12.4.1": doctor.Warn, "": doctor.Unknown} {
		m := &host.Facts{}
		m.NVIDIA.Toolkit = host.Toolkit{Dir: "/usr/local/cuda", Version: have}
		m.NVIDIA.NVML.Cards = []host.Card{{GPU: host.GPU{Major: 10}}}
		if f := toolkit(t.Context(), m); f.State != want {
			t.Errorf("toolkit %q for sm_100 is %s, want %s", have, f.State, want)
		}
	}
}
