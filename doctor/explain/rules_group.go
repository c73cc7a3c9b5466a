package explain

import "time"

// groupRules: several GPUs.
var groupRules = []Rule{
	{ID: "nccl.shm", Signature: 31, Phase: Load, Class: Cause,
		Patterns: re(`Error while creating shared memory segment /dev/shm/nccl-`),
		Title:    "/dev/shm is too small for NCCL",
		Why:      "A container gets 64 MiB of shared memory unless told otherwise.",
		Fix: steps(do("start the container with --shm-size 32g (or --ipc=host)"), fix("see what there is", "df -h /dev/shm"),
			env("NCCL_SHM_DISABLE=1", "or, slower:")),
		Source: "docs.sglang.io, sglang#5096, MiniMax-01#42, vllm#18831"},
	{ID: "nccl.system", Signature: 32, Phase: Load, Class: Echo,
		Patterns: re(`unhandled system error.*NCCL`, `NCCL.*unhandled system error`, `NCCL WARN Call to .* failed`),
		Title:    "a system call of NCCL failed",
		Why:      "Shared memory, InfiniBand or peer access; NCCL says which only when asked.",
		Fix:      steps(env("NCCL_DEBUG=INFO", "start again with"), do("and explain that log")),
		Source:   "vllm#18831"},
	{ID: "nccl.hang", Signature: 33, Phase: Load, Class: Cause, Silence: 120 * time.Second,
		Patterns: re(`Init torch distributed begin`),
		Title:    "the GPUs do not find each other",
		Why:      "Nothing was said for two minutes after the group began to form: peer-to-peer traffic hangs, mostly because of ACS or the IOMMU on the host.",
		Fix:      steps(env("NCCL_P2P_DISABLE=1", "start again with")),
		Source:   "nccl#631, nccl#2079, nccl-tests#117"},
	{ID: "nccl.no-peer", Signature: 34, Phase: Load, Class: Cause, Parks: true,
		Patterns: re(`peer access is not supported between these two devices`),
		Title:    "these GPUs cannot read each other's memory",
		Why:      "The server's own all-reduce needs that; NCCL's does not.",
		Fix:      steps(do("add --disable-custom-all-reduce to the server's command line")),
		Source:   "sglang#12496"},
	{ID: "gloo.closed", Signature: 35, Phase: Load, Class: Echo,
		Patterns: re(`gloo.*Connection closed by peer`),
		Title:    "another rank is gone",
		Why:      "This rank only notices that the connection to a dead one closed.",
		Fix:      steps(do("look for the first traceback, in the other ranks' lines too")),
		Source:   "sglang#4205"},
}
