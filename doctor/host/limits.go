package host

import (
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// Reading is one number and where it came from. Err says why it is not known; None, that there is no such limit.
type Reading struct {
	Value  uint64
	Source string
	None   bool
	Err    string
}

// Limits is what the container and the kernel allow this process.
type Limits struct {
	OOMKills           Reading // processes the kernel already killed in this container
	Processors         int     // by affinity and quota, as Go's scheduler counts them
	CPUs               float64 // quota in processors; 0: none
	CPUSource          string
	PidsMax, PidsNow   Reading
	NoFile, NoFileHard Reading
	Memlock            Reading // hard limit of locked memory, bytes
	Throttled          Reading // periods in which the CPU quota was used up
	RDMA               bool    // a network card that reaches into memory is there
	Shm                Space
	ShmErr             string
}

func readLimits(o Options) Limits {
	l := Limits{Processors: CPUs()}
	l.OOMKills = readOOM(o.Root)
	l.CPUs, l.CPUSource = readQuota(o.Root)
	l.PidsMax, l.PidsNow = readPids(o.Root)
	l.NoFile, l.NoFileHard = readLimit(o.Root, "Max open files")
	_, l.Memlock = readLimit(o.Root, "Max locked memory")
	l.Throttled = readThrottled(o.Root)
	rdma, err := filepath.Glob(filepath.Join(o.Root, "sys/class/infiniband/*"))
	l.RDMA = err == nil && len(rdma) > 0
	return l
}

type shmSpace struct {
	Space
	err string
}

func readShm(s System) shmSpace {
	space, err := s.Space("/dev/shm", 0)
	if err != nil {
		return shmSpace{err: err.Error()}
	}
	return shmSpace{Space: space}
}

// hierarchy lists the directories of one controller, the process's own group first, then every ancestor that is visible
// here. In a container the path may belong to the host's view; the mount's root is then the container's own group.
func hierarchy(root, controller string) (dirs []string, v2 bool) {
	b, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return nil, false
	}
	own, mount := "", ""
	for line := range strings.Lines(string(b)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		switch {
		case hasField(parts[1], controller):
			own, mount, v2 = parts[2], "sys/fs/cgroup/"+controller, false
		case parts[0] == "0" && parts[1] == "" && mount == "":
			own, mount, v2 = parts[2], "sys/fs/cgroup", true
		}
	}
	if mount == "" {
		return nil, false
	}
	for dir := path.Clean("/" + own); ; dir = path.Dir(dir) {
		full := filepath.Join(root, mount, dir)
		if _, err := os.Stat(full); err == nil {
			dirs = append(dirs, full)
		}
		if dir == "/" {
			return dirs, v2
		}
	}
}

// OOMKills counts the processes that the kernel killed for memory in this process's own cgroup and its ancestors.
func OOMKills() Reading { return readOOM("/") }

// readOOM takes the worst count of the own group and its ancestors: v2 memory.events, v1 memory.oom_control.
func readOOM(root string) Reading {
	dirs, v2 := hierarchy(root, "memory")
	name := "memory.oom_control"
	if v2 {
		name = "memory.events"
	}
	r := Reading{Err: "no readable " + name}
	for _, dir := range dirs {
		file := filepath.Join(dir, name)
		b, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(b), "oom_kill ") {
			continue
		}
		if n := readStat(file, "oom_kill"); r.Err != "" || n > r.Value {
			r = Reading{Value: n, Source: file}
		}
	}
	return r
}

// readQuota takes the tightest CPU quota: v2 cpu.max, v1 cpu.cfs_quota_us over cpu.cfs_period_us.
func readQuota(root string) (cpus float64, source string) {
	dirs, v2 := hierarchy(root, "cpu")
	for _, dir := range dirs {
		quota, period, file := cfs(dir, v2)
		if quota <= 0 || period <= 0 {
			continue
		}
		if n := quota / period; cpus == 0 || n < cpus {
			cpus, source = n, file
		}
	}
	return cpus, source
}

// readThrottled reads nr_throttled of cpu.stat, which both versions have, of the own group.
func readThrottled(root string) Reading {
	dirs, _ := hierarchy(root, "cpu")
	for _, dir := range dirs {
		file := filepath.Join(dir, "cpu.stat")
		if b, err := os.ReadFile(file); err == nil && strings.Contains(string(b), "nr_throttled ") {
			return Reading{Value: readStat(file, "nr_throttled"), Source: file}
		}
	}
	return Reading{Err: "no readable cpu.stat"}
}

func cfs(dir string, v2 bool) (quota, period float64, file string) {
	if v2 {
		file = filepath.Join(dir, "cpu.max")
		q, p, _ := strings.Cut(readWord(file), " ")
		return number(q), number(p), file
	}
	file = filepath.Join(dir, "cpu.cfs_quota_us")
	return number(readWord(file)), number(readWord(filepath.Join(dir, "cpu.cfs_period_us"))), file
}

func number(s string) float64 {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0 // "max": no quota
	}
	return v
}

func readPids(root string) (limit, now Reading) {
	dirs, _ := hierarchy(root, "pids")
	if len(dirs) == 0 {
		none := Reading{Err: "no pids cgroup is mounted here"}
		return none, none
	}
	limit = Reading{None: true, Source: dirs[0]}
	for _, dir := range dirs {
		file := filepath.Join(dir, "pids.max")
		if n, ok := readNumber(file); ok && (limit.None || n < limit.Value) {
			limit = Reading{Value: n, Source: file}
			used, ok := readNumber(filepath.Join(dir, "pids.current"))
			now = Reading{Value: used, Source: filepath.Join(dir, "pids.current")}
			if !ok {
				now.Err = "no readable pids.current"
			}
		}
	}
	return limit, now
}

// readLimit reads one line of /proc/self/limits, soft and hard.
func readLimit(root, name string) (soft, hard Reading) {
	file := filepath.Join(root, "proc/self/limits")
	b, err := os.ReadFile(file)
	if err != nil {
		r := Reading{Err: err.Error()}
		return r, r
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			if f := strings.Fields(rest); len(f) >= 2 {
				return limitWord(f[0], file), limitWord(f[1], file)
			}
		}
	}
	r := Reading{Source: file, Err: "no line " + name}
	return r, r
}

func limitWord(s, file string) Reading {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return Reading{None: s == "unlimited", Source: file}
	}
	return Reading{Value: n, Source: file}
}

// readWord is a small file's text without its line end; empty where it cannot be read.
func readWord(parts ...string) string {
	b, err := os.ReadFile(filepath.Join(parts...))
	if err != nil || len(b) > 1<<16 {
		return ""
	}
	return strings.TrimSpace(string(b))
}
