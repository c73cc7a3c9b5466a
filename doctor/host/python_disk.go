package host

import (
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// resolve follows every link of a path as a process with this root would, and says whether it ends at something.
func (d disk) resolve(name string) (string, bool) {
	todo := strings.Split(path.Clean("/"+name), "/")
	at := "/"
	for links := 0; len(todo) > 0; {
		next := todo[0]
		todo = todo[1:]
		if next == "" || next == "." {
			continue
		}
		if next == ".." {
			at = path.Dir(at)
			continue
		}
		at = path.Join(at, next)
		info, err := os.Lstat(filepath.Join(d.root, at))
		if err != nil {
			return at, false
		}
		if info.Mode()&os.ModeSymlink == 0 {
			continue
		}
		to, err := os.Readlink(filepath.Join(d.root, at))
		if links++; err != nil || links > 40 {
			return at, false
		}
		at = path.Dir(at)
		if path.IsAbs(to) {
			at = "/"
		}
		todo = append(strings.Split(to, "/"), todo...)
	}
	return at, true
}

// onHost is where a path really lies, for opening it.
func (d disk) onHost(name string) string {
	real, _ := d.resolve(name)
	return filepath.Join(d.root, real)
}

func (d disk) stat(name string) (os.FileInfo, bool) {
	if d.ctx.Err() != nil {
		return nil, false
	}
	info, err := os.Stat(d.onHost(name))
	return info, err == nil
}

func (d disk) isFile(name string) bool {
	info, ok := d.stat(name)
	return ok && info.Mode().IsRegular()
}

func (d disk) isDir(name string) bool {
	info, ok := d.stat(name)
	return ok && info.IsDir()
}

// text is the beginning of a file, at most limit bytes; empty where it cannot be read.
func (d disk) text(name string, limit int64) string {
	if !d.isFile(name) {
		return ""
	}
	f, err := os.Open(d.onHost(name))
	if err != nil {
		return ""
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return ""
	}
	return string(b)
}

// names lists a directory in order; maxNames bounds what a strange one can cost.
func (d disk) names(dir string) []string {
	if !d.isDir(dir) {
		return nil
	}
	f, err := os.Open(d.onHost(dir))
	if err != nil {
		return nil
	}
	defer f.Close()
	names, err := f.Readdirnames(maxNames)
	if err != nil && err != io.EOF {
		return nil
	}
	slices.Sort(names)
	return names
}

const maxNames = 10000

// glob is the paths below dir whose parts match the patterns, one for each level.
func (d disk) glob(dir string, patterns ...string) []string {
	found := []string{dir}
	for _, pattern := range patterns {
		var next []string
		for _, at := range found {
			if !strings.ContainsAny(pattern, "*?[") {
				if _, ok := d.stat(path.Join(at, pattern)); ok {
					next = append(next, path.Join(at, pattern))
				}
				continue
			}
			for _, name := range d.names(at) {
				if hit, err := path.Match(pattern, name); err == nil && hit {
					next = append(next, path.Join(at, name))
				}
			}
		}
		found = next
	}
	return found
}

// onPath is the first executable file of a name on PATH, and then in more directories.
func (d disk) onPath(name string, more ...string) string {
	list, _ := d.env.Get("PATH")
	for _, dir := range append(filepath.SplitList(list), more...) {
		if file := path.Join("/", dir, name); dir != "" && d.isFile(file) {
			return file
		}
	}
	return ""
}
