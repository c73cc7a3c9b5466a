package check

import (
	"context"
	"fmt"
	"strings"
	"time"

	"radish/doctor"
	"radish/doctor/host"
)

// Thresholds of the container checks. Percentages of pids are gpud's, /dev/shm's are from NCCL's failures at Docker's
// default of 64 MiB.
const (
	memoryFail = 1 * gib
	memoryWarn = 4 * gib
	cpusWarn   = 4
	cpusPerGPU = 2
	pidsWarn   = 80
	pidsFail   = 95
	shmFail    = 1 * gib
	shmWarn    = 8 * gib
	noFileHard = 4096
)

func memory(_ context.Context, m facts) finding {
	const rule = "available memory >= 4 GiB, < 1 GiB fails; the tightest cgroup counts, page cache subtracted"
	if m.Memory.Err != "" {
		return is(doctor.Unknown, rule, "memory could not be read: %s", m.Memory.Err)
	}
	free := m.Memory.Available()
	var f finding
	switch {
	case free < memoryFail:
		f = fixed(is(doctor.Fail, rule, "only %s left", bytesText(free)), doctor.EditTemplate, "give the container more memory")
	case free < memoryWarn:
		f = fixed(is(doctor.Warn, rule, "only %s left", bytesText(free)), doctor.EditTemplate, "give the container more memory")
	default:
		f = is(doctor.OK, rule, "%s available", bytesText(free))
	}
	f = seen(f, "host", "total %d, available %d bytes", m.Memory.HostTotal, m.Memory.HostAvailable)
	if promised, ok := m.Env.Get("RUNPOD_MEM_GB"); ok {
		f = seen(f, "RUNPOD_MEM_GB", "%s", promised)
	}
	if m.Memory.Limit == 0 {
		return seen(f, "cgroup", "no memory limit found")
	}
	return seen(f, m.Memory.Source, "limit %d, used %d bytes", m.Memory.Limit, m.Memory.Used)
}

func oomHistory(_ context.Context, m facts) finding {
	const rule = "0 processes killed for memory in this container"
	r := m.Limits.OOMKills
	switch {
	case r.Err != "":
		return is(doctor.Unknown, rule, "%s", r.Err)
	case r.Value > 0:
		f := is(doctor.Warn, rule, "the kernel already killed %d processes here for memory (exit -9 or 137)", r.Value)
		return fixed(seen(f, r.Source, "oom_kill %d", r.Value), doctor.EditTemplate, "give the container more memory, or radish a smaller pool")
	}
	return seen(is(doctor.OK, rule, "none"), r.Source, "oom_kill 0")
}

func cpus(_ context.Context, m facts) finding {
	const rule = "at least 4 processors by quota and affinity, and 2 for each GPU"
	have := float64(m.Limits.Processors)
	if m.Limits.CPUs > 0 {
		have = min(have, m.Limits.CPUs)
	}
	if have == 0 {
		return is(doctor.Unknown, rule, "the processors could not be counted")
	}
	f := is(doctor.OK, rule, "%.1f processors", have)
	if cards := len(m.NVIDIA.NVML.Cards); have < cpusWarn || have < float64(cards*cpusPerGPU) {
		f = is(doctor.Warn, rule, "only %.1f processors: loading and tokenizing will be slow", have)
		if cards > 1 {
			f = is(doctor.Warn, rule, "only %.1f processors for %d GPUs: loading and tokenizing will be slow", have, cards)
		}
	}
	f = seen(f, "runtime.GOMAXPROCS", "%d", m.Limits.Processors)
	if t := m.Limits.Throttled; t.Err == "" {
		f = seen(f, t.Source, "nr_throttled %d", t.Value)
	}
	if m.Limits.CPUs > 0 {
		return seen(f, m.Limits.CPUSource, "%.2f", m.Limits.CPUs)
	}
	return seen(f, "cgroup", "no CPU quota found")
}

