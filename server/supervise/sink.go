package supervise

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// mostQueue is how many bytes may wait for a slow disk or terminal before they are dropped.
const mostQueue = 4 << 20

// sink hands lines to a slow writer without ever waiting for it.
type sink struct {
	mu      sync.Mutex
	more    *sync.Cond
	queue   [][]byte
	bytes   int
	dropped int64
	closed  bool
	done    chan struct{}
}

// newSink calls write from a goroutine of its own, one line or several at a time.
func newSink(write func([]byte)) *sink {
	s := &sink{done: make(chan struct{})}
	s.more = sync.NewCond(&s.mu)
	go s.run(write)
	return s
}

func (s *sink) run(write func([]byte)) {
	defer close(s.done)
	for {
		s.mu.Lock()
		for len(s.queue) == 0 && !s.closed {
			s.more.Wait()
		}
		batch := s.queue
		s.queue, s.bytes = nil, 0
		s.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		for _, b := range batch {
			write(b)
		}
	}
}

// put queues b, which nobody may change afterwards, or drops and counts it.
func (s *sink) put(b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.bytes+len(b) > mostQueue {
		s.dropped += int64(len(b))
		return
	}
	s.queue, s.bytes = append(s.queue, b), s.bytes+len(b)
	s.more.Signal()
}

func (s *sink) lost() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropped
}

// close waits for what is queued, but not for a writer that hangs.
func (s *sink) close(patience time.Duration) {
	s.mu.Lock()
	s.closed = true
	s.more.Signal()
	s.mu.Unlock()
	select {
	case <-s.done:
	case <-time.After(patience):
	}
}

// The sizes of what is kept in memory of a run, for explaining its end.
const (
	mostLine = 64 << 10 // a longer one is split
	runHead  = 128 << 10
	runTail  = 128 << 10
)

// run is the memory of one run's output: its beginning, where the cause is, and its end.
type run struct {
	mu    sync.Mutex
	head  []byte
	tail  []byte
	total int64
}

func (r *run) add(line []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total += int64(len(line))
	if len(r.head)+len(line) <= runHead {
		r.head = append(r.head, line...)
		return
	}
	r.tail = append(r.tail, line...)
	if len(r.tail) > 2*runTail {
		r.tail = slices.Clone(r.tail[len(r.tail)-runTail:])
	}
}

func (r *run) wrote() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total
}

// text is what is remembered, in order; between head and tail lines may be missing.
func (r *run) text() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Concat(r.head, r.tail)
}

// lastWord is the last line that is not indented, where a program says what ended it; what follows indented is advice.
func (r *run) lastWord() string {
	const most = 300
	for _, line := range slices.Backward(strings.Split(r.last(16<<10), "\n")) {
		if line = strings.TrimRight(line, " \r\t"); line != "" && line[0] != ' ' && line[0] != '\t' {
			return line[:min(len(line), most)]
		}
	}
	return ""
}

// last is the end of the output, at most n bytes of it.
func (r *run) last(n int) string {
	b := r.text()
	return string(b[max(0, len(b)-n):])
}

// lines reads r to its end and gives take each line, with its end, whole where it is shorter than mostLine. Output is
// taken as fast as it comes: what writes it must never wait.
func lines(r io.Reader, take func([]byte)) {
	buf, chunk := []byte(nil), make([]byte, 64<<10)
	for {
		n, err := r.Read(chunk)
		buf = append(buf, chunk[:n]...)
		for {
			i := bytes.IndexByte(buf, '\n')
			if i < 0 && len(buf) < mostLine {
				break
			}
			if i < 0 || i >= mostLine {
				take(append(slices.Clone(buf[:mostLine-1]), '\n'))
				buf = buf[mostLine-1:]
				continue
			}
			take(slices.Clone(buf[:i+1]))
			buf = buf[i+1:]
		}
		if err != nil {
			if len(buf) > 0 {
				take(append(slices.Clone(buf), '\n'))
			}
			return
		}
	}
}
