// Package cuda runs the operations of kernels.Backend on one NVIDIA GPU, with nothing installed but the driver.
//
// How it works. An operation checks its shapes and appends a driver.Op to a command list; Submit hands the list to the
// driver in one call into C, as a graph once the same list was seen often enough, and returns; Wait (or Run, which is
// both) returns when the device has written the step's number into host memory. What changes from step to step (ids,
// positions, page tables, sampling parameters) is copied ahead of the kernels to places that stay the same, so that two
// steps of one shape are one graph.
//
// Weights are row-major bfloat16 (float32 where activations are), as in the checkpoint. Keys and values lie
// [layer][page][key, value][head][position][dim], so a head's part of a page is one run of memory.
//
// Kernels are compiled ahead of time (see package image and src); New takes the image that fits the card: sm_90a on
// Hopper, sm_80 on 8.x, PTX on what the binary does not know. A Backend belongs to the goroutine that made it, which
// must be locked to its thread.
package cuda

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"radish/kernels"
	"radish/kernels/cuda/driver"
	"radish/kernels/cuda/image"
)

// Options choose the card and the code.
type Options struct {
	GPU       int           // index among the visible cards
	Act       kernels.DType // BF16, or F32 for comparisons
	Arch      string        // "": what fits; else an image's name, to force it ("compute_80": PTX)
	Gemm      string        // "auto" (or ""), "own", "cublaslt"
	Tuning    string        // file that keeps what tuning found between starts; "": none
	Invariant bool          // a row's result never depends on what shares its step
	Separate  bool          // every buffer is an allocation of its own, for memory checkers
	Clock     bool          // measure how long the device works and waits; see Backend.Clock
}

// Backend is one GPU's queue, memory and kernels. It implements kernels.Backend.
type Backend struct {
	opt       Options
	card      Card
	context   *driver.Context
	stream    *driver.Stream
	arch      string // image in use
	kernels   map[string]*kernel
	modules   []*driver.Module
	mem       memory
	list      list
	step      step
	gemm      gemm
	attention attention
	graphs    graphs
	clock     clock
}

// Card is what the device says of itself.
type Card struct {
	Name   string
	UUID   string
	Major  int // compute capability
	Minor  int
	SMs    int
	Shared int // bytes of shared memory that one block may have
	Driver int // CUDA version of the driver, such as 12040
	L2     int // bytes
}

// SM is the architecture's name, such as "sm_90".
func (c Card) SM() string { return fmt.Sprintf("sm_%d%d", c.Major, c.Minor) }

// New opens a card. The calling goroutine must be locked to its thread and is the only one to use the Backend.
func New(o Options) (*Backend, error) {
	if o.Act != kernels.BF16 && o.Act != kernels.F32 {
		return nil, fmt.Errorf("open gpu %d: activations cannot be %v", o.GPU, o.Act)
	}
	if err := driver.Load(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoGPU, err)
	}
	b := &Backend{opt: o, kernels: map[string]*kernel{}, mem: memory{separate: o.Separate}}
	if err := b.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open gpu %d: %w", o.GPU, named(err)), b.Close())
	}
	return b, nil
}

func (b *Backend) open() error {
	d, err := pick(b.opt.GPU)
	if err != nil {
		return err
	}
	if b.card, err = inspect(d); err != nil {
		return err
	}
	if b.context, err = d.Retain(); err != nil {
		return err
	}
	if err := b.context.Use(); err != nil {
		return err
	}
	if b.stream, err = driver.NewStream(); err != nil {
		return err
	}
	if err := b.loadImages(); err != nil {
		return err
	}
	if err := b.list.open(&b.mem); err != nil {
		return err
	}
	if err := b.clock.open(b.opt.Clock); err != nil {
		return err
	}
	if err := b.mem.open(); err != nil {
		return err
	}
	if err := b.attention.open(&b.mem, &b.list); err != nil {
		return err
	}
	return b.gemm.open(b)
}

// pick is the card with the wanted index.
func pick(gpu int) (driver.Device, error) {
	n, err := driver.Count()
	if err != nil {
		return 0, err
	}
	if gpu < 0 || gpu >= n {
		return 0, fmt.Errorf("gpu %d of %d visible", gpu, n)
	}
	return driver.Get(gpu)
}

