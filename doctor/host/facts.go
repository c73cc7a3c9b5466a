package host

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"
)

// Facts is everything the checks may know, read once. Secrets are masked while reading: no field holds one.
type Facts struct {
	Root    string // "/" or a fixture
	Time    time.Time
	Clock   Clock
	Memory  MemoryReading
	Limits  Limits
	Self    Self
	NVIDIA  NVIDIA
	Disks   []Disk // the model cache, then the working directory
	Cache   Cache
	Ports   []Port // the wanted port first
	Env     Env
	Model   *Model // nil: no model was named
	Network Network
	Others  Others
	Python  *Python // nil: no engine was named
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
	Model   string // a model directory, or a repository on the hub; empty: none
	Network Asking
	Proxy   func(*http.Request) (*url.URL, error) // nil: none
	Port    int                                   // the port a server would take; 0 means 30000
	Host    string                                // the address it would listen on; empty: nothing was said
	System  System                                // nil: the live machine
	Kernels []string                              // GPU code inside this binary: "sm_80", "sm_90a", "ptx compute_80"
	Wait    time.Duration                         // for one reader; 0 means DefaultWait
	Engine  string                                // an inference engine written in Python, by its distribution; empty: none
	Python  string                                // an environment or interpreter to judge instead of the one found; empty: none
}

// Asking says whether the hub may be asked over the network.
type Asking int

// The default asks only about a named repository that the cache does not hold.
const (
	AskIfNeeded Asking = iota
	AskAlways
	AskNever
)

// System is what no file can tell, so that tests can give a machine.
type System interface {
	Clock() (now time.Time, synchronised bool, err error)
	HostMemory() (total, available uint64, err error)
	Space(path string, reserve uint64) (Space, error) // with reserve, it tries to write and to reserve that many bytes
	Bind(port int) error                              // listens on every address and lets go again
	NVML(ctx context.Context) NVML
	CUDA(ctx context.Context) CUDA
}

// DefaultWait bounds the readers that can hang for ever: a driver in trouble, a network filesystem that is gone. A
// driver that is only slow (eight cards that it has to wake) may need ten times as much.
const DefaultWait = 2500 * time.Millisecond

// DefaultPort is where a server listens unless told otherwise.
const DefaultPort = 30000

func (o Options) complete() Options {
	if o.Root == "" {
		o.Root = "/"
	}
	if o.System == nil {
		o.System = Live{}
	}
	if o.Port == 0 {
		o.Port = DefaultPort
	}
	if o.Wait == 0 {
		o.Wait = DefaultWait
	}
	return o
}

