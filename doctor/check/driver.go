package check

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/hashicorp/go-version"

	"radish/doctor"
)

func deviceNodes(_ context.Context, m facts) finding {
	const rule = "with a driver, /dev/nvidiactl, /dev/nvidia-uvm and at least 1 /dev/nvidiaN must be there"
	n := m.NVIDIA
	if n.Err != "" {
		return is(doctor.Unknown, rule, "%s", n.Err)
	}
	var cards, ctl, uvm int
	for _, node := range n.Nodes {
		switch rest := strings.TrimPrefix(node, "/dev/nvidia"); {
		case rest == "ctl":
			ctl++
		case rest == "-uvm":
			uvm++
		default:
			if _, err := strconv.Atoi(rest); err == nil {
				cards++
			}
		}
	}
	var f finding
	switch promised, paid := m.Env.Get("RUNPOD_GPU_COUNT"); {
	case cards > 0 && ctl > 0 && uvm > 0:
		f = is(doctor.OK, rule, "%d card nodes, nvidiactl and nvidia-uvm are there", cards)
	case n.KernelDriver != "" || len(n.Nodes) > 0:
		f = fixed(is(doctor.Fail, rule, "the host has a driver, but this container was started without its devices"),
			doctor.RecreatePod, "start the container with --gpus all, or choose a GPU template")
	case paid && promised != "0":
		f = fixed(is(doctor.Fail, rule, "the pod promises %s GPUs and there is neither a device nor a driver", promised),
			doctor.RecreatePod, "make the pod anew; nothing inside it can bring the devices back")
	default:
		f = is(doctor.Skipped, rule, "no NVIDIA GPU here: radish computes on the CPU")
	}
	f = seen(f, "/dev/nvidia*", "%s", orNone(strings.Join(n.Nodes, " ")))
	return seen(f, "/proc/driver/nvidia/version", "%s", orNone(n.KernelDriver))
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func driverLibs(_ context.Context, m facts) finding {
	const rule = "libcuda.so.1 and libnvidia-ml.so.1 must be found, larger than 0 bytes, and the first not in a stubs directory"
	var v verdict
	for _, name := range []string{"libcuda.so.1", "libnvidia-ml.so.1"} {
		lib, ok := m.NVIDIA.Lib(name)
		switch {
		case !ok:
			v.say(doctor.Fail, "%s is missing", name)
		case lib.Size == 0:
			v.say(doctor.Fail, "%s is empty", lib.Path)
		case strings.Contains(lib.Path, "/stubs/"):
			v.say(doctor.Fail, "the loader takes the toolkit's stub %s instead of the driver", lib.Path)
		default:
			v.say(doctor.OK, "%s", lib.Path)
		}
	}
	f := v.finding(rule)
	for _, lib := range m.NVIDIA.Libs {
		f = seen(f, lib.Path, "%d bytes", lib.Size)
	}
	caps, _ := m.Env.Get("NVIDIA_DRIVER_CAPABILITIES")
	f = seen(f, "NVIDIA_DRIVER_CAPABILITIES", "%s", orNone(caps))
	if f.State != doctor.OK {
		f = fixed(f, doctor.EditTemplate, "set NVIDIA_DRIVER_CAPABILITIES=compute,utility and take stubs out of LD_LIBRARY_PATH")
	}
	return f
}

func nvmlAnswers(_ context.Context, m facts) finding {
	const rule = "nvmlInit must succeed within the wait and list at least 1 card"
	n := m.NVIDIA.NVML
	switch {
	case strings.Contains(n.Err, "no answer within"):
		return silent(m, rule, "nvml", n.Err)
	case n.Err != "":
		f := is(doctor.Fail, rule, "the driver's library does not work: %s", n.Err)
		return fixed(seen(f, "nvml", "%s", n.Err), doctor.RecreatePod, nvmlAdvice(n.Err))
	case len(n.Cards) == 0:
		return seen(is(doctor.Fail, rule, "the driver lists no card"), "nvmlDeviceGetCount", "0")
	}
	f := is(doctor.OK, rule, "driver %s, %d cards", n.Driver, len(n.Cards))
	for _, c := range n.Cards {
		if why, lost := c.Unread["card"]; lost {
			f = fixed(is(doctor.Fail, rule, "gpu %d cannot be opened: %s", c.Index, why), doctor.ChangeHost, "the card is lost to this host: move to another")
			return seen(f, card(c.Index), "%s", why)
		}
		f = seen(f, card(c.Index), "%s, sm_%d%d, %s", c.Name, c.Major, c.Minor, bytesText(c.MemoryTotal))
	}
	return f
}

func card(i int) string { return fmt.Sprintf("nvml gpu %d", i) }

func nvmlAdvice(why string) string {
	why = strings.ToLower(why)
	switch {
	case strings.Contains(why, "mismatch"):
		return "the driver was changed under the running container: make the pod anew"
	case strings.Contains(why, "unknown"):
		return "the container lost its devices (a daemon-reload on the host does that): only making it anew helps"
	}
	return "make the pod anew; if it happens again, on another host"
}

func driverCUDA(_ context.Context, m facts) finding {
	ref := table()
	floor, own := ref.floor("12"), ref.own(ref.WantedCUDA)
	rule := fmt.Sprintf("CUDA 12 needs driver >= %s; CUDA %s shipped with %s; CUDA 13 needs >= %s (table of %s)",
		floor.Original(), ref.WantedCUDA, own.Original(), ref.floor("13").Original(), ref.Date)
	text := m.NVIDIA.NVML.Driver
	driver, err := version.NewVersion(text)
	if err != nil {
		return seen(is(doctor.Unknown, rule, "the driver's version %q is none", text), "nvmlSystemGetDriverVersion", "%s", text)
	}
	var f finding
	switch {
	case driver.LessThan(floor):
		f = fixed(is(doctor.Fail, rule, "driver %s cannot run CUDA 12", text), doctor.ChangeHost, "rent a host with a newer driver; a pod cannot change it")
	case driver.LessThan(own):
		f = is(doctor.Warn, rule, "driver %s runs CUDA 12 code compiled for this card, but PTX newer than CUDA %s fails with error 222",
			text, ref.native(driver))
		f = fixed(f, doctor.ChangeHost, "if error 222 appears, rent a host with a newer driver")
	case driver.LessThan(ref.floor("13")):
		f = is(doctor.OK, rule, "driver %s runs CUDA up to %s natively, not CUDA 13: engines built for CUDA 13 will not start here",
			text, ref.native(driver))
	default:
		f = is(doctor.OK, rule, "driver %s runs CUDA up to %s natively", text, ref.native(driver))
	}
	f = seen(f, "nvmlSystemGetDriverVersion", "%s", text)
	return seen(f, "nvmlSystemGetCudaDriverVersion", "%d", m.NVIDIA.NVML.CUDA)
}

func forwardCompat(_ context.Context, m facts) finding {
	const rule = "a compat/libcuda on the loader's path works on data-centre cards only (cuInit 804 on others)"
	lib, _ := m.NVIDIA.Lib("libcuda.so.1")
	f := is(doctor.OK, rule, "the loader takes the driver's own libcuda")
	if strings.Contains(lib.Path, "/compat/") {
		f = is(doctor.OK, rule, "the loader takes a forward-compatibility libcuda, which these cards support")
		for _, c := range m.NVIDIA.NVML.Cards {
			if strings.Contains(c.Name, "GeForce") || strings.Contains(c.Name, "TITAN") {
				f = fixed(is(doctor.Fail, rule, "%s does not support the forward-compatibility libcuda", c.Name),
					doctor.EditTemplate, "drop "+strings.TrimSuffix(lib.Path, "/libcuda.so.1")+" from LD_LIBRARY_PATH")
				break
			}
		}
	}
	return seen(f, "first libcuda.so.1", "%s", lib.Path)
}

func gpuCount(_ context.Context, m facts) finding {
	const rule = "NVML must list at least as many cards as RUNPOD_GPU_COUNT, and CUDA as many as NVML"
	have, cuda := len(m.NVIDIA.NVML.Cards), m.NVIDIA.CUDA
	text, ok := m.Env.Get("RUNPOD_GPU_COUNT")
	promised, err := strconv.Atoi(text)
	visible, narrowed := m.Env.Get("CUDA_VISIBLE_DEVICES")
	started := cuda.Err+cuda.Absent == "" && cuda.Failed.Code == 0
	f := is(doctor.OK, rule, "%d cards", have)
	switch {
	case ok && err != nil:
		f = is(doctor.Unknown, rule, "RUNPOD_GPU_COUNT is not a number")
	case ok && promised > have:
		f = fixed(is(doctor.Fail, rule, "paid for %d GPUs, there are %d", promised, have), doctor.RecreatePod, "make the pod anew and tell the provider")
	case started && len(cuda.Devices) != have && narrowed:
		f = fixed(is(doctor.Warn, rule, "CUDA sees %d of %d cards: CUDA_VISIBLE_DEVICES=%s", len(cuda.Devices), have, visible),
			doctor.SetFlag, "unset CUDA_VISIBLE_DEVICES, unless that is meant")
	case started && len(cuda.Devices) != have && !cut(m):
		f = is(doctor.Warn, rule, "CUDA sees %d devices, NVML %d cards", len(cuda.Devices), have)
	}
	f = seen(seen(f, "RUNPOD_GPU_COUNT", "%s", orNone(text)), "CUDA_VISIBLE_DEVICES", "%s", orNone(visible))
	if started {
		f = seen(f, "cuDeviceGetCount", "%d", len(cuda.Devices))
	}
	return f
}

// cut says that a card is cut into MIG instances, of which CUDA sees one.
func cut(m facts) bool {
	for _, c := range m.NVIDIA.NVML.Cards {
		if c.MIG.On {
			return true
		}
	}
	return false
}

// toolkit tells what is installed. radish's own kernels need no toolkit; engines that compile at run time do.
func toolkit(_ context.Context, m facts) finding {
	const rule = "an installed toolkit should know the card's architecture; radish itself needs none"
	t := m.NVIDIA.Toolkit
	if t.Dir == "" {
		return seen(is(doctor.OK, rule, "none, and radish needs none: engines that compile kernels at run time do"), "CUDA_HOME, CUDA_PATH, /usr/local/cuda", "none")
	}
	f := is(doctor.OK, rule, "CUDA %s in %s, compiler: %s", orNone(t.Version), t.Dir, orNone(t.NVCC))
	have, err := version.NewVersion(t.Version)
	if err != nil {
		return seen(is(doctor.Unknown, rule, "%s has no readable version.json", t.Dir), t.Dir+"/version.json", "%s", orNone(t.Version))
	}
	for _, c := range m.NVIDIA.NVML.Cards {
		a, known := table().arch(c.Major*10 + c.Minor)
		if first, err := version.NewVersion(a.CUDA); known && err == nil && have.LessThan(first) {
			f = is(doctor.Warn, rule, "CUDA %s cannot compile for sm_%d (%s), which CUDA %s was the first to know", t.Version, a.SM, c.Name, a.CUDA)
			f = fixed(f, doctor.EditTemplate, "choose an image with CUDA "+a.CUDA+" or later, if an engine compiles kernels here")
		}
	}
	return seen(f, t.Dir+"/version.json", "%s", t.Version)
}
