package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"sync"
	"time"

	"radish/provision/store"
)

const (
	bufferSize = 512 << 10
	saveEvery  = 32 << 20 // bytes between two journals of a file, or
	savePause  = 250 * time.Millisecond
	syncEvery  = 256 << 20 // bytes between two waits for the disk

	worthSaving = 1 << 20 // bytes: a smaller file is fetched again sooner than its journal is written
	maxRounds   = 3       // a file begins anew this often, then the pull fails
)

// transfer is one file under way. Its ranges are written by several workers; one goroutine follows the frontier, up to
// which everything is there, and hashes:
//
//	0 ......... hashed ..... frontier ... done | gap | done ... | size
type transfer struct {
	pl   *puller
	want File
	lock store.BlobLock
	part *store.Part

	writes sync.RWMutex // held for reading by whoever writes bytes, for writing by whoever begins anew

	mu      sync.Mutex
	moved   *sync.Cond // the frontier moved, or the pull stopped
	state   transferState
	round   int
	why     error // of the last restart
	single  bool  // the server cannot do ranges
	ranges  []store.Range
	taken   []bool
	pending progress // since the last journal and sync
	from    source
}

// source is where a file's bytes come from, found out by one request while the others wait.
type source struct {
	asking sync.Mutex
	link   *url.URL // signed; nil: ask the hub
	tag    string   // strong ETag at that place
}

type progress struct {
	unsaved, unsynced int64
	saved             time.Time
	busy              bool
}

type transferState int

const (
	untouched transferState = iota
	opening
	running
	finished
)

func newTransfer(pl *puller, want File) *transfer {
	t := &transfer{pl: pl, want: want}
	t.moved = sync.NewCond(&t.mu)
	return t
}

func (t *transfer) name() store.Path { return t.want.Paths[0] }

func (t *transfer) note(k NoteKind, text string) {
	t.pl.obs.Note(Note{Kind: k, Path: t.name(), Text: text, Size: t.want.Size})
}

func (t *transfer) wakeUp() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.moved.Broadcast()
}

// claim takes the next thing to do for this file.
func (t *transfer) claim() (job, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch t.state {
	case untouched:
		t.state = opening
		return job{file: t, open: true}, true
	case running:
		for i := range t.ranges {
			if !t.taken[i] && !t.ranges[i].Full() {
				t.taken[i] = true
				return job{file: t, index: i, round: t.round}, true
			}
		}
	}
	return job{}, false
}

// open takes the blob's lock and what an earlier run left. Whoever had the lock may have fetched the file meanwhile.
func (t *transfer) open(ctx context.Context) error {
	f := t.pl.folder
	var err error
	t.lock, err = t.pl.plan.store.LockBlob(ctx, f.Repo, t.want.Hash, func(who string) { t.note(NoteWait, who) })
	if err != nil {
		return err
	}
	if f.HasBlob(t.want.Hash, t.want.Size) {
		if err := f.DropPart(t.want.Hash); err != nil {
			return err
		}
		t.pl.obs.Bytes(t.name(), t.want.Size-t.want.Done)
		t.finish()
		return nil
	}
	part, ranges, err := f.OpenPart(t.want.Hash, t.want.Size)
	if err != nil {
		return err
	}
	if ranges == nil {
		ranges = store.Cut(t.want.Size, t.pl.client.opts.RangeSize)
	}
	var have int64
	for _, r := range ranges {
		have += r.Done
	}
	t.pl.obs.Bytes(t.name(), have-t.want.Done)
	t.mu.Lock()
	t.part, t.ranges, t.taken, t.state = part, ranges, make([]bool, len(ranges)), running
	t.pending.saved = time.Now()
	t.mu.Unlock()
	t.pl.finishes.Go(func() {
		if err := t.complete(ctx); err != nil {
			t.pl.cancel(err)
		}
	})
	return nil
}

// finish lets the lock go and counts the file as done.
func (t *transfer) finish() {
	t.mu.Lock()
	t.state = finished
	t.mu.Unlock()
	t.lock.Release()
	t.note(NoteDone, "")
	t.pl.finished()
}

// complete follows the workers until the file's hash is known and right, and gives it its name. Bytes that are wrong are
// thrown away once; there is no hash of a range to tell which of them it was.
func (t *transfer) complete(ctx context.Context) error {
	for {
		got, round, err := t.hash(ctx)
		if err != nil {
			return err
		}
		if got == t.want.Hash {
			break
		}
		bad := fmt.Errorf("verify %s: %w: it should have %s and has %s", t.name(), ErrHash, t.want.Hash, got)
		t.mu.Lock()
		again := !errors.Is(t.why, ErrHash)
		t.mu.Unlock()
		if !again {
			err := errors.Join(bad, t.part.Drop())
			t.mu.Lock()
			t.part = nil
			t.mu.Unlock()
			return err
		}
		if err := t.restart(round, bad, false); err != nil {
			return err
		}
		t.pl.poke()
	}
	if err := t.commit(); err != nil {
		return err
	}
	t.finish()
	return nil
}

