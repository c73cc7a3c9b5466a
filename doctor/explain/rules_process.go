package explain

import "fmt"

// killed are the ways in which a server or the kernel says that a process got SIGKILL.
var killed = re(`[Ee]xit ?code:? -?9\b`, `crashed with exit code -9\b`, `died with <Signals\.SIGKILL: 9>`)

// processRules: processes that end by a signal, and what they ran out of.
var processRules = []Rule{
	{ID: "host.oom-kernel", Signature: 28, Class: Cause,
		Patterns: re(`(?:Memory cgroup out of memory|Out of memory): Killed process (\d+) \(([^)]+)\)`, `oom-kill:constraint=\S+`),
		Title:    "the kernel killed a process for memory",
		Why:      "The machine's memory, or the container's share of it, was full. It has nothing to do with the GPU's memory.",
		Note:     oomNote,
		Fix:      steps(do("rent more RAM (at least the size of the weights), or load with fewer threads"), cmd("free -g")),
		Source:   "kernel.org, admin-guide/cgroup-v2: memory.events"},
	{ID: "host.oom", Signature: 28, Phase: Load, Class: Cause,
		Patterns: killed,
		When:     func(c *Context) bool { return !c.Facts.OOMKnown || c.Facts.OOMKills > 0 },
		Title:    "the process was killed, most likely for memory",
		Why:      "Signal 9 while loading is nearly always the kernel's out-of-memory killer: the container's RAM, not the GPU's.",
		Note:     oomNote,
		Fix:      steps(do("rent more RAM (at least the size of the weights), or load with fewer threads"), cmd("cat /sys/fs/cgroup/memory.events")),
		Source:   "sglang#15235, sglang#37931, sglang#20287"},
	{ID: "host.killed", Signature: 28, Phase: Load, Class: Cause,
		Patterns: killed,
		When:     func(c *Context) bool { return c.Facts.OOMKnown && c.Facts.OOMKills == 0 },
		Title:    "somebody killed the process",
		Why:      "It got signal 9, and this container's kernel counts no kill for memory: a person, a script or a platform's limit did it.",
		Fix:      steps(do("look for kill -9 or pkill in start scripts, and at the platform's own events")),
		Source:   "kernel.org, admin-guide/cgroup-v2: memory.events"},
	{ID: "proc.scheduler-dead", Signature: 28, Phase: Load, Class: Echo,
		Patterns: re(`Rank \d+ scheduler is dead`),
		Title:    "the scheduler process is gone",
		Why:      "Its parent only notices. The scheduler's own last words stand above; if it has none, it was killed, mostly for memory.",
		Note:     oomNote,
		Fix:      steps(do("look above, and at the kernel's log for an out-of-memory kill")),
		Source:   "sglang#15235, sglang#37931, sglang#20287"},
	{ID: "proc.crashed", Signature: 29, Phase: Serve, Class: Echo,
		Patterns: re(`Subprocess scheduler_\d+ \(pid=\d+\) crashed with exit code -([0-8]|[1-9]\d+)\b`),
		Title:    "the scheduler died of a signal",
		Why:      "The parent only notices. The reason stands above, or in the kernel's log as an Xid.",
		Note:     func(_ *Context, g []string) string { return signalNote(g[1]) },
		Fix:      steps(do("look above"), fix("and at the kernel's log", "dmesg -T")),
		Source:   "signal(7)"},
	{ID: "proc.nofile", Signature: 49, Phase: Serve, Class: Cause,
		Patterns: re(`Too many open files`),
		Title:    "the process may not open more files",
		Why:      "Each connection is an open file, and the limit is often 1024.",
		Fix:      steps(fix("before the start", "ulimit -n 65536")),
		Source:   "vllm#7920, uvicorn#1030"},
	{ID: "proc.sigquit", Signature: 30, Class: Echo,
		Patterns: re(`Received sigquit from a child process`),
		Title:    "a child process asked the server to stop",
		Why:      "It is the last thing said and never the cause: the child failed earlier, above.",
		Fix:      steps(do("look at the first traceback above, not at this line")),
		Source:   "sglang#5096"},
}

func oomNote(c *Context, _ []string) string {
	if c.Facts.OOMKnown && c.Facts.OOMKills > 0 {
		return fmt.Sprintf("this container's kernel counts %d kill(s) for memory", c.Facts.OOMKills)
	}
	return ""
}

func signalNote(n string) string {
	switch n {
	case "6":
		return "signal 6 is an abort: an assertion, an ECC error or NCCL"
	case "11":
		return "signal 11 is a crash in native code; let it write a core dump"
	case "15":
		return "signal 15 is a polite request to stop"
	}
	return ""
}
