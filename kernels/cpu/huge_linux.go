package cpu

import "syscall"

// adviseHuge asks for transparent huge pages (madvise(2), MADV_HUGEPAGE).
func adviseHuge(b []byte) { _ = syscall.Madvise(b, 14) }
