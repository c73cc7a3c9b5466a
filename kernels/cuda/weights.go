package cuda

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"

	"radish/kernels"
	"radish/kernels/cuda/driver"
)

// weight is a matrix [out x in], row-major, of the activation type.
type weight struct {
	at      driver.Ptr
	out, in int
	dtype   kernels.DType
	maps    map[[2]int]driver.TensorMap // by box
}

func (w *weight) Out() int     { return w.out }
func (w *weight) In() int      { return w.in }
func (w *weight) Bytes() int64 { return int64(w.out) * int64(w.in) * int64(w.dtype.Size()) }

// ring is pinned memory that weights pass through on their way up. It is given back with the first step.
type ring struct {
	slots [ringSlots]slot
	next  int
}

type slot struct {
	mem  []byte
	done *driver.Event
}

const (
	ringSlots = 8
	ringBytes = 16 << 20
	smallPart = 256 << 10 // goes up as an upload does, without the ring
)

// land gives the ring back once everything in it has gone up.
func (m *memory) land() error {
	if m.ring == nil {
		return nil
	}
	r := m.ring
	m.ring = nil
	return r.close()
}

// take is the next slot, empty.
func (r *ring) take() (*slot, error) {
	s := &r.slots[r.next]
	r.next = (r.next + 1) % len(r.slots)
	var err error
	if s.done != nil {
		return s, s.done.Wait()
	}
	if s.mem, err = driver.HostAlloc(ringBytes); err != nil {
		return nil, err
	}
	s.done, err = driver.NewEvent(false)
	return s, err
}

func (r *ring) close() error {
	var errs []error
	for _, s := range r.slots {
		if s.done != nil {
			errs = append(errs, s.done.Wait(), s.done.Close())
		}
		if s.mem != nil {
			errs = append(errs, driver.HostFree(s.mem))
		}
	}
	return errors.Join(errs...)
}

// Pack reads the parts and stacks them by rows. Several goroutines read and convert a slice of the ring each, while the
// copy engine takes the slices before it to the device.
func (b *Backend) Pack(parts ...kernels.Matrix) (kernels.Weight, error) {
	must(len(parts) > 0, "pack: no parts")
	w := &weight{in: parts[0].Cols, dtype: b.opt.Act}
	for _, p := range parts {
		must(p.Cols == w.in && p.Rows >= 0, "pack: part is %dx%d, want %d columns", p.Rows, p.Cols, w.in)
		w.out += p.Rows
	}
	var err error
	if w.at, err = b.mem.take(w.Bytes()); err != nil {
		return nil, fmt.Errorf("allocate weight %dx%d: %w", w.out, w.in, err)
	}
	at := w.at
	for _, p := range parts {
		if err := b.raise(p, at, w.dtype); err != nil {
			return nil, err
		}
		at += driver.Ptr(int64(p.Rows) * int64(p.Cols) * int64(w.dtype.Size()))
	}
	b.gemm.packed(w)
	return w, nil
}

// raise takes one part to the device.
func (b *Backend) raise(p kernels.Matrix, to driver.Ptr, d kernels.DType) error {
	perRow := p.Cols * d.Size()
	if perRow == 0 || p.Rows == 0 {
		return nil
	}
	must(perRow <= ringBytes, "pack: a row of %d bytes", perRow)
	if p.Rows*perRow <= smallPart {
		raw := b.list.pinned(p.Rows * perRow)
		if err := readShare(p, 0, raw, d); err != nil {
			return err
		}
		b.list.send(to, raw)
		return nil
	}
	if b.mem.ring == nil {
		b.mem.ring = &ring{}
	}
	rows := ringBytes / perRow
	for r := 0; r < p.Rows; r += rows {
		n := min(rows, p.Rows-r)
		s, err := b.mem.ring.take()
		if err != nil {
			return err
		}
		if err := readRows(p, r, n, s.mem[:n*perRow], d); err != nil {
			return err
		}
		ops := []driver.Op{{Kind: driver.ToDevice, Dst: uint64(to) + uint64(r)*uint64(perRow), Src: address(s.mem), Bytes: uint64(n * perRow)}, s.done.Op()}
		if err := b.stream.Exec(ops, nil); err != nil {
			return err
		}
	}
	return nil
}

// readers share the reading and converting of one slice.
const readers = 8

// readRows reads n rows from row r on and stores them as type d.
func readRows(p kernels.Matrix, r, n int, to []byte, d kernels.DType) error {
	errs := make([]error, readers)
	share := over(n, readers)
	var wg sync.WaitGroup
	for g := range readers {
		first, count := g*share, min(share, n-g*share)
		if count <= 0 {
			break
		}
		wg.Go(func() {
			perRow := p.Cols * d.Size()
			errs[g] = readShare(p, r+first, to[first*perRow:(first+count)*perRow], d)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// readShare reads the rows that fill to.
func readShare(p kernels.Matrix, r int, to []byte, d kernels.DType) error {
	from := p.Off + int64(r)*int64(p.Cols)*int64(p.DType.Size())
	if p.DType == d {
		return readFull(p.Data, to, from)
	}
	raw := make([]byte, len(to)/d.Size()*p.DType.Size())
	if err := readFull(p.Data, raw, from); err != nil {
		return err
	}
	for i := range len(to) / d.Size() {
		v := element(p.DType, raw, i)
		if d == kernels.BF16 {
			binary.LittleEndian.PutUint16(to[2*i:], kernels.F32ToBF16(v))
		} else {
			binary.LittleEndian.PutUint32(to[4*i:], math.Float32bits(v))
		}
	}
	return nil
}

func readFull(from io.ReaderAt, to []byte, at int64) error {
	if n, err := from.ReadAt(to, at); n < len(to) {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("read %d bytes of weights: %w", len(to), err)
	}
	return nil
}

// element is number i of raw.
func element(d kernels.DType, raw []byte, i int) float32 {
	switch d {
	case kernels.F32:
		return math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	case kernels.BF16:
		return kernels.BF16ToF32(binary.LittleEndian.Uint16(raw[2*i:]))
	case kernels.F16:
		return kernels.F16ToF32(binary.LittleEndian.Uint16(raw[2*i:]))
	}
	panic("cuda: pack: cannot read " + d.String())
}
