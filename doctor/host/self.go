package host

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Self is this process: what it was given, and what the kernel lets it do.
type Self struct {
	Kernels    []string      // GPU code inside this binary; empty: it computes on the CPU only
	Wait       time.Duration // how long a reader was waited for
	Host       string        // the address a server would listen on; empty: nothing was said
	PID1       string        // the name of process 1; empty: not readable
	Seccomp    int           // 0 none, 1 strict, 2 filter; -1: unknown
	NoNewPrivs bool
	CapEff     uint64 // effective capabilities
	Err        string // why /proc/self/status could not be read
}

// CapSysPtrace is the bit of CapEff that lets a process look into others' (capability.h).
const CapSysPtrace = 19

func readSelf(o Options) Self {
	s := Self{Kernels: o.Kernels, Wait: o.Wait, Host: o.Host, PID1: readWord(o.Root, "proc/1/comm"), Seccomp: -1}
	b, err := os.ReadFile(filepath.Join(o.Root, "proc/self/status"))
	if err != nil {
		s.Err = err.Error()
		return s
	}
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		switch key {
		case "Seccomp":
			s.Seccomp, err = strconv.Atoi(value)
		case "NoNewPrivs":
			s.NoNewPrivs = value == "1"
		case "CapEff":
			s.CapEff, err = strconv.ParseUint(value, 16, 64)
		}
		if err != nil {
			s.Err = err.Error()
			return s
		}
	}
	return s
}