// inspect asks a device for its facts.
func inspect(d driver.Device) (c Card, err error) {
	if c.Name, err = d.Name(); err != nil {
		return c, err
	}
	if c.UUID, err = d.UUID(); err != nil {
		return c, err
	}
	if c.Driver, err = driver.Version(); err != nil {
		return c, err
	}
	for _, q := range []struct {
		to   *int
		attr int
	}{{&c.Major, driver.AttrMajor}, {&c.Minor, driver.AttrMinor}, {&c.SMs, driver.AttrSMs},
		{&c.Shared, driver.AttrSharedPerBlock}, {&c.L2, driver.AttrL2Bytes}} {
		if *q.to, err = d.Attribute(q.attr); err != nil {
			return c, err
		}
	}
	return c, nil
}

// loadImages loads every source's best image and finds its kernels.
func (b *Backend) loadImages() error {
	m, err := image.ReadManifest()
	if err != nil {
		return err
	}
	order, err := architectures(b.card, b.opt.Arch)
	if err != nil {
		return err
	}
	for name, src := range m.Sources {
		mod, arch, err := loadFirst(name, order)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a source for other cards only
		}
		if err != nil {
			return err
		}
		b.modules, b.arch = append(b.modules, mod), arch
		for k, uses := range src.Kernels {
			if _, has := uses[compiledAs(arch)]; !has {
				continue
			}
			f, err := mod.Function(k)
			if err != nil {
				return err
			}
			b.kernels[k] = &kernel{name: k, f: f}
		}
	}
	return nil
}

// compiledAs is the architecture under which the manifest lists the kernels of an image: PTX compute_80 holds those of
// sm_80.
func compiledAs(arch string) string { return strings.Replace(arch, "compute_", "sm_", 1) }

// architectures lists the images that a card can run, best first. Hopper code runs on 9.0 alone; sm_80 cubins on 8.x;
// PTX on everything from 8.0 on, including cards that did not exist when radish was built.
func architectures(c Card, forced string) ([]string, error) {
	var order []string
	switch {
	case c.Major == 9 && c.Minor == 0:
		order = []string{"sm_90a", "compute_80"}
	case c.Major == 8:
		order = []string{"sm_80", "compute_80"}
	case c.Major > 8:
		order = []string{"compute_80"}
	default:
		return nil, fmt.Errorf("%s has compute capability %d.%d; radish needs 8.0 or newer", c.Name, c.Major, c.Minor)
	}
	if forced == "" {
		return order, nil
	}
	for _, a := range order {
		if a == forced {
			return []string{forced}, nil
		}
	}
	return nil, fmt.Errorf("%s cannot run %s images, only %v", c.Name, forced, order)
}

// loadFirst loads the first image of a source that exists and that the driver takes.
func loadFirst(name string, order []string) (*driver.Module, string, error) {
	var last error
	for _, arch := range order {
		code, err := image.Read(arch, name)
		if errors.Is(err, fs.ErrNotExist) {
			if last == nil {
				last = err
			}
			continue
		}
		if err != nil {
			return nil, "", err
		}
		mod, err := driver.LoadModule(code)
		if err == nil {
			return mod, arch, nil
		}
		last = fmt.Errorf("load %s for %s: %w", name, arch, err)
	}
	return nil, "", last
}

// Name is the card, the image in use and the GEMM library.
func (b *Backend) Name() string {
	return fmt.Sprintf("cuda %s %s %s", b.card.Name, b.arch, b.gemm.name())
}

// Act is the activation type.
func (b *Backend) Act() kernels.DType { return b.opt.Act }

// Card is the card in use.
func (b *Backend) Card() Card { return b.card }

// hopper reports whether Hopper's own instructions are in use.
func (b *Backend) hopper() bool { return b.arch == "sm_90a" }

// Close waits for the device and frees everything.
func (b *Backend) Close() error {
	if b.context == nil {
		return nil
	}
	var errs []error
	keep := func(err error) { errs = append(errs, err) }
	if b.stream != nil {
		keep(b.stream.Wait())
		keep(b.graphs.close())
		keep(b.clock.close())
		keep(b.list.close())
		b.gemm.close()
		keep(b.stream.Close())
	}
	keep(b.mem.close())
	for _, m := range b.modules {
		keep(m.Unload())
	}
	keep(b.context.Release())
	b.context = nil
	return errors.Join(errs...)
}
