package check

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-version"

	"radish/doctor"
	"radish/doctor/host"
)

var update = flag.Bool("update", false, "write the golden reports anew")

const sentinel = "SENTINELSENTINEL"

// expected is written by hand from each machine's description: the states that matter, by check. What is not named must
// be ok or skipped. The golden reports hold the words.
var expected = map[string]struct {
	machine func() machine
	states  string
}{
	"a40-runpod": {a40, "gpu.holders=warn gpu.orphans=warn gpu.xid=unknown disk.dup=warn port.exposed=unknown gpu.memory=warn gpu.count=fail gpu.mig=skipped gpu.driver_cuda=ok cg.oom_history=warn lim.shm=warn disk.target_fs=warn disk.free=warn disk.inodes=warn cg.memory=ok"},
	"rtx4090":    {rtx4090, "gpu.cuinit=fail gpu.kernels=skipped gpu.forward_compat=fail gpu.power=warn gpu.clocks=warn gpu.temp=warn gpu.ecc=skipped port.bind=fail hf.env=warn"},
	"h100":       {h100, "gpu.nvml=ok gpu.arch=ok gpu.ecc=ok model.files=skipped"},
	"a100-mig":   {a100mig, "gpu.mig=fail gpu.ecc=fail gpu.driver_cuda=fail"},
	"no-driver":  {noDriver, "gpu.device_nodes=skipped gpu.libs=skipped gpu.nvml=skipped gpu.ecc=skipped"},
	"stub":       {stub, "gpu.libs=fail gpu.nvml=skipped gpu.arch=skipped"},
	"no-runtime": {noRuntime, "gpu.device_nodes=fail gpu.nvml=skipped cg.oom_history=warn disk.target_fs=warn"},
	"dgx-h200":   {h200dgx, "gpu.nvlink=ok gpu.cuinit=ok gpu.xid=ok gpu.remap=ok gpu.pcie=ok"},
	"no-fabric":  {noFabric, "gpu.cuinit=fail gpu.kernels=skipped gpu.nvlink=fail"},
	"dgx-sick":   {sickDGX, "gpu.remap=fail gpu.pcie=warn gpu.nvlink=fail gpu.compute_mode=fail gpu.temp=fail gpu.xid=fail gpu.count=warn gpu.persistence=ok"},
	"dgx-mute": {muteDGX, "gpu.kernels=warn gpu.count=unknown gpu.remap=unknown gpu.pcie=unknown gpu.nvlink=unknown gpu.compute_mode=unknown gpu.temp=unknown gpu.ecc=unknown " +
		"gpu.power=unknown gpu.clocks=unknown gpu.holders=unknown gpu.persistence=unknown gpu.mig=ok gpu.memory=ok gpu.arch=ok"},
	"mig":     {migDGX, "gpu.mig=warn"},
	"t4":      {t4, "gpu.kernels=fail gpu.arch=warn gpu.driver_cuda=warn gpu.toolkit=warn"},
	"slow":    {slow, "gpu.nvml=unknown gpu.cuinit=unknown gpu.kernels=skipped"},
	"hanging": {hanging, "gpu.nvml=fail gpu.cuinit=fail gpu.memory=skipped"},
}

func TestMachines(t *testing.T) {
	for name, c := range expected {
		t.Run(name, func(t *testing.T) {
			facts := c.machine().read(t)
			r := doctor.Run(t.Context(), facts, All())
			want := map[string]string{}
			for pair := range strings.FieldsSeq(c.states) {
				id, s, _ := strings.Cut(pair, "=")
				want[id] = s
			}
			for _, f := range r.Findings {
				w, told := want[f.ID]
				if told && string(f.State) != w || !told && f.State != doctor.OK && f.State != doctor.Skipped {
					t.Errorf("%s is %s, want %q: %s", f.ID, f.State, w, f.Summary)
				}
			}
			golden(t, name, facts.Root, r)
		})
	}
}

// problemsOnly begins the names of reports that leave out what is well.
const problemsOnly = "python-ill-"

func golden(t *testing.T, name, root string, r *doctor.Report) {
	t.Helper()
	r.Counts, r.Verdict = nil, ""
	got := strings.TrimSuffix(r.Text(!strings.HasPrefix(name, problemsOnly)), "\nverdict:  ()\n")
	got = strings.ReplaceAll(got, root, "")
	if strings.Contains(got, sentinel[:8]) {
		t.Error("a secret is in the report")
	}
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the report changed (go test -update writes it anew):\n%s", got)
	}
}

// TestNothingIsKilled looks through every fix on every machine.
func TestNothingIsKilled(t *testing.T) {
	for name, c := range expected {
		for _, f := range doctor.Run(t.Context(), c.machine().read(t), All()).Findings {
			if f.Fix == nil {
				continue
			}
			line := strings.Join(append(f.Fix.Argv, f.Fix.Text), " ")
			if strings.Contains(line, "kill") || strings.Contains(line, "fuser") || f.Fix.Destructive {
				t.Errorf("%s: %s offers %q", name, f.ID, line)
			}
		}
	}
}

