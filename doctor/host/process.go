package host

import (
	"net/url"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// Process is another process that matters here: it has a card open, or it belongs to a model server. Its arguments can
// hold keys and are left out, but for the model's name.
type Process struct {
	Owner
	Parent int
	State  string // as /proc/PID/stat has it; "D" is the uninterruptible sleep
	GPU    bool   // has a /dev/nvidiaN open
	Engine string // sglang, vllm, ollama, radish; empty: none of these
	Worker bool   // a part of a server, that should end with its parent
	Model  string // what the server was told to serve; empty: unknown
}

// Others are the other processes that matter. Err says why /proc could not be walked.
type Others struct {
	List []Process
	Err  string
}

// workers are the names that servers give to their parts.
var workers = []string{"sglang::", "VLLM::", "multiprocessing.spawn", "multiprocessing.resource_tracker"}

// maxProcesses bounds the walk through /proc.
const maxProcesses = 20000

// readProcesses walks /proc once. This process and its children are left out: the probe of the driver is one of them.
func readProcesses(root string, me int) Others {
	dirs, err := filepath.Glob(filepath.Join(root, "proc/[0-9]*"))
	if err != nil || len(dirs) == 0 {
		return Others{Err: "no process is visible in /proc"}
	}
	var all []Process
	for _, dir := range dirs[:min(len(dirs), maxProcesses)] {
		p, ok := readProcess(root, dir)
		if ok && p.PID != me && p.Parent != me && (p.GPU || p.Engine != "" || p.Worker) {
			all = append(all, p)
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].PID < all[j].PID })
	return Others{List: all}
}

func readProcess(root, dir string) (Process, bool) {
	o := process(root, filepath.Base(dir))
	if o == nil {
		return Process{}, false
	}
	p := Process{Owner: *o, GPU: opensCard(dir)}
	// The name is in brackets and may hold anything, brackets too: what follows the last one is fields.
	stat := readWord(dir, "stat")
	if f := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:]); len(f) > 1 {
		p.State = f[0]
		p.Parent, _ = strconv.Atoi(f[1]) // 0 where it is no number
	}
	args := strings.Split(readWord(dir, "cmdline"), "\x00")
	p.Engine, p.Worker = engine(readWord(dir, "comm"), args)
	p.Model = servedModel(args)
	return p, true
}

func opensCard(dir string) bool {
	links, err := filepath.Glob(filepath.Join(dir, "fd/*"))
	if err != nil {
		return false
	}
	for _, link := range links {
		to, err := os.Readlink(link)
		n, card := strings.CutPrefix(to, "/dev/nvidia")
		if _, bad := strconv.Atoi(n); err == nil && card && bad == nil {
			return true
		}
	}
	return false
}

// engine recognises a server, or a part of one, by the names that they give themselves.
func engine(comm string, args []string) (name string, worker bool) {
	line := strings.Join(args, " ")
	for _, w := range workers {
		worker = worker || strings.HasPrefix(comm, w) || strings.HasPrefix(args[0], w) || strings.Contains(line, w)
	}
	base := filepath.Base(args[0])
	second := ""
	if len(args) > 1 {
		second = args[1]
	}
	switch {
	case strings.HasPrefix(comm, "sglang::"), strings.HasPrefix(args[0], "sglang::"), strings.Contains(line, "sglang.launch_server"):
		return "sglang", worker
	case strings.HasPrefix(comm, "VLLM::"), strings.HasPrefix(args[0], "VLLM::"), strings.Contains(line, "vllm.entrypoints"), strings.Contains(line, "vllm serve"):
		return "vllm", worker
	case base == "ollama":
		return "ollama", worker
	case base == "radish" && second == "serve":
		return "radish", worker
	}
	return "", worker
}

// servedModel is the value of the flag that names a model, without credentials.
func servedModel(args []string) string {
	for i, a := range args {
		for _, flag := range []string{"--model-path", "--model"} {
			if v, ok := strings.CutPrefix(a, flag+"="); ok {
				return shownModel(v)
			}
			if a == flag && i+1 < len(args) {
				return shownModel(args[i+1])
			}
		}
	}
	return ""
}

func shownModel(s string) string {
	if _, err := url.Parse(s); err != nil || len(s) > 200 || strings.Contains(s, "hf_") {
		return ""
	}
	return withoutPassword(s)
}
