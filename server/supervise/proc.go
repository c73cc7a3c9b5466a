package supervise

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// stat is the part of /proc/PID/stat that is used here.
type stat struct {
	state   byte
	parent  int
	session int
	threads uint64
	cpu     uint64 // clock ticks of user and system time
	start   uint64 // clock ticks after boot
	rss     int64  // bytes
}

// dead says that nothing of the process runs any more. One whose first thread has ended is called a zombie while others
// of its threads still have its files and ports.
func (s stat) dead() bool { return s.state == 'X' || s.state == 'Z' && s.threads <= 1 }

// ticksPerSecond is USER_HZ, which is 100 on every Linux that Go runs on.
const ticksPerSecond = 100

func readStat(pid int) (stat, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, fmt.Errorf("read process: %w", err)
	}
	return parseStat(b)
}

// parseStat reads what follows the name, which is in parentheses and may hold any of them itself.
func parseStat(b []byte) (stat, error) {
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return stat{}, fmt.Errorf("read process: %q has no name", b)
	}
	f := strings.Fields(string(b[i+1:])) // f[0] is field 3 of proc(5)
	if len(f) < 22 || len(f[0]) != 1 {
		return stat{}, fmt.Errorf("read process: %d fields", len(f))
	}
	n := func(field int) uint64 { // what does not parse is 0 and equals nothing
		v, err := strconv.ParseUint(f[field-3], 10, 64)
		if err != nil {
			return 0
		}
		return v
	}
	return stat{state: f[0][0], parent: int(n(4)), session: int(n(6)), threads: n(20), cpu: n(14) + n(15), start: n(22),
		rss: int64(n(24)) * int64(os.Getpagesize())}, nil
}

// BytesRead is what the process has read so far, from any file; 0 where the kernel does not say.
func BytesRead(pid int) uint64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "rchar: "); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(v), 10, 64)
			if err == nil {
				return n
			}
		}
	}
	return 0
}

// processes visits every process that can be seen.
func processes(visit func(pid int, st stat)) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if st, err := readStat(pid); err == nil {
			visit(pid, st)
		}
	}
}

// tagged says whether the process was started with our mark in its environment.
func tagged(pid int, tag string) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return false
	}
	return bytes.Contains(append([]byte{0}, b...), []byte("\x00"+TagEnv+"="+tag+"\x00"))
}
