// Package store is the model directory on disk: the cache layout that Hugging Face's Python client reads and writes, so
// that radish, transformers, sglang and `hf cache` all see the same models. In it lies, for each repository,
//
//	models--org--name/refs/main                40 hex digits: the commit a name stood for
//	models--org--name/blobs/HASH               a file's bytes, named by sha256 (LFS) or git-sha1 (small files)
//	models--org--name/snapshots/COMMIT/a/b     a relative link to its blob
//	models--org--name/trees/COMMIT.json        what the commit holds, with sizes and hashes
//	.locks/models--org--name/HASH.lock         flock of whoever fetches that blob
//
// The layout is from huggingface_hub 2.4.0 (file_download.py, _tree_cache.py). radish adds two things that the Python
// client ignores: blobs/HASH.radish-part with its journal, for files half there, and .radish-pull, the lease of a pull.
//
// Every name that comes from a hub or a user passes ParseRepo, ParseHash, ParseCommit, ParseRef or ParsePath before it
// becomes part of a path, and all writing goes through os.Root, so that no link leads out of a repository's directory.
package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ErrNotCached says that the directory does not hold what was asked for.
var ErrNotCached = errors.New("not in the model directory")

// Store is a model directory. LockDir is on a local filesystem, because flock on a shared one may succeed for everybody.
type Store struct {
	Dir     string
	LockDir string
}

// Open gives the model directory at dir. Neither it nor lockDir needs to exist.
func Open(dir, lockDir string) (*Store, error) {
	if dir == "" || lockDir == "" {
		return nil, errors.New("open model directory: no path given")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open model directory: %w", err)
	}
	return &Store{Dir: abs, LockDir: lockDir}, nil
}

// RepoDir is where a repository's files lie.
func (s *Store) RepoDir(r Repo) string { return filepath.Join(s.Dir, r.folder()) }

// Folder is one repository's directory, opened: no path given to it leads out of it.
type Folder struct {
	Repo Repo
	root *os.Root
	dir  string
}

// Create opens a repository's directory, and makes it if it is not there. The model directory is tagged so that backups
// can leave it out (https://bford.info/cachedir/).
func (s *Store) Create(r Repo) (*Folder, error) {
	for _, sub := range []string{"blobs", "refs", "snapshots"} {
		if err := os.MkdirAll(filepath.Join(s.RepoDir(r), sub), 0o755); err != nil {
			return nil, fmt.Errorf("make model directory: %w", err)
		}
	}
	const tag = "Signature: 8a477f597d28d172789f06886806bc55\n# A directory of models that can be fetched again.\n"
	f, err := os.OpenFile(filepath.Join(s.Dir, "CACHEDIR.TAG"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = f.WriteString(tag)
		err = errors.Join(err, f.Close())
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("tag model directory: %w", err)
	}
	return s.Folder(r)
}

// Folder opens a repository's directory; ErrNotCached if there is none.
func (s *Store) Folder(r Repo) (*Folder, error) {
	root, err := os.OpenRoot(s.RepoDir(r))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is %w %s", r, ErrNotCached, s.Dir)
	}
	if err != nil {
		return nil, fmt.Errorf("open repository: %w", err)
	}
	return &Folder{Repo: r, root: root, dir: s.RepoDir(r)}, nil
}

// Close lets the directory go.
func (f *Folder) Close() error { return f.root.Close() }

// SnapshotDir is the path of a commit's files, whether it exists or not.
func (f *Folder) SnapshotDir(c Commit) string { return filepath.Join(f.dir, "snapshots", string(c)) }

// HasBlob says whether the blob is there in full. A blob gets its name only after it was verified, by radish; the Python
// client compares the size, so that is compared here too.
func (f *Folder) HasBlob(h Hash, size int64) bool {
	info, err := os.Stat(f.blobPath(h)) // follows the links into the Python client's shared store
	return err == nil && info.Mode().IsRegular() && info.Size() == size
}

func (f *Folder) blobPath(h Hash) string { return filepath.Join(f.dir, "blobs", string(h)) }

// Link makes snapshots/COMMIT/PATH point to the blob, as the Python client does: a relative link.
func (f *Folder) Link(c Commit, p Path, h Hash) error {
	name := "snapshots/" + string(c) + "/" + string(p)
	target := strings.Repeat("../", strings.Count(name, "/")) + "blobs/" + string(h)
	if was, err := f.root.Readlink(name); err == nil && was == target {
		return nil
	}
	dir := name[:strings.LastIndexByte(name, '/')]
	if err := f.root.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make snapshot: %w", err)
	}
	fresh := name + ".radish-link"
	if err := f.root.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("link snapshot: %w", err)
	}
	if err := f.root.Symlink(target, fresh); err != nil {
		return fmt.Errorf("link snapshot: %w", err)
	}
	if err := f.root.Rename(fresh, name); err != nil {
		return fmt.Errorf("link snapshot: %w", err)
	}
	return nil
}

// SetRef notes which commit a branch or tag stood for. A commit's own name gets no ref.
func (f *Folder) SetRef(ref Ref, c Commit) error {
	if string(ref) == string(c) {
		return nil
	}
	name := "refs/" + string(ref)
	if was, err := f.root.ReadFile(name); err == nil && string(was) == string(c) {
		return nil
	}
	return f.replace(name, []byte(c), false)
}

// replace writes a file so that a reader sees the old bytes or the new ones. With sync it also survives a power loss.
func (f *Folder) replace(name string, data []byte, sync bool) error {
	if i := strings.LastIndexByte(name, '/'); i > 0 {
		if err := f.root.MkdirAll(name[:i], 0o755); err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
	}
	fresh := name + ".radish-tmp"
	out, err := f.root.OpenFile(fresh, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	_, err = out.Write(data)
	if err == nil && sync {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err == nil {
		err = f.root.Rename(fresh, name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write file: %w", err), f.root.Remove(fresh))
	}
	return nil
}
