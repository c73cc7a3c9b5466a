package host

import (
	"fmt"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// EnergyMeter reads the energy counters of some cards, which the driver keeps since it was loaded (Volta and later).
type EnergyMeter struct {
	lib   meterLibrary
	cards []nvml.Device
	Names []string // of the cards
}

// meterLibrary is the part of NVML that a meter needs.
type meterLibrary interface {
	Init() nvml.Return
	Shutdown() nvml.Return
	source
}

// OpenEnergyMeter opens the cards of the given indices, or all when none is given, and keeps NVML open until Close.
// Without a driver it returns ErrNoDriver.
func OpenEnergyMeter(indices ...int) (*EnergyMeter, error) {
	return openEnergyMeter(nvml.New(), indices)
}

func openEnergyMeter(lib meterLibrary, indices []int) (*EnergyMeter, error) {
	if ret := lib.Init(); ret == nvml.ERROR_LIBRARY_NOT_FOUND {
		return nil, ErrNoDriver
	} else if ret != nvml.SUCCESS {
		return nil, fmt.Errorf("init nvml: %s", lib.ErrorString(ret))
	}
	m := &EnergyMeter{lib: lib}
	if err := m.open(indices); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

func (m *EnergyMeter) open(indices []int) error {
	if len(indices) == 0 {
		n, ret := m.lib.DeviceGetCount()
		if ret != nvml.SUCCESS {
			return fmt.Errorf("count gpus: %s", m.lib.ErrorString(ret))
		}
		for i := range n {
			indices = append(indices, i)
		}
	}
	for _, i := range indices {
		dev, ret := m.lib.DeviceGetHandleByIndex(i)
		if ret != nvml.SUCCESS {
			return fmt.Errorf("open gpu %d: %s", i, m.lib.ErrorString(ret))
		}
		name, ret := dev.GetName()
		if ret != nvml.SUCCESS {
			return fmt.Errorf("name gpu %d: %s", i, m.lib.ErrorString(ret))
		}
		m.cards, m.Names = append(m.cards, dev), append(m.Names, name)
	}
	_, err := m.Joules()
	return err
}

// Joules is what the cards have used together since their drivers were loaded.
func (m *EnergyMeter) Joules() (float64, error) {
	sum := 0.0
	for i, dev := range m.cards {
		millijoules, ret := dev.GetTotalEnergyConsumption()
		if ret != nvml.SUCCESS {
			return 0, fmt.Errorf("read energy of %s (card %d of the meter): %s", m.Names[i], i, m.lib.ErrorString(ret))
		}
		sum += float64(millijoules) / 1e3
	}
	return sum, nil
}

// Close lets go of NVML.
func (m *EnergyMeter) Close() { m.lib.Shutdown() }
