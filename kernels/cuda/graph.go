package cuda

import (
	"errors"
	"hash/maphash"
	"unsafe"

	"radish/kernels/cuda/driver"
)

// graphs remembers the command lists that came before. A list that comes again and again is captured, which costs a
// millisecond or two once, and from then on launched as one piece. Nothing is captured before it is needed, so a server
// is ready without waiting for graphs that nobody asks for.
type graphs struct {
	seed  maphash.Seed
	known map[uint64]*replay
	tick  uint64
	off   bool // a capture failed: the driver does not support what a list holds
	Hits  uint64
}

// replay is one command list that was seen.
type replay struct {
	seen, last uint64
	graph      *driver.Graph
}

const (
	captureAfter = 3   // times that a list must come before it is captured
	mostGraphs   = 96  // the one unused for longest goes first
	mostKnown    = 512 // lists seen, captured or not
	minOps       = 16  // shorter lists gain nothing
)

// find is the graph of the queued body, or nil to run it as it is.
func (g *graphs) find(b *Backend) *driver.Graph {
	l := &b.list
	if l.plain || g.off || len(l.body) < minOps {
		return nil
	}
	if g.known == nil {
		g.seed, g.known = maphash.MakeSeed(), map[uint64]*replay{}
	}
	key := g.key(l)
	g.tick++
	r := g.known[key]
	if r == nil {
		g.forget(mostKnown-1, func(*replay) bool { return true })
		r = &replay{}
		g.known[key] = r
	}
	r.seen++
	r.last = g.tick
	if r.graph == nil && r.seen >= captureAfter {
		g.forget(mostGraphs-1, func(r *replay) bool { return r.graph != nil })
		var err error
		if r.graph, err = b.stream.Capture(l.body, l.params); err != nil {
			g.off = true
			return nil
		}
	}
	if r.graph != nil {
		g.Hits++
	}
	return r.graph
}

// key hashes the kernels, their shapes and their arguments.
func (g *graphs) key(l *list) uint64 {
	var h maphash.Hash
	h.SetSeed(g.seed)
	h.Write(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(l.body))), len(l.body)*int(unsafe.Sizeof(driver.Op{}))))
	h.Write(l.params)
	return h.Sum64()
}

// forget drops the longest unused of those that count until at most keep are left.
func (g *graphs) forget(keep int, counts func(*replay) bool) {
	for {
		n, oldest, at := 0, ^uint64(0), uint64(0)
		for key, r := range g.known {
			if counts(r) {
				n++
				if r.last < oldest {
					oldest, at = r.last, key
				}
			}
		}
		if n <= keep {
			return
		}
		if r := g.known[at]; r.graph != nil {
			r.graph.Close() // the next one to fail says so: a graph that cannot be freed is no reason to stop serving
		}
		delete(g.known, at)
	}
}

func (g *graphs) close() error {
	var errs []error
	for _, r := range g.known {
		if r.graph != nil {
			errs = append(errs, r.graph.Close())
		}
	}
	g.known = nil
	return errors.Join(errs...)
}
