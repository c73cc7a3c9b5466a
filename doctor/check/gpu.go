package check

import (
	"context"
	"fmt"
	"strings"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"radish/doctor"
	"radish/doctor/host"
)

// Thresholds of the card checks.
const (
	heldWarn   = 500 << 20 // bytes of a card in use before radish started
	heldShare  = 100       // or this part of a larger card: an idle H200's driver reserves 615 MiB (seen 2026-11-24)
	marginWarn = 5         // degrees below the slowdown temperature
	powerWarn  = 80        // percent of the default limit
)

// eachCard judges every card and adds its raw value as evidence.
func eachCard(m facts, rule string, judge func(v *verdict, c host.Card) (raw string)) finding {
	var v verdict
	raws := make([]string, 0, len(m.NVIDIA.NVML.Cards))
	for _, c := range m.NVIDIA.NVML.Cards {
		raws = append(raws, judge(&v, c))
	}
	f := v.finding(rule)
	for i, raw := range raws {
		f = seen(f, card(m.NVIDIA.NVML.Cards[i].Index), "%s", raw)
	}
	return f
}

// unread says skipped or unknown for a card that would not tell what.
func unread(v *verdict, c host.Card, what string) (raw string, ok bool) {
	why, ok := c.Unread[what]
	if !ok {
		why, ok = c.Unread["card"]
	}
	switch {
	case !ok:
		return "", false
	case why == host.NotSupported || why == host.SwitchedOff:
		v.say(doctor.Skipped, "gpu %d: %s is %s", c.Index, what, why)
	default:
		v.say(doctor.Unknown, "gpu %d: %s could not be read: %s", c.Index, what, why)
	}
	return what + ": " + why, true
}

func gpuArch(_ context.Context, m facts) finding {
	ref := table()
	return eachCard(m, fmt.Sprintf("sm >= 75 to compute, >= 80 for bf16, >= 89 for fp8 (table of %s)", ref.Date),
		func(v *verdict, c host.Card) string {
			if raw, bad := unread(v, c, "capability"); bad {
				return raw
			}
			sm := c.Major*10 + c.Minor
			a, known := ref.arch(sm)
			switch {
			case sm < 75:
				v.say(doctor.Fail, "%s = sm_%d is too old", c.Name, sm)
			case !known:
				v.say(doctor.Warn, "%s = sm_%d is not in the table", c.Name, sm)
			case !a.BF16:
				v.say(doctor.Warn, "%s = sm_%d: no bf16", c.Name, sm)
			case !a.FP8:
				v.say(doctor.OK, "%s = sm_%d: bf16 yes, fp8 not native", c.Name, sm)
			default:
				v.say(doctor.OK, "%s = sm_%d: bf16 and fp8", c.Name, sm)
			}
			return fmt.Sprintf("compute capability %d.%d, known since CUDA %s", c.Major, c.Minor, orNone(a.CUDA))
		})
}

// gpuMemory names who holds memory by NVML's pids, which on a rented pod are the host's: it never offers to end one.
func gpuMemory(_ context.Context, m facts) finding {
	return eachCard(m, "at most 500 MiB of a card, or 1 % of a larger one, in use before a server starts", func(v *verdict, c host.Card) string {
		if raw, bad := unread(v, c, "memory"); bad {
			return raw
		}
		used := c.MemoryTotal - min(c.MemoryFree, c.MemoryTotal)
		if used > max(heldWarn, c.MemoryTotal/heldShare) {
			v.say(doctor.Warn, "gpu %d: someone holds %s of %s", c.Index, bytesText(used), bytesText(c.MemoryTotal))
		} else {
			v.say(doctor.OK, "gpu %d: %s free", c.Index, bytesText(c.MemoryFree))
		}
		raw := fmt.Sprintf("total %d, free %d bytes", c.MemoryTotal, c.MemoryFree)
		for _, h := range c.Holders {
			held := "unknown"
			if h.Bytes != ^uint64(0) { // NVML_VALUE_NOT_AVAILABLE
				held = bytesText(h.Bytes)
			}
			raw += fmt.Sprintf("; pid %d (the driver's number, perhaps the host's) holds %s", h.PID, held)
		}
		if why, bad := c.Unread["holders"]; bad {
			raw += "; holders: " + why
		}
		return raw
	})
}

func computeMode(_ context.Context, m facts) finding {
	return eachCard(m, "mode must be DEFAULT (0), or EXCLUSIVE_PROCESS (3) without another holder", func(v *verdict, c host.Card) string {
		if raw, bad := unread(v, c, "compute_mode"); bad {
			return raw
		}
		switch {
		case c.ComputeMode == int(nvml.COMPUTEMODE_PROHIBITED):
			v.say(doctor.Fail, "gpu %d: computing is prohibited", c.Index)
		case c.ComputeMode == int(nvml.COMPUTEMODE_EXCLUSIVE_PROCESS) && len(c.Holders) > 0:
			v.say(doctor.Fail, "gpu %d: exclusive, and held by another process", c.Index)
		default:
			v.say(doctor.OK, "gpu %d: mode %d", c.Index, c.ComputeMode)
		}
		return fmt.Sprintf("nvmlDeviceGetComputeMode %d", c.ComputeMode)
	})
}

