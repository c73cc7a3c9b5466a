package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Snapshot is one commit of a repository, as files in a directory.
type Snapshot struct {
	Repo   Repo
	Commit Commit
	Dir    string
}

// Find gives the snapshot that a revision (empty: main) stood for when it was fetched last, without the network. Files
// may be missing from it; Missing says which.
func (s *Store) Find(r Repo, rev Ref) (Snapshot, error) {
	f, err := s.Folder(r)
	if err != nil {
		return Snapshot{}, err
	}
	defer f.Close()
	c, err := f.Resolve(rev)
	if err != nil {
		return Snapshot{}, err
	}
	snap := Snapshot{Repo: r, Commit: c, Dir: f.SnapshotDir(c)}
	if info, err := os.Stat(snap.Dir); err != nil || !info.IsDir() {
		return Snapshot{}, fmt.Errorf("%s@%s is %w %s", r, c, ErrNotCached, s.Dir)
	}
	return snap, nil
}

// Resolve gives the commit that a revision stood for when it was fetched last.
func (f *Folder) Resolve(rev Ref) (Commit, error) {
	if rev == "" {
		rev = "main"
	}
	if rev.IsCommit() {
		return Commit(rev), nil
	}
	b, err := f.root.ReadFile("refs/" + string(rev))
	if err != nil {
		return "", fmt.Errorf("%s@%s is %w", f.Repo, rev, ErrNotCached)
	}
	return ParseCommit(strings.TrimSpace(string(b)))
}

// Model is a repository in the model directory. Sizes are bytes.
type Model struct {
	Repo      Repo       `json:"repo"`
	Revisions []Revision `json:"revisions"`
	Blobs     int64      `json:"blob_bytes"`
	Parts     int64      `json:"part_bytes"` // of files half there, as taken on disk
}

// Revision is one commit of a Model.
type Revision struct {
	Commit Commit    `json:"commit"`
	Refs   []string  `json:"refs"`
	Files  int       `json:"files"`
	Bytes  int64     `json:"bytes"`
	Broken int       `json:"broken_files"` // links whose blob is not there
	Listed int       `json:"listed_files"` // that the commit holds at the hub; 0: not known
	Used   time.Time `json:"modified"`
}

// List tells what the model directory holds, by name. A directory that is not there holds nothing.
func (s *Store) List() ([]Model, error) {
	entries, err := os.ReadDir(s.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list models: %w", err)
	}
	var all []Model
	for _, e := range entries {
		r, ok := repoOf(e.Name())
		if !ok {
			continue
		}
		m, err := s.model(r)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b Model) int { return strings.Compare(string(a.Repo), string(b.Repo)) })
	return all, nil
}

func (s *Store) model(r Repo) (Model, error) {
	f, err := s.Folder(r)
	if err != nil {
		return Model{}, err
	}
	defer f.Close()
	m := Model{Repo: r, Revisions: []Revision{}}
	if m.Blobs, m.Parts, err = f.usage(); err != nil {
		return m, err
	}
	refs, err := f.refs()
	if err != nil {
		return m, err
	}
	commits, err := f.commits()
	if err != nil {
		return m, err
	}
	for _, c := range commits {
		rev, err := f.revision(c)
		if err != nil {
			return m, err
		}
		rev.Refs = append(rev.Refs, refs[c]...)
		m.Revisions = append(m.Revisions, rev)
	}
	return m, nil
}

func (f *Folder) usage() (blobs, parts int64, err error) {
	entries, err := fs.ReadDir(f.root.FS(), "blobs")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, 0, fmt.Errorf("list blobs: %w", err)
	}
	for _, e := range entries {
		info, err := os.Stat(filepath.Join(f.dir, "blobs", e.Name()))
		if err != nil {
			continue
		}
		if _, err := ParseHash(e.Name()); err == nil {
			blobs += info.Size()
			continue
		}
		parts += onDisk(info)
	}
	return blobs, parts, nil
}

