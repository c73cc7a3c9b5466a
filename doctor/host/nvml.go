package host

import (
	"fmt"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// library is the part of NVML that reading needs.
type library interface {
	source
	Init() nvml.Return
	Shutdown() nvml.Return
	SystemGetCudaDriverVersion() (int, nvml.Return)
	Extensions() nvml.ExtendedInterface
}

// ReadNVML asks the driver's management library about everything the checks judge. A symbol that an older driver lacks
// would end the whole process, so that those added since driver 450 are looked up before they are called.
func ReadNVML(lib library) NVML {
	begin := time.Now()
	if ret := lib.Init(); ret != nvml.SUCCESS {
		return NVML{Err: "nvmlInit: " + word(ret), Absent: ret == nvml.ERROR_LIBRARY_NOT_FOUND}
	}
	defer lib.Shutdown()
	var n NVML
	var ret nvml.Return
	if n.Driver, ret = lib.SystemGetDriverVersion(); ret != nvml.SUCCESS {
		return NVML{Err: "nvmlSystemGetDriverVersion: " + word(ret)}
	}
	if n.CUDA, ret = lib.SystemGetCudaDriverVersion(); ret != nvml.SUCCESS {
		n.CUDA = 0
	}
	count, ret := lib.DeviceGetCount()
	if ret != nvml.SUCCESS {
		n.Err = "nvmlDeviceGetCount: " + word(ret)
		return n
	}
	devices := make([]nvml.Device, 0, maxCards)
	lost := false
	for i := range min(count, maxCards) {
		c := Card{GPU: GPU{Index: i}, Unread: map[string]string{}}
		dev, ret := lib.DeviceGetHandleByIndex(i)
		if c.got("card", ret) {
			c.read(dev, lib.Extensions())
			devices = append(devices, dev)
		} else {
			lost = true
		}
		n.Cards = append(n.Cards, c)
	}
	if !lost {
		n.NoP2P = withoutP2P(n.Cards, devices)
	}
	n.Took = time.Since(begin)
	return n
}

// reading is one question to a card. Symbol is set where an older driver may not have the call.
type reading struct {
	name, symbol string
	ask          func() nvml.Return
}

func (c *Card) read(dev nvml.Device, have nvml.ExtendedInterface) {
	for _, readings := range [][]reading{c.identity(dev), c.state(dev), c.health(dev), c.links(dev)} {
		for _, r := range readings {
			if r.symbol != "" && have.LookupSymbol(r.symbol) != nil {
				c.Unread[r.name] = "this driver has no " + r.symbol
				continue
			}
			c.try(r)
		}
	}
}

// try keeps a question that panics from costing the others.
func (c *Card) try(r reading) {
	defer func() {
		if p := recover(); p != nil {
			c.Unread[r.name] = fmt.Sprintf("reading panicked: %v", p)
		}
	}()
	c.got(r.name, r.ask())
}

// got notes under name what could not be read.
func (c *Card) got(name string, ret nvml.Return) bool {
	switch ret {
	case nvml.SUCCESS:
		return true
	case nvml.ERROR_NOT_SUPPORTED:
		c.Unread[name] = NotSupported
	default:
		c.Unread[name] = word(ret)
	}
	return false
}

func (c *Card) identity(dev nvml.Device) []reading {
	return []reading{
		{"name", "", func() (ret nvml.Return) { c.Name, ret = dev.GetName(); return }},
		{"uuid", "", func() (ret nvml.Return) { c.UUID, ret = dev.GetUUID(); return }},
		{"capability", "", func() (ret nvml.Return) { c.Major, c.Minor, ret = dev.GetCudaComputeCapability(); return }},
		{"memory", "", func() nvml.Return {
			m, ret := dev.GetMemoryInfo()
			c.MemoryTotal, c.MemoryFree = m.Total, m.Free
			return ret
		}},
	}
}

func (c *Card) state(dev nvml.Device) []reading {
	return []reading{
		{"compute_mode", "", func() nvml.Return {
			mode, ret := dev.GetComputeMode()
			c.ComputeMode = int(mode)
			return ret
		}},
		{"persistence", "", func() nvml.Return {
			on, ret := dev.GetPersistenceMode()
			c.Persistence = on == nvml.FEATURE_ENABLED
			return ret
		}},
		{"mig", "", func() nvml.Return {
			current, _, ret := dev.GetMigMode()
			c.MIG.On = ret == nvml.SUCCESS && current == nvml.DEVICE_MIG_ENABLE
			return ret
		}},
		{"mig_instances", "", func() nvml.Return { return c.instances(dev) }},
		{"holders", "", func() nvml.Return {
			all, ret := dev.GetComputeRunningProcesses()
			for _, p := range all {
				c.Holders = append(c.Holders, Holder{p.Pid, p.UsedGpuMemory})
			}
			return ret
		}},
	}
}

func (c *Card) instances(dev nvml.Device) nvml.Return {
	if !c.MIG.On {
		return nvml.SUCCESS
	}
	most, ret := dev.GetMaxMigDeviceCount()
	for i := range min(most, maxCards) {
		part, ret := dev.GetMigDeviceHandleByIndex(i)
		if ret != nvml.SUCCESS {
			continue // not every place is taken
		}
		c.MIG.Instances++
		if m, ret := part.GetMemoryInfo(); ret == nvml.SUCCESS && (c.MIG.Memory == 0 || m.Total < c.MIG.Memory) {
			c.MIG.Memory = m.Total
		}
	}
	return ret
}

func (c *Card) health(dev nvml.Device) []reading {
	return []reading{
		{"ecc", "", func() nvml.Return { return c.errors(dev) }},
		{"rows", "nvmlDeviceGetRemappedRows", func() (ret nvml.Return) {
			c.Rows.Corrected, c.Rows.Uncorrected, c.Rows.Pending, c.Rows.Failed, ret = dev.GetRemappedRows()
			if ret == nvml.ERROR_NOT_SUPPORTED {
				var pending nvml.EnableState
				pending, ret = dev.GetRetiredPagesPendingStatus()
				c.Rows.Pending = pending == nvml.FEATURE_ENABLED
			}
			return ret
		}},
		{"temperature", "", func() (ret nvml.Return) { c.Heat.Now, ret = dev.GetTemperature(nvml.TEMPERATURE_GPU); return }},
		{"slowdown", "", func() (ret nvml.Return) {
			c.Heat.SlowdownAt, ret = dev.GetTemperatureThreshold(nvml.TEMPERATURE_THRESHOLD_SLOWDOWN)
			return
		}},
		{"power", "", func() (ret nvml.Return) {
			if c.Power.Limit, ret = dev.GetEnforcedPowerLimit(); ret == nvml.SUCCESS {
				c.Power.Default, ret = dev.GetPowerManagementDefaultLimit()
			}
			return
		}},
		{"clocks", "", func() (ret nvml.Return) { c.ClocksReasons, ret = dev.GetCurrentClocksThrottleReasons(); return }},
	}
}

func (c *Card) errors(dev nvml.Device) nvml.Return {
	on, _, ret := dev.GetEccMode()
	if ret != nvml.SUCCESS {
		return ret
	}
	if on == nvml.FEATURE_DISABLED {
		c.Unread["ecc"] = SwitchedOff
		return nvml.SUCCESS
	}
	if c.ECC.Volatile, ret = dev.GetTotalEccErrors(nvml.MEMORY_ERROR_TYPE_UNCORRECTED, nvml.VOLATILE_ECC); ret != nvml.SUCCESS {
		return ret
	}
	c.ECC.Aggregate, ret = dev.GetTotalEccErrors(nvml.MEMORY_ERROR_TYPE_UNCORRECTED, nvml.AGGREGATE_ECC)
	return ret
}

func (c *Card) links(dev nvml.Device) []reading {
	return []reading{
		{"pcie", "", func() (ret nvml.Return) {
			for _, ask := range []func() nvml.Return{
				func() (ret nvml.Return) { c.PCIe.Width, ret = dev.GetCurrPcieLinkWidth(); return },
				func() (ret nvml.Return) { c.PCIe.MaxWidth, ret = dev.GetMaxPcieLinkWidth(); return },
				func() (ret nvml.Return) { c.PCIe.Generation, ret = dev.GetCurrPcieLinkGeneration(); return },
				func() (ret nvml.Return) { c.PCIe.MaxGeneration, ret = dev.GetMaxPcieLinkGeneration(); return },
			} {
				if ret = ask(); ret != nvml.SUCCESS {
					return ret
				}
			}
			return ret
		}},
		{"pcie_replays", "", func() (ret nvml.Return) { c.PCIe.Replays, ret = dev.GetPcieReplayCounter(); return }},
		{"nvlink", "", func() nvml.Return { return c.nvlinks(dev) }},
		{"fabric", "nvmlDeviceGetGpuFabricInfo", func() nvml.Return {
			f, ret := dev.GetGpuFabricInfo()
			c.NVLink.Fabric, c.NVLink.Status = int(f.State), int(f.Status)
			return ret
		}},
	}
}

// nvlinks counts the links; the numbers beyond a card's last one are answered with an error.
func (c *Card) nvlinks(dev nvml.Device) nvml.Return {
	for i := range nvml.NVLINK_MAX_LINKS {
		state, ret := dev.GetNvLinkState(i)
		switch {
		case ret != nvml.SUCCESS && i == 0:
			return ret
		case ret != nvml.SUCCESS:
			return nvml.SUCCESS
		case state == nvml.FEATURE_ENABLED:
			c.NVLink.Up++
		default:
			c.NVLink.Down++
		}
	}
	return nvml.SUCCESS
}

// p2pReasons is nvmlGpuP2PStatus_t; 0 is "ok".
var p2pReasons = map[nvml.GpuP2PStatus]string{
	nvml.P2P_STATUS_CHIPSET_NOT_SUPPORED:       "chipset not supported",
	nvml.P2P_STATUS_GPU_NOT_SUPPORTED:          "card not supported",
	nvml.P2P_STATUS_IOH_TOPOLOGY_NOT_SUPPORTED: "topology not supported",
	nvml.P2P_STATUS_DISABLED_BY_REGKEY:         "disabled by a driver setting",
	nvml.P2P_STATUS_NOT_SUPPORTED:              NotSupported,
	nvml.P2P_STATUS_UNKNOWN:                    "unknown",
}

// withoutP2P names the pairs that cannot read each other's memory directly.
func withoutP2P(cards []Card, devices []nvml.Device) (pairs []string) {
	for i := range devices {
		for j := i + 1; j < len(devices); j++ {
			cards[i].try(reading{"p2p", "", func() nvml.Return {
				status, ret := devices[i].GetP2PStatus(devices[j], nvml.P2P_CAPS_INDEX_READ)
				if ret == nvml.SUCCESS && status != nvml.P2P_STATUS_OK {
					pairs = append(pairs, fmt.Sprintf("%d-%d: %s", i, j, p2pReasons[status]))
				}
				return ret
			}})
		}
	}
	return pairs
}

// word is NVML's own text for a result, with its number.
func word(ret nvml.Return) string { return ret.String() }
