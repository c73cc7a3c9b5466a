package cuda

import (
	"errors"
	"fmt"
	"math/bits"
	"sync/atomic"
	"unsafe"

	"radish/kernels"
	"radish/kernels/cuda/driver"
)

// list is what is queued for the next submission, in the order in which it will run: copies to the device, then
// kernels, then copies to the host. Splitting it so keeps the kernels of two like steps alike, to the byte, whatever
// they work on, and what was seen before runs as a graph.
type list struct {
	head, body, tail []driver.Op
	params           []byte
	plain            bool     // the body holds more than kernels and products: never a graph
	after            []func() // when the results are on the host
	err              error    // of a submission made on the way; the next Submit returns it
	stages           [stageCount]stage
	stage            int        // the one being filled
	arena            driver.Ptr // device side of stage.arena
	flag             *uint64    // in host memory: the number of the last finished submission
	flagMem          []byte
	number           uint64
}

// stage is pinned memory for one submission, free again when that has ended: arena is copied to the device as one piece,
// before everything else; mem is for uploads to buffers and for results.
type stage struct {
	arena, mem      []byte
	arenaUsed, used int
	number          uint64 // of the submission that uses it
	spill           [][]byte
}

const (
	stageCount = 3
	arenaBytes = 16 << 20 // page tables of 4 million entries and the rest
	stageBytes = 2 << 20
)

func (l *list) open(m *memory) (err error) {
	for i := range l.stages {
		s := &l.stages[i]
		if s.arena, err = driver.HostAlloc(arenaBytes); err != nil {
			return err
		}
		if s.mem, err = driver.HostAlloc(stageBytes); err != nil {
			return err
		}
	}
	if l.arena, err = m.take(arenaBytes); err != nil {
		return err
	}
	if l.flagMem, err = driver.HostAlloc(64); err != nil {
		return err
	}
	l.flag = (*uint64)(unsafe.Pointer(&l.flagMem[0]))
	atomic.StoreUint64(l.flag, 0)
	return nil
}

func (l *list) close() error {
	var errs []error
	for i := range l.stages {
		s := &l.stages[i]
		for _, m := range append(s.spill, s.mem, s.arena) {
			if m != nil {
				errs = append(errs, driver.HostFree(m))
			}
		}
	}
	if l.flagMem != nil {
		errs = append(errs, driver.HostFree(l.flagMem))
	}
	return errors.Join(errs...)
}

// room reserves n bytes of parameters, 64 bytes aligned.
func (l *list) room(n int) uint32 {
	at := (len(l.params) + 63) &^ 63
	if cap(l.params) < at+n {
		l.params = append(make([]byte, 0, 2*(at+n)), l.params...)
	}
	l.params = l.params[:at+n]
	return uint32(at)
}

// place puts src where kernels of this submission find it, and returns the device address. The same calls with the same
// lengths give the same addresses in every submission; lengths are rounded up to powers of two, so that a page table
// that grows by a page seldom changes them.
func place[T any](l *list, src []T) driver.Ptr {
	s, size := &l.stages[l.stage], int(unsafe.Sizeof(*new(T)))
	capacity := max(256, 1<<bits.Len(uint(max(len(src)*size-1, 0))))
	at := s.arenaUsed
	must(at+capacity <= arenaBytes, "step needs more than %d bytes of tables", arenaBytes)
	s.arenaUsed = at + capacity
	copy(s.arena[at:], unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(src))), len(src)*size))
	return l.arena + driver.Ptr(at)
}

// reserve is device memory of this submission with any contents: where kernels leave results for fetch.
func reserve[T any](l *list, n int) driver.Ptr {
	s := &l.stages[l.stage]
	at := s.arenaUsed
	s.arenaUsed = at + (n*int(unsafe.Sizeof(*new(T)))+255)&^255
	must(s.arenaUsed <= arenaBytes, "step needs more than %d bytes of results", arenaBytes)
	return l.arena + driver.Ptr(at)
}

// fetch queues a copy of n elements at src to the host, valid once the flight has ended.
func fetch[T any](l *list, src driver.Ptr, n int) []T {
	raw := l.pinned(max(n, 1) * int(unsafe.Sizeof(*new(T))))
	l.tail = append(l.tail, driver.Op{Kind: driver.ToHost, Dst: address(raw), Src: uint64(src), Bytes: uint64(len(raw))})
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(raw))), n)
}

