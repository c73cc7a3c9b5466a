package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
)

// Entry is a file of a commit as the hub lists it. Size is in bytes.
type Entry struct {
	Size   int64  `json:"size"`
	BlobID string `json:"blob_id"` // git-sha1, of the pointer if LFS
	SHA256 string `json:"lfs_sha256,omitempty"`
	LFS    int64  `json:"lfs_size,omitempty"`
	Xet    string `json:"xet_hash,omitempty"`
}

// Hash is the name of the entry's blob, which its bytes must have.
func (e Entry) Hash() Hash {
	if e.SHA256 != "" {
		return Hash(e.SHA256)
	}
	return Hash(e.BlobID)
}

// Tree is all that a commit holds.
type Tree map[Path]Entry

type treeFile struct {
	Version int  `json:"format_version"`
	Files   Tree `json:"files"`
}

const (
	treeVersion = 1
	maxTree     = 64 << 20 // bytes; 300,000 files take about as much
)

// xetShape is what the Python client accepts; it ignores a whole tree with anything else in it.
var xetShape = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Check refuses entries that could not be stored: names that lead elsewhere, hashes that are none, negative sizes.
func (t Tree) Check() error {
	for p, e := range t {
		if _, err := ParsePath(string(p)); err != nil {
			return err
		}
		if _, err := ParseHash(string(e.Hash())); err != nil {
			return fmt.Errorf("file %s: %w", p, err)
		}
		if e.Size < 0 || (e.SHA256 != "" && len(e.SHA256) != 64) || (e.Xet != "" && !xetShape.MatchString(e.Xet)) {
			return fmt.Errorf("file %s: %w (size %d, sha256 %q, xet %q)", p, ErrName, e.Size, e.SHA256, e.Xet)
		}
	}
	return nil
}

// SaveTree keeps a commit's listing, so that it need not be asked for again and a snapshot can be judged offline.
func (f *Folder) SaveTree(c Commit, t Tree) error {
	b, err := json.MarshalIndent(treeFile{Version: treeVersion, Files: t}, "", " ")
	if err != nil {
		return fmt.Errorf("encode tree: %w", err)
	}
	return f.replace("trees/"+string(c)+".json", b, false)
}

// ReadTree gives a listing kept before, by radish or the Python client; ErrNotCached if there is none that can be used.
func (f *Folder) ReadTree(c Commit) (Tree, error) {
	file, err := f.root.Open("trees/" + string(c) + ".json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("tree of %s is %w", c, ErrNotCached)
	}
	if err != nil {
		return nil, fmt.Errorf("read tree: %w", err)
	}
	defer file.Close()
	var t treeFile
	if err := json.NewDecoder(io.LimitReader(file, maxTree)).Decode(&t); err != nil {
		return nil, fmt.Errorf("tree of %s is %w: %w", c, ErrNotCached, err)
	}
	if t.Version != treeVersion {
		return nil, fmt.Errorf("tree of %s in format %d is %w", c, t.Version, ErrNotCached)
	}
	if err := t.Files.Check(); err != nil {
		return nil, fmt.Errorf("tree of %s is %w: %w", c, ErrNotCached, err)
	}
	return t.Files, nil
}
