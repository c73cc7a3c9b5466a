package supervise

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The variables that the supervisor adds to a worker's environment.
const (
	ReportEnv = "RADISH_REPORT_FD" // number of an inherited socket
	TagEnv    = "RADISH_INSTANCE"  // marks every process that comes from this worker
)

// Phase is how far a worker says it is.
type Phase string

// The phases of a worker.
const (
	PhaseLoading  Phase = "loading"
	PhaseReady    Phase = "ready"
	PhaseDraining Phase = "draining"
)

// Report is what a worker tells its supervisor, about once a second and at every change: one line of JSON on a socket
// that both inherit. While it loads, Done must grow; once ready, Figures tell a busy worker from a wedged one.
type Report struct {
	Phase   Phase    `json:"phase"`
	Note    string   `json:"note,omitempty"` // what it does, for people
	Done    int64    `json:"done,omitempty"` // of Total: bytes of weights
	Total   int64    `json:"total,omitempty"`
	URL     string   `json:"url,omitempty"` // where it serves
	Model   string   `json:"model,omitempty"`
	Device  string   `json:"device,omitempty"` // cpu or cuda, and what computes
	Why     string   `json:"why,omitempty"`    // of the device
	Memory  int64    `json:"memory,omitempty"` // bytes planned for weights, KV pool and workspace
	Figures *Figures `json:"figures,omitempty"`
}

// Figures are the worker's counters and gauges.
type Figures struct {
	Steps        uint64  `json:"steps"` // grows while there is work
	Busy         bool    `json:"busy"`  // requests run or wait
	Running      int     `json:"running"`
	Queued       int     `json:"queued"`
	TokensPerSec float64 `json:"tokens_per_second"`
	InputPerSec  float64 `json:"input_tokens_per_second"`
	KVUsage      float64 `json:"kv_usage"` // 0 to 1, held by running requests
	KVCached     float64 `json:"kv_cached"`
	KVTokens     int     `json:"kv_tokens"` // size of the pool
	Prompt       uint64  `json:"prompt_tokens"`
	Cached       uint64  `json:"cached_tokens"`
	Generated    uint64  `json:"generated_tokens"`
	Retracted    uint64  `json:"retracted"`
	Requests     uint64  `json:"requests"`
}

// mostReport bounds one line.
const mostReport = 16 << 10

// Reporter is a worker's end of the socket. A nil Reporter says nothing and is never orphaned.
type Reporter struct {
	mu     sync.Mutex
	f      *os.File
	orphan chan struct{}
}

// Attach opens the socket that the variable ReportEnv names; "" gives a nil Reporter.
func Attach(fd string) (*Reporter, error) {
	if fd == "" {
		return nil, nil
	}
	n, err := strconv.Atoi(fd)
	if err != nil || n < 3 {
		return nil, fmt.Errorf("attach to supervisor: %s=%q is not a file descriptor", ReportEnv, fd)
	}
	unix.CloseOnExec(n) // what we start must not keep the supervisor waiting
	if err := unix.SetNonblock(n, true); err != nil {
		return nil, fmt.Errorf("attach to supervisor: %w", err)
	}
	r := &Reporter{f: os.NewFile(uintptr(n), "supervisor"), orphan: make(chan struct{})}
	go func() {
		io.Copy(io.Discard, r.f) // until the supervisor's end is closed, with or without an error
		close(r.orphan)
	}()
	return r, nil
}

// Orphaned is closed when the supervisor is gone.
func (r *Reporter) Orphaned() <-chan struct{} {
	if r == nil {
		return nil
	}
	return r.orphan
}

// Send reports. A supervisor that does not read for two seconds misses the report.
func (r *Reporter) Send(rep Report) error {
	if r == nil {
		return nil
	}
	b, err := json.Marshal(rep)
	if err != nil {
		return fmt.Errorf("encode report: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.f.SetWriteDeadline(time.Now().Add(2 * time.Second)) // a socket always has one
	if _, err := r.f.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("send report: %w", err)
	}
	return nil
}

// readReports hands each report to take until r ends. What is not a report is skipped: a worker's mistake must not
// make its supervisor deaf.
func readReports(r io.Reader, take func(Report)) {
	lines := bufio.NewReaderSize(r, mostReport)
	for {
		line, err := lines.ReadSlice('\n')
		var rep Report
		if err == nil && json.Unmarshal(line, &rep) == nil {
			take(rep)
		}
		if err != nil && err != bufio.ErrBufferFull {
			return
		}
	}
}