// commit waits for the worker that may still be writing a journal, which must not come back after it was removed.
func (t *transfer) commit() error {
	t.writes.Lock()
	defer t.writes.Unlock()
	if err := t.part.Commit(); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.part = nil
	return nil
}

// hash reads along behind the frontier to the end, and gives the hash and the round that it belongs to.
func (t *transfer) hash(ctx context.Context) (store.Hash, int, error) {
	buf := make([]byte, bufferSize)
	var at int64
	round := -1
	sum := t.want.Hash.Hasher(t.want.Size)
	for at < t.want.Size || round < 0 {
		end, now, err := t.await(ctx, at, round)
		if err != nil {
			return "", 0, err
		}
		if now != round {
			round, at = now, 0
			sum.Reset()
			sum = t.want.Hash.Hasher(t.want.Size)
			continue
		}
		n, err := t.part.ReadAt(buf[:min(int64(len(buf)), end-at)], at)
		if err != nil && !errors.Is(err, io.EOF) {
			return "", 0, fmt.Errorf("read %s: %w", t.name(), err)
		}
		sum.Write(buf[:n])
		at += int64(n)
	}
	return store.Sum(sum), round, nil
}

// await waits until there is something behind at, or another round began.
func (t *transfer) await(ctx context.Context, at int64, round int) (end int64, now int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		if err := context.Cause(ctx); err != nil {
			return 0, 0, err
		}
		if end = t.frontier(); t.round != round || end > at {
			return end, t.round, nil
		}
		t.moved.Wait()
	}
}

func (t *transfer) frontier() int64 {
	for _, r := range t.ranges {
		if !r.Full() {
			return r.Off + r.Done
		}
	}
	return t.want.Size
}

// restart begins the file anew, if nobody did since the round given.
func (t *transfer) restart(round int, why error, single bool) error {
	t.writes.Lock()
	defer t.writes.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.round != round {
		return nil
	}
	if t.round++; t.round > maxRounds {
		return why
	}
	var had int64
	for _, r := range t.ranges {
		had += r.Done
	}
	if err := t.part.Restart(); err != nil {
		return err
	}
	t.single = t.single || single
	step := t.pl.client.opts.RangeSize
	if t.single {
		step = max(t.want.Size, 1)
	}
	t.ranges = store.Cut(t.want.Size, step)
	t.taken = make([]bool, len(t.ranges))
	t.why, t.from.link, t.from.tag, t.pending = why, nil, "", progress{saved: time.Now()}
	t.moved.Broadcast()
	t.pl.obs.Bytes(t.name(), -had)
	t.note(NoteRestart, why.Error())
	return nil
}

// at gives what a job has to fetch still; false: its round is over.
func (t *transfer) at(j job) (store.Range, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.round != j.round {
		return store.Range{}, false
	}
	return t.ranges[j.index], true
}

// store writes bytes at the end of a job's range and takes note of them; errOver: its round is over.
func (t *transfer) store(j job, b []byte) error {
	t.writes.RLock()
	defer t.writes.RUnlock()
	r, ok := t.at(j)
	if !ok {
		return errOver
	}
	if _, err := t.part.WriteAt(b, r.Off+r.Done); err != nil {
		return fmt.Errorf("write %s: %w: %w", t.name(), errDisk, err)
	}
	r.Add(b)
	t.mu.Lock()
	t.ranges[j.index] = r
	t.pending.unsaved += int64(len(b))
	t.pending.unsynced += int64(len(b))
	t.moved.Broadcast()
	full := r.Full()
	t.mu.Unlock()
	t.pl.obs.Bytes(t.name(), int64(len(b)))
	return t.keep(full)
}

// forget empties a job's range.
func (t *transfer) forget(j job) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.round == j.round {
		r := &t.ranges[j.index]
		t.pl.obs.Bytes(t.name(), -r.Done)
		r.Done, r.CRC = 0, 0
	}
}

// keep writes the journal, and now and then waits for the disk, when enough has come since; one worker at a time, the
// others go on.
func (t *transfer) keep(full bool) error {
	t.mu.Lock()
	due := full || t.pending.unsaved >= saveEvery || time.Since(t.pending.saved) >= savePause
	if !due || t.pending.busy || t.want.Size < worthSaving {
		t.mu.Unlock()
		return nil
	}
	sync := t.pending.unsynced >= syncEvery
	if sync {
		t.pending.unsynced = 0
	}
	ranges := append([]store.Range(nil), t.ranges...)
	t.pending.busy, t.pending.unsaved, t.pending.saved = true, 0, time.Now()
	t.mu.Unlock()
	var err error
	if sync {
		err = t.part.Sync()
	}
	if err == nil {
		err = t.part.Save(ranges)
	}
	t.mu.Lock()
	t.pending.busy = false
	t.mu.Unlock()
	if err != nil {
		return fmt.Errorf("%w: %w", errDisk, err)
	}
	return nil
}

// close keeps what is there of a file that is not done.
func (t *transfer) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.part == nil {
		if t.state != finished {
			t.lock.Release()
		}
		return nil
	}
	err := errors.Join(t.part.Save(t.ranges), t.part.Close())
	t.part = nil
	t.lock.Release()
	return err
}
