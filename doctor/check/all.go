// Package check holds the checks of radish doctor, one file per family, and All, the table of all of them. A check is a
// pure function of host.Facts: it opens nothing, asks nobody and changes nothing, so a fixture can stand for any machine.
// Thresholds are constants beside their check, and what NVIDIA or a vendor publishes is in reference.json with its date.
//
// A check that was not told what it needs answers unknown, never ok. One that does not apply answers skipped.
package check

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"radish/doctor"
	"radish/doctor/host"
)

const gib = 1 << 30

// All is every check, in the order in which a report shows them.
func All() []doctor.Check {
	return []doctor.Check{
		{ID: "gpu.device_nodes", Family: "gpu", Title: "NVIDIA device nodes", Run: deviceNodes},
		{ID: "gpu.libs", Family: "gpu", Title: "NVIDIA driver libraries", DependsOn: []string{"gpu.device_nodes"}, Run: driverLibs},
		{ID: "gpu.nvml", Family: "gpu", Title: "the driver answers", DependsOn: []string{"gpu.libs"}, Run: nvmlAnswers},
		{ID: "gpu.cuinit", Family: "gpu", Title: "CUDA starts and computes", DependsOn: []string{"gpu.libs"}, Run: cuInit},
		{ID: "gpu.kernels", Family: "gpu", Title: "GPU code in this binary", DependsOn: []string{"gpu.cuinit"}, Run: kernels},
		{ID: "gpu.driver_cuda", Family: "gpu", Title: "driver against CUDA floors", DependsOn: []string{"gpu.nvml"}, Run: driverCUDA},
		{ID: "gpu.forward_compat", Family: "gpu", Title: "no forward-compatibility trap", DependsOn: []string{"gpu.nvml"}, Run: forwardCompat},
		{ID: "gpu.count", Family: "gpu", Title: "as many GPUs as promised", DependsOn: []string{"gpu.nvml"}, Run: gpuCount},
		{ID: "gpu.arch", Family: "gpu", Title: "GPU architecture", DependsOn: []string{"gpu.nvml"}, Run: gpuArch},
		{ID: "gpu.memory", Family: "gpu", Title: "GPU memory and who holds it", DependsOn: []string{"gpu.nvml"}, Run: gpuMemory},
		{ID: "gpu.compute_mode", Family: "gpu", Title: "compute mode", DependsOn: []string{"gpu.nvml"}, Run: computeMode},
		{ID: "gpu.mig", Family: "gpu", Title: "MIG", DependsOn: []string{"gpu.nvml"}, Run: mig},
		{ID: "gpu.ecc", Family: "gpu", Title: "uncorrected memory errors", DependsOn: []string{"gpu.nvml"}, Run: ecc},
		{ID: "gpu.temp", Family: "gpu", Title: "temperature", DependsOn: []string{"gpu.nvml"}, Run: temperature},
		{ID: "gpu.power", Family: "gpu", Title: "power limit", DependsOn: []string{"gpu.nvml"}, Run: power},
		{ID: "gpu.remap", Family: "gpu", Title: "spare rows of the memory", DependsOn: []string{"gpu.nvml"}, Run: rows},
		{ID: "gpu.pcie", Family: "gpu", Title: "link to the host", DependsOn: []string{"gpu.nvml"}, Run: pcie},
		{ID: "gpu.nvlink", Family: "gpu", Title: "links between cards", DependsOn: []string{"gpu.nvml"}, Run: nvlink},
		{ID: "gpu.xid", Family: "gpu", Title: "the driver's errors", Minor: true, DependsOn: []string{"gpu.device_nodes"}, Run: xid},
		{ID: "gpu.holders", Family: "gpu", Title: "who is on the cards", DependsOn: []string{"gpu.nvml"}, Run: holders},
		{ID: "gpu.orphans", Family: "gpu", Title: "workers left behind", DependsOn: []string{"gpu.device_nodes"}, Run: orphans},
		{ID: "gpu.persistence", Family: "gpu", Title: "persistence mode", Minor: true, DependsOn: []string{"gpu.nvml"}, Run: persistence},
		{ID: "gpu.toolkit", Family: "gpu", Title: "CUDA toolkit", Minor: true, DependsOn: []string{"gpu.nvml"}, Run: toolkit},
		{ID: "gpu.clocks", Family: "gpu", Title: "clocks not held down", DependsOn: []string{"gpu.nvml"}, Run: clocks},

		{ID: "cg.memory", Family: "container", Title: "memory this process may use", Run: memory},
		{ID: "cg.oom_history", Family: "container", Title: "processes killed for memory", Minor: true, Run: oomHistory},
		{ID: "cg.cpu", Family: "container", Title: "processors this process may use", Run: cpus},
		{ID: "cg.pids", Family: "container", Title: "number of processes allowed", Minor: true, Run: pids},
		{ID: "lim.shm", Family: "container", Title: "size of /dev/shm", Run: shm},
		{ID: "lim.nofile", Family: "container", Title: "open files allowed", Run: noFile},
		{ID: "lim.memlock", Family: "container", Title: "memory that may be locked", Minor: true, Run: memlock},
		{ID: "sec.sandbox", Family: "container", Title: "what may be looked into", Minor: true, Run: sandbox},
		{ID: "env.secrets", Family: "container", Title: "secrets in the environment", Run: secrets},
		{ID: "sys.dstate", Family: "container", Title: "processes that cannot be ended", Minor: true, Run: stuck},
		{ID: "sys.initpid1", Family: "container", Title: "process 1", Run: pid1},
		{ID: "sys.clock", Family: "container", Title: "clock", Minor: true, Run: clock},

		{ID: "disk.target_fs", Family: "storage", Title: "kind of filesystem", Run: filesystems},
		{ID: "disk.free", Family: "storage", Title: "free space", Run: diskFree},
		{ID: "disk.inodes", Family: "storage", Title: "free inodes", Run: inodes},

		{ID: "disk.write", Family: "storage", Title: "writing works", Run: writable},
		{ID: "disk.quota", Family: "storage", Title: "room that can really be had", DependsOn: []string{"disk.write"}, Run: quota},
		{ID: "disk.locks", Family: "storage", Title: "file locks", DependsOn: []string{"disk.write"}, Run: locks},
		{ID: "fs.names", Family: "storage", Title: "links and names", DependsOn: []string{"disk.write"}, Run: names},
		{ID: "disk.dup", Family: "storage", Title: "files kept twice", Minor: true, Run: duplicates},
		{ID: "disk.junk", Family: "storage", Title: "what could be thrown away", Minor: true, Run: junk},

		{ID: "port.bind", Family: "ports", Title: "the server's port", Run: wantedPort},
		{ID: "port.others", Family: "ports", Title: "ports people take for it", Run: otherPorts},
		{ID: "port.exposed", Family: "ports", Title: "reached from outside", Minor: true, Run: exposed},
		{ID: "port.bind_addr", Family: "ports", Title: "address to listen on", Run: listen},
		{ID: "proc.conflict", Family: "ports", Title: "other model servers", Run: otherServers},

		{ID: "hf.token", Family: "huggingface", Title: "token", Run: token},
		{ID: "hf.env", Family: "huggingface", Title: "settings in the environment", Run: hfEnv},
		{ID: "hf.offline", Family: "huggingface", Title: "offline mode", Run: offline},
		{ID: "net.dns", Family: "network", Title: "names have addresses", Run: dns},
		{ID: "net.reach", Family: "network", Title: "the hub answers", DependsOn: []string{"net.dns"}, Run: reach},
		{ID: "hf.whoami", Family: "network", Title: "the token is valid", DependsOn: []string{"net.reach"}, Run: whoami},
		{ID: "hf.access", Family: "network", Title: "the repository may be read", DependsOn: []string{"net.reach"}, Run: access},
		{ID: "hf.ratelimit", Family: "network", Title: "rate limit", Minor: true, DependsOn: []string{"net.reach"}, Run: rateLimit},

		{ID: "model.files", Family: "model", Title: "files of the model", Run: modelFiles},
		{ID: "model.safetensors", Family: "model", Title: "headers of its weights", DependsOn: []string{"model.files"}, Run: modelHeaders},
		{ID: "model.disk", Family: "model", Title: "room for what is missing", Run: modelDisk},
		{ID: "model.fit", Family: "model", Title: "the model fits in memory", DependsOn: []string{"model.files"}, Run: modelFit},
		{ID: "model.vram", Family: "model", Title: "the model fits on the cards", DependsOn: []string{"model.files", "gpu.cuinit"}, Run: modelVRAM},
		{ID: "model.dtype_arch", Family: "model", Title: "the cards know its number type", DependsOn: []string{"model.files", "gpu.nvml"}, Run: modelType},
		{ID: "model.tp", Family: "model", Title: "over how many cards it can be spread", DependsOn: []string{"model.files"}, Run: modelSpread},
	}
}

