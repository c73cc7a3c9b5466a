//go:build !linux

package cpu

import "runtime"

// cores is as many unpinned workers as there are processors.
func cores() []int32 { return make([]int32, runtime.NumCPU()) }
