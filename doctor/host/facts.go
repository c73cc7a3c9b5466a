package host

import (
	"context"
	"fmt"
	"time"
)

// Facts is everything the checks may know, read once. Secrets are masked while reading: no field holds one.
type Facts struct {
	Root   string // "/" or a fixture
	Time   time.Time
	Clock  Clock
	Memory MemoryReading
	Limits Limits
	PID1   string // the name of process 1; empty: not readable
	NVIDIA NVIDIA
	Disks  []Disk // the model cache, then the working directory
	Ports  []Port // the wanted port first
	Env    Env
	Model  *Model // nil: no model was named
}

// Clock is what the kernel says of its own clock.
type Clock struct {
	Synchronised bool
	Err          string // why nothing is known
}

// MemoryReading is Memory, or why it could not be read.
type MemoryReading struct {
	Memory
	Err string
}

// Options says what to read, and where.
type Options struct {
	Root    string   // "" means "/"
	Environ []string // as os.Environ gives it
	WorkDir string
	Model   string // a model directory; empty: none
	Port    int    // the port a server would take; 0 means 30000
	System  System // nil: the live machine
}

// System is what no file can tell, so that tests can give a machine.
type System interface {
	Now() time.Time
	Synchronised() (bool, error)
	HostMemory() (total, available uint64, err error)
	Space(path string) (Space, error)
	Bind(port int) error // listens on every address and lets go again
	NVML(ctx context.Context) NVML
}

// slow bounds the readers that can hang for ever: a driver in trouble, a network filesystem that is gone.
const slow = 2 * time.Second

// DefaultPort is where a server listens unless told otherwise.
const DefaultPort = 30000

// Read reads the machine. It always returns within about two seconds: what did not answer carries that as its error.
// A reader that hangs is left behind, because a process in the kernel's uninterruptible sleep cannot be stopped.
func Read(ctx context.Context, o Options) *Facts {
	if o.Root == "" {
		o.Root = "/"
	}
	if o.System == nil {
		o.System = Live{}
	}
	if o.Port == 0 {
		o.Port = DefaultPort
	}
	f := &Facts{Root: o.Root, Time: o.System.Now(), PID1: readWord(o.Root, "proc/1/comm")}
	f.Env = readEnv(o.Root, o.Environ)
	nvml := later(ctx, func() NVML { return o.System.NVML(ctx) }, func(why string) NVML { return NVML{Err: why} })
	ports := later(ctx, func() []Port { return readPorts(o) }, func(why string) []Port { return []Port{{Number: o.Port, Err: why}} })
	disks := later(ctx, func() []Disk { return readDisks(o, f.Env) }, func(why string) []Disk { return []Disk{{Use: "model cache", Err: why}} })
	model := later(ctx, func() *Model { return readModel(o.Model) }, func(why string) *Model { return &Model{Dir: o.Model, Err: why} })
	f.Clock = readClock(o.System)
	f.Memory = readMemory(o)
	f.Limits = readLimits(o)
	f.NVIDIA = readNVIDIA(o.Root, f.Env)
	f.NVIDIA.NVML, f.Ports, f.Disks, f.Model = nvml(), ports(), disks(), model()
	return f
}

// later starts read and returns a function that waits for it, or for too long.
func later[T any](ctx context.Context, read func() T, late func(why string) T) func() T {
	done := make(chan T, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- late(fmt.Sprintf("reading panicked: %v", p))
			}
		}()
		done <- read()
	}()
	limit := time.NewTimer(slow)
	return func() T {
		defer limit.Stop()
		select {
		case v := <-done:
			return v
		case <-limit.C:
			return late(fmt.Sprintf("no answer within %s", slow))
		case <-ctx.Done():
			return late(ctx.Err().Error())
		}
	}
}

func readClock(s System) Clock {
	ok, err := s.Synchronised()
	if err != nil {
		return Clock{Err: err.Error()}
	}
	return Clock{Synchronised: ok}
}

func readMemory(o Options) MemoryReading {
	total, available, err := o.System.HostMemory()
	if err != nil {
		return MemoryReading{Err: err.Error()}
	}
	m := Memory{HostTotal: total, HostAvailable: available, Source: "host"}
	applyCgroup(&m, o.Root)
	return MemoryReading{Memory: m}
}
