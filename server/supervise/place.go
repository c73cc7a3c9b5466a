package supervise

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Place is where one instance keeps its things. Run must be on a local filesystem: locks on network volumes cannot be
// trusted, and a pod's persistent volume outlives the processes that it speaks of.
type Place struct {
	Run  string // directory of lock, socket and state file, 0700
	Logs string // directory of logs and events, 0700
}

// nameRule keeps names fit for file names, unit names and process lists.
var nameRule = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)

func validName(s string) bool { return nameRule.MatchString(s) }

// mostSocket is the longest path that fits into a sockaddr_un, its zero byte excluded.
const mostSocket = 107

// NewPlace gives the instance called name its directories below run and logs, which it does not make yet. Errors:
// ErrName, ErrPath.
func NewPlace(run, logs, name string) (Place, error) {
	if !validName(name) {
		return Place{}, fmt.Errorf("%q: %w", name, ErrName)
	}
	p := Place{Run: filepath.Join(run, name), Logs: filepath.Join(logs, name)}
	if n := len(p.socket()); n > mostSocket {
		return Place{}, fmt.Errorf("%w: %s has %d bytes, %d fit", ErrPath, p.socket(), n, mostSocket)
	}
	return p, nil
}

func (p Place) lock() string   { return filepath.Join(p.Run, "lock") }
func (p Place) socket() string { return filepath.Join(p.Run, "control") }
func (p Place) state() string  { return filepath.Join(p.Run, "state.json") }
func (p Place) events() string { return filepath.Join(p.Logs, "events.jsonl") }

// Log is the file that the worker's output goes to.
func (p Place) Log() string { return filepath.Join(p.Logs, logName) }

// Names lists the instances that have left anything below run, sorted.
func Names(run string) ([]string, error) {
	entries, err := os.ReadDir(run)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list instances: %w", err)
	}
	var names []string
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join(run, e.Name(), "state.json")); err == nil && validName(e.Name()) {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

func (p Place) make() error {
	for _, dir := range []string{p.Run, p.Logs} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
		if err := os.Chmod(dir, 0o700); err != nil { // it may be older than we are
			return fmt.Errorf("make directory private: %w", err)
		}
	}
	return nil
}

// hold is a lock that ends with the process that has it, however that ends.
type hold struct{ f *os.File }

// acquire takes the instance's lock or says ErrRunning.
func (p Place) acquire() (*hold, error) {
	f, err := os.OpenFile(p.lock(), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrRunning
		}
		return nil, fmt.Errorf("lock %s: %w", p.lock(), err)
	}
	return &hold{f}, nil
}

func (h *hold) release() error { return h.f.Close() }

// held says whether somebody has the lock. It takes it for a moment where nobody does.
func (p Place) held() (bool, error) {
	if _, err := os.Stat(p.lock()); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	h, err := p.acquire()
	if errors.Is(err, ErrRunning) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return false, h.release()
}

// released waits for the end of a supervisor that closed its socket already; false: ctx ended first.
func (p Place) released(ctx context.Context) bool {
	for {
		if held, err := p.held(); err != nil || !held {
			return err == nil
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
}
