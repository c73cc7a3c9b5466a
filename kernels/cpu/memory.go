package cpu

import (
	"fmt"
	"syscall"
	"unsafe"

	"radish/kernels"
)

// hugePage is the alignment from which transparent huge pages are asked for.
const hugePage = 2 << 20

// region is mapped memory: zeroed, 64 bytes aligned, outside Go's heap, resident only where touched.
type region struct {
	data []byte
	raw  []byte // what munmap wants
}

func (r region) ptr() unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(r.data)) }

// memory owns every region of a backend, and the arena that a step's arguments live in.
type memory struct {
	regions []region
	arena   region
	used    int
	spill   []region // regions of this step beyond the arena
}

const arenaBytes = 4 << 20

// mapped reserves n bytes.
func mapped(n int64) (region, error) {
	size := max(n, 1)
	if size >= hugePage {
		size += hugePage
	}
	raw, err := syscall.Mmap(-1, 0, int(size), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return region{}, fmt.Errorf("map %d bytes: %w", n, err)
	}
	data := raw
	if size >= hugePage {
		data = raw[-uintptr(unsafe.Pointer(&raw[0]))%hugePage:]
	}
	return region{data[:n:n], raw}, nil
}

// take maps n bytes that live until close; with huge set the kernel is asked for huge pages.
func (m *memory) take(n int64, huge bool) (region, error) {
	r, err := mapped(n)
	if err != nil {
		return r, err
	}
	if huge && n >= hugePage {
		adviseHuge(r.data) // advice: a kernel without it loses speed, nothing else
	}
	m.regions = append(m.regions, r)
	return r, nil
}

// drop gives one region back.
func (m *memory) drop(r region) {
	for i := range m.regions {
		if unsafe.SliceData(m.regions[i].raw) == unsafe.SliceData(r.raw) {
			m.regions = append(m.regions[:i], m.regions[i+1:]...)
			syscall.Munmap(r.raw)
			return
		}
	}
}

// scratch is n bytes until the next reset, 64 bytes aligned. Running out of address space panics, as make would.
func (m *memory) scratch(n int) unsafe.Pointer {
	if m.arena.data == nil {
		m.arena = must(m.take(arenaBytes, false))
	}
	at := (m.used + 63) &^ 63
	if at+n > len(m.arena.data) {
		r := must(mapped(int64(n)))
		m.spill = append(m.spill, r)
		return r.ptr()
	}
	m.used = at + n
	return unsafe.Add(m.arena.ptr(), at)
}

func must(r region, err error) region {
	if err != nil {
		panic(err)
	}
	return r
}

func (m *memory) reset() {
	m.used = 0
	for _, r := range m.spill {
		syscall.Munmap(r.raw)
	}
	m.spill = m.spill[:0]
}

func (m *memory) close() error {
	m.reset()
	var first error
	for _, r := range m.regions {
		if err := syscall.Munmap(r.raw); err != nil && first == nil {
			first = fmt.Errorf("unmap: %w", err)
		}
	}
	m.regions = nil
	return first
}

// place copies s into the arena.
func place[T any](m *memory, s []T) unsafe.Pointer {
	p := m.scratch(len(s) * int(unsafe.Sizeof(*new(T))))
	copy(unsafe.Slice((*T)(p), len(s)), s)
	return p
}

// buffer is a kernels.Buffer.
type buffer struct {
	region
	dtype kernels.DType
	n     int
}

func (b *buffer) DType() kernels.DType { return b.dtype }
func (b *buffer) Len() int             { return b.n }

// Alloc maps zeroed memory for n elements.
func (b *Backend) Alloc(d kernels.DType, n int) (kernels.Buffer, error) {
	if n < 0 || d.Size() == 0 || int64(n) > 1<<40 {
		return nil, fmt.Errorf("allocate %d x %v: no such buffer", n, d)
	}
	r, err := b.mem.take(int64(n)*int64(d.Size()), true)
	if err != nil {
		return nil, fmt.Errorf("allocate %d x %v: %w", n, d, err)
	}
	return &buffer{r, d, n}, nil
}
