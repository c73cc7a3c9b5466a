package host

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// NVIDIA is what the files and the driver's library say of the cards.
type NVIDIA struct {
	Nodes        []string // /dev/nvidia0, /dev/nvidiactl, ...
	KernelDriver string   // first line of /proc/driver/nvidia/version
	Libs         []Lib
	NVML         NVML
	CUDA         CUDA
}

// Lib is one driver library where the loader looks, in its order.
type Lib struct {
	Name, Path string
	Size       int64
}

// NVML is what the driver's library answered. Err says why it answered nothing.
type NVML struct {
	Err    string
	Absent bool // the library is not on this machine
	Driver string
	CUDA   int // 12040 is 12.4
	Cards  []Card
}

// Card is one GPU. Unread names what NVML would not say, with its reason; the field is then zero and means nothing.
type Card struct {
	GPU
	UUID          string
	ComputeMode   int // nvml.COMPUTEMODE_*
	MIG           bool
	MIGInstances  int
	ECCVolatile   uint64 // uncorrected since the driver was loaded
	ECCAggregate  uint64 // uncorrected in the card's life
	Temperature   uint32 // degrees Celsius
	SlowdownAt    uint32
	PowerLimit    uint32 // milliwatts
	PowerDefault  uint32
	ClocksReasons uint64
	Holders       []Holder
	Unread        map[string]string
}

// Holder is a process that NVML sees on a card. Its pid may belong to the host and must never be signalled.
type Holder struct {
	PID   uint32
	Bytes uint64
}

// NotSupported is what Unread holds where the card has no such feature.
const NotSupported = "not supported"

var libNames = []string{"libcuda.so.1", "libnvidia-ml.so.1"}

// libDirs is where container runtimes and distributions put the driver's libraries.
var libDirs = strings.Fields(`/usr/lib/x86_64-linux-gnu /lib/x86_64-linux-gnu /usr/lib/aarch64-linux-gnu /usr/lib64 /lib64
	/usr/lib /usr/lib/wsl/lib /usr/local/nvidia/lib64 /usr/local/nvidia/lib`)

func readNVIDIA(root string, e Env) NVIDIA {
	var n NVIDIA
	nodes, _ := filepath.Glob(filepath.Join(root, "dev/nvidia*")) // only a bad pattern is an error
	for _, node := range nodes {
		n.Nodes = append(n.Nodes, "/dev/"+filepath.Base(node))
	}
	n.KernelDriver, _, _ = strings.Cut(readWord(root, "proc/driver/nvidia/version"), "\n")
	var dirs []string
	if p, ok := e.Get("LD_LIBRARY_PATH"); ok {
		dirs = filepath.SplitList(p)
	}
	cache := cachedLibs(root)
	for _, name := range libNames {
		seen := map[string]bool{}
		for _, dir := range append(append(append([]string{}, dirs...), cache[name]...), libDirs...) {
			file := filepath.Join(dir, name)
			info, err := os.Stat(filepath.Join(root, file))
			if err == nil && info.Mode().IsRegular() && !seen[file] {
				seen[file] = true
				n.Libs = append(n.Libs, Lib{name, file, info.Size()})
			}
		}
	}
	return n
}

// cachedLibs reads the directories of the driver's libraries out of ld.so.cache, whose strings end in NUL.
func cachedLibs(root string) map[string][]string {
	dirs := map[string][]string{}
	f, err := os.Open(filepath.Join(root, "etc/ld.so.cache"))
	if err != nil {
		return dirs
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 16<<20))
	if err != nil {
		return dirs
	}
	for _, name := range libNames {
		for _, s := range bytes.Split(b, []byte{0}) {
			if bytes.HasPrefix(s, []byte("/")) && bytes.HasSuffix(s, []byte("/"+name)) {
				dirs[name] = append(dirs[name], filepath.Dir(string(s)))
			}
		}
	}
	return dirs
}

// Lib is the library that the loader would take, if any.
func (n NVIDIA) Lib(name string) (Lib, bool) {
	for _, l := range n.Libs {
		if l.Name == name {
			return l, true
		}
	}
	return Lib{}, false
}

// library is the part of NVML that reading needs.
type library interface {
	source
	Init() nvml.Return
	Shutdown() nvml.Return
	SystemGetCudaDriverVersion() (int, nvml.Return)
}