// TestTableIsWhole demands of every check what a reader of --list relies on.
func TestTableIsWhole(t *testing.T) {
	ids := map[string]bool{}
	for _, c := range All() {
		if c.ID == "" || c.Title == "" || c.Family == "" || c.Run == nil || ids[c.ID] {
			t.Errorf("check %+v", c)
		}
		ids[c.ID] = true
	}
	for _, c := range All() {
		for _, d := range c.DependsOn {
			if !ids[d] {
				t.Errorf("%s depends on %s, which is not there", c.ID, d)
			}
		}
	}
}

// blind are facts in which nothing could be read.
func blind() *host.Facts {
	const why = "permission denied"
	dark := host.Reading{Err: why}
	f := &host.Facts{Time: time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC), Clock: host.Clock{Err: why}, Memory: host.MemoryReading{Err: why},
		Limits: host.Limits{OOMKills: dark, PidsMax: dark, PidsNow: dark, NoFile: dark, NoFileHard: dark, Memlock: dark, ShmErr: why},
		Disks:  []host.Disk{{Use: "model cache", Err: why}}, Others: host.Others{Err: why},
		Self: host.Self{Err: why, Kernels: []string{"sm_80"}}, Cache: host.Cache{Err: why}}
	f.NVIDIA.Err = why
	f.NVIDIA.Xids.Err = why
	f.NVIDIA.Toolkit.Dir = "/usr/local/cuda"
	f.NVIDIA.CUDA.Err = "no answer within 2s"
	f.NVIDIA.NVML = host.NVML{Driver: "what", Cards: []host.Card{{Unread: map[string]string{"card": why}}}}
	return f
}

// TestNothingKnown gives every check facts in which nothing could be read: no answer may be ok for want of a fact, and
// none may crash. The checks named here judge what is known without reading.
func TestNothingKnown(t *testing.T) {
	f := blind()
	known := map[string]bool{"hf.token": true, "hf.env": true, "gpu.forward_compat": true, "gpu.count": true, "env.secrets": true, "port.bind_addr": true}
	for _, k := range All() {
		k.DependsOn = nil
		r := doctor.Run(t.Context(), f, []doctor.Check{k})
		switch s := r.Findings[0].State; {
		case s == doctor.Crashed:
			t.Errorf("%s crashed: %s", k.ID, r.Findings[0].Summary)
		case s == doctor.OK && !known[k.ID]:
			t.Errorf("%s is ok although nothing could be read: %s", k.ID, r.Findings[0].Summary)
		}
	}
}