func mig(_ context.Context, m facts) finding {
	return eachCard(m, "with MIG on, at least 1 instance must be there", func(v *verdict, c host.Card) string {
		if raw, bad := unread(v, c, "mig"); bad {
			return raw
		}
		switch {
		case !c.MIG.On:
			v.say(doctor.OK, "gpu %d: off", c.Index)
		case c.Unread["mig_instances"] != "":
			v.say(doctor.Unknown, "gpu %d: on, its instances could not be read", c.Index)
		case c.MIG.Instances == 0:
			v.say(doctor.Fail, "gpu %d: on, without an instance: nothing can compute", c.Index)
		default:
			v.say(doctor.Warn, "gpu %d: on, %d instances: only the instance's %s count, and no NVLink", c.Index, c.MIG.Instances, orUnknown(c.MIG.Memory))
		}
		return fmt.Sprintf("enabled %t, instances %d", c.MIG.On, c.MIG.Instances)
	})
}

func orUnknown(bytes uint64) string {
	if bytes == 0 {
		return "memory (of unknown size)"
	}
	return bytesText(bytes)
}

func ecc(_ context.Context, m facts) finding {
	f := eachCard(m, "0 uncorrected errors since the driver loaded; any in the card's life is a warning", func(v *verdict, c host.Card) string {
		if raw, bad := unread(v, c, "ecc"); bad {
			return raw
		}
		switch {
		case c.ECC.Volatile > 0:
			v.say(doctor.Fail, "gpu %d: %d uncorrected errors since the driver loaded", c.Index, c.ECC.Volatile)
		case c.ECC.Aggregate > 0:
			v.say(doctor.Warn, "gpu %d: %d uncorrected errors in its life", c.Index, c.ECC.Aggregate)
		default:
			v.say(doctor.OK, "gpu %d: none", c.Index)
		}
		return fmt.Sprintf("uncorrected: volatile %d, aggregate %d", c.ECC.Volatile, c.ECC.Aggregate)
	})
	if f.State == doctor.Fail {
		f = fixed(f, doctor.ChangeHost, "move to another host: results from this card cannot be trusted")
	}
	return f
}

func temperature(_ context.Context, m facts) finding {
	return eachCard(m, "below the slowdown temperature; within 5 degrees of it is a warning", func(v *verdict, c host.Card) string {
		for _, what := range []string{"temperature", "slowdown"} {
			if raw, bad := unread(v, c, what); bad {
				return raw
			}
		}
		switch {
		case c.Heat.Now >= c.Heat.SlowdownAt:
			v.say(doctor.Fail, "gpu %d: %d C, slows down at %d C", c.Index, c.Heat.Now, c.Heat.SlowdownAt)
		case c.Heat.Now+marginWarn >= c.Heat.SlowdownAt:
			v.say(doctor.Warn, "gpu %d: %d C, slows down at %d C", c.Index, c.Heat.Now, c.Heat.SlowdownAt)
		default:
			v.say(doctor.OK, "gpu %d: %d C", c.Index, c.Heat.Now)
		}
		return fmt.Sprintf("%d C, slowdown at %d C", c.Heat.Now, c.Heat.SlowdownAt)
	})
}

func power(_ context.Context, m facts) finding {
	return eachCard(m, "enforced limit >= 80 % of the default", func(v *verdict, c host.Card) string {
		if raw, bad := unread(v, c, "power"); bad {
			return raw
		}
		if uint64(c.Power.Limit)*100 < uint64(c.Power.Default)*powerWarn {
			v.say(doctor.Warn, "gpu %d: capped at %d of %d W", c.Index, c.Power.Limit/1000, c.Power.Default/1000)
		} else {
			v.say(doctor.OK, "gpu %d: %d W", c.Index, c.Power.Limit/1000)
		}
		return fmt.Sprintf("enforced %d mW, default %d mW", c.Power.Limit, c.Power.Default)
	})
}

// slowReasons are the bits of nvmlDeviceGetCurrentClocksEventReasons that mean trouble; idle, application clocks and the
// software power cap are normal.
var slowReasons = []struct {
	bit  uint64
	text string
}{
	{0x08, "hardware slowdown"},
	{0x20, "software thermal slowdown"},
	{0x40, "hardware thermal slowdown"},
	{0x80, "power brake"},
}

func clocks(_ context.Context, m facts) finding {
	return eachCard(m, "no bit of 0x08, 0x20, 0x40, 0x80 in the clocks' event reasons", func(v *verdict, c host.Card) string {
		if raw, bad := unread(v, c, "clocks"); bad {
			return raw
		}
		var why []string
		for _, r := range slowReasons {
			if c.ClocksReasons&r.bit != 0 {
				why = append(why, r.text)
			}
		}
		if len(why) > 0 {
			v.say(doctor.Warn, "gpu %d: %s", c.Index, strings.Join(why, ", "))
		} else {
			v.say(doctor.OK, "gpu %d: not held down", c.Index)
		}
		return fmt.Sprintf("%#x", c.ClocksReasons)
	})
}
