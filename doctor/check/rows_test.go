package check

import (
	"context"
	"strings"
	"testing"

	"radish/doctor"
	"radish/doctor/host"
)

// judged is one check on facts made for it.
type judged struct {
	name string
	run  func(context.Context, facts) finding
	m    *host.Facts
	want doctor.State
	text string
}

func judge(t *testing.T, all []judged) {
	t.Helper()
	for _, c := range all {
		if f := c.run(t.Context(), c.m); f.State != c.want || !strings.Contains(f.Summary, c.text) {
			t.Errorf("%s is %s %q, want %s %q", c.name, f.State, f.Summary, c.want, c.text)
		}
	}
}

func withCards(n int) *host.Facts {
	m := &host.Facts{}
	for i := range n {
		m.NVIDIA.NVML.Cards = append(m.NVIDIA.NVML.Cards, host.Card{GPU: host.GPU{Index: i}, Unread: map[string]string{}})
	}
	return m
}

func TestContainerRows(t *testing.T) {
	shmOf := func(cards int, bytes uint64) *host.Facts {
		m := withCards(cards)
		m.Limits.Shm.Total = bytes
		return m
	}
	procs := func(cards, n int) *host.Facts {
		m := withCards(cards)
		m.Limits.Processors = n
		return m
	}
	lock := func(r host.Reading, rdma bool) *host.Facts {
		return &host.Facts{Limits: host.Limits{Memlock: r, RDMA: rdma}}
	}
	state := func(s string) *host.Facts {
		return &host.Facts{Others: host.Others{List: []host.Process{{State: s}}}}
	}
	judge(t, []judged{
		{"shm, no card", shm, shmOf(0, 64<<20), doctor.OK, ""},
		{"shm, one card", shm, shmOf(1, 64<<20), doctor.Warn, ""},
		{"shm, one card", shm, shmOf(1, gib), doctor.OK, ""},
		{"shm, two cards", shm, shmOf(2, gib-1), doctor.Fail, "2 cards"},
		{"shm, two cards", shm, shmOf(2, 8*gib-1), doctor.Warn, ""},
		{"shm, two cards", shm, shmOf(2, 8*gib), doctor.OK, ""},
		{"processors, 8 cards", cpus, procs(8, 15), doctor.Warn, "8 GPUs"},
		{"processors, 8 cards", cpus, procs(8, 16), doctor.OK, ""},
		{"locked memory", memlock, lock(host.Reading{Value: 65536}, false), doctor.OK, ""},
		{"locked memory", memlock, lock(host.Reading{Value: 65536}, true), doctor.Warn, "0.1 MiB"},
		{"locked memory", memlock, lock(host.Reading{None: true}, true), doctor.OK, "unlimited"},
		{"sleep", stuck, state("S"), doctor.OK, ""},
		{"sleep", stuck, state("D"), doctor.Warn, "cannot be ended"},
		{"sandbox", sandbox, &host.Facts{Self: host.Self{CapEff: 1 << host.CapSysPtrace}}, doctor.OK, "may look into every"},
		{"sandbox", sandbox, &host.Facts{}, doctor.OK, "may not look"},
		{"secrets", secrets, &host.Facts{Env: host.Env{Secrets: []string{"A_KEY"}}}, doctor.OK, "1 secrets"},
	})
}

