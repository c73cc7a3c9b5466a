package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrNoSpace says that a disk or a quota has no room.
var ErrNoSpace = errors.New("not enough room")

// IsNoSpace recognises a full disk and a full quota.
func IsNoSpace(err error) bool {
	return errors.Is(err, ErrNoSpace) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// Disk is asked for room before anything is fetched.
type Disk interface {
	// Free is the bytes that this user may still write to the filesystem of dir.
	Free(dir string) (int64, error)
	// Reserve tries to take n bytes in dir and gives them back at once: a quota that df does not show answers EDQUOT.
	Reserve(dir string, n int64) error
}

// LocalDisk asks the kernel.
type LocalDisk struct{}

// Free is statfs(2).
func (LocalDisk) Free(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(existing(dir), &s); err != nil {
		return 0, fmt.Errorf("statfs %s: %w", dir, err)
	}
	return int64(s.Bavail) * s.Bsize, nil
}

// Reserve is fallocate(2) on a file without a name. On tmpfs, where it would take memory, and where there is no such
// call, it finds nothing out.
func (LocalDisk) Reserve(dir string, n int64) error {
	dir = existing(dir)
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil || s.Type == unix.TMPFS_MAGIC || n <= 0 {
		return nil
	}
	f, err := os.OpenFile(dir, unix.O_TMPFILE|os.O_RDWR, 0o600)
	if err != nil {
		return nil // no such files here
	}
	defer f.Close()
	err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, n)
	if err != nil && (errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.ENOSPC)) {
		return fmt.Errorf("reserve %d bytes in %s: %w: %w", n, dir, ErrNoSpace, err)
	}
	return nil
}

// existing is dir or the nearest directory above it that is there.
func existing(dir string) string {
	for ; dir != "/" && dir != "."; dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return dir
}
