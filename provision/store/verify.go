package store

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Verdict is what a check found of one file.
type Verdict string

// The verdicts. Unknown is not good: nothing says what the file should be.
const (
	Good    Verdict = "ok"
	Corrupt Verdict = "corrupt"
	Gone    Verdict = "missing"
	Unknown Verdict = "unknown"
)

// Finding is a file that was checked.
type Finding struct {
	Repo   Repo    `json:"repo"`
	Commit Commit  `json:"commit"`
	Path   Path    `json:"path"`
	Size   int64   `json:"bytes"`
	Want   Hash    `json:"want"`
	Got    Hash    `json:"got,omitempty"`
	State  Verdict `json:"state"`
	Err    string  `json:"error,omitempty"`
}

// Verify reads every file of a snapshot and compares its hash with the name of its blob. Each file is told as it is
// done. With fix, what is corrupt or missing is taken out of the snapshot, so that the next pull fetches it again.
func (s *Store) Verify(ctx context.Context, snap Snapshot, fix bool, each func(Finding)) error {
	f, err := s.Folder(snap.Repo)
	if err != nil {
		return err
	}
	defer f.Close()
	files, err := f.Files(snap.Commit)
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		found := f.judge(snap, file)
		if fix && (found.State == Corrupt || found.State == Gone) {
			if err := f.discard(snap.Commit, file); err != nil {
				return err
			}
		}
		each(found)
	}
	return nil
}

func (f *Folder) judge(snap Snapshot, file SnapshotFile) Finding {
	found := Finding{Repo: f.Repo, Commit: snap.Commit, Path: file.Path, Size: file.Size, Want: file.Hash, State: Good}
	switch {
	case errors.Is(file.Err, fs.ErrNotExist):
		found.State = Gone
		return found
	case file.Hash == "":
		found.State = Unknown
		return found
	}
	got, err := HashFile(filepath.Join(snap.Dir, filepath.FromSlash(string(file.Path))), file.Hash)
	switch {
	case err != nil:
		found.State, found.Err = Unknown, err.Error()
	case got != file.Hash:
		found.State, found.Got = Corrupt, got
	}
	return found
}

// Discard takes what Verify found corrupt or missing out of a snapshot, so that the next pull fetches it again.
func (s *Store) Discard(snap Snapshot, found Finding) error {
	f, err := s.Folder(snap.Repo)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.discard(snap.Commit, SnapshotFile{Path: found.Path, Hash: found.Want})
}

// discard takes a file and its blob away. A link into the Python client's shared store goes, what it points to stays.
func (f *Folder) discard(c Commit, file SnapshotFile) error {
	err := f.removeIfThere("snapshots/" + string(c) + "/" + string(file.Path))
	if file.Hash == "" {
		return err
	}
	if e := os.Remove(f.blobPath(file.Hash)); e != nil && !errors.Is(e, fs.ErrNotExist) {
		err = errors.Join(err, e)
	}
	return err
}
