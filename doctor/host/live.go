package host

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"syscall"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/shirou/gopsutil/v3/mem"
)

// Live is the machine this process runs on.
type Live struct{}

// staUnsync is STA_UNSYNC of adjtimex(2): nothing disciplines the clock.
const staUnsync = 0x40

// Clock is the wall clock and, by adjtimex(2), whether anything keeps it right as far as the kernel knows.
func (Live) Clock() (now time.Time, synchronised bool, err error) {
	var tx syscall.Timex
	if _, err := syscall.Adjtimex(&tx); err != nil {
		return time.Now(), false, fmt.Errorf("read clock state: %w", err)
	}
	return time.Now(), tx.Status&staUnsync == 0, nil
}

// HostMemory is the whole machine's, in bytes.
func (Live) HostMemory() (total, available uint64, err error) {
	vm, err := mem.VirtualMemory()
	if err != nil {
		return 0, 0, fmt.Errorf("read host memory: %w", err)
	}
	return vm.Total, vm.Available, nil
}

// Space is statfs(2) of path and, with reserve, a trial in a directory of its own that is removed again.
func (Live) Space(path string, reserve uint64) (Space, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(path, &s); err != nil {
		return Space{}, fmt.Errorf("statfs %s: %w", path, err)
	}
	block := uint64(s.Bsize)
	space := Space{Total: s.Blocks * block, Free: s.Bavail * block, Inodes: s.Files, InodesFree: s.Ffree}
	if reserve > 0 {
		space.Trial = try(path, min(reserve, space.Free))
	}
	return space, nil
}

// Bind listens on every address at port, with SO_REUSEADDR as Go's listeners have it, and lets go again.
func (Live) Bind(port int) error {
	l, err := net.Listen("tcp", ":"+strconv.Itoa(port))
	if err != nil {
		return err
	}
	return l.Close()
}

// NVML reads the driver's library in this process.
func (Live) NVML(context.Context) NVML { return ReadNVML(nvml.New()) }

// CUDA starts CUDA in this process and uses every device.
func (Live) CUDA(context.Context) CUDA { return probeCUDA("libcuda.so.1") }
