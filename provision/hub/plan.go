package hub

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"radish/provision/store"
)

// Request names what to fetch. Globs are the hub's: * matches slashes too, a trailing / means all below. With Include
// empty, DefaultInclude and DefaultExclude hold, and Exclude comes on top.
type Request struct {
	Repo    store.Repo
	Rev     store.Ref // empty: main
	Include []string
	Exclude []string
}

// DefaultInclude is what a server needs of a model; DefaultExclude are second copies of the same weights, in Meta's and
// Mistral's own formats.
var (
	DefaultInclude = []string{"*.json", "*.safetensors", "*.jinja", "*.model", "*.tiktoken", "merges.txt", "vocab.txt"}
	DefaultExclude = []string{"original/*", "consolidated*.safetensors", "onnx/*", "openvino/*"}
)

func (r Request) wants(p store.Path) bool {
	include, exclude := r.Include, r.Exclude
	if len(include) == 0 {
		include, exclude = DefaultInclude, slices.Concat(DefaultExclude, r.Exclude)
	}
	return matchAny(include, string(p)) && !matchAny(exclude, string(p))
}

// File is a blob to have, and the paths that it lies at.
type File struct {
	Hash  store.Hash
	Size  int64
	Paths []store.Path
	Done  int64 // bytes that are there already
}

// Plan is what a pull will do. Sizes are bytes.
type Plan struct {
	Repo   store.Repo
	Rev    store.Ref
	Commit store.Commit
	Tree   store.Tree
	Wanted []store.Path
	Files  []File // each blob once, the largest first
	Total  int64  // of Files
	Have   int64  // of that, in the store already, whole or in part
	Free   int64  // on the disk; -1: not known

	store *store.Store
	fresh bool // the listing came from the hub just now
}

// Missing is how many bytes the pull will fetch.
func (p *Plan) Missing() int64 { return p.Total - p.Have }

// Plan resolves the revision, lists the commit, chooses files and counts what is missing. Nothing is written. Offline,
// or for a commit listed before, the store's own refs and listings answer.
func (c *Client) Plan(ctx context.Context, s *store.Store, r Request) (*Plan, error) {
	if r.Rev == "" {
		r.Rev = "main"
	}
	p := &Plan{Repo: r.Repo, Rev: r.Rev, Free: -1, store: s}
	var err error
	if err = c.look(ctx, p, s); err != nil {
		return nil, err
	}
	for path := range p.Tree {
		if r.wants(path) {
			p.Wanted = append(p.Wanted, path)
		}
	}
	if len(p.Wanted) == 0 {
		return nil, fmt.Errorf("%w in %s@%s, which holds %d", ErrNoFiles, r.Repo, r.Rev, len(p.Tree))
	}
	slices.Sort(p.Wanted)
	p.group()
	if err := p.count(s); err != nil {
		return nil, err
	}
	if free, err := c.opts.Disk.Free(s.RepoDir(r.Repo)); err == nil {
		p.Free = free
	}
	return p, nil
}

// look finds commit and listing, in the store where that is enough.
func (c *Client) look(ctx context.Context, p *Plan, s *store.Store) error {
	f, err := s.Folder(p.Repo)
	if err != nil && !errors.Is(err, store.ErrNotCached) {
		return err
	}
	if f != nil {
		defer f.Close()
	}
	if !c.opts.Offline {
		p.Commit, err = c.Resolve(ctx, p.Repo, p.Rev)
	} else if f != nil {
		p.Commit, err = f.Resolve(p.Rev)
	}
	if err != nil {
		return c.offline(err)
	}
	if f != nil {
		if p.Tree, err = f.ReadTree(p.Commit); err == nil {
			return nil
		}
	}
	if c.opts.Offline {
		// An older Python client kept no listing: what its snapshot holds is all that can be known.
		p.Tree, err = f.SnapshotTree(p.Commit)
		return c.offline(err)
	}
	p.fresh = true
	p.Tree, err = c.Tree(ctx, p.Repo, p.Commit)
	return err
}

func (c *Client) offline(err error) error {
	if err != nil && c.opts.Offline {
		return fmt.Errorf("%w: %w", ErrOffline, err)
	}
	return err
}

func (p *Plan) group() {
	index := map[store.Hash]int{}
	for _, path := range p.Wanted {
		e := p.Tree[path]
		i, seen := index[e.Hash()]
		if !seen {
			i = len(p.Files)
			index[e.Hash()] = i
			p.Files = append(p.Files, File{Hash: e.Hash(), Size: e.Size})
		}
		p.Files[i].Paths = append(p.Files[i].Paths, path)
	}
	slices.SortStableFunc(p.Files, func(a, b File) int {
		if a.Size != b.Size {
			return int(min(1, max(-1, b.Size-a.Size)))
		}
		return strings.Compare(string(a.Hash), string(b.Hash))
	})
}

func (p *Plan) count(s *store.Store) error {
	f, err := s.Folder(p.Repo)
	if err != nil && !errors.Is(err, store.ErrNotCached) {
		return err
	}
	if f != nil {
		defer f.Close()
	}
	for i := range p.Files {
		file := &p.Files[i]
		p.Total += file.Size
		if f != nil && f.HasBlob(file.Hash, file.Size) {
			file.Done = file.Size
		} else if f != nil {
			file.Done = f.PartDone(file.Hash, file.Size)
		}
		p.Have += file.Done
	}
	return nil
}

// Reserve is the room that a pull leaves on the disk: a fiftieth of what is missing, at least 2 GiB or as much again,
// whichever is less.
func (p *Plan) Reserve() int64 {
	missing := p.Missing()
	return max(missing/50, min(2<<30, missing))
}

// CheckRoom says store.ErrNoSpace if the disk or a quota will not hold what is missing.
func (c *Client) CheckRoom(p *Plan) error {
	missing := p.Missing()
	if missing <= 0 {
		return nil
	}
	if p.Free >= 0 && p.Free < missing+p.Reserve() {
		return fmt.Errorf("%w in %s: %d bytes are missing and %d to stay free, %d are there",
			store.ErrNoSpace, p.store.Dir, missing, p.Reserve(), p.Free)
	}
	return c.opts.Disk.Reserve(filepath.Join(p.store.RepoDir(p.Repo), "blobs"), missing)
}