// pinned is n bytes of the current stage, 256 bytes aligned.
func (l *list) pinned(n int) []byte {
	s := &l.stages[l.stage]
	at := (s.used + 255) &^ 255
	if at+n > len(s.mem) {
		m, err := driver.HostAlloc(n)
		if err != nil {
			panic(fmt.Sprintf("cuda: stage %d bytes: %v", n, err))
		}
		s.spill = append(s.spill, m)
		return m
	}
	s.used = at + n
	return s.mem[at : at+n : at+n]
}

// upload queues a copy of src to a buffer, taken now. It runs ahead of the kernels when none is queued yet.
func upload[T any](l *list, dst driver.Ptr, src []T) {
	if len(src) == 0 {
		return
	}
	n := len(src) * int(unsafe.Sizeof(src[0]))
	to := l.pinned(n)
	copy(to, unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(src))), n))
	l.send(dst, to)
}

// send queues a copy of pinned memory to the device.
func (l *list) send(dst driver.Ptr, from []byte) {
	op := driver.Op{Kind: driver.ToDevice, Dst: uint64(dst), Src: address(from), Bytes: uint64(len(from))}
	if len(l.body) == 0 {
		l.head = append(l.head, op)
		return
	}
	l.body, l.plain = append(l.body, op), true
}

// address is where pinned memory lies, the same on both sides.
func address(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }

// Upload queues a copy of src ([]float32 or []int32).
func (b *Backend) Upload(dst kernels.Tensor, src any) {
	switch s := src.(type) {
	case []float32:
		uploadRows(b, see("upload", dst, -1, -1, kernels.F32), s)
	case []int32:
		uploadRows(b, see("upload", dst, -1, -1, kernels.I32), s)
	default:
		must(false, "upload: cannot upload %T", src)
	}
}

func uploadRows[T float32 | int32](b *Backend, v view, src []T) {
	must(len(src) == int(v.rows)*int(v.cols), "upload: %d elements to %dx%d", len(src), v.rows, v.cols)
	if v.rows <= 1 || v.stride == int64(v.cols) {
		upload(&b.list, v.p, src)
		return
	}
	for i := range int(v.rows) {
		upload(&b.list, v.p+driver.Ptr(4*v.stride*int64(i)), src[i*int(v.cols):][:v.cols])
	}
}

// Download runs what is queued and copies src to dst.
func (b *Backend) Download(dst any, src kernels.Tensor) error {
	v := see("download", src, -1, -1, kernels.F32, kernels.BF16, kernels.I32)
	d, n := typeOf(src), int(v.rows)*int(v.cols)
	row := func(i int) driver.Ptr { return v.p + driver.Ptr(v.stride*int64(i)*int64(d.Size())) }
	switch to := dst.(type) {
	case []float32:
		must(len(to) == n && d != kernels.I32, "download: %d elements from %dx%d %v", len(to), v.rows, v.cols, d)
		if d == kernels.BF16 {
			return downloadRows(b, v, row, func(i int, got []uint16) {
				for j, h := range got {
					to[i*int(v.cols)+j] = kernels.BF16ToF32(h)
				}
			})
		}
		return downloadRows(b, v, row, func(i int, got []float32) { copy(to[i*int(v.cols):], got) })
	case []int32:
		must(len(to) == n && d == kernels.I32, "download: %d elements from %dx%d %v", len(to), v.rows, v.cols, d)
		return downloadRows(b, v, row, func(i int, got []int32) { copy(to[i*int(v.cols):], got) })
	}
	panic(fmt.Sprintf("cuda: download: cannot download to %T", dst))
}

// downloadRows fetches the rows of v and hands each to put.
func downloadRows[T any](b *Backend, v view, row func(i int) driver.Ptr, put func(i int, got []T)) error {
	rows := make([][]T, v.rows)
	for i := range rows {
		rows[i] = fetch[T](&b.list, row(i), int(v.cols))
	}
	b.list.after = append(b.list.after, func() {
		for i, r := range rows {
			put(i, r)
		}
	})
	return b.Run()
}
