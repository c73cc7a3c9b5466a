package explain

// renamed are flags that were removed, and what to write today. "" leaves the flag out.
var renamed = map[string]string{
	"--enable-flashinfer":  "--attention-backend flashinfer",
	"--max-batch-size":     "--max-running-requests (and --cuda-graph-max-bs)",
	"--disable-flashinfer": "--attention-backend triton",
	"true":                 "the flag before it without a value",
	"false":                "nothing: leave the flag before it out",
}

// startRules: the command line, the port, what is left of an earlier start.
var startRules = []Rule{
	{ID: "start.port", Signature: 6, Phase: Start, Class: Cause, Parks: true,
		Patterns: re(`\[Errno 98\].*[Aa]ddress already in use`, `error while attempting to bind on address`, `bind: address already in use`),
		Title:    "the port is taken",
		Why:      "Another process listens there; on a pod, port 8888 is Jupyter's. Do not kill it: it may be your own way in.",
		Fix:      steps(fix("see who it is", "ss -ltnp"), fix("or choose a free port", "radish serve --port 30000")),
		Source:   "errno(3), EADDRINUSE"},
	{ID: "start.flag", Signature: 50, Phase: Start, Class: Cause, Parks: true,
		Patterns: re(`error: unrecognized arguments: (\S+)`, `radish: unknown flag: (\S+)`),
		Title:    "this version does not know the flag",
		Why:      "Flags are renamed and removed from release to release; a switch takes no value.",
		Note: func(_ *Context, g []string) string {
			if now, ok := renamed[g[1]]; ok {
				return "instead of " + g[1] + " write " + now
			}
			return ""
		},
		Fix:    steps(do("look the flag up in the --help of the installed version")),
		Source: "sglang#4116, sglang#1380, sglang#5005"},
	{ID: "start.rpc-port", Signature: 63, Phase: Start, Class: Cause,
		Patterns: re(`rpc_port .* is used by a process already`),
		Title:    "a scheduler of an earlier start still runs",
		Why:      "The server was killed without its children; they hold the port, and the GPU's memory too.",
		Fix:      steps(fix("find it", "pgrep -af sglang::scheduler"), do("end that process, and see the GPU's memory come back, before the next start")),
		Source:   "sglang#31645"},
	{ID: "start.spawn", Signature: 68, Phase: Start, Class: Cause, Parks: true,
		Patterns: re(`An attempt has been made to start a new process before the current process has finished its`),
		Title:    "the script starts processes while it is being imported",
		Why:      "Worker processes import the script again. Without the __main__ guard, or from a script on standard input, that never ends well.",
		Fix:      steps(fix("start the server as a module", "python3 -m sglang.launch_server --model-path MODEL")),
		Source:   "docs.python.org, multiprocessing: safe importing of main module"},
	{ID: "start.rank-died", Signature: 68, Phase: Start, Class: Echo,
		Patterns: re(`^\s*(?:\w*Error: )?rank \d+ died\.?\s*$`),
		Title:    "a worker of the server is gone",
		Why:      "If nothing stands above it, the server was started from a script on standard input, which its workers cannot import.",
		Fix:      steps(fix("start the server as a module", "python3 -m sglang.launch_server --model-path MODEL")),
		Source:   "docs.python.org, multiprocessing: safe importing of main module"},
	{ID: "start.radish-key", Phase: Start, Class: Cause, Parks: true,
		Patterns: re(`a public address needs an API key`),
		Title:    "radish does not listen in public without a key",
		Why:      "The address given with --host can be reached from outside, and nothing would keep strangers out.",
		Fix:      steps(fix("give it a key", "radish serve --host 0.0.0.0 --api-key KEY"), do("or listen on 127.0.0.1 and forward the port")),
		Source:   "radish serve --help"},
	{ID: "start.radish-fit", Phase: Load, Class: Cause, Parks: true,
		Patterns: re(`radish: .*does not fit in memory`),
		Title:    "the model and its settings are larger than the memory",
		Why:      "radish plans weights, KV pool and workspace before it allocates anything, and this plan is too big.",
		Fix:      steps(do("shorten --context-length or lower --max-total-tokens to what the message offers, or take a smaller model")),
		Source:   "radish serve --help"},
}
