package supervise

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// Identity says which process is meant, so that nobody who got its number later is taken for it.
type Identity struct {
	PID       int    `json:"pid"`
	Start     uint64 `json:"start"` // clock ticks after boot
	Boot      string `json:"boot"`
	Namespace string `json:"pid_namespace"`
	Exe       string `json:"exe"` // device:inode
}

var errStranger = errors.New("the process is another one")

// identify reads who pid is now.
func identify(pid int) (Identity, error) {
	st, err := readStat(pid)
	if err != nil {
		return Identity{}, err
	}
	id := Identity{PID: pid, Start: st.start, Boot: bootID()}
	if id.Namespace, err = os.Readlink("/proc/self/ns/pid"); err != nil {
		return id, fmt.Errorf("read pid namespace: %w", err)
	}
	if info, err := os.Stat(fmt.Sprintf("/proc/%d/exe", pid)); err == nil {
		if sys, ok := info.Sys().(*syscall.Stat_t); ok {
			id.Exe = fmt.Sprintf("%d:%d", sys.Dev, sys.Ino)
		}
	}
	return id, nil
}

func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "" // a sandbox hides it; the other marks remain
	}
	return strings.TrimSpace(string(b))
}

// alive says whether the process that is meant still runs. A zombie does not.
func (id *Identity) alive() bool {
	if id == nil || id.PID <= 0 {
		return false
	}
	now, err := identify(id.PID)
	if now.Exe == "" { // it is dying: its program is gone, its files and ports may not be
		now.Exe = id.Exe
	}
	if err != nil || now != *id {
		return false
	}
	st, err := readStat(id.PID)
	return err == nil && !st.dead()
}

// signal reaches the process that is meant or nobody. The handle is opened first and the identity compared after, so
// the process cannot be exchanged in between (os.FindProcess holds a pidfd where the kernel gives one).
func (id *Identity) signal(sig syscall.Signal) error {
	p, err := os.FindProcess(id.PID)
	if err != nil {
		return fmt.Errorf("find process %d: %w", id.PID, err)
	}
	defer p.Release()
	if !id.alive() {
		return fmt.Errorf("signal process %d: %w", id.PID, errStranger)
	}
	if err := p.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal process %d: %w", id.PID, err)
	}
	return nil
}