// TestDriverTable judges by NVIDIA's release notes: driver, newest toolkit it shipped with or after.
func TestDriverTable(t *testing.T) {
	for text, want := range map[string]string{"450.80.02": "", "535.183.01": "12.2", "550.54.14": "12.4", "550.54.13": "12.3",
		"570.26": "12.8", "580.95.05": "13.0", "595.71.05": "13.2"} {
		v, err := version.NewVersion(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := table().native(v); got != want {
			t.Errorf("driver %s: CUDA %s, want %s", text, got, want)
		}
	}
	for i, row := range table().Toolkits {
		if i > 0 && !row.Driver.GreaterThan(table().Toolkits[i-1].Driver) {
			t.Errorf("the table is out of order at CUDA %s", row.CUDA)
		}
	}
	if _, err := time.Parse(time.DateOnly, table().Date); err != nil || table().own(table().WantedCUDA) == nil {
		t.Errorf("table of %q: %v", table().Date, err)
	}
}

func TestDriverVerdicts(t *testing.T) {
	for text, want := range map[string]doctor.State{"470.57.02": doctor.Fail, "525.60.13": doctor.Warn, "550.54.13": doctor.Warn,
		"550.54.14": doctor.OK, "580.65.06": doctor.OK, "": doctor.Unknown} {
		m := &host.Facts{}
		m.NVIDIA.NVML.Driver = text
		if f := driverCUDA(t.Context(), m); f.State != want {
			t.Errorf("driver %q is %s, want %s", text, f.State, want)
		}
	}
}

func TestModelFit(t *testing.T) {
	m := &host.Facts{Model: &host.Model{Bytes: 10 * gib}} // needs 12 GiB, comfortable from 18 on
	for free, want := range map[uint64]doctor.State{11 * gib: doctor.Fail, 13 * gib: doctor.Warn, 19 * gib: doctor.OK} {
		m.Memory.HostAvailable = free
		if f := modelFit(t.Context(), m); f.State != want {
			t.Errorf("%d bytes free: %s", free, f.State)
		}
	}
	m.Self.Kernels, m.NVIDIA.CUDA.Devices = []string{"sm_90"}, []host.CUDADevice{{}} // needs 1.1 x 5 + 4 = 9.5 GiB, comfortable from 14.25 on
	m.Model.Largest = 5 * gib
	for free, want := range map[uint64]doctor.State{9 * gib: doctor.Fail, 10 * gib: doctor.Warn, 15 * gib: doctor.OK} {
		m.Memory.HostAvailable = free
		if f := modelFit(t.Context(), m); f.State != want {
			t.Errorf("on a card, %d bytes free: %s", free, f.State)
		}
	}
}

func TestModelDirectory(t *testing.T) {
	m := h100()
	m.model = t.TempDir()
	for _, step := range []struct {
		name, text string
		want       doctor.State
	}{
		{"config.json", `{"model_type":"llama"}`, doctor.Fail},
		{"tokenizer.json", "{}", doctor.Fail},
		{"model.safetensors", "\x02\x00\x00\x00\x00\x00\x00\x00{}", doctor.OK},
		{"more.safetensors", "version https://git-lfs.github.com/spec/v1\n", doctor.Fail},
	} {
		if err := os.WriteFile(filepath.Join(m.model, step.name), []byte(step.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if f := modelFiles(t.Context(), m.read(t)); f.State != step.want {
			t.Errorf("with %s: %s %s", step.name, f.State, f.Summary)
		}
	}
}

func TestClockInThePast(t *testing.T) {
	m := h100()
	m.clock = time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	if f := clock(t.Context(), m.read(t)); f.State != doctor.Fail {
		t.Errorf("1970 is %s", f.State)
	}
}

func TestOpenTokenFile(t *testing.T) {
	f := token(t.Context(), &host.Facts{Env: host.Env{Token: host.Token{Masked: "hf_...abcd", Source: "/t", File: true, Mode: 0o644}}})
	if f.State != doctor.Warn || !f.Fix.Safe() || strings.Join(f.Fix.Argv[:2], " ") != "chmod 600" {
		t.Errorf("finding %+v", f)
	}
}

// TestThresholds stands on each side of the numbers that the rules name.
func TestThresholds(t *testing.T) {
	left := func(n uint64) *host.Facts {
		return &host.Facts{Memory: host.MemoryReading{Memory: host.Memory{HostAvailable: n}}}
	}
	used := func(n uint64) *host.Facts {
		return &host.Facts{Limits: host.Limits{PidsMax: host.Reading{Value: 100}, PidsNow: host.Reading{Value: n}}}
	}
	disk := func(free uint64) *host.Facts {
		return &host.Facts{Disks: []host.Disk{{Space: host.Space{Total: 100 * gib, Free: free}}}}
	}
	files := func(n uint64) *host.Facts {
		return &host.Facts{Limits: host.Limits{NoFileHard: host.Reading{Value: n}}}
	}
	procs := func(n int, quota float64) *host.Facts {
		return &host.Facts{Limits: host.Limits{Processors: n, CPUs: quota}}
	}
	for _, c := range []struct {
		name  string
		run   func(context.Context, facts) finding
		facts *host.Facts
		want  doctor.State
	}{
		{"memory", memory, left(1*gib - 1), doctor.Fail},
		{"memory", memory, left(1 * gib), doctor.Warn},
		{"memory", memory, left(4 * gib), doctor.OK},
		{"pids", pids, used(80), doctor.OK},
		{"pids", pids, used(81), doctor.Warn},
		{"pids", pids, used(96), doctor.Fail},
		{"disk", diskFree, disk(499 << 20), doctor.Fail},
		{"disk", diskFree, disk(500 << 20), doctor.Warn},
		{"disk", diskFree, disk(10 * gib), doctor.OK},
		{"disk kind", filesystems, disk(1), doctor.Unknown},
		{"inodes", inodes, disk(1), doctor.Skipped},
		{"processors", cpus, procs(3, 0), doctor.Warn},
		{"processors", cpus, procs(4, 0), doctor.OK},
		{"processors", cpus, procs(64, 3.5), doctor.Warn},
		{"files", noFile, files(4095), doctor.Warn},
		{"files", noFile, files(4096), doctor.OK},
	} {
		if f := c.run(t.Context(), c.facts); f.State != c.want {
			t.Errorf("%s is %s, want %s: %s", c.name, f.State, c.want, f.Summary)
		}
	}
}

// TestHeldMemory stands on each side of what a card may have in use: the driver's own share grows with the card.
func TestHeldMemory(t *testing.T) {
	for _, c := range []struct {
		total, used uint64
		want        doctor.State
	}{
		{24 * gib, 500 << 20, doctor.OK},
		{24 * gib, 501 << 20, doctor.Warn},
		{140 * gib, 615 << 20, doctor.OK},
		{140 * gib, 2 * gib, doctor.Warn},
	} {
		m := h100().read(t)
		m.NVIDIA.NVML.Cards = m.NVIDIA.NVML.Cards[:1]
		m.NVIDIA.NVML.Cards[0].MemoryTotal, m.NVIDIA.NVML.Cards[0].MemoryFree = c.total, c.total-c.used
		if f := gpuMemory(t.Context(), m); f.State != c.want {
			t.Errorf("%d of %d bytes in use is %s, want %s", c.used, c.total, f.State, c.want)
		}
	}
}