// readNVML asks only symbols that every driver since 450 has: a missing one ends the whole process.
func readNVML(lib library) NVML {
	if ret := lib.Init(); ret != nvml.SUCCESS {
		return NVML{Err: "nvmlInit: " + word(ret), Absent: ret == nvml.ERROR_LIBRARY_NOT_FOUND}
	}
	defer lib.Shutdown()
	var n NVML
	var ret nvml.Return
	if n.Driver, ret = lib.SystemGetDriverVersion(); ret != nvml.SUCCESS {
		return NVML{Err: "nvmlSystemGetDriverVersion: " + word(ret)}
	}
	if n.CUDA, ret = lib.SystemGetCudaDriverVersion(); ret != nvml.SUCCESS {
		n.CUDA = 0
	}
	count, ret := lib.DeviceGetCount()
	if ret != nvml.SUCCESS {
		n.Err = "nvmlDeviceGetCount: " + word(ret)
		return n
	}
	for i := range min(count, maxCards) {
		g, err := one(lib, i)
		if err != nil {
			n.Err = err.Error()
			return n
		}
		n.Cards = append(n.Cards, readCard(lib, g))
	}
	return n
}

func readCard(lib source, g GPU) Card {
	c := Card{GPU: g, Unread: map[string]string{}}
	dev, ret := lib.DeviceGetHandleByIndex(g.Index)
	if !c.got("card", ret) {
		return c
	}
	c.readState(dev)
	c.readHealth(dev)
	return c
}

// got notes under name what could not be read.
func (c *Card) got(name string, ret nvml.Return) bool {
	switch ret {
	case nvml.SUCCESS:
		return true
	case nvml.ERROR_NOT_SUPPORTED:
		c.Unread[name] = NotSupported
	default:
		c.Unread[name] = word(ret)
	}
	return false
}

func (c *Card) readState(dev nvml.Device) {
	var ret nvml.Return
	c.UUID, ret = dev.GetUUID()
	c.got("uuid", ret)
	mode, ret := dev.GetComputeMode()
	if c.got("compute_mode", ret) {
		c.ComputeMode = int(mode)
	}
	if current, _, ret := dev.GetMigMode(); c.got("mig", ret) {
		c.MIG = current == nvml.DEVICE_MIG_ENABLE
	}
	if c.MIG {
		if n, ret := dev.GetMaxMigDeviceCount(); c.got("mig_instances", ret) {
			for i := range min(n, 64) {
				if _, ret := dev.GetMigDeviceHandleByIndex(i); ret == nvml.SUCCESS {
					c.MIGInstances++
				}
			}
		}
	}
	procs, ret := dev.GetComputeRunningProcesses()
	c.got("holders", ret)
	for _, p := range procs {
		c.Holders = append(c.Holders, Holder{p.Pid, p.UsedGpuMemory})
	}
}

func (c *Card) readHealth(dev nvml.Device) {
	var ret nvml.Return
	if on, _, ret := dev.GetEccMode(); c.got("ecc", ret) {
		if on == nvml.FEATURE_DISABLED {
			c.Unread["ecc"] = "switched off"
		} else {
			c.ECCVolatile, ret = dev.GetTotalEccErrors(nvml.MEMORY_ERROR_TYPE_UNCORRECTED, nvml.VOLATILE_ECC)
			c.got("ecc", ret)
			c.ECCAggregate, ret = dev.GetTotalEccErrors(nvml.MEMORY_ERROR_TYPE_UNCORRECTED, nvml.AGGREGATE_ECC)
			c.got("ecc", ret)
		}
	}
	c.Temperature, ret = dev.GetTemperature(nvml.TEMPERATURE_GPU)
	c.got("temperature", ret)
	c.SlowdownAt, ret = dev.GetTemperatureThreshold(nvml.TEMPERATURE_THRESHOLD_SLOWDOWN)
	c.got("slowdown", ret)
	c.PowerLimit, ret = dev.GetEnforcedPowerLimit()
	c.got("power", ret)
	c.PowerDefault, ret = dev.GetPowerManagementDefaultLimit()
	c.got("power", ret)
	c.ClocksReasons, ret = dev.GetCurrentClocksThrottleReasons()
	c.got("clocks", ret)
}

// word is NVML's own text for a result, with its number.
func word(ret nvml.Return) string { return ret.String() }
