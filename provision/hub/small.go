package hub

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"radish/provision/store"
)

// mostSmall bounds what Small reads, in bytes.
const mostSmall = 4 << 20

// Small gives a small file of a plan, from the store or from the hub, with its hash checked. Nothing is written.
// Errors: ErrEntry if the commit has no such file, or one that is not small.
func (c *Client) Small(ctx context.Context, p *Plan, path store.Path) ([]byte, error) {
	e, ok := p.Tree[path]
	if !ok || e.Size > mostSmall {
		return nil, fmt.Errorf("fetch %s of %s: %w of at most %d bytes", path, p.Repo, ErrEntry, mostSmall)
	}
	if b, err := os.ReadFile(filepath.Join(p.store.RepoDir(p.Repo), "blobs", string(e.Hash()))); err == nil && hashOf(b, e) == e.Hash() {
		return b, nil
	}
	t := newTransfer(&puller{client: c, plan: p, obs: nobody{}}, File{Hash: e.Hash(), Size: e.Size, Paths: []store.Path{path}})
	for failures := 1; ; failures++ {
		b, asked, err := t.whole(ctx)
		if err == nil {
			return b, nil
		}
		if err := c.again(ctx, err, failures, asked); err != nil {
			return nil, fmt.Errorf("fetch %s: %w", path, err)
		}
	}
}

// whole asks once for all of a small file.
func (t *transfer) whole(ctx context.Context) (b []byte, asked time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	r := store.Range{Len: t.want.Size}
	res, err := t.ask(ctx, r)
	if err != nil {
		return nil, 0, err
	}
	defer res.Body.Close()
	body, err := t.judge(res, r)
	if err != nil {
		return nil, askedWait(res.Header, time.Now()), err
	}
	if b, err = io.ReadAll(io.LimitReader(body, t.want.Size+1)); err != nil {
		return nil, 0, bare(err, res.Request.URL)
	}
	if got := hashOf(b, store.Entry{BlobID: string(t.want.Hash), Size: t.want.Size}); got != t.want.Hash {
		return nil, 0, fmt.Errorf("%w: %s is %s", ErrHash, t.want.Hash, got)
	}
	return b, 0, nil
}

// hashOf is what b would be called as the blob of e.
func hashOf(b []byte, e store.Entry) store.Hash {
	d := e.Hash().Hasher(int64(len(b)))
	d.Write(b) // a hash takes everything
	return store.Sum(d)
}
