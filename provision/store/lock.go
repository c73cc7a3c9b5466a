package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// How often a taken lock is tried again, how often the holder of a lease shows that it lives, and after how long
// without such a sign somebody elsewhere counts as gone.
const (
	lockPoll   = 100 * time.Millisecond
	leaseBeat  = 10 * time.Second
	leaseDeath = 60 * time.Second
)

// leaseName lies in a repository's directory for as long as a pull runs.
const leaseName = ".radish-pull"

// Waiter is told once, before the first wait, who holds the lock.
type Waiter func(holder string)

// fileLock is flock(2) on a file.
type fileLock struct{ file *os.File }

// tryLock takes the lock or says that somebody has it. The file may be removed by whoever let it go (Python's filelock
// does): then the lock is on a file that no one else will find, and a new one is tried.
func tryLock(path string, mode os.FileMode) (*fileLock, bool, error) {
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, mode)
		if err != nil {
			return nil, false, fmt.Errorf("open lock: %w", err)
		}
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err != nil {
			f.Close()
			if errors.Is(err, syscall.EWOULDBLOCK) {
				return nil, false, nil
			}
			return nil, false, fmt.Errorf("lock %s: %w", path, err)
		}
		mine, err1 := f.Stat()
		there, err2 := os.Lstat(path)
		if err1 == nil && err2 == nil && os.SameFile(mine, there) {
			return &fileLock{f}, true, nil
		}
		f.Close()
	}
}

func waitLock(ctx context.Context, path string, mode os.FileMode, wait func()) (*fileLock, error) {
	for first := true; ; first = false {
		l, ok, err := tryLock(path, mode)
		if err != nil || ok {
			return l, err
		}
		if first && wait != nil {
			wait()
		}
		if err := pause(ctx, lockPoll); err != nil {
			return nil, err
		}
	}
}

func (l *fileLock) release() {
	if l != nil {
		l.file.Close()
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// BlobLock is held while a blob is fetched. The Python client takes the same one.
type BlobLock struct{ lock *fileLock }

// LockBlob waits for the blob's lock. Where the filesystem has no flock there is none to wait for: the lease keeps radish
// from itself, and a Python client beside it only costs bandwidth, as it writes to files of its own.
func (s *Store) LockBlob(ctx context.Context, r Repo, h Hash, wait Waiter) (BlobLock, error) {
	dir := filepath.Join(s.Dir, ".locks", r.folder())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return BlobLock{}, fmt.Errorf("make lock directory: %w", err)
	}
	l, err := waitLock(ctx, filepath.Join(dir, string(h)+".lock"), 0o664, func() {
		if wait != nil {
			wait("another process that fetches blob " + string(h))
		}
	})
	if errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.ENOLCK) {
		return BlobLock{}, nil
	}
	return BlobLock{l}, err
}

// Release lets the lock go; the file stays, as the Python client leaves it.
func (l BlobLock) Release() { l.lock.release() }

// Lease is the right to change a repository's directory. It is a lock on this machine's own disk, and for other machines
// and containers on the same volume a file that says who works here and is touched as long as they do.
type Lease struct {
	lock *fileLock
	path string
	stop chan struct{}
	beat sync.WaitGroup
}

// owner tells processes apart, also after their number was given to another.
type owner struct {
	Boot  string `json:"boot"`
	Space string `json:"pid_namespace"`
	PID   int    `json:"pid"`
	Start string `json:"start"`
	Host  string `json:"host"`
}

// Lease waits until nobody else pulls into, or removes from, the repository.
func (s *Store) Lease(ctx context.Context, r Repo, wait Waiter) (*Lease, error) {
	told := false
	tell := func(who string) {
		if !told && wait != nil {
			wait(who)
		}
		told = true
	}
	local, err := s.localLock(ctx, r, func() { tell("another radish on this machine") })
	if err != nil {
		return nil, err
	}
	l := &Lease{lock: local, path: filepath.Join(s.RepoDir(r), leaseName), stop: make(chan struct{})}
	for {
		holder, err := l.claim()
		switch {
		case err != nil:
			local.release()
			return nil, err
		case holder == "":
			l.beat.Go(l.touch)
			return l, nil
		}
		tell(holder)
		if err := pause(ctx, lockPoll); err != nil {
			local.release()
			return nil, err
		}
	}
}