func TestStorageRows(t *testing.T) {
	trial := func(use string, x host.Trial) *host.Facts {
		return &host.Facts{Disks: []host.Disk{{Use: use, Space: host.Space{Trial: x}}}}
	}
	piles := func(bytes uint64, cut bool) *host.Facts {
		return &host.Facts{Cache: host.Cache{Cut: cut, Junk: []host.Pile{{What: "pip's cache", Bytes: bytes}}}}
	}
	judge(t, []judged{
		{"write", writable, trial("model cache", host.Trial{}), doctor.OK, ""},
		{"write", writable, trial("model cache", host.Trial{Write: "read-only"}), doctor.Fail, "nothing can be written"},
		{"write", writable, trial("working directory", host.Trial{Write: "read-only"}), doctor.Warn, ""},
		{"quota", quota, trial("", host.Trial{}), doctor.OK, ""},
		{"quota", quota, trial("", host.Trial{Reserve: "EDQUOT"}), doctor.Fail, "could not be had"},
		{"quota", quota, trial("", host.Trial{Write: "x"}), doctor.Unknown, ""},
		{"locks", locks, trial("", host.Trial{}), doctor.OK, "hold"},
		{"locks", locks, trial("", host.Trial{LockLies: true}), doctor.Warn, "a lie"},
		{"locks", locks, trial("", host.Trial{Lock: "ENOSYS"}), doctor.Warn, "no locks"},
		{"names", names, trial("", host.Trial{}), doctor.OK, ""},
		{"names", names, trial("", host.Trial{Symlink: "EPERM"}), doctor.Warn, "twice the room"},
		{"names", names, trial("", host.Trial{Folds: true}), doctor.Warn, "case"},
		{"twice", duplicates, &host.Facts{}, doctor.OK, ""},
		{"twice", duplicates, &host.Facts{Cache: host.Cache{Cut: true}}, doctor.Unknown, "too large"},
		{"twice", duplicates, &host.Facts{Cache: host.Cache{Duplicates: []host.Twice{{Bytes: gib}}}}, doctor.Warn, "1.0 GiB"},
		{"junk", junk, piles(gib-1, false), doctor.OK, ""},
		{"junk", junk, piles(gib-1, true), doctor.Unknown, ""},
		{"junk", junk, piles(gib, true), doctor.Warn, "1.0 GiB"},
	})
}

func TestPortRows(t *testing.T) {
	pod := func(name string, exposed map[int]int) *host.Facts {
		return &host.Facts{Ports: []host.Port{{Number: 30000}}, Env: host.Env{Platform: host.Platform{Name: name, Exposed: exposed}}}
	}
	at := func(address, platform string, key bool) *host.Facts {
		return &host.Facts{Self: host.Self{Host: address}, Env: host.Env{Platform: host.Platform{Name: platform}, ServeKey: key}}
	}
	server := host.Process{Owner: host.Owner{PID: 40, Name: "python3"}, Engine: "sglang", Model: "meta/Llama"}
	judge(t, []judged{
		{"exposed", exposed, pod("", nil), doctor.Skipped, ""},
		{"exposed", exposed, pod("runpod", map[int]int{30000: 10030}), doctor.OK, "$RUNPOD_PUBLIC_IP:10030"},
		{"exposed", exposed, pod("runpod", map[int]int{22: 10022}), doctor.Unknown, "https://${RUNPOD_POD_ID}-30000.proxy.runpod.net"},
		{"exposed", exposed, pod("vast", nil), doctor.Warn, "not mapped"},
		{"exposed", exposed, pod("vast", map[int]int{30000: 40001}), doctor.OK, "$PUBLIC_IPADDR:40001"},
		{"address", listen, at("", "", false), doctor.OK, ""},
		{"address", listen, at("", "runpod", false), doctor.OK, "unless told otherwise"},
		{"address", listen, at("127.0.0.1", "runpod", false), doctor.Warn, "from outside"},
		{"address", listen, at("0.0.0.0", "", false), doctor.Warn, "no key"},
		{"address", listen, at("0.0.0.0", "runpod", true), doctor.OK, "with a key"},
		{"servers", otherServers, &host.Facts{}, doctor.OK, "none"},
		{"servers", otherServers, &host.Facts{Others: host.Others{List: []host.Process{server}}}, doctor.Warn, "sglang with meta/Llama: python3 (pid 40)"},
		{"owner", wantedPort, &host.Facts{Ports: []host.Port{{Number: 1, Taken: true, Speaks: "vLLM"}}}, doctor.Fail, "answers as vLLM"},
	})
}
