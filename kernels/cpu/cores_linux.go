package cpu

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"unsafe"
)

// cores lists one logical CPU of each physical core that the process may run on.
func cores() []int32 {
	var set [128]uint64
	n, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_GETAFFINITY, 0, unsafe.Sizeof(set), uintptr(unsafe.Pointer(&set)))
	if errno != 0 {
		return make([]int32, runtime.NumCPU())
	}
	var list []int32
	seen := map[string]bool{}
	for cpu := range int32(n * 8) {
		if set[cpu/64]>>(cpu%64)&1 == 0 {
			continue
		}
		text, err := os.ReadFile(fmt.Sprintf("/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu))
		key := strings.TrimSpace(string(text))
		if err != nil || !seen[key] {
			list = append(list, cpu)
		}
		seen[key] = true
	}
	return list
}