func (s *Store) localLock(ctx context.Context, r Repo, wait func()) (*fileLock, error) {
	if err := privateDir(s.LockDir); err != nil {
		return nil, err
	}
	dir, err := filepath.EvalSymlinks(s.Dir)
	if err != nil {
		dir = s.Dir
	}
	name := sha256.Sum256([]byte(filepath.Join(dir, r.folder())))
	return waitLock(ctx, filepath.Join(s.LockDir, "pull-"+hex.EncodeToString(name[:16])+".lock"), 0o600, wait)
}

// privateDir makes a directory that nobody else can have prepared: in /tmp anybody may have.
func privateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make lock directory: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("stat lock directory: %w", err)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !info.IsDir() || !ok || int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("use lock directory %s: it is not a directory of this user", dir)
	}
	return nil
}

// claim writes the owner file, over one whose owner is gone, or says who else lives by it.
func (l *Lease) claim() (holder string, err error) {
	me, err := json.Marshal(self())
	if err != nil {
		return "", fmt.Errorf("encode lease: %w", err)
	}
	for {
		f, err := os.OpenFile(l.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if err == nil {
			_, err = f.Write(me)
			if err = errors.Join(err, f.Close()); err != nil {
				return "", fmt.Errorf("write lease: %w", errors.Join(err, os.Remove(l.path)))
			}
			return "", nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("write lease: %w", err)
		}
		if who, alive := leaseHolder(l.path); alive {
			return who, nil
		}
		if err := os.Remove(l.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("take over lease: %w", err)
		}
	}
}

func leaseHolder(path string) (who string, alive bool) {
	info, err := os.Lstat(path)
	if err != nil {
		return "", false
	}
	b, err := os.ReadFile(path)
	var o owner
	if err != nil || json.Unmarshal(b, &o) != nil {
		return "a process that is just starting", time.Since(info.ModTime()) < leaseBeat
	}
	who = fmt.Sprintf("radish (pid %d on %s)", o.PID, o.Host)
	me := self()
	if o.Boot == me.Boot && o.Space == me.Space {
		// The local lock is ours, so a radish that shares our lock directory is not at work; one with another may be.
		return who, o.PID != me.PID && startOf(o.PID) == o.Start && o.Start != ""
	}
	return who, time.Since(info.ModTime()) < leaseDeath
}

func (l *Lease) touch() {
	t := time.NewTicker(leaseBeat)
	defer t.Stop()
	for {
		select {
		case <-l.stop:
			return
		case now := <-t.C:
			_ = os.Chtimes(l.path, now, now) // a sign missed is no harm, the next one comes
		}
	}
}

// Release gives the repository's directory back.
func (l *Lease) Release() error {
	close(l.stop)
	l.beat.Wait()
	err := os.Remove(l.path)
	l.lock.release()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("end lease: %w", err)
	}
	return nil
}

func self() owner {
	space, _ := os.Readlink("/proc/self/ns/pid")
	host, _ := os.Hostname()
	return owner{Boot: BootID(), Space: space, PID: os.Getpid(), Start: startOf(os.Getpid()), Host: host}
}

// BootID changes when the machine is started again; empty where that cannot be told.
var BootID = sync.OnceValue(func() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
})

// startOf is when a process began, in clock ticks since boot: field 22 of proc(5)'s stat, counted after the name, which
// may hold blanks. Empty: there is no such process.
func startOf(pid int) string {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(b[strings.LastIndexByte(string(b), ')')+1:]), " ")
	f := strings.Fields(rest)
	if len(f) < 20 {
		return ""
	}
	return f[19]
}