// Read reads the machine. It returns within a little more than Options.Wait: what did not answer carries that as its
// error. A reader that hangs is left behind, because a process in the kernel's uninterruptible sleep cannot be stopped.
func Read(ctx context.Context, o Options) *Facts {
	o = o.complete()
	w := waiter{ctx, o.Wait}
	ctx, cancel := context.WithTimeout(ctx, o.Wait)
	defer cancel()
	f := &Facts{Root: o.Root, Self: readSelf(o)}
	var token string
	f.Env, token = envWithin(waiter{w.parent, o.Wait / 5}, o)
	files := later(w, func() NVIDIA { return readNVIDIA(o.Root, f.Env) }, func(why string) NVIDIA { return NVIDIA{Err: why} })
	asked := make(chan struct{}) // one after the other: the context that CUDA makes must not be seen as somebody's
	nvml := later(w, func() NVML { defer close(asked); return o.System.NVML(ctx) }, func(why string) NVML { return NVML{Err: why} })
	cuda := later(w, func() CUDA { <-asked; return o.System.CUDA(ctx) }, func(why string) CUDA { return CUDA{Err: why} })
	ports := later(w, func() []Port { return readPorts(ctx, o) }, func(why string) []Port { return []Port{{Number: o.Port, Err: why}} })
	// Trying a disk makes a directory: an interrupt waits until it is removed again.
	disks := later(waiter{context.WithoutCancel(w.parent), o.Wait}, func() []Disk { return readDisks(o, f.Env) }, func(why string) []Disk { return []Disk{{Use: "model cache", Err: why}} })
	cache := later(w, func() Cache { return readCache(ctx, o, f.Env) }, func(why string) Cache { return Cache{Err: why} })
	others := later(w, func() Others { return readProcesses(o.Root, os.Getpid()) }, func(why string) Others { return Others{Err: why} })
	python := later(w, func() *Python { return readPython(ctx, o, f.Env) }, func(why string) *Python { return &Python{Engine: o.Engine, Chosen: -1, Err: why} })
	model := later(w, func() *Model { return readModel(o, f.Env) }, func(why string) *Model { return &Model{Dir: o.Model, Err: why} })
	shm := later(w, func() shmSpace { return readShm(o.System) }, func(why string) shmSpace { return shmSpace{err: why} })
	network := askNetwork(w, o, f.Env, token)
	f.Time, f.Clock = readClock(o.System)
	f.Memory = readMemory(o)
	f.Limits = readLimits(o)
	s := shm()
	f.Limits.Shm, f.Limits.ShmErr = s.Space, s.err
	f.NVIDIA = files()
	f.NVIDIA.NVML, f.NVIDIA.CUDA, f.Ports, f.Disks, f.Model, f.Others, f.Cache = nvml(), cuda(), ports(), disks(), model(), others(), cache()
	f.Python = python()
	f.Network = network(f.Model)
	return f
}

// envWithin reads the environment and the token's file. Everything else needs the first, so that the second, which can lie
// on a disk that is gone, is waited for only briefly.
func envWithin(w waiter, o Options) (e Env, token string) {
	type both struct {
		e      Env
		secret string
	}
	b := later(w, func() both {
		e, secret := readEnv(o.Root, o.Environ)
		return both{e, secret}
	}, func(why string) both {
		e, secret := readEnv("", o.Environ)
		e.Token.Err = why
		return both{e, secret}
	})()
	return b.e, b.secret
}

// askNetwork starts asking the hub, if it may, and returns a function that waits for it and gives the model what the hub
// has of it.
func askNetwork(w waiter, o Options, e Env, token string) func(*Model) Network {
	if o.Network == AskNever || o.Network == AskIfNeeded && (o.Model == "" || e.Offline()) {
		return func(*Model) Network { return Network{} }
	}
	type both struct {
		n Network
		r *Remote
	}
	ctx, cancel := context.WithTimeout(w.parent, NetworkWait)
	wait := later(waiter{w.parent, NetworkWait + 100*time.Millisecond}, func() both {
		repo := repository(o)
		if o.Network == AskIfNeeded && (repo == "" || snapshot(o.Root, e.CacheDir(), repo) != "") {
			return both{}
		}
		n, r := readNetwork(ctx, o, e, token, repo)
		return both{n, r}
	}, func(why string) both { return both{n: Network{Asked: o.Network == AskAlways, Hub: Answer{Err: why}}} })
	return func(m *Model) Network {
		defer cancel()
		b := wait()
		if m != nil {
			m.Remote = b.r
		}
		return b.n
	}
}

// waiter says how long to wait.
type waiter struct {
	parent context.Context
	limit  time.Duration
}

// later starts read and returns a function that waits for it, or for too long.
func later[T any](w waiter, read func() T, late func(why string) T) func() T {
	done := make(chan T, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- late(fmt.Sprintf("reading panicked: %v", p))
			}
		}()
		done <- read()
	}()
	limit := time.NewTimer(w.limit)
	return func() T {
		defer limit.Stop()
		select {
		case v := <-done:
			return v
		case <-limit.C:
			return late(fmt.Sprintf("no answer within %s", w.limit))
		case <-w.parent.Done():
			return late(w.parent.Err().Error())
		}
	}
}

func readClock(s System) (time.Time, Clock) {
	now, ok, err := s.Clock()
	if err != nil {
		return now, Clock{Err: err.Error()}
	}
	return now, Clock{Synchronised: ok}
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
