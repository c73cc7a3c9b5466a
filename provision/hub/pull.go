package hub

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"radish/provision/store"
)

// Pull brings a plan about: fetches what is missing, verifies it, links the snapshot, and last sets the ref. It may be
// killed at any point and called again; what has come by then is kept. Two pulls of one repository wait for each other.
func (c *Client) Pull(ctx context.Context, p *Plan, obs Observer) (store.Snapshot, error) {
	if obs == nil {
		obs = nobody{}
	}
	if c.opts.Offline && p.Missing() > 0 {
		return store.Snapshot{}, fmt.Errorf("pull %s: %w: %d bytes are missing", p.Repo, ErrOffline, p.Missing())
	}
	if err := c.CheckRoom(p); err != nil {
		return store.Snapshot{}, err
	}
	f, err := p.store.Create(p.Repo)
	if err != nil {
		return store.Snapshot{}, noRoom(err)
	}
	defer f.Close()
	lease, err := p.store.Lease(ctx, p.Repo, func(who string) { obs.Note(Note{Kind: NoteWait, Text: who}) })
	if err != nil {
		return store.Snapshot{}, err
	}
	err = c.fetchAll(ctx, p, f, obs)
	if err == nil {
		err = publish(p, f)
	}
	if err = errors.Join(err, lease.Release()); err != nil {
		return store.Snapshot{}, noRoom(err)
	}
	return store.Snapshot{Repo: p.Repo, Commit: p.Commit, Dir: f.SnapshotDir(p.Commit)}, nil
}

func noRoom(err error) error {
	if store.IsNoSpace(err) && !errors.Is(err, store.ErrNoSpace) {
		return fmt.Errorf("%w: %w", store.ErrNoSpace, err)
	}
	return err
}

// publish makes the snapshot visible: links, then the listing, then the name.
func publish(p *Plan, f *store.Folder) error {
	for _, file := range p.Files {
		for _, path := range file.Paths {
			if err := f.Link(p.Commit, path, file.Hash); err != nil {
				return err
			}
		}
	}
	if p.fresh {
		if err := f.SaveTree(p.Commit, p.Tree); err != nil {
			return err
		}
	}
	return f.SetRef(p.Rev, p.Commit)
}

// puller is one Pull at work: workers that take range after range from the files, the largest file first.
type puller struct {
	client *Client
	plan   *Plan
	folder *store.Folder
	obs    Observer
	cancel context.CancelCauseFunc

	mu       sync.Mutex
	wake     *sync.Cond // something may be taken now, or all is over
	files    []*transfer
	live     map[*request]bool // requests under way, for the eye on slow ones
	left     int               // files that are not done
	stopped  bool
	finishes sync.WaitGroup
}

func (c *Client) fetchAll(ctx context.Context, p *Plan, f *store.Folder, obs Observer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	pl := &puller{client: c, plan: p, folder: f, obs: obs, cancel: cancel, live: map[*request]bool{}}
	pl.wake = sync.NewCond(&pl.mu)
	for _, file := range p.Files {
		if f.HasBlob(file.Hash, file.Size) {
			// One killed right after it named the blob left the journal.
			if err := f.DropPart(file.Hash); err != nil {
				return err
			}
			obs.Note(Note{Kind: NoteDone, Path: file.Paths[0], Size: file.Size})
			continue
		}
		pl.files = append(pl.files, newTransfer(pl, file))
	}
	pl.left = len(pl.files)
	defer context.AfterFunc(ctx, pl.stop)()
	var workers sync.WaitGroup
	for range c.opts.Connections {
		workers.Go(func() { pl.work(ctx) })
	}
	watch, done := context.WithCancel(ctx)
	workers.Go(func() { pl.watchSlow(watch) })
	go func() { pl.waitAll(); done() }()
	workers.Wait()
	pl.finishes.Wait()
	done()
	var errs []error
	for _, t := range pl.files {
		errs = append(errs, t.close())
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return errors.Join(errs...)
}

func (pl *puller) stop() {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	pl.stopped = true
	pl.wake.Broadcast()
	for _, t := range pl.files {
		t.wakeUp()
	}
}

func (pl *puller) waitAll() {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	for pl.left > 0 && !pl.stopped {
		pl.wake.Wait()
	}
}

// poke lets waiting workers look again.
func (pl *puller) poke() {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	pl.wake.Broadcast()
}

// work fetches ranges until there are none; the first error ends the whole pull.
func (pl *puller) work(ctx context.Context) {
	buf := make([]byte, bufferSize)
	for {
		j, ok := pl.next()
		if !ok {
			return
		}
		var err error
		if j.open {
			err = j.file.open(ctx)
		} else {
			err = j.file.fetch(ctx, j, buf)
		}
		if err != nil {
			pl.cancel(err)
			return
		}
		pl.poke()
	}
}

// job is a range to fetch, or a file to open first. Round tells a range from the same one after a restart.
type job struct {
	file  *transfer
	open  bool
	index int
	round int
}

// next waits for something to do; false: nothing will come any more.
func (pl *puller) next() (job, bool) {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	for {
		if pl.stopped || pl.left == 0 {
			return job{}, false
		}
		for _, t := range pl.files {
			if j, ok := t.claim(); ok {
				return j, true
			}
		}
		pl.wake.Wait()
	}
}

func (pl *puller) finished() {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	pl.left--
	pl.wake.Broadcast()
}

// A request slower than a tenth of the median, after a fair time, is given up for another; at most slowTries times for
// one range, because where everything is slow that helps nobody.
const (
	slowLook  = 5 * time.Second
	slowShare = 10
	slowTries = 3
)

func (pl *puller) watchSlow(ctx context.Context) {
	for sleep(ctx, slowLook) == nil {
		pl.mu.Lock()
		slow := slowest(pl.live)
		pl.mu.Unlock()
		if slow != nil {
			slow.abandon(errSlow)
		}
	}
}
