package supervise

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// LogPolicy bounds what is kept of the output. Zero fields get the defaults.
type LogPolicy struct {
	FileBytes  int64         // size at which the log is rotated; 50 MiB
	Files      int           // rotated ones kept; 5
	Age        time.Duration // of rotated ones, by their time of rotation; 30 days
	TotalBytes int64         // of everything in the directory; 500 MiB, and never more than 2 % of the disk
	HeadBytes  int64         // kept of every start, in a file of its own; 2 MiB
	Heads      int           // starts whose first lines are kept; 10
}

func (p LogPolicy) withDefaults() LogPolicy {
	orInt := func(v *int64, d int64) {
		if *v == 0 {
			*v = d
		}
	}
	orInt(&p.FileBytes, 50<<20)
	orInt(&p.TotalBytes, 500<<20)
	orInt(&p.HeadBytes, 2<<20)
	if p.Files == 0 {
		p.Files = 5
	}
	if p.Heads == 0 {
		p.Heads = 10
	}
	if p.Age == 0 {
		p.Age = 30 * 24 * time.Hour
	}
	return p
}

const (
	logName    = "radish.log"
	logPrefix  = "radish-" // rotated: radish-TIME.log, later .log.gz
	headPrefix = "start-"  // first lines: start-TIME.log
	stampForm  = "20060102T150405.000"
	recheck    = time.Second // between looks whether the file is still the one under its name, and after an error
)

// file is what a log is written to.
type file interface {
	io.WriteCloser
	Stat() (os.FileInfo, error)
}

// logfile writes, rotates, compresses and prunes. One goroutine owns it. It never fails: what cannot be written is
// counted, and the next line is tried again.
type logfile struct {
	dir     string
	policy  LogPolicy
	open    func(name string) (file, error)
	f       file
	size    int64
	head    file
	headFor int64 // bytes that the head still takes
	looked  time.Time
	dropped int64
	told    int64 // of dropped, in the log itself
	lastErr error
	retryAt time.Time
	zipping chan error // of the file being compressed; nil: none is
}

func newLogfile(dir string, p LogPolicy) *logfile {
	p = p.withDefaults()
	var fs unix.Statfs_t
	if unix.Statfs(dir, &fs) == nil {
		p.TotalBytes = min(p.TotalBytes, max(1<<20, int64(fs.Blocks)*fs.Bsize/50))
	}
	p.FileBytes, p.HeadBytes = min(p.FileBytes, p.TotalBytes/4), min(p.HeadBytes, p.TotalBytes/10)
	return &logfile{dir: dir, policy: p, open: openPrivate}
}

func openPrivate(name string) (file, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (l *logfile) path() string { return filepath.Join(l.dir, logName) }

// begin opens a file for the first lines of a start.
func (l *logfile) begin(now time.Time) {
	l.closeHead()
	f, err := l.open(filepath.Join(l.dir, headPrefix+now.UTC().Format(stampForm)+".log"))
	if err != nil {
		l.lastErr = err
		return
	}
	l.head, l.headFor = f, l.policy.HeadBytes
	l.zipped(true, now)
	l.prune(now)
}

func (l *logfile) closeHead() {
	if l.head != nil {
		l.note(l.head.Close())
		l.head = nil
	}
}

func (l *logfile) note(err error) {
	if err != nil {
		l.lastErr = err
	}
}

// write keeps b, whole lines, in the log and in the head that is open.
func (l *logfile) write(b []byte, now time.Time) {
	l.writeHead(b)
	if now.Before(l.retryAt) && now.After(l.retryAt.Add(-2*recheck)) {
		l.dropped += int64(len(b))
		return
	}
	l.ensure(now)
	if l.f != nil && l.dropped > l.told {
		l.tell()
	}
	if l.f == nil || !l.put(b) {
		l.dropped += int64(len(b))
		l.retryAt = now.Add(recheck)
		return
	}
	l.retryAt = time.Time{}
	if l.size >= l.policy.FileBytes {
		l.rotate(now)
	}
}

// tell writes down what is missing at this place.
func (l *logfile) tell() {
	if l.put(fmt.Appendf(nil, "[radish supervisor] %d bytes of output are missing here: %v\n", l.dropped-l.told, l.lastErr)) {
		l.told = l.dropped
	}
}

func (l *logfile) put(b []byte) bool {
	n, err := l.f.Write(b)
	l.size += int64(n)
	l.note(err)
	return err == nil
}

func (l *logfile) writeHead(b []byte) {
	if l.head == nil {
		return
	}
	n := min(int64(len(b)), l.headFor)
	_, err := l.head.Write(b[:n])
	l.note(err)
	if l.headFor -= n; l.headFor == 0 || err != nil {
		l.closeHead()
	}
}

// ensure opens the log if it is not open, or no longer the file of its name: somebody moved or deleted it.
func (l *logfile) ensure(now time.Time) {
	if l.f != nil && now.Sub(l.looked).Abs() < recheck {
		return
	}
	l.looked = now
	if l.f != nil && l.same() {
		return
	}
	l.closeLog()
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		l.note(err)
		return
	}
	f, err := l.open(l.path())
	if err != nil {
		l.note(err)
		return
	}
	l.f, l.size = f, 0
	if info, err := f.Stat(); err == nil {
		l.size = info.Size()
	}
}

