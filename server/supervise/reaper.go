package supervise

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// reaper takes the zombies that nobody else will: orphans of the worker, and as process 1 those of everything. It leaves
// the worker to the goroutine that waits for it, and any zombie of less than reapAfter to whoever in this program may
// have started that process and be about to wait for it.
type reaper struct{ seen map[Identity]time.Time }

const reapAfter = 2 * time.Second

func newReaper() *reaper { return &reaper{seen: map[Identity]time.Time{}} }

// again looks once more if the last pass left something to take.
func (r *reaper) again(w *worker) {
	if len(r.seen) > 0 {
		r.pass(w)
	}
}

func (r *reaper) pass(w *worker) {
	self, now := os.Getpid(), time.Now()
	left := map[Identity]time.Time{}
	processes(func(pid int, st stat) {
		if st.parent != self || st.state != 'Z' || w != nil && pid == w.id.PID {
			return
		}
		id := Identity{PID: pid, Start: st.start}
		since, known := r.seen[id]
		if !known {
			since = now
		}
		if now.Sub(since) < reapAfter {
			left[id] = since
			return
		}
		var ws unix.WaitStatus
		unix.Wait4(pid, &ws, unix.WNOHANG, nil) // taken by somebody else is as good
	})
	r.seen = left
}