func (f *Folder) commits() ([]Commit, error) {
	entries, err := fs.ReadDir(f.root.FS(), "snapshots")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	var all []Commit
	for _, e := range entries {
		if c, err := ParseCommit(e.Name()); err == nil && e.IsDir() {
			all = append(all, c)
		}
	}
	return all, nil
}

// refs gives the names of each commit.
func (f *Folder) refs() (map[Commit][]string, error) {
	names := map[Commit][]string{}
	err := fs.WalkDir(f.root.FS(), "refs", func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		b, err := f.root.ReadFile(p)
		if c, bad := ParseCommit(strings.TrimSpace(string(b))); err == nil && bad == nil {
			names[c] = append(names[c], strings.TrimPrefix(p, "refs/"))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list refs: %w", err)
	}
	return names, nil
}

func (f *Folder) revision(c Commit) (Revision, error) {
	rev := Revision{Commit: c, Refs: []string{}}
	files, err := f.Files(c)
	if err != nil {
		return rev, err
	}
	for _, file := range files {
		if file.Err != nil {
			rev.Broken++
			continue
		}
		rev.Files++
		rev.Bytes += file.Size
		if file.modified.After(rev.Used) {
			rev.Used = file.modified
		}
	}
	if tree, err := f.ReadTree(c); err == nil {
		rev.Listed = len(tree)
	}
	return rev, nil
}

// SnapshotFile is one file of a snapshot. Hash is what its bytes should have; empty if nothing tells.
type SnapshotFile struct {
	Path     Path
	Hash     Hash
	Size     int64
	Err      error // it cannot be read
	modified time.Time
}

// Files lists what a snapshot holds, with the hash that each file's link, or else the kept listing, gives.
func (f *Folder) Files(c Commit) ([]SnapshotFile, error) {
	tree, _ := f.ReadTree(c)
	top := "snapshots/" + string(c)
	var all []SnapshotFile
	err := fs.WalkDir(f.root.FS(), top, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		file := SnapshotFile{Path: Path(strings.TrimPrefix(p, top+"/"))}
		info, err := os.Stat(filepath.Join(f.dir, filepath.FromSlash(p)))
		if err != nil {
			file.Err = err
		} else {
			file.Size, file.modified = info.Size(), info.ModTime()
		}
		file.Hash = f.expected(p, tree[file.Path])
		all = append(all, file)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list snapshot: %w", err)
	}
	return all, nil
}

// SnapshotTree lists a snapshot by what lies in it, for want of the hub's listing: files that are not there are not known
// to be missing. Nothing but a listing from the hub is ever kept.
func (f *Folder) SnapshotTree(c Commit) (Tree, error) {
	files, err := f.Files(c)
	if err != nil {
		return nil, fmt.Errorf("%s@%s is %w: %w", f.Repo, c, ErrNotCached, err)
	}
	t := Tree{}
	for _, file := range files {
		e := Entry{Size: file.Size}
		switch len(file.Hash) {
		case 64:
			e.SHA256, e.LFS = string(file.Hash), file.Size
		case 40:
			e.BlobID = string(file.Hash)
		default:
			continue
		}
		t[file.Path] = e
	}
	return t, nil
}

func (f *Folder) expected(name string, e Entry) Hash {
	if target, err := f.root.Readlink(name); err == nil {
		if h, err := ParseHash(filepath.Base(target)); err == nil {
			return h
		}
	}
	if h, err := ParseHash(string(e.Hash())); err == nil {
		return h
	}
	return ""
}

// Missing tells which of the paths wanted are not in the snapshot in full.
func (f *Folder) Missing(c Commit, tree Tree, wanted []Path) []Path {
	var missing []Path
	for _, p := range wanted {
		info, err := os.Stat(filepath.Join(f.SnapshotDir(c), filepath.FromSlash(string(p))))
		if err != nil || info.Size() != tree[p].Size {
			missing = append(missing, p)
		}
	}
	return missing
}
