package check

import (
	"context"
	"fmt"
	"strings"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"radish/doctor"
	"radish/doctor/host"
)

// rows judges the spare rows of the memory: a bad row is replaced by one of them at the next reset.
func rows(_ context.Context, m facts) finding {
	f := eachCard(m, "no row that could not be replaced; a pending replacement needs a reset", func(v *verdict, c host.Card) string {
		if raw, bad := unread(v, c, "rows"); bad {
			return raw
		}
		switch r := c.Rows; {
		case r.Failed:
			v.say(doctor.Fail, "gpu %d: a bad row of its memory could not be replaced", c.Index)
		case r.Pending:
			v.say(doctor.Warn, "gpu %d: bad rows are replaced at its next reset", c.Index)
		default:
			v.say(doctor.OK, "gpu %d: %d replaced", c.Index, r.Corrected+r.Uncorrected)
		}
		return fmt.Sprintf("corrected %d, uncorrected %d, pending %t, failed %t", c.Rows.Corrected, c.Rows.Uncorrected, c.Rows.Pending, c.Rows.Failed)
	})
	switch f.State {
	case doctor.Fail:
		return fixed(f, doctor.ChangeHost, "the card needs a hardware inspection: move to another host and tell the provider")
	case doctor.Warn:
		return fixed(f, doctor.RecreatePod, "only the host can reset the card: make the pod anew")
	}
	return f
}

func pcie(_ context.Context, m facts) finding {
	return eachCard(m, "link width = the card's; the generation falls while it idles and is not judged", func(v *verdict, c host.Card) string {
		if raw, bad := unread(v, c, "pcie"); bad {
			return raw
		}
		p := c.PCIe
		if p.Width < p.MaxWidth {
			v.say(doctor.Warn, "gpu %d: x%d of x%d: weights load slower (the board may be wired so)", c.Index, p.Width, p.MaxWidth)
		} else {
			v.say(doctor.OK, "gpu %d: x%d, generation %d of %d", c.Index, p.Width, p.Generation, p.MaxGeneration)
		}
		return fmt.Sprintf("width %d of %d, generation %d of %d, %d replays", p.Width, p.MaxWidth, p.Generation, p.MaxGeneration, p.Replays)
	})
}

func persistence(_ context.Context, m facts) finding {
	return eachCard(m, "told, not judged: without it every first start pays for waking the card", func(v *verdict, c host.Card) string {
		if raw, bad := unread(v, c, "persistence"); bad {
			return raw
		}
		word := "off: the first start wakes the card, which takes seconds"
		if c.Persistence {
			word = "on"
		}
		v.say(doctor.OK, "gpu %d: %s", c.Index, word)
		return fmt.Sprintf("enabled %t", c.Persistence)
	})
}

// nvlink matters where a model is spread over several cards. Whether one card computes at all is gpu.cuinit's to say.
func nvlink(_ context.Context, m facts) finding {
	const rule = "with 2 cards or more: every NVLink up, the fabric completed (3) where there is one, every pair with peer access"
	cards := m.NVIDIA.NVML.Cards
	f := eachCard(m, rule, func(v *verdict, c host.Card) string {
		if len(cards) > 1 {
			return oneNVLink(v, c)
		}
		if why, lost := c.Unread["card"]; lost {
			v.say(doctor.Unknown, "gpu %d: %s", c.Index, why)
		}
		v.say(doctor.OK, "one card: nothing to link")
		return linkText(c)
	})
	if len(cards) < 2 {
		return f
	}
	if pairs := m.NVIDIA.NVML.NoP2P; len(pairs) > 0 {
		f = seen(f, "nvmlDeviceGetP2PStatus", "%s", strings.Join(pairs, ", "))
		if rank[f.State] < rank[doctor.Warn] {
			f.State, f.Summary = doctor.Warn, fmt.Sprintf("%d pairs of cards without peer access: what crosses cards goes through the host", len(pairs))
			f = fixed(f, doctor.SetFlag, "engines that hang on it want NCCL_P2P_DISABLE=1; sglang also --disable-custom-all-reduce")
		}
	}
	if f.State == doctor.Fail {
		f = fixed(f, doctor.ChangeHost, "links and fabric are the host's: take another host")
	}
	return f
}

