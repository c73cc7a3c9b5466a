package explain

// outOfMemory are the ways in which torch says that the GPU's memory is full.
var outOfMemory = re(`Capture cuda graph failed`, `torch\.(?:cuda\.)?OutOfMemoryError`, `CUDA out of memory`)

func within(phases ...Phase) func(*Context) bool {
	return func(c *Context) bool {
		for _, p := range phases {
			if c.Phase == p {
				return true
			}
		}
		return false
	}
}

// memoryRules: the GPU's memory. The phase decides: the same line asks for opposite settings.
var memoryRules = []Rule{
	{ID: "mem.no-kv-room", Signature: 24, Phase: Load, Class: Cause, Parks: true,
		Patterns: re(`Not enough memory\. Please try to increase --mem-fraction-static`),
		Title:    "the weights leave no room for the KV pool",
		Why:      "The fraction counts weights and KV pool together. It is too small here, so it must go UP, unlike for an out-of-memory while serving.",
		Fix: steps(do("raise --mem-fraction-static by 0.05 (not above 0.95)"), do("or shorten --context-length"),
			do("or take quantised weights, or a second GPU")),
		Source: "sglang#322, sglang#4330"},
	{ID: "mem.oom-capture", Signature: 25, Phase: Capture, Class: Cause,
		Patterns: outOfMemory,
		When:     func(c *Context) bool { return c.Phase == Capture || c.Groups[0] == "Capture cuda graph failed" },
		Title:    "no memory left for CUDA graphs",
		Why:      "Weights and KV pool took what the graphs need. The fraction must go DOWN.",
		Fix: steps(do("lower --mem-fraction-static by 0.05"), do("or capture fewer sizes: --cuda-graph-max-bs 16"),
			do("or lower --chunked-prefill-size")),
		Source: "sglang#4489, sglang#4205, sglang#11275"},
	{ID: "mem.oom-serve", Signature: 25, Phase: Serve, Class: Cause,
		Patterns: outOfMemory,
		When: func(c *Context) bool {
			return (c.Phase == Serve || c.Phase == Stop) && c.Groups[0] != "Capture cuda graph failed"
		},
		Title: "no memory left for a step's activations",
		Why:   "The server was up and a larger prompt or batch than before needed more. The fraction must go DOWN.",
		Fix: steps(do("lower --mem-fraction-static by 0.05"), do("or lower --chunked-prefill-size, for example to 2048"),
			do("or lower --max-running-requests")),
		Source: "sglang#4489, sglang#4205"},
	{ID: "mem.oom-load", Signature: 25, Phase: Load, Class: Cause, Parks: true,
		Patterns: outOfMemory,
		When: func(c *Context) bool {
			return within(Start, Load, Download, Import)(c) && c.Groups[0] != "Capture cuda graph failed"
		},
		Title:  "the weights do not fit on the GPU",
		Why:    "Memory ran out while loading, before there was a KV pool: the model is too large, or somebody else holds the memory.",
		Fix:    steps(fix("see who else is on the GPU", "nvidia-smi"), do("take quantised weights, a larger GPU, or --tp 2")),
		Source: "sglang#4489"},
	{ID: "mem.oom", Signature: 25, Class: Cause,
		Patterns: outOfMemory,
		When: func(c *Context) bool {
			return within("", Install, Client)(c) && c.Groups[0] != "Capture cuda graph failed"
		},
		Title:  "the GPU's memory is full",
		Why:    "The log does not show when. While loading: the model is too large. At graph capture or while serving: the fraction must go down.",
		Fix:    steps(fix("see who else is on the GPU", "nvidia-smi"), do("explain the whole log from the start of the server")),
		Source: "sglang#4489, sglang#4205"},
	{ID: "mem.held", Signature: 26, Phase: Load, Class: Cause,
		Patterns: re(`Free memory on device .*is less than desired GPU memory utilization`),
		Title:    "somebody else holds the GPU's memory",
		Why:      "Less is free than the server was told to take: another server, a notebook, or the orphan of a killed one.",
		Fix:      steps(cmd("nvidia-smi"), do("stop what you started there, or lower --gpu-memory-utilization")),
		Source:   "vllm#20305, pytorch#175666"},
	{ID: "mem.context-too-long", Signature: 27, Phase: Load, Class: Cause, Parks: true,
		Patterns: re(`max seq len \((\d+)\) is larger than the maximum number of tokens that can be stored in KV cache \((\d+)\)`),
		Title:    "one full context is larger than the KV pool",
		Why:      "The model's context does not fit into what the weights left.",
		Fix:      steps(fix("shorten the context", "vllm serve MODEL --max-model-len $2"), do("or raise --gpu-memory-utilization")),
		Source:   "vllm#2418, vllm#10517"},
	{ID: "mem.pool-full", Signature: 9, Phase: Serve, Class: Benign,
		Patterns: re(`token usage: (?:0\.9[89]|1\.00)`),
		Title:    "the KV pool is full",
		Why:      "A full pool is well used: requests wait or are retracted, nothing runs out. It costs speed only where retractions are logged.",
		Fix:      steps(do("if requests are retracted or wait too long: lower concurrency or --context-length, or raise --mem-fraction-static")),
		Source:   "docs.sglang.io hyperparameter tuning"},
	{ID: "mem.orphan", Signature: 64, Phase: Stop, Class: Cause,
		Patterns: re(`\bC\s+(sglang::scheduler\S*|VLLM::EngineCore\S*)`),
		When:     within(Stop),
		Title:    "a stopped server still holds the GPU's memory",
		Why:      "Its scheduler was not stopped with it and was adopted by PID 1.",
		Fix:      steps(fix("find it", "pgrep -af sglang::scheduler|VLLM::EngineCore"), do("end those processes; start servers in a group that is stopped as one")),
		Source:   "dynamo#1889, vllm-omni#2317, GLM-4#763, sglang#23627"},
}
