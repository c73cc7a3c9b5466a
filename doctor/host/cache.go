package host

import (
	"bufio"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
)

// Cache is what lies in the Hugging Face cache and beside it, and takes room for nothing.
type Cache struct {
	Err        string // why it could not be walked
	Cut        bool   // the walk was too long: the figures are lower bounds
	Repos      int
	Bytes      uint64  // of all blobs
	Duplicates []Twice // the same content twice, not as links to one file
	Junk       []Pile
}

// Twice is one content at two places.
type Twice struct {
	Hash  string
	Bytes uint64
	At    [2]string
}

// Pile is what can be thrown away, by kind.
type Pile struct {
	What  string
	Where string
	Files int
	Bytes uint64
}

// maxWalk bounds how many entries are looked at, in all.
const maxWalk = 50000

// walker reads the directories that a cache is made of, at most left entries.
type walker struct {
	ctx   context.Context
	root  string
	left  int
	cache Cache
	blobs map[string]blob // by hash: the first place
}

type blob struct {
	path  string
	bytes uint64
	inode uint64
}

func readCache(ctx context.Context, o Options, e Env) Cache {
	w := &walker{ctx: ctx, root: o.Root, left: maxWalk, blobs: map[string]blob{}}
	repos, err := filepath.Glob(filepath.Join(o.Root, e.CacheDir(), "*--*--*"))
	if err != nil {
		return Cache{Err: err.Error()}
	}
	for _, dir := range repos {
		w.repo(dir)
	}
	for _, dir := range []string{o.WorkDir, o.Model} {
		if dir != "" && (dir != o.Model || repository(o) == "") {
			w.localDir(filepath.Join(o.Root, dir))
		}
	}
	home, _ := e.Get("HOME")
	for _, c := range []struct{ what, dir string }{{"pip's cache", ".cache/pip"}, {"uv's cache", ".cache/uv"}} {
		w.tree(c.what, filepath.Join(o.Root, home, c.dir))
	}
	w.cores(filepath.Join(o.Root, o.WorkDir))
	w.cache.Cut = w.left <= 0
	return w.cache
}

// list gives a directory's entries while the walk is not too long.
func (w *walker) list(dir string) []fs.DirEntry {
	if w.left <= 0 || w.ctx.Err() != nil {
		w.left = 0
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer d.Close()
	all, _ := d.ReadDir(w.left) // what could be read until an error counts
	w.left -= len(all)
	sort.Slice(all, func(i, j int) bool { return all[i].Name() < all[j].Name() })
	return all
}

// repo looks at one repository: blobs/HASH is the content, snapshots/COMMIT/... are links to it.
func (w *walker) repo(dir string) {
	w.cache.Repos++
	used := map[string]bool{}
	w.links(filepath.Join(dir, "snapshots"), used)
	for _, entry := range w.list(filepath.Join(dir, "blobs")) {
		info, err := entry.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		bytes := uint64(info.Size())
		w.cache.Bytes += bytes
		path := filepath.Join(dir, "blobs", entry.Name())
		switch {
		case strings.HasSuffix(entry.Name(), ".incomplete"):
			w.pile("unfinished downloads", filepath.Dir(filepath.Dir(dir)), bytes)
		case !used[entry.Name()]:
			w.pile("files that no snapshot uses", filepath.Dir(filepath.Dir(dir)), bytes)
		}
		w.blob(entry.Name(), blob{path, bytes, inode(info)})
	}
}

func inode(info fs.FileInfo) uint64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Ino
	}
	return 0
}

// links gathers the blobs that a tree of links points to.
func (w *walker) links(dir string, used map[string]bool) {
	for _, entry := range w.list(dir) {
		path := filepath.Join(dir, entry.Name())
		if entry.IsDir() {
			w.links(path, used)
			continue
		}
		if to, err := os.Readlink(path); err == nil {
			used[filepath.Base(to)] = true
		}
	}
}

// blob notes a content by its hash, and whether it was already seen as another file.
func (w *walker) blob(hash string, b blob) {
	if len(hash) != 64 || b.bytes == 0 {
		return // a small file's git hash, or an unfinished one
	}
	first, known := w.blobs[hash]
	if !known {
		w.blobs[hash] = b
		return
	}
	if first.inode != b.inode {
		w.cache.Duplicates = append(w.cache.Duplicates, Twice{hash, b.bytes, [2]string{w.shown(first.path), w.shown(b.path)}})
	}
}

func (w *walker) shown(path string) string {
	if w.root == "/" {
		return path
	}
	return strings.TrimPrefix(path, filepath.Clean(w.root))
}

// localDir reads what the official client leaves beside files that it downloaded into a plain directory:
// .cache/huggingface/download/NAME.metadata, whose second line is the content's hash.
func (w *walker) localDir(dir string) {
	meta := filepath.Join(dir, ".cache/huggingface/download")
	for _, entry := range w.list(meta) {
		name, ok := strings.CutSuffix(entry.Name(), ".metadata")
		if !ok {
			continue
		}
		info, err := os.Stat(filepath.Join(dir, name))
		if err == nil && info.Mode().IsRegular() {
			w.blob(secondLine(filepath.Join(meta, entry.Name())), blob{filepath.Join(dir, name), uint64(info.Size()), inode(info)})
		}
	}
}

func secondLine(file string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	if lines.Scan() && lines.Scan() {
		return strings.TrimSpace(lines.Text())
	}
	return ""
}

func (w *walker) tree(what, dir string) {
	for _, entry := range w.list(dir) {
		path := filepath.Join(dir, entry.Name())
		if entry.IsDir() {
			w.tree(what, path)
		} else if info, err := entry.Info(); err == nil && info.Mode().IsRegular() {
			w.pile(what, "", uint64(info.Size()))
		}
	}
}

// cores finds the memory images of crashed processes; one of a server is as large as its memory.
func (w *walker) cores(dir string) {
	for _, entry := range w.list(dir) {
		name := entry.Name()
		if name != "core" && !strings.HasPrefix(name, "core.") {
			continue
		}
		if info, err := entry.Info(); err == nil && info.Mode().IsRegular() && info.Size() > 1<<20 {
			w.pile("core files", dir, uint64(info.Size()))
		}
	}
}

func (w *walker) pile(what, where string, bytes uint64) {
	for i := range w.cache.Junk {
		if p := &w.cache.Junk[i]; p.What == what {
			p.Files++
			p.Bytes += bytes
			return
		}
	}
	w.cache.Junk = append(w.cache.Junk, Pile{what, w.shown(where), 1, bytes})
}
