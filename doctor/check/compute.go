package check

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-version"

	"radish/doctor"
	"radish/doctor/host"
)

// patience is how long a driver may take before its silence is a fault: one that wakes eight cards needs seconds.
const patience = 10 * time.Second

// silent judges a driver that did not answer: after a short wait nobody knows whether it is slow or hangs.
func silent(m facts, rule, source, why string) finding {
	if m.Self.Wait < patience {
		f := is(doctor.Unknown, rule, "the driver did not answer: it is slow, or it hangs")
		return fixed(seen(f, source, "%s", why), doctor.SetFlag, "give it more time", "radish", "doctor", "--only", "gpu", "--wait", "20s")
	}
	f := is(doctor.Fail, rule, "the driver does not answer")
	return fixed(seen(f, source, "%s", why), doctor.RecreatePod, "a driver that hangs is the host's: make the pod anew elsewhere")
}

// cuResults is what a CUresult of starting up means, and who can mend it.
var cuResults = map[int]struct {
	text string
	fix  doctor.Fix
}{
	2:   {"out of memory: not even 1 MiB is left", doctor.Fix{Kind: doctor.RunCommand, Text: "end what holds the card's memory, see gpu.memory"}},
	46:  {"the card is in use and exclusive", doctor.Fix{Kind: doctor.ChangeHost, Text: "the compute mode is the host's to set; end the other holder if it is yours"}},
	100: {"no device: CUDA sees none", doctor.Fix{Kind: doctor.RecreatePod, Text: "unset CUDA_VISIBLE_DEVICES; if that does not help, make the pod anew"}},
	101: {"CUDA_VISIBLE_DEVICES names a card that is not there", doctor.Fix{Kind: doctor.SetFlag, Text: "unset CUDA_VISIBLE_DEVICES"}},
	802: {"not ready: on an NVSwitch host the fabric manager does not run", doctor.Fix{Kind: doctor.ChangeHost, Text: "only the host's owner can start it: take another host"}},
	803: {"libcuda and the kernel's driver differ", doctor.Fix{Kind: doctor.RecreatePod, Text: "the driver was changed under the container: make the pod anew"}},
	804: {"this card does not support the forward-compatibility libcuda", doctor.Fix{Kind: doctor.EditTemplate, Text: "drop /usr/local/cuda*/compat from LD_LIBRARY_PATH"}},
	999: {"unknown error: the container has mostly lost its devices", doctor.Fix{Kind: doctor.RecreatePod, Text: "make the pod anew; a daemon-reload on the host does that"}},
}

// cuInit judges a real start of CUDA, because the driver's management library answers while computing is impossible.
func cuInit(_ context.Context, m facts) finding {
	const rule = "cuInit, a context and 1 MiB on every device must succeed (0) in a child, within the wait"
	const source = "cuInit, cuDevicePrimaryCtxRetain, cuMemAlloc"
	c := m.NVIDIA.CUDA
	switch {
	case strings.Contains(c.Err, "no answer within"):
		return silent(m, rule, source, c.Err)
	case c.Err != "":
		f := is(doctor.Fail, rule, "starting CUDA ends the process: %s", c.Err)
		return fixed(seen(f, source, "%s", c.Err), doctor.RecreatePod, "make the pod anew; if it happens again, on another host")
	case c.Absent != "":
		f := is(doctor.Fail, rule, "libcuda.so.1 cannot be used: %s", c.Absent)
		return fixed(seen(f, "dlopen", "%s", c.Absent), doctor.EditTemplate, "set NVIDIA_DRIVER_CAPABILITIES=compute,utility")
	case c.Failed.Code != 0:
		return refused(rule, c.Failed)
	case len(c.Devices) == 0:
		return seen(is(doctor.Fail, rule, "CUDA starts and sees no device"), "cuDeviceGetCount", "0")
	}
	return eachDevice(c, rule)
}

