package check

import (
	"context"
	"strings"

	"radish/doctor"
	"radish/doctor/host"
)

// Thresholds of the storage checks: Kubernetes' and gpud's numbers for a node's filesystem.
const (
	diskFail   = 500 << 20
	diskWarn   = 10 // percent of the filesystem
	inodesWarn = 10000
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
