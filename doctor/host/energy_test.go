package host

import (
	"errors"
	"strings"
	"testing"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock"
)

// meterOf is a machine whose card i has used 1000 (i+1) joules; a card of no counter says so.
func meterOf(cards int, without int) *mock.Interface {
	lib := &mock.Interface{
		InitFunc:           func() nvml.Return { return nvml.SUCCESS },
		ShutdownFunc:       func() nvml.Return { return nvml.SUCCESS },
		DeviceGetCountFunc: func() (int, nvml.Return) { return cards, nvml.SUCCESS },
		ErrorStringFunc:    func(r nvml.Return) string { return r.Error() },
	}
	lib.DeviceGetHandleByIndexFunc = func(i int) (nvml.Device, nvml.Return) {
		if i >= cards {
			return nil, nvml.ERROR_INVALID_ARGUMENT
		}
		return &mock.Device{
			GetNameFunc: func() (string, nvml.Return) { return "NVIDIA A40", nvml.SUCCESS },
			GetTotalEnergyConsumptionFunc: func() (uint64, nvml.Return) {
				if i == without {
					return 0, nvml.ERROR_NOT_SUPPORTED
				}
				return uint64(i+1) * 1_000_000, nvml.SUCCESS
			},
		}, nvml.SUCCESS
	}
	return lib
}

func TestEnergyMeter(t *testing.T) {
	for _, c := range []struct {
		indices []int
		joules  float64
	}{{nil, 6000}, {[]int{1}, 2000}, {[]int{2, 0}, 4000}} {
		lib := meterOf(3, -1)
		m, err := openEnergyMeter(lib, c.indices)
		if err != nil {
			t.Fatal(err)
		}
		if j, err := m.Joules(); err != nil || j != c.joules || m.Names[0] != "NVIDIA A40" {
			t.Errorf("%v: %v J, %v", c.indices, j, err)
		}
		m.Close()
		if len(lib.ShutdownCalls()) != 1 {
			t.Error("nvml stays open")
		}
	}
}

func TestEnergyMeterRefuses(t *testing.T) {
	lib := meterOf(2, 1)
	if _, err := openEnergyMeter(lib, nil); err == nil || !strings.Contains(err.Error(), "card 1") || len(lib.ShutdownCalls()) != 1 {
		t.Errorf("a card without a counter: %v", err)
	}
	if _, err := openEnergyMeter(meterOf(1, -1), []int{4}); err == nil {
		t.Error("card 4 of 1")
	}
	lib.InitFunc = func() nvml.Return { return nvml.ERROR_LIBRARY_NOT_FOUND }
	if _, err := openEnergyMeter(lib, nil); !errors.Is(err, ErrNoDriver) {
		t.Errorf("no driver: %v", err)
	}
}
