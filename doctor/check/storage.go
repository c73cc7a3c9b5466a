package check

import (
	"context"
	"fmt"
	"strings"

	"radish/doctor"
	"radish/doctor/host"
)

// Thresholds of the storage checks: Kubernetes' and gpud's numbers for a node's filesystem.
const (
	diskFail   = 500 << 20
	diskWarn   = 10 // percent of the filesystem
	inodesWarn = 10000
	junkWarn   = 1 << 30
)

func eachDisk(m facts, rule string, judge func(v *verdict, d host.Disk) (source, raw string)) finding {
	var v verdict
	var f finding
	for _, d := range m.Disks {
		if d.Err != "" {
			v.say(doctor.Unknown, "%s: %s", d.Use, d.Err)
			continue
		}
		source, raw := judge(&v, d)
		f = seen(f, source, "%s", raw)
	}
	told := v.finding(rule)
	told.Evidence = f.Evidence
	return told
}

var shared = strings.Fields("nfs nfs4 lustre ceph glusterfs beegfs gpfs mfs moosefs cifs smb3 9p virtiofs")

func isShared(kind string) bool {
	for _, s := range shared {
		if kind == s {
			return true
		}
	}
	return strings.HasPrefix(kind, "fuse")
}

func filesystems(_ context.Context, m facts) finding {
	f := eachDisk(m, "overlay and tmpfs are lost with the container; on shared ones locks cannot be trusted", func(v *verdict, d host.Disk) (string, string) {
		switch {
		case d.Kind == "":
			v.say(doctor.Unknown, "%s: no mount found for %s", d.Use, d.Path)
		case d.Use == "model cache" && (d.Kind == "overlay" || d.Kind == "tmpfs"):
			v.say(doctor.Warn, "%s: %s is on %s and is lost when the container stops", d.Use, d.Path, d.Kind)
		case isShared(d.Kind):
			v.say(doctor.Warn, "%s: %s is on %s: shared, of varying speed, its locks unreliable", d.Use, d.Path, d.Kind)
		default:
			v.say(doctor.OK, "%s on %s", d.Use, d.Kind)
		}
		return "/proc/self/mountinfo for " + d.Asked, d.Mount + " " + d.Kind
	})
	if f.State == doctor.Warn {
		f = fixed(f, doctor.SetFlag, "set HF_HOME to a directory on a volume that is kept")
	}
	return f
}

func diskFree(_ context.Context, m facts) finding {
	f := eachDisk(m, ">= 10 % free; < 500 MiB fails", func(v *verdict, d host.Disk) (string, string) {
		switch {
		case d.Free < diskFail:
			v.say(doctor.Fail, "%s: only %s free", d.Use, bytesText(d.Free))
		case d.Free < d.Total/100*diskWarn:
			v.say(doctor.Warn, "%s: %s free of %s", d.Use, bytesText(d.Free), bytesText(d.Total))
		default:
			v.say(doctor.OK, "%s: %s free", d.Use, bytesText(d.Free))
		}
		return "statfs " + d.Asked, bytesText(d.Free) + " of " + bytesText(d.Total)
	})
	return f
}

func inodes(_ context.Context, m facts) finding {
	return eachDisk(m, ">= 10,000 free inodes", func(v *verdict, d host.Disk) (string, string) {
		switch {
		case d.Inodes == 0:
			v.say(doctor.Skipped, "%s: this filesystem does not count them", d.Use)
			return "statfs " + d.Asked, "0 inodes in all"
		case d.InodesFree < inodesWarn:
			v.say(doctor.Warn, "%s: %d left", d.Use, d.InodesFree)
		default:
			v.say(doctor.OK, "%s: %d left", d.Use, d.InodesFree)
		}
		return "statfs " + d.Asked, limitText(host.Reading{Value: d.InodesFree}) + " free"
	})
}

// eachTrial judges what came of really writing to each directory.
func eachTrial(m facts, rule string, judge func(v *verdict, d host.Disk) (raw string)) finding {
	return eachDisk(m, rule, func(v *verdict, d host.Disk) (string, string) {
		if d.Trial.Write != "" {
			v.say(doctor.Unknown, "%s: cannot be written to", d.Use)
			return "trial in " + d.Asked, d.Trial.Write
		}
		return "trial in " + d.Asked, judge(v, d)
	})
}

func writable(_ context.Context, m facts) finding {
	return eachDisk(m, "making a file in the model cache must work; the working directory is told", func(v *verdict, d host.Disk) (string, string) {
		switch {
		case d.Trial.Write == "":
			v.say(doctor.OK, "%s: yes", d.Use)
		case d.Use == "model cache":
			v.say(doctor.Fail, "%s: nothing can be written to %s", d.Use, d.Asked)
		default:
			v.say(doctor.Warn, "%s: nothing can be written to %s", d.Use, d.Asked)
		}
		return "trial in " + d.Asked, orWell(d.Trial.Write)
	})
}

