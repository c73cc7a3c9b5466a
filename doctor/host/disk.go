package host

import (
	"os"
	"path/filepath"
	"strings"
)

// Space is what a filesystem has, in bytes and inodes. Inodes is 0 where the filesystem does not count them.
type Space struct {
	Total, Free        uint64
	Inodes, InodesFree uint64
	Trial              Trial
}

// Disk is a directory that radish would write to, and the filesystem below it.
type Disk struct {
	Use   string // what it is for
	Path  string // as configured
	Asked string // Path, or its nearest parent that exists
	Space
	Mount, Kind string // from /proc/self/mountinfo; empty: not found there
	Err         string
}

func readDisks(o Options, e Env) []Disk {
	disks := []Disk{{Use: "model cache", Path: e.CacheDir()}}
	if o.WorkDir != "" {
		disks = append(disks, Disk{Use: "working directory", Path: o.WorkDir})
	}
	mounts := readMounts(o.Root)
	for i := range disks {
		d := &disks[i]
		d.Asked = existing(o.Root, d.Path)
		d.Mount, d.Kind = longest(mounts, d.Asked)
		var err error
		if d.Space, err = o.System.Space(d.Asked, toReserve(d.Kind)); err != nil {
			d.Err = err.Error()
		}
	}
	return disks
}

// toReserve is how much the trial asks for: enough to meet a quota that is used up. On a tmpfs it would take memory.
func toReserve(kind string) uint64 {
	if kind == "tmpfs" || kind == "ramfs" {
		return 1
	}
	return 64 << 20
}

func existing(root, dir string) string {
	for dir = filepath.Clean("/" + dir); dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(root, dir)); err == nil {
			break
		}
	}
	return dir
}

type mount struct{ point, kind string }

// readMounts reads /proc/self/mountinfo (proc(5)): field 5 is the mount point, the first after " - " the kind. Libraries
// that read the list of "physical" partitions miss overlay and network mounts, which is all that a pod has.
func readMounts(root string) []mount {
	b, err := os.ReadFile(filepath.Join(root, "proc/self/mountinfo"))
	if err != nil {
		return nil
	}
	var all []mount
	for line := range strings.Lines(string(b)) {
		left, right, ok := strings.Cut(line, " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if ok && len(l) >= 5 && len(r) >= 1 {
			all = append(all, mount{strings.ReplaceAll(l[4], `\040`, " "), r[0]})
		}
	}
	return all
}

// longest finds the mount that dir is on; of two at the same point the later one lies on top.
func longest(all []mount, dir string) (point, kind string) {
	for _, m := range all {
		under := m.point == "/" || dir == m.point || strings.HasPrefix(dir, m.point+"/")
		if under && len(m.point) >= len(point) {
			point, kind = m.point, m.kind
		}
	}
	return point, kind
}
