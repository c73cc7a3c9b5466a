package driver

/*
#include "shim.h"
#include "calls.h"
*/
import "C"

import (
	"fmt"
	"time"
	"unsafe"
)

// Kind is what an Op does.
type Kind uint32

// The kinds of Op.
const (
	Kernel   Kind = iota // Func over Grid blocks of Threads, its one argument at Param
	ToDevice             // Bytes from pinned host memory at Src to Dst
	ToHost               // Bytes from device memory at Src to pinned host memory at Dst
	OnDevice             // Bytes from Src to Dst, both on the device
	Zero                 // Bytes at Dst
	Record               // the Event in Func
	Matmul               // the Plan in Func: Dst = Src times the weight at Bytes
)

// Overlap lets a kernel start before the one ahead of it in the list has ended; the kernel itself waits
// (griddepcontrol.wait) before it touches what that one wrote. It needs sm_90.
const Overlap = 1

// Op is one entry of a command list. A kernel takes one struct by value; its bytes lie at Param, ParamBytes long, in
// the list's parameters. The layout is rd_op's in shim.h.
type Op struct {
	Kind              Kind
	Flags             uint32
	Func              uint64
	Grid              [3]uint32
	Threads           uint32
	Shared            uint32 // dynamic, bytes
	Cluster           uint32 // blocks of a cluster along x; 0 and 1: none
	Param, ParamBytes uint32
	Dst, Src, Bytes   uint64
}

// Stream is a queue of device work.
type Stream struct{ handle C.rd_handle }

// NewStream makes one that does not wait for the default stream.
func NewStream() (*Stream, error) {
	const nonBlocking = 1
	s := &Stream{}
	if err := check("cuStreamCreate", C.rd_cuStreamCreate(&s.handle, nonBlocking)); err != nil {
		return nil, err
	}
	return s, nil
}

// Close frees the stream once its work is done.
func (s *Stream) Close() error { return check("cuStreamDestroy", C.rd_cuStreamDestroy_v2(s.handle)) }

// Wait blocks until the stream is empty.
func (s *Stream) Wait() error {
	return check("cuStreamSynchronize", C.rd_cuStreamSynchronize(s.handle))
}

// Exec queues a command list, in one call into C. The error names the operation that was refused.
func (s *Stream) Exec(ops []Op, params []byte) error {
	if len(ops) == 0 {
		return nil
	}
	var failed C.int
	rc := C.rd_exec((*C.rd_op)(unsafe.Pointer(unsafe.SliceData(ops))), C.int(len(ops)),
		(*C.uchar)(unsafe.Pointer(unsafe.SliceData(params))), s.handle, &failed)
	if rc != 0 {
		return check(fmt.Sprintf("operation %d of %d", int(failed), len(ops)), rc)
	}
	return nil
}

// Graph is an instantiated command list.
type Graph struct{ exec C.rd_handle }

// Capture turns a command list into a graph, without running it.
func (s *Stream) Capture(ops []Op, params []byte) (*Graph, error) {
	const threadLocal = 1
	if err := check("cuStreamBeginCapture", C.rd_cuStreamBeginCapture_v2(s.handle, threadLocal)); err != nil {
		return nil, err
	}
	execErr := s.Exec(ops, params)
	var g C.rd_handle
	err := check("cuStreamEndCapture", C.rd_cuStreamEndCapture(s.handle, &g))
	if execErr != nil {
		err = execErr
	}
	if err != nil {
		if g != nil {
			C.rd_cuGraphDestroy(g)
		}
		return nil, err
	}
	defer C.rd_cuGraphDestroy(g)
	out := &Graph{}
	if err := check("cuGraphInstantiate", C.rd_cuGraphInstantiateWithFlags(&out.exec, g)); err != nil {
		return nil, err
	}
	return out, nil
}

// Launch queues the graph.
func (s *Stream) Launch(g *Graph) error {
	return check("cuGraphLaunch", C.rd_cuGraphLaunch(g.exec, s.handle))
}

// Close frees the graph.
func (g *Graph) Close() error { return check("cuGraphExecDestroy", C.rd_cuGraphExecDestroy(g.exec)) }

// Event marks a place in a stream.
type Event struct{ handle C.rd_handle }

// NewEvent makes an event; timed ones can be subtracted, others are cheaper. Waiting for one blocks the thread.
func NewEvent(timed bool) (*Event, error) {
	const blocking, noTiming = 1, 2
	flags := C.uint(blocking | noTiming)
	if timed {
		flags = blocking
	}
	e := &Event{}
	if err := check("cuEventCreate", C.rd_cuEventCreate(&e.handle, flags)); err != nil {
		return nil, err
	}
	return e, nil
}

// Op records the event as part of a command list.
func (e *Event) Op() Op { return Op{Kind: Record, Func: uint64(uintptr(e.handle))} }

// Wait blocks until the work ahead of the event has ended.
func (e *Event) Wait() error { return check("cuEventSynchronize", C.rd_cuEventSynchronize(e.handle)) }

// Since is the device time between two timed events.
func (e *Event) Since(from *Event) (time.Duration, error) {
	var ms C.float
	err := check("cuEventElapsedTime", C.rd_cuEventElapsedTime(&ms, from.handle, e.handle))
	return time.Duration(float64(ms) * 1e6), err
}

// Close frees the event.
func (e *Event) Close() error { return check("cuEventDestroy", C.rd_cuEventDestroy_v2(e.handle)) }

// Failed asks, without waiting, whether the stream's work has run into an error.
func (s *Stream) Failed() error {
	if rc := C.rd_cuStreamQuery(s.handle); rc != CodeNotReady {
		return check("cuStreamQuery", rc)
	}
	return nil
}