func pids(_ context.Context, m facts) finding {
	const rule = "processes and threads <= 80 % of pids.max, > 95 % fails"
	limit, now := m.Limits.PidsMax, m.Limits.PidsNow
	switch {
	case limit.Err != "":
		return is(doctor.Unknown, rule, "%s", limit.Err)
	case limit.None:
		return seen(is(doctor.OK, rule, "no limit"), limit.Source, "no pids.max")
	case now.Err != "" || limit.Value == 0:
		return seen(is(doctor.Unknown, rule, "the number in use could not be read"), limit.Source, "%d", limit.Value)
	}
	percent := float64(now.Value) / float64(limit.Value) * 100
	state := doctor.OK
	if percent > pidsFail {
		state = doctor.Fail
	} else if percent > pidsWarn {
		state = doctor.Warn
	}
	f := is(state, rule, "%d of %d in use", now.Value, limit.Value)
	return seen(seen(f, limit.Source, "%d", limit.Value), now.Source, "%d", now.Value)
}

// shm matters to engines that spread a model over several cards: NCCL and their workers talk through it.
func shm(_ context.Context, m facts) finding {
	const rule = "/dev/shm >= 8 GiB with 2 cards or more, < 1 GiB fails there; Docker gives 64 MiB"
	if m.Limits.ShmErr != "" {
		return is(doctor.Unknown, rule, "%s", m.Limits.ShmErr)
	}
	size, cards := m.Limits.Shm.Total, len(m.NVIDIA.NVML.Cards)
	f := is(doctor.OK, rule, "%s", bytesText(size))
	switch {
	case cards > 1 && size < shmFail:
		f = is(doctor.Fail, rule, "only %s: engines that use NCCL over %d cards will not start", bytesText(size), cards)
	case cards > 1 && size < shmWarn, cards == 1 && size < shmFail:
		f = is(doctor.Warn, rule, "only %s: engines that use NCCL over several GPUs will fail", bytesText(size))
	}
	if f.State != doctor.OK {
		f = fixed(f, doctor.EditTemplate, "start the container with --shm-size 32g; NCCL_SHM_DISABLE=1 works and is slow")
	}
	return seen(f, "statfs /dev/shm", "total %d, free %d bytes", m.Limits.Shm.Total, m.Limits.Shm.Free)
}

// memlock matters where a network card or a pinned cache locks memory.
func memlock(_ context.Context, m facts) finding {
	const rule = "unlimited where there is RDMA hardware"
	l := m.Limits.Memlock
	if l.Err != "" {
		return is(doctor.Unknown, rule, "%s", l.Err)
	}
	f := is(doctor.OK, rule, "%s", limitText(l))
	if !l.None && m.Limits.RDMA {
		f = fixed(is(doctor.Warn, rule, "only %s may be locked: RDMA between cards will fail", bytesText(l.Value)),
			doctor.EditTemplate, "start the container with --ulimit memlock=-1")
	}
	return seen(seen(f, l.Source, "hard %s", limitText(l)), "/sys/class/infiniband", "present %t", m.Limits.RDMA)
}

func noFile(_ context.Context, m facts) finding {
	const rule = "hard limit of open files >= 4096; Go raises the soft limit to it"
	hard, soft := m.Limits.NoFileHard, m.Limits.NoFile
	if hard.Err != "" {
		return is(doctor.Unknown, rule, "%s", hard.Err)
	}
	f := is(doctor.OK, rule, "up to %s", limitText(hard))
	if !hard.None && hard.Value < noFileHard {
		f = fixed(is(doctor.Warn, rule, "only %d: connections will be refused", hard.Value), doctor.EditTemplate, "start the container with --ulimit nofile=65536")
	}
	return seen(f, hard.Source, "soft %s, hard %s", limitText(soft), limitText(hard))
}

func limitText(r host.Reading) string {
	if r.None {
		return "unlimited"
	}
	return fmt.Sprint(r.Value)
}

func pid1(_ context.Context, m facts) finding {
	const rule = "process 1 must be readable; without systemd nothing restarts a server that dies"
	switch m.Self.PID1 {
	case "":
		return is(doctor.Unknown, rule, "/proc/1/comm cannot be read")
	case "systemd":
		return seen(is(doctor.OK, rule, "systemd is running"), "/proc/1/comm", "systemd")
	}
	f := is(doctor.OK, rule, "no systemd here (process 1 is %s): a server started with nohup dies unseen", m.Self.PID1)
	return seen(f, "/proc/1/comm", "%s", m.Self.PID1)
}

