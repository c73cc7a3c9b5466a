package host

import (
	"errors"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
)

// Xids are the driver's error numbers in the kernel's log since the host started, in the order of the log.
type Xids struct {
	Numbers []int
	Lines   []string // one for each, cut
	Err     string   // why the log could not be read: in a container it mostly cannot
}

// xidLine is what the driver's kernel module prints: "NVRM: Xid (PCI:0000:3b:00): 79, pid=..., GPU has fallen off the bus."
var xidLine = regexp.MustCompile(`NVRM: Xid \([^)]*\): (\d+),?[^\n]{0,160}`)

const maxKernelLog = 16 << 20

// readXids reads /dev/kmsg without waiting for more. Each read gives one record; EPIPE says that some were overwritten.
func readXids(root string) Xids {
	fd, err := syscall.Open(filepath.Join(root, "dev/kmsg"), syscall.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return Xids{Err: "open /dev/kmsg: " + err.Error()}
	}
	defer syscall.Close(fd)
	var x Xids
	buf := make([]byte, 64<<10)
	for total := 0; total < maxKernelLog; {
		n, err := syscall.Read(fd, buf)
		switch {
		case errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN), n == 0 && err == nil:
			return x
		case err != nil:
			x.Err = "read /dev/kmsg: " + err.Error()
			return x
		}
		total += n
		x.add(buf[:n])
	}
	return x
}

func (x *Xids) add(text []byte) {
	for _, m := range xidLine.FindAllSubmatch(text, 100) {
		if n, err := strconv.Atoi(string(m[1])); err == nil && len(x.Numbers) < 1000 {
			x.Numbers, x.Lines = append(x.Numbers, n), append(x.Lines, string(m[0]))
		}
	}
}