func refused(rule string, call host.Call) finding {
	known, ok := cuResults[call.Code]
	if !ok {
		known.text = "CUDA does not start"
		known.fix = doctor.Fix{Kind: doctor.RecreatePod, Text: "make the pod anew; if it happens again, on another host"}
	}
	f := is(doctor.Fail, rule, "%s", known.text)
	f.Fix = &known.fix
	return seen(f, call.Step, "%d %s", call.Code, call.Name)
}

func eachDevice(c host.CUDA, rule string) finding {
	var v verdict
	var f finding
	for _, d := range c.Devices {
		if d.Failed.Code == 0 {
			v.say(doctor.OK, "device %d: computes", d.Index)
			f = seen(f, fmt.Sprintf("cuda device %d", d.Index), "%s, sm_%d%d", d.Name, d.Major, d.Minor)
			continue
		}
		bad := refused(rule, d.Failed)
		v.say(doctor.Fail, "device %d: %s", d.Index, bad.Summary)
		f.Fix = bad.Fix
		f = seen(f, fmt.Sprintf("cuda device %d", d.Index), "%s %d %s", d.Failed.Step, d.Failed.Code, d.Failed.Name)
	}
	told := v.finding(rule)
	told.Evidence, told.Fix = f.Evidence, f.Fix
	return seen(told, "cuDriverGetVersion", "%d", c.Driver)
}

// kernels compares every device with the GPU code inside this very binary.
func kernels(_ context.Context, m facts) finding {
	const rule = "code for sm_XY runs on X.Z with Z >= Y, with an a only on X.Y; PTX of compute_XY on any later card, if the driver is as new as the PTX"
	source := "inside this binary"
	if len(m.Self.Kernels) == 0 {
		return seen(is(doctor.Skipped, rule, "this binary holds no GPU code: it computes on the CPU"), source, "none")
	}
	var v verdict
	for _, d := range m.NVIDIA.CUDA.Devices {
		sm := d.Major*10 + d.Minor
		switch code, jit := best(m.Self.Kernels, sm); {
		case code == "":
			v.say(doctor.Fail, "device %d: sm_%d, no code for it in this binary", d.Index, sm)
		case jit && tooOldForPTX(m):
			v.say(doctor.Fail, "device %d: sm_%d, only %s, which driver %s is too old to compile (error 222)", d.Index, sm, code, m.NVIDIA.NVML.Driver)
		case jit:
			v.say(doctor.Warn, "device %d: sm_%d, only %s, which the driver has to compile at the first start", d.Index, sm, code)
		default:
			v.say(doctor.OK, "device %d: sm_%d, runs %s", d.Index, sm, code)
		}
	}
	if v.state == "" {
		return is(doctor.Unknown, rule, "CUDA did not tell its devices")
	}
	return seen(v.finding(rule), source, "%s", strings.Join(m.Self.Kernels, ", "))
}

// tooOldForPTX says that the driver is older than the toolkit that the binary's PTX was written by.
func tooOldForPTX(m facts) bool {
	driver, err := version.NewVersion(m.NVIDIA.NVML.Driver)
	return err == nil && driver.LessThan(table().own(table().WantedCUDA))
}

// best is the newest code that runs on a card, machine code before PTX.
func best(code []string, sm int) (name string, jit bool) {
	newest, newestPTX := 0, 0
	ptx := ""
	for _, c := range code {
		if n, ok := strings.CutPrefix(c, "ptx compute_"); ok {
			if v, err := strconv.Atoi(n); err == nil && v <= sm && v > newestPTX {
				newestPTX, ptx = v, c
			}
			continue
		}
		n := strings.TrimPrefix(c, "sm_")
		v, err := strconv.Atoi(strings.TrimRight(n, "af"))
		exact := strings.HasSuffix(n, "a")
		if err == nil && v/10 == sm/10 && v <= sm && v > newest && (!exact || v == sm) {
			newest, name = v, c
		}
	}
	if name == "" {
		return ptx, ptx != ""
	}
	return name, false
}