// clock can show a clock that is wrong for certain, and say when nothing vouches for it. With the network, the hub's Date
// header vouches.
func clock(_ context.Context, m facts) finding {
	rule := fmt.Sprintf("within %s of the hub's clock, %s fails; without the network: not before %s, and kept right by the kernel", skewWarn, skewFail, table().Date)
	f := is(doctor.OK, rule, "kept right")
	read, err := time.Parse(time.DateOnly, table().Date)
	skew := m.Network.Skew.Abs()
	switch {
	case err != nil:
		f = is(doctor.Unknown, rule, "the table has no date")
	case m.Network.Dated && skew > skewFail, m.Time.Before(read):
		f = fixed(is(doctor.Fail, rule, "the clock is wrong: TLS and signed links will fail"), doctor.ChangeHost, "a pod cannot set its host's clock")
	case m.Network.Dated && skew > skewWarn:
		f = fixed(is(doctor.Warn, rule, "the clock is %s off: signed links will fail", m.Network.Skew.Round(time.Second)), doctor.ChangeHost, "a pod cannot set its host's clock")
	case m.Network.Dated:
		f = is(doctor.OK, rule, "%s off the hub's", m.Network.Skew)
	case m.Clock.Err != "":
		f = is(doctor.Unknown, rule, "the kernel does not say: %s", m.Clock.Err)
	case !m.Clock.Synchronised:
		f = is(doctor.Unknown, rule, "plausible, but nothing keeps it right as far as the kernel knows")
	}
	f = seen(f, "clock_gettime", "%s", m.Time.UTC().Format(time.RFC3339))
	if m.Network.Dated {
		f = seen(f, "Date of "+m.Network.Endpoint, "local clock minus hub's: %s", m.Network.Skew)
	}
	return seen(f, "adjtimex", "synchronised %t", m.Clock.Synchronised)
}

// sandbox tells what this process may not see, which is why other checks answer unknown.
func sandbox(_ context.Context, m facts) finding {
	const rule = "told, not judged: without CAP_SYS_PTRACE another user's process cannot be looked into"
	s := m.Self
	if s.Err != "" {
		return is(doctor.Unknown, rule, "%s", s.Err)
	}
	sees := "may not look into other users' processes"
	if s.CapEff&(1<<host.CapSysPtrace) != 0 {
		sees = "may look into every process that it sees"
	}
	f := is(doctor.OK, rule, "%s; seccomp mode %d", sees, s.Seccomp)
	return seen(f, "/proc/self/status", "CapEff %016x, Seccomp %d, NoNewPrivs %t", s.CapEff, s.Seccomp, s.NoNewPrivs)
}

// stuck looks for servers' processes in the sleep that no signal ends, mostly on a driver or a dead network disk.
func stuck(_ context.Context, m facts) finding {
	const rule = "no process of a model server in state D; one look can meet a healthy one that waits for a disk"
	if m.Others.Err != "" {
		return is(doctor.Unknown, rule, "%s", m.Others.Err)
	}
	v := verdict{}
	v.say(doctor.OK, "none")
	f := finding{}
	for _, p := range m.Others.List {
		if p.State == "D" {
			v.say(doctor.Warn, "%s waits in the kernel and cannot be ended", p.Owner)
			f = seen(f, fmt.Sprintf("/proc/%d/stat", p.PID), "state D")
		}
	}
	told := v.finding(rule)
	told.Evidence = f.Evidence
	if told.State == doctor.Warn {
		return fixed(told, doctor.RecreatePod, "look again; if it stays so, only making the pod anew helps")
	}
	return told
}

// secrets tells names and never values.
func secrets(_ context.Context, m facts) finding {
	const rule = "told, not judged: a process that prints its environment prints these too"
	if len(m.Env.Secrets) == 0 {
		return seen(is(doctor.OK, rule, "none"), "environment", "no variable's name says secret")
	}
	f := is(doctor.OK, rule, "%d secrets in the environment: never print it, never paste it", len(m.Env.Secrets))
	return seen(f, "environment", "%s", strings.Join(m.Env.Secrets, ", "))
}