func orWell(problem string) string {
	if problem == "" {
		return "no error"
	}
	return problem
}

// quota asks for room instead of reading it: with a quota statfs shows the whole filesystem's terabytes.
func quota(_ context.Context, m facts) finding {
	f := eachTrial(m, "reserving 64 MiB must succeed", func(v *verdict, d host.Disk) string {
		if d.Trial.Reserve == "" {
			v.say(doctor.OK, "%s: %s could be had", d.Use, bytesText(d.Trial.Bytes))
		} else {
			v.say(doctor.Fail, "%s: %s could not be had although %s are free", d.Use, bytesText(d.Trial.Bytes), bytesText(d.Free))
		}
		return orWell(d.Trial.Reserve)
	})
	if f.State == doctor.Fail {
		f = fixed(f, doctor.EditTemplate, "the quota is the volume's: enlarge it, or delete what is not needed (disk.junk)")
	}
	return f
}

// locks must be refused to a second taker; on some network filesystems they are given to everybody.
func locks(_ context.Context, m facts) finding {
	return eachTrial(m, "flock must be given once and refused the second time", func(v *verdict, d host.Disk) string {
		switch {
		case d.Trial.Lock != "":
			v.say(doctor.Warn, "%s: no locks here: two downloads at once would spoil each other", d.Use)
			return d.Trial.Lock
		case d.Trial.LockLies:
			v.say(doctor.Warn, "%s: locks are a lie here: two downloads at once would spoil each other", d.Use)
			return "the second lock was given too"
		}
		v.say(doctor.OK, "%s: they hold", d.Use)
		return "the second lock was refused"
	})
}

func names(_ context.Context, m facts) finding {
	return eachTrial(m, "symbolic links must work, and names that differ in case must differ", func(v *verdict, d host.Disk) string {
		raw := "link: " + orWell(d.Trial.Symlink)
		switch {
		case d.Trial.Symlink != "":
			v.say(doctor.Warn, "%s: no symbolic links: the cache keeps copies and takes twice the room", d.Use)
		case d.Trial.Folds:
			v.say(doctor.Warn, "%s: names that differ in case only are one: some repositories lose files", d.Use)
		default:
			v.say(doctor.OK, "%s: links and case as they should be", d.Use)
		}
		return fmt.Sprintf("%s, case folded: %t", raw, d.Trial.Folds)
	})
}

// duplicates are the same content twice, told apart from links by their inodes.
func duplicates(_ context.Context, m facts) finding {
	const rule = "no content twice in the cache, or in it and in a plain download directory"
	c := m.Cache
	if c.Err != "" {
		return is(doctor.Unknown, rule, "%s", c.Err)
	}
	var sum uint64
	for _, d := range c.Duplicates {
		sum += d.Bytes
	}
	f := is(doctor.OK, rule, "none in %d repositories, %s", c.Repos, bytesText(c.Bytes))
	switch {
	case sum > 0:
		f = fixed(is(doctor.Warn, rule, "%d files lie here twice, %s in all", len(c.Duplicates), bytesText(sum)), doctor.RunCommand, "radish models dedupe makes one of each two; in another directory, name it")
	case c.Cut:
		f = is(doctor.Unknown, rule, "the directories are too large to be walked in time")
	}
	for _, d := range c.Duplicates[:min(len(c.Duplicates), 5)] {
		f = seen(f, d.At[0], "%s = %s", bytesText(d.Bytes), d.At[1])
	}
	return f
}

// junk tells what could be thrown away; radish throws nothing away by itself.
func junk(_ context.Context, m facts) finding {
	const rule = "less than 1 GiB of unfinished downloads, unused files, package caches and core files"
	c := m.Cache
	if c.Err != "" {
		return is(doctor.Unknown, rule, "%s", c.Err)
	}
	var sum uint64
	var f finding
	for _, p := range c.Junk {
		sum += p.Bytes
		f = seen(f, p.What, "%d files, %s", p.Files, bytesText(p.Bytes))
	}
	told := is(doctor.OK, rule, "%s", bytesText(sum))
	switch {
	case sum >= junkWarn:
		told = fixed(is(doctor.Warn, rule, "%s could be freed", bytesText(sum)), doctor.RunCommand, "delete what you do not need; an unfinished download may still be wanted")
	case c.Cut:
		told = is(doctor.Unknown, rule, "the directories are too large to be walked in time")
	}
	told.Evidence = f.Evidence
	return told
}