type (
	finding = doctor.Finding
	facts   = *host.Facts
)

// is begins a finding.
func is(s doctor.State, rule, format string, args ...any) finding {
	return finding{State: s, Rule: rule, Summary: fmt.Sprintf(format, args...)}
}

func seen(f finding, source, format string, args ...any) finding {
	f.Evidence = append(f.Evidence, doctor.Evidence{Source: source, Value: fmt.Sprintf(format, args...)})
	return f
}

func fixed(f finding, kind doctor.FixKind, text string, argv ...string) finding {
	f.Fix = &doctor.Fix{Kind: kind, Text: text, Argv: argv}
	return f
}

// verdict gathers what several cards, disks or files have to say into one state, the worst.
type verdict struct {
	state doctor.State
	texts []string
}

// rank orders states by what a reader must see first.
var rank = map[doctor.State]int{"": 0, doctor.Skipped: 1, doctor.OK: 2, doctor.Unknown: 3, doctor.Warn: 4, doctor.Fail: 5}

func (v *verdict) say(s doctor.State, format string, args ...any) {
	if rank[s] > rank[v.state] {
		v.state, v.texts = s, nil
	}
	if s == v.state {
		v.texts = append(v.texts, fmt.Sprintf(format, args...))
	}
}

func (v *verdict) finding(rule string) finding {
	return finding{State: v.state, Rule: rule, Summary: strings.Join(merged(v.texts), "; ")}
}

// numbered is what one of several cards or devices has to say.
var numbered = regexp.MustCompile(`^(gpu|device) ([0-9]+): (.*)$`)

// said is one thing told, and the cards that it is told of.
type said struct {
	kind, what string
	who        []string
}

// merged tells once what several cards say: "gpu 0,1,2: off".
func merged(texts []string) []string {
	var all []said
	for _, text := range texts {
		kind, who, what := "", "", text
		if m := numbered.FindStringSubmatch(text); m != nil {
			kind, who, what = m[1], m[2], m[3]
		}
		i := slices.IndexFunc(all, func(s said) bool { return s.kind == kind && s.what == what })
		if i < 0 {
			i, all = len(all), append(all, said{kind: kind, what: what})
		}
		all[i].who = append(all[i].who, who)
	}
	told := make([]string, 0, len(all))
	for _, s := range all {
		if s.kind != "" {
			s.what = s.kind + " " + strings.Join(s.who, ",") + ": " + s.what
		}
		told = append(told, s.what)
	}
	return told
}

func bytesText(n uint64) string {
	if n >= gib {
		return fmt.Sprintf("%.1f GiB", float64(n)/gib)
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}
