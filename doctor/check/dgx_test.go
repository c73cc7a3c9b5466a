package check

import (
	"slices"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/dgxa100"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/dgxb200"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/dgxh100"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/dgxh200"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/server"

	"radish/doctor/host"
)

// asked reads one of NVIDIA's own mock machines as the live driver would be read. Those mocks leave most questions
// without an answer, and asking one panics: only prepare answers them.
func asked(s *server.Server, prepare func(i int, d *server.Device)) host.NVML {
	for i, dev := range s.Devices {
		d := dev.(*server.Device)
		d.MemoryInfo.Free = d.MemoryInfo.Total - 400<<20
		if prepare != nil {
			prepare(i, d)
		}
	}
	n := host.ReadNVML(s)
	n.Took = 400 * time.Millisecond
	return n
}

// well answers every question as a healthy card in an NVSwitch machine does.
func well(_ int, d *server.Device) {
	yes := nvml.SUCCESS
	d.GetComputeModeFunc = func() (nvml.ComputeMode, nvml.Return) { return nvml.COMPUTEMODE_DEFAULT, yes }
	d.GetPersistenceModeFunc = func() (nvml.EnableState, nvml.Return) { return nvml.FEATURE_ENABLED, yes }
	d.GetMaxMigDeviceCountFunc = func() (int, nvml.Return) { return 7, yes }
	d.GetComputeRunningProcessesFunc = func() ([]nvml.ProcessInfo, nvml.Return) { return nil, yes }
	d.GetEccModeFunc = func() (a, b nvml.EnableState, r nvml.Return) { return nvml.FEATURE_ENABLED, nvml.FEATURE_ENABLED, yes }
	d.GetTotalEccErrorsFunc = func(nvml.MemoryErrorType, nvml.EccCounterType) (uint64, nvml.Return) { return 0, yes }
	d.GetRemappedRowsFunc = func() (int, int, bool, bool, nvml.Return) { return 0, 0, false, false, yes }
	d.GetTemperatureFunc = func(nvml.TemperatureSensors) (uint32, nvml.Return) { return 34, yes }
	d.GetTemperatureThresholdFunc = func(nvml.TemperatureThresholds) (uint32, nvml.Return) { return 92, yes }
	d.GetEnforcedPowerLimitFunc = func() (uint32, nvml.Return) { return 700000, yes }
	d.GetPowerManagementDefaultLimitFunc = func() (uint32, nvml.Return) { return 700000, yes }
	d.GetCurrentClocksThrottleReasonsFunc = func() (uint64, nvml.Return) { return 1, yes }
	d.GetCurrPcieLinkWidthFunc = func() (int, nvml.Return) { return 16, yes }
	d.GetMaxPcieLinkWidthFunc = func() (int, nvml.Return) { return 16, yes }
	d.GetCurrPcieLinkGenerationFunc = func() (int, nvml.Return) { return 5, yes }
	d.GetMaxPcieLinkGenerationFunc = func() (int, nvml.Return) { return 5, yes }
	d.GetPcieReplayCounterFunc = func() (int, nvml.Return) { return 0, yes }
	d.GetNvLinkStateFunc = func(i int) (nvml.EnableState, nvml.Return) { return nvml.FEATURE_ENABLED, yes }
	d.GetGpuFabricInfoFunc = func() (nvml.GpuFabricInfo, nvml.Return) {
		return nvml.GpuFabricInfo{State: nvml.GPU_FABRIC_STATE_COMPLETED}, yes
	}
	d.GetP2PStatusFunc = func(nvml.Device, nvml.GpuP2PCapsIndex) (nvml.GpuP2PStatus, nvml.Return) {
		return nvml.P2P_STATUS_OK, yes
	}
}

func dgx(n host.NVML) machine {
	m := h100()
	m.nvml = n
	return m
}

func h200dgx() machine { return dgx(asked(dgxh200.New(), well)) }

