package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Removal is what a Remove took away, or would.
type Removal struct {
	Repo    Repo     `json:"repo"`
	Commits []Commit `json:"commits"`
	Blobs   int      `json:"blobs"`
	Bytes   int64    `json:"bytes"` // that the disk gets back; blobs shared with other repositories give nothing back
}

// onDisk is the room that a file takes, which for a sparse one is less than its size.
func onDisk(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512
	}
	return info.Size()
}

// freed is what removing the file gives back: nothing while it has other names.
func freed(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Nlink > 1 {
		return 0
	}
	return onDisk(info)
}

// Remove takes one revision of a repository away, or with rev empty all of it, under the repository's lease. Blobs that
// another revision uses stay. With dry nothing is changed.
func (s *Store) Remove(ctx context.Context, r Repo, rev Ref, dry bool) (Removal, error) {
	f, err := s.Folder(r)
	if err != nil {
		return Removal{}, err
	}
	defer f.Close()
	lease, err := s.Lease(ctx, r, nil)
	if err != nil {
		return Removal{}, err
	}
	var got Removal
	if rev == "" {
		got, err = f.removeAll(dry)
	} else {
		got, err = f.removeRevision(rev, dry)
	}
	err = errors.Join(err, lease.Release())
	if err == nil && rev == "" && !dry {
		err = errors.Join(os.RemoveAll(f.dir), os.RemoveAll(filepath.Join(s.Dir, ".locks", r.folder())))
	}
	return got, err
}

// removeAll counts, and takes refs and snapshots first: whoever looks in between finds no snapshot with holes.
func (f *Folder) removeAll(dry bool) (Removal, error) {
	got := Removal{Repo: f.Repo}
	var err error
	if got.Commits, err = f.commits(); err != nil {
		return got, err
	}
	entries, err := fs.ReadDir(f.root.FS(), "blobs")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return got, fmt.Errorf("list blobs: %w", err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			got.Blobs++
			got.Bytes += freed(info)
		}
	}
	if dry {
		return got, nil
	}
	for _, dir := range []string{"refs", "snapshots", "trees"} {
		if err := f.root.RemoveAll(dir); err != nil {
			return got, fmt.Errorf("remove %s: %w", dir, err)
		}
	}
	return got, nil
}

func (f *Folder) removeRevision(rev Ref, dry bool) (Removal, error) {
	got := Removal{Repo: f.Repo}
	c, err := f.Resolve(rev)
	if err != nil {
		return got, err
	}
	if _, err := f.root.Stat("snapshots/" + string(c)); err != nil {
		return got, fmt.Errorf("%s@%s is %w", f.Repo, c, ErrNotCached)
	}
	got.Commits = []Commit{c}
	alone, err := f.blobsOnlyIn(c)
	if err != nil {
		return got, err
	}
	if !dry {
		if err := f.unname(c); err != nil {
			return got, err
		}
	}
	for h := range alone {
		info, err := f.root.Lstat("blobs/" + string(h))
		if err != nil {
			continue
		}
		got.Blobs++
		got.Bytes += freed(info)
		if !dry {
			if err := f.removeIfThere("blobs/" + string(h)); err != nil {
				return got, err
			}
		}
	}
	return got, nil
}

// unname takes a commit's refs, snapshot and listing away, in that order.
func (f *Folder) unname(c Commit) error {
	refs, err := f.refs()
	if err != nil {
		return err
	}
	for _, name := range refs[c] {
		if err := f.removeIfThere("refs/" + name); err != nil {
			return err
		}
	}
	if err := f.root.RemoveAll("snapshots/" + string(c)); err != nil {
		return fmt.Errorf("remove snapshot: %w", err)
	}
	return f.removeIfThere("trees/" + string(c) + ".json")
}

func (f *Folder) blobsOnlyIn(c Commit) (map[Hash]bool, error) {
	commits, err := f.commits()
	if err != nil {
		return nil, err
	}
	alone, elsewhere := map[Hash]bool{}, map[Hash]bool{}
	for _, each := range commits {
		links, err := f.links(each)
		if err != nil {
			return nil, err
		}
		for _, h := range links {
			if each == c {
				alone[h] = true
			} else {
				elsewhere[h] = true
			}
		}
	}
	for h := range elsewhere {
		delete(alone, h)
	}
	return alone, nil
}

// links are the blobs that a snapshot's links name, whether they are there or not.
func (f *Folder) links(c Commit) ([]Hash, error) {
	var all []Hash
	err := fs.WalkDir(f.root.FS(), "snapshots/"+string(c), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if target, err := f.root.Readlink(p); err == nil && strings.Contains(target, "/blobs/") {
			if h, err := ParseHash(filepath.Base(target)); err == nil {
				all = append(all, h)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list snapshot: %w", err)
	}
	return all, nil
}
