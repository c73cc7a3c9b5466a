package host

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// NVIDIA is what the files and the driver's library say of the cards.
type NVIDIA struct {
	Err          string   // why not even the files could be read
	Nodes        []string // /dev/nvidia0, /dev/nvidiactl, ...
	KernelDriver string   // first line of /proc/driver/nvidia/version
	Libs         []Lib
	NVML         NVML
	CUDA         CUDA
	Xids         Xids
	Toolkit      Toolkit
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
	NoP2P  []string // pairs of cards that cannot read each other's memory: "0-1: chipset not supported"
	Took   time.Duration
}

// Card is one GPU. Unread names what NVML would not say, with its reason; the field is then zero and means nothing.
type Card struct {
	GPU
	UUID          string
	ComputeMode   int // nvml.COMPUTEMODE_*
	MIG           MIG
	ECC           ECC
	Rows          Rows
	Heat          Heat
	Power         Power
	ClocksReasons uint64
	PCIe          PCIe
	NVLink        NVLink
	Persistence   bool
	Holders       []Holder
	Unread        map[string]string
}

// MIG is how a card is cut into instances.
type MIG struct {
	On        bool
	Instances int
	Memory    uint64 // of the smallest instance; 0: unknown
}

// ECC counts uncorrected memory errors.
type ECC struct {
	Volatile  uint64 // since the driver was loaded
	Aggregate uint64 // in the card's life
}

// Rows is the state of the memory's spare rows (Ampere and later), or of retired pages before it.
type Rows struct {
	Corrected, Uncorrected int
	Pending                bool // takes effect at the next reset of the card
	Failed                 bool // no spare row was left
}

// Heat is in degrees Celsius.
type Heat struct{ Now, SlowdownAt uint32 }

// Power is in milliwatts.
type Power struct{ Limit, Default uint32 }

// PCIe is the link to the host. The generation falls while a card idles, by design.
type PCIe struct {
	Width, MaxWidth           int
	Generation, MaxGeneration int
	Replays                   int // packets sent again since the driver was loaded
}

// NVLink counts links by state, and says what the fabric manager made of the card.
type NVLink struct {
	Up, Down int
	Fabric   int // nvml.GPU_FABRIC_STATE_*
	Status   int // nvmlReturn_t of the registration, once completed
}

// Holder is a process that NVML sees on a card. Its pid may belong to the host and must never be signalled.
type Holder struct {
	PID   uint32
	Bytes uint64
}

// NotSupported is what Unread holds where the card has no such feature.
const NotSupported = "not supported"

// SwitchedOff is what Unread holds where the feature is there and off.
const SwitchedOff = "switched off"

var libNames = []string{"libcuda.so.1", "libnvidia-ml.so.1"}

// libDirs is where container runtimes and distributions put the driver's libraries.
var libDirs = strings.Fields(`/usr/lib/x86_64-linux-gnu /lib/x86_64-linux-gnu /usr/lib/aarch64-linux-gnu /usr/lib64 /lib64
	/usr/lib /usr/lib/wsl/lib /usr/local/nvidia/lib64 /usr/local/nvidia/lib`)

func readNVIDIA(root string, e Env) NVIDIA {
	n := NVIDIA{Xids: readXids(root), Toolkit: readToolkit(root, e)}
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
