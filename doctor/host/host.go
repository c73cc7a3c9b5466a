// Package host reads the facts of one machine: the memory that this process may really use, its processors and its
// GPUs. It judges nothing. Every path is read below a root directory, "/" for the live machine or a fixture in tests.
//
// Memory is the trap it exists for: inside a container gopsutil and /proc/meminfo report the host, while the process
// is killed at its cgroup's limit. Memory therefore walks the process's own cgroup and every ancestor, version 1 and 2,
// and takes the tightest (Linux Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst).
package host

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/shirou/gopsutil/v3/mem"
)

// Memory is what a process may still take, in bytes.
type Memory struct {
	HostTotal     uint64 // of the machine
	HostAvailable uint64 // of the machine, by the kernel's estimate
	Limit         uint64 // tightest cgroup limit; 0: none
	Used          uint64 // charged against that limit, page cache subtracted
	Source        string // where the tighter figure came from: a file, or "host"
}

// Available is the smaller of what the host has left and what the cgroup still allows.
func (m Memory) Available() uint64 {
	if m.Limit == 0 {
		return m.HostAvailable
	}
	left := uint64(0)
	if m.Limit > m.Used {
		left = m.Limit - m.Used
	}
	return min(left, m.HostAvailable)
}

// ReadMemory reads the live machine.
func ReadMemory() (Memory, error) {
	vm, err := mem.VirtualMemory()
	if err != nil {
		return Memory{}, fmt.Errorf("read host memory: %w", err)
	}
	m := Memory{HostTotal: vm.Total, HostAvailable: vm.Available, Source: "host"}
	applyCgroup(&m, "/")
	return m, nil
}

// CPUs is the number of processors that this process may use: Go's scheduler already follows affinity and quota.
func CPUs() int { return runtime.GOMAXPROCS(0) }

// group is where one cgroup hierarchy keeps its memory figures. The cache keys are the two lists of file pages: what
// was read once and what was read again. Both are given back under pressure, so neither counts as used; a container that
// has just read a checkpoint is full of them. Files of a tmpfs are on other lists and stay counted.
type group struct {
	mount  string
	limits []string // the tightest counts; above memory.high a group is throttled to a crawl
	usage  string
	cache  []string
}

var (
	version2 = group{"sys/fs/cgroup", []string{"memory.max", "memory.high"}, "memory.current", []string{"inactive_file", "active_file"}}
	version1 = group{"sys/fs/cgroup/memory", []string{"memory.limit_in_bytes"}, "memory.usage_in_bytes",
		[]string{"total_inactive_file", "total_active_file"}}
)

// unlimited is above any real limit: version 1 writes a page-rounded maximum instead of a word.
const unlimited = 1 << 60

func applyCgroup(m *Memory, root string) {
	lines, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return
	}
	for line := range strings.Lines(string(lines)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		switch {
		case parts[0] == "0" && parts[1] == "":
			walk(m, root, version2, parts[2])
		case hasField(parts[1], "memory"):
			walk(m, root, version1, parts[2])
		}
	}
}

// walk goes from the process's own group up to the mount's root. In a container the path may belong to the host's view
// and not exist below the mount; the root of the mount is then the container's own group.
func walk(m *Memory, root string, g group, own string) {
	for dir := path.Clean("/" + own); ; dir = path.Dir(dir) {
		tighten(m, g, filepath.Join(root, g.mount, dir))
		if dir == "/" {
			return
		}
	}
}

func tighten(m *Memory, g group, dir string) {
	for _, name := range g.limits {
		limit, ok := readNumber(filepath.Join(dir, name))
		if !ok || limit >= unlimited {
			continue
		}
		used, _ := readNumber(filepath.Join(dir, g.usage))
		for _, key := range g.cache {
			used -= min(used, readStat(filepath.Join(dir, "memory.stat"), key))
		}
		if m.Limit == 0 || left(limit, used) < left(m.Limit, m.Used) {
			m.Limit, m.Used, m.Source = limit, used, filepath.Join(dir, name)
		}
	}
}

func left(limit, used uint64) uint64 {
	if used >= limit {
		return 0
	}
	return limit - used
}

func readNumber(file string) (uint64, bool) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	return n, err == nil // "max" is no number: no limit
}

func readStat(file, key string) uint64 {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if ok && name == key {
			n, err := strconv.ParseUint(value, 10, 64)
			if err == nil {
				return n
			}
		}
	}
	return 0
}

func hasField(list, want string) bool {
	for f := range strings.SplitSeq(list, ",") {
		if f == want {
			return true
		}
	}
	return false
}