func oneNVLink(v *verdict, c host.Card) string {
	fabric, noFabric := c.Unread["fabric"]
	switch {
	case noFabric && fabric != host.NotSupported && !strings.HasPrefix(fabric, "this driver has no"):
		v.say(doctor.Unknown, "gpu %d: the fabric's state could not be read: %s", c.Index, fabric)
	case !noFabric && c.NVLink.Fabric != nvml.GPU_FABRIC_STATE_NOT_SUPPORTED && c.NVLink.Fabric != nvml.GPU_FABRIC_STATE_COMPLETED:
		v.say(doctor.Fail, "gpu %d: the NVLink fabric is not ready (state %d): the fabric manager does not run", c.Index, c.NVLink.Fabric)
	case !noFabric && c.NVLink.Fabric == nvml.GPU_FABRIC_STATE_COMPLETED && c.NVLink.Status != int(nvml.SUCCESS):
		v.say(doctor.Fail, "gpu %d: joining the NVLink fabric ended with %d", c.Index, c.NVLink.Status)
	}
	if why, bad := c.Unread["p2p"]; bad && why != host.NotSupported {
		v.say(doctor.Unknown, "gpu %d: peer access could not be read: %s", c.Index, why)
	}
	if raw, bad := unread(v, c, "nvlink"); bad {
		return raw + ", fabric: " + fabricText(c)
	}
	switch {
	case c.NVLink.Down > 0:
		v.say(doctor.Fail, "gpu %d: %d of %d links are down", c.Index, c.NVLink.Down, c.NVLink.Up+c.NVLink.Down)
	default:
		v.say(doctor.OK, "gpu %d: %d links up", c.Index, c.NVLink.Up)
	}
	return linkText(c)
}

func linkText(c host.Card) string {
	return fmt.Sprintf("%d links up, %d down, fabric: %s", c.NVLink.Up, c.NVLink.Down, fabricText(c))
}

func fabricText(c host.Card) string {
	if why, bad := c.Unread["fabric"]; bad {
		return why
	}
	return fmt.Sprintf("state %d, status %d", c.NVLink.Fabric, c.NVLink.Status)
}

// xid judges the driver's error numbers in the kernel's log, by NVIDIA's catalogue.
func xid(_ context.Context, m facts) finding {
	rule := "no Xid in the kernel's log but those that follow from an application (table of " + table().Date + ")"
	x := m.NVIDIA.Xids
	if x.Err != "" {
		return seen(is(doctor.Unknown, rule, "the kernel's log cannot be read here"), "/dev/kmsg", "%s", x.Err)
	}
	v := verdict{}
	v.say(doctor.OK, "none that matters")
	var fix *doctor.Fix
	for _, n := range x.Numbers {
		state, text, kind := table().xid(n)
		if rank[state] > rank[v.state] {
			fix = &doctor.Fix{Kind: kind, Text: text}
		}
		if state != doctor.OK {
			v.say(state, "Xid %d: %s", n, text)
		}
	}
	f := v.finding(rule)
	if f.State != doctor.OK {
		f.Fix = fix
	}
	for _, line := range x.Lines[max(0, len(x.Lines)-5):] {
		f = seen(f, "/dev/kmsg", "%s", line)
	}
	return f
}

// holders joins NVML's list, whose pids may be the host's, with the processes seen here that have a card open.
func holders(_ context.Context, m facts) finding {
	const rule = "no other process on the cards before a server starts"
	var v verdict
	f := finding{}
	if m.Others.Err != "" {
		v.say(doctor.Unknown, "%s", m.Others.Err)
	}
	here := map[int]bool{}
	for _, p := range m.Others.List {
		if p.GPU {
			here[p.PID] = true
			v.say(doctor.Warn, "%s has a card open", p.Owner)
			f = seen(f, fmt.Sprintf("/proc/%d/fd", p.PID), "/dev/nvidia*")
		}
	}
	for _, c := range m.NVIDIA.NVML.Cards {
		if _, bad := unread(&v, c, "holders"); bad {
			continue
		}
		v.say(doctor.OK, "gpu %d: nobody", c.Index)
		for _, h := range c.Holders {
			if !here[int(h.PID)] {
				v.say(doctor.Warn, "gpu %d: a process that cannot be seen from here (the driver calls it %d)", c.Index, h.PID)
				f = seen(f, card(c.Index), "pid %d, perhaps the host's number", h.PID)
			}
		}
	}
	told := v.finding(rule)
	told.Evidence = f.Evidence
	return told
}

// orphans are parts of a server whose parent is gone: they keep the card's memory.
func orphans(_ context.Context, m facts) finding {
	const rule = "no worker of a server whose parent is process 1"
	if m.Others.Err != "" {
		return is(doctor.Unknown, rule, "%s", m.Others.Err)
	}
	server := false // where process 1 is itself the server, its workers are where they belong
	for _, p := range m.Others.List {
		server = server || p.PID == 1 && p.Engine != ""
	}
	var v verdict
	v.say(doctor.OK, "none")
	f := finding{}
	for _, p := range m.Others.List {
		if p.Worker && p.Parent == 1 && !server {
			v.say(doctor.Warn, "%s outlived its server", p.Owner)
			f = seen(f, fmt.Sprintf("/proc/%d/stat", p.PID), "parent 1, state %s", p.State)
		}
	}
	told := v.finding(rule)
	told.Evidence = f.Evidence
	if told.State == doctor.Warn {
		return fixed(told, doctor.RunCommand, "end it yourself once you are sure that it is yours")
	}
	return told
}
