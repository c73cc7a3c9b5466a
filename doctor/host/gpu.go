package host

import (
	"errors"
	"fmt"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/hashicorp/go-version"
)

// ErrNoDriver says that NVML, and with it the NVIDIA driver, is not there.
var ErrNoDriver = errors.New("no NVIDIA driver (libnvidia-ml.so.1 not found)")

// GPU is one NVIDIA card as NVML names it.
type GPU struct {
	Index        int
	Name         string
	Major, Minor int    // compute capability
	MemoryTotal  uint64 // bytes
	MemoryFree   uint64
}

// GPUs lists the cards and the driver's version. Without a driver it returns ErrNoDriver.
func GPUs() ([]GPU, *version.Version, error) {
	lib := nvml.New()
	if ret := lib.Init(); ret == nvml.ERROR_LIBRARY_NOT_FOUND {
		return nil, nil, ErrNoDriver
	} else if ret != nvml.SUCCESS {
		return nil, nil, fmt.Errorf("init nvml: %s", lib.ErrorString(ret))
	}
	defer lib.Shutdown()
	return list(lib)
}

// source is the part of NVML that listing needs, so that tests can give a machine.
type source interface {
	SystemGetDriverVersion() (string, nvml.Return)
	DeviceGetCount() (int, nvml.Return)
	DeviceGetHandleByIndex(int) (nvml.Device, nvml.Return)
	ErrorString(nvml.Return) string
}

func list(lib source) ([]GPU, *version.Version, error) {
	text, ret := lib.SystemGetDriverVersion()
	if ret != nvml.SUCCESS {
		return nil, nil, fmt.Errorf("read driver version: %s", lib.ErrorString(ret))
	}
	driver, err := version.NewVersion(text)
	if err != nil {
		return nil, nil, fmt.Errorf("parse driver version %q: %w", text, err)
	}
	n, ret := lib.DeviceGetCount()
	if ret != nvml.SUCCESS {
		return nil, driver, fmt.Errorf("count gpus: %s", lib.ErrorString(ret))
	}
	gpus := make([]GPU, 0, n)
	for i := range n {
		g, err := one(lib, i)
		if err != nil {
			return gpus, driver, err
		}
		gpus = append(gpus, g)
	}
	return gpus, driver, nil
}

func one(lib source, i int) (GPU, error) {
	g := GPU{Index: i}
	dev, ret := lib.DeviceGetHandleByIndex(i)
	if ret != nvml.SUCCESS {
		return g, fmt.Errorf("open gpu %d: %s", i, lib.ErrorString(ret))
	}
	if g.Name, ret = dev.GetName(); ret != nvml.SUCCESS {
		return g, fmt.Errorf("name gpu %d: %s", i, lib.ErrorString(ret))
	}
	if g.Major, g.Minor, ret = dev.GetCudaComputeCapability(); ret != nvml.SUCCESS {
		return g, fmt.Errorf("read compute capability of gpu %d: %s", i, lib.ErrorString(ret))
	}
	info, ret := dev.GetMemoryInfo()
	if ret != nvml.SUCCESS {
		return g, fmt.Errorf("read memory of gpu %d: %s", i, lib.ErrorString(ret))
	}
	g.MemoryTotal, g.MemoryFree = info.Total, info.Free
	return g, nil
}