func (l *logfile) same() bool {
	ours, err := l.f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(l.path())
	if err != nil || !os.SameFile(ours, named) {
		return false
	}
	l.size = ours.Size() // it may have been cut from outside
	return true
}

func (l *logfile) closeLog() {
	if l.f != nil {
		l.note(l.f.Close())
		l.f = nil
	}
}

// rotate gives the full log its own name and begins a new one.
func (l *logfile) rotate(now time.Time) {
	l.closeLog()
	old := filepath.Join(l.dir, logPrefix+now.UTC().Format(stampForm)+".log")
	if err := os.Rename(l.path(), old); err != nil {
		l.note(err)
		return
	}
	l.zipped(true, now)
	l.zipping = make(chan error, 1)
	go func(done chan<- error) { done <- compress(old) }(l.zipping)
	l.ensure(now)
}

// zipped takes the result of compressing, waiting for it if told so, and prunes: never while a file has two names.
func (l *logfile) zipped(wait bool, now time.Time) {
	if l.zipping == nil || !wait && len(l.zipping) == 0 {
		return
	}
	l.note(<-l.zipping)
	l.zipping = nil
	l.prune(now)
}

// compress replaces name by name.gz, or leaves it as it is.
func compress(name string) error {
	in, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("compress log: %w", err)
	}
	defer in.Close()
	tmp := name + ".gz.tmp"
	out, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("compress log: %w", err)
	}
	z := gzip.NewWriter(out)
	_, err = io.Copy(z, in)
	if err = errors.Join(err, z.Close(), out.Close()); err == nil {
		err = os.Rename(tmp, name+".gz")
	}
	if err != nil {
		return fmt.Errorf("compress log: %w", errors.Join(err, os.Remove(tmp)))
	}
	return os.Remove(name)
}

// kept is one file of the directory that is ours to prune.
type kept struct {
	name string // sorts by time within its kind
	size int64
	head bool
	time time.Time
}

// prune deletes the oldest beyond count, age and total size. The log itself and the head of this start stay.
func (l *logfile) prune(now time.Time) {
	files, total := l.list()
	count := map[bool]int{}
	most := map[bool]int{false: l.policy.Files, true: l.policy.Heads}
	for _, k := range files { // newest first
		count[k.head]++
		newestHead := k.head && count[true] == 1
		if newestHead || count[k.head] <= most[k.head] && now.Sub(k.time) <= l.policy.Age {
			continue
		}
		l.note(os.Remove(filepath.Join(l.dir, k.name)))
		total -= k.size
	}
	files, total = l.list()
	newest := slices.IndexFunc(files, func(k kept) bool { return k.head })
	for i, k := range slices.Backward(files) {
		if total <= l.policy.TotalBytes {
			return
		}
		if i == newest {
			continue
		}
		l.note(os.Remove(filepath.Join(l.dir, k.name)))
		total -= k.size
	}
}

// list is what prune may delete, newest first, and the size of everything.
func (l *logfile) list() (files []kept, total int64) {
	entries, err := os.ReadDir(l.dir)
	l.note(err)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || strings.HasSuffix(e.Name(), ".tmp") {
			continue
		}
		total += info.Size()
		name := e.Name()
		k := kept{name: name, size: info.Size(), head: strings.HasPrefix(name, headPrefix)}
		stamp := strings.TrimPrefix(strings.TrimPrefix(name, headPrefix), logPrefix)
		stamp, _, _ = strings.Cut(stamp, ".log")
		if k.time, err = time.Parse(stampForm, stamp); err == nil {
			files = append(files, k)
		}
	}
	slices.SortFunc(files, func(a, b kept) int { return b.time.Compare(a.time) })
	return files, total
}

func (l *logfile) close(now time.Time) {
	l.closeLog()
	l.closeHead()
	l.zipped(true, now)
}