// noFabric is a DGX H100 whose fabric manager does not run: NVML answers, cuInit does not.
func noFabric() machine {
	m := dgx(asked(dgxh100.New(), func(i int, d *server.Device) {
		well(i, d)
		d.GetGpuFabricInfoFunc = func() (nvml.GpuFabricInfo, nvml.Return) {
			return nvml.GpuFabricInfo{State: nvml.GPU_FABRIC_STATE_NOT_STARTED}, nvml.SUCCESS
		}
	}))
	m.cuda.Failed = host.Call{Step: "cuInit", Code: 802, Name: "CUDA_ERROR_SYSTEM_NOT_READY"}
	return m
}

// sickDGX has another trouble on each card.
func sickDGX() machine {
	m := dgx(asked(dgxa100.New(), func(i int, d *server.Device) {
		well(i, d)
		switch i {
		case 0:
			d.GetRemappedRowsFunc = func() (int, int, bool, bool, nvml.Return) { return 3, 9, true, true, nvml.SUCCESS }
		case 1:
			d.GetRemappedRowsFunc = func() (int, int, bool, bool, nvml.Return) { return 0, 1, true, false, nvml.SUCCESS }
		case 2:
			d.GetCurrPcieLinkWidthFunc = func() (int, nvml.Return) { return 8, nvml.SUCCESS }
		case 3:
			d.GetNvLinkStateFunc = func(i int) (nvml.EnableState, nvml.Return) {
				return nvml.EnableState(i % 2), nvml.SUCCESS
			}
		case 4:
			d.GetComputeModeFunc = func() (nvml.ComputeMode, nvml.Return) { return nvml.COMPUTEMODE_PROHIBITED, nvml.SUCCESS }
		case 5:
			d.GetTemperatureFunc = func(nvml.TemperatureSensors) (uint32, nvml.Return) { return 93, nvml.SUCCESS }
		case 6:
			d.GetPersistenceModeFunc = func() (nvml.EnableState, nvml.Return) { return nvml.FEATURE_DISABLED, nvml.SUCCESS }
			d.GetP2PStatusFunc = func(nvml.Device, nvml.GpuP2PCapsIndex) (nvml.GpuP2PStatus, nvml.Return) {
				return nvml.P2P_STATUS_CHIPSET_NOT_SUPPORTED, nvml.SUCCESS
			}
		}
	}))
	m.files = with(m.files, map[string]string{"dev/kmsg": "6,9,1,-;NVRM: Xid (PCI:0000:3b:00): 13, Graphics Exception\n" +
		"4,10,2,-;NVRM: Xid (PCI:0000:3b:00): 79, pid=812, GPU has fallen off the bus.\n"})
	m.env = append(m.env, "CUDA_VISIBLE_DEVICES=0,1")
	m.cuda = host.CUDA{Driver: 12040, Devices: []host.CUDADevice{{Name: "A100", Major: 8}, {Index: 1, Name: "A100", Major: 8}}}
	return m
}

// muteDGX answers only what NVIDIA's mock answers by itself: the rest must be unknown.
func muteDGX() machine {
	m := dgx(asked(dgxb200.New(), nil))
	m.env = append(m.env, "RUNPOD_GPU_COUNT=eight")
	return m
}

// migDGX is cut into instances, and the container was given two of them.
func migDGX() machine {
	m := dgx(asked(dgxh100.New(), func(i int, d *server.Device) {
		well(i, d)
		d.MigMode = nvml.DEVICE_MIG_ENABLE
		d.GetMigDeviceHandleByIndexFunc = func(n int) (nvml.Device, nvml.Return) {
			if n > 1 {
				return nil, nvml.ERROR_NOT_FOUND
			}
			part := server.NewDeviceFromConfig(d.Config, n)
			part.MemoryInfo = nvml.Memory{Total: 10 << 30}
			return part, nvml.SUCCESS
		}
	}))
	m.nvml.Cards = slices.Clip(m.nvml.Cards[:1])
	return m
}
