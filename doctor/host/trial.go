package host

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Trial is what came of really writing to a directory. A text is an error, empty where it went well.
type Trial struct {
	Write    string // making a file
	Lock     string // taking a lock on it
	LockLies bool   // a second lock, that must not be had, was had
	Reserve  string // reserving Bytes for it: a quota shows here and not in statfs
	Bytes    uint64
	Symlink  string
	Folds    bool // names that differ in case only are one
}

// try writes into a directory of its own inside dir and removes it again.
func try(dir string, bytes uint64) Trial {
	t := Trial{Bytes: bytes}
	own, err := os.MkdirTemp(dir, ".radish-trial-")
	if err != nil {
		t.Write = err.Error()
		return t
	}
	defer os.RemoveAll(own)
	file := filepath.Join(own, "a")
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Write = err.Error()
		return t
	}
	defer f.Close()
	t.Lock, t.LockLies = lockTwice(f, syscall.Flock)
	t.Reserve = reserve(f, bytes)
	if err := os.Symlink("a", filepath.Join(own, "link")); err != nil {
		t.Symlink = err.Error()
	}
	_, err = os.Stat(filepath.Join(own, "A"))
	t.Folds = err == nil
	return t
}

// lockTwice takes flock(2) through two openings of one file. Where the second one is given too, locks are words only.
func lockTwice(f *os.File, flock func(fd, how int) error) (why string, lies bool) {
	const ask = syscall.LOCK_EX | syscall.LOCK_NB
	if err := flock(int(f.Fd()), ask); err != nil {
		return fmt.Sprintf("flock: %v", err), false
	}
	again, err := os.OpenFile(f.Name(), os.O_RDWR, 0)
	if err != nil {
		return err.Error(), false
	}
	defer again.Close()
	return "", flock(int(again.Fd()), ask) == nil
}

// reserve asks for room without writing. A filesystem that cannot reserve is no error: there only writing tells.
func reserve(f *os.File, bytes uint64) string {
	if bytes == 0 {
		return ""
	}
	switch err := syscall.Fallocate(int(f.Fd()), 0, 0, int64(min(bytes, 1<<62))); err {
	case nil, syscall.EOPNOTSUPP, syscall.ENOSYS:
		return ""
	case syscall.EDQUOT:
		return "EDQUOT: the quota is used up"
	default:
		return err.Error()
	}
}
