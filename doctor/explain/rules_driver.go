package explain

import (
	"fmt"
	"strconv"
	"strings"
)

// driverRules: the driver, the runtime and the GPU itself.
var driverRules = []Rule{
	{ID: "gpu.no-kernel-image", Signature: 4, Phase: Load, Class: Cause, Parks: true,
		Patterns: re(`no kernel image is available for execution on the device`),
		Title:    "some library has no code for this GPU",
		Why:      "torch, sgl-kernel, FlashInfer or another package was compiled for other architectures. It is not a CPU build: that says so.",
		Note: func(c *Context, _ []string) string {
			switch {
			case c.Facts.SM >= 100:
				return fmt.Sprintf("this GPU is sm_%d and needs packages built with CUDA 12.8 or newer", c.Facts.SM)
			case c.Facts.SM > 0 && c.Facts.SM < 75:
				return fmt.Sprintf("this GPU is sm_%d; FlashInfer begins at sm_75", c.Facts.SM)
			case c.Facts.SM > 0:
				return fmt.Sprintf("this GPU is sm_%d: torch for CUDA 12.6 and 12.8 has code for it, so look at the other packages first", c.Facts.SM)
			}
			return ""
		},
		Fix: steps(Fix{Do: "see what the GPU is and what torch was built for",
			Argv: []string{"python3", "-c", "import torch; print(torch.cuda.get_device_capability(), torch.cuda.get_arch_list())"}},
			do("install the wheel of the CUDA version that covers it")),
		Source: "flashinfer#249, pytorch#149845, lmdeploy#3806, vllm#19906"},
	{ID: "gpu.deepgemm-build", Signature: 7, Phase: Load, Class: Cause,
		Patterns: deepGEMM,
		When:     func(c *Context) bool { return hasDeepGEMM(c.Facts.SM) },
		Title:    "DeepGEMM should run on this GPU and does not",
		Why:      "sm_90, sm_100 and sm_103 are supported; the installed DeepGEMM was built with a CUDA that is too old for them.",
		Fix:      steps(do("use CUDA 12.3 or newer on sm_90, 12.9 or newer on sm_100"), env("SGLANG_ENABLE_JIT_DEEPGEMM=0", "or do without it:")),
		Source:   "sglang#25877, sglang#30059"},
	{ID: "gpu.deepgemm", Signature: 7, Phase: Load, Class: Benign,
		Patterns: deepGEMM,
		When:     func(c *Context) bool { return !hasDeepGEMM(c.Facts.SM) },
		Title:    "DeepGEMM is not for this GPU",
		Why:      "It supports sm_90, sm_100 and sm_103 only; elsewhere the server falls back to other kernels.",
		Fix:      steps(env("SGLANG_ENABLE_JIT_DEEPGEMM=0", "only if the server stops over it:")),
		Source:   "sglang#25877, sglang#30059"},
	{ID: "gpu.image-newer", Signature: 14, Phase: Start, Class: Cause, Parks: true,
		Patterns: re(`nvidia-container-cli: requirement error: unsatisfied condition: cuda\s*>=\s*([\d.]+)`),
		Title:    "the image is newer than the host's driver",
		Why:      "The container asks for a CUDA version that the driver does not offer, and a pod cannot change its host's driver.",
		Note:     func(_ *Context, g []string) string { return "the image asks for CUDA " + g[1] },
		Fix:      steps(do("rent a host with a newer driver (filter by CUDA version), or take an older image")),
		Source:   "runpod/containers#98, vllm#5635, comfyui-mcp#118"},
	{ID: "gpu.driver-insufficient", Signature: 15, Phase: Load, Class: Cause, Parks: true,
		Patterns: re(`CUDA driver version is insufficient for CUDA runtime version`),
		Title:    "the driver is older than the CUDA runtime needs",
		Why:      "CUDA 12 runs from driver 525 on, CUDA 13 from 580. A pod cannot change its host's driver.",
		Note:     driverNote,
		Fix:      steps(do("install packages for an older CUDA (cu12x for drivers 525 to 579), or rent another host"), cmd("nvidia-smi")),
		Source:   "docs.nvidia.com/deploy/cuda-compatibility, ollama#7666"},
	{ID: "gpu.driver-old", Signature: 16, Phase: Load, Class: Cause, Parks: true,
		Patterns: re(`NVIDIA driver on your system is too old \(found version (\d+)\)`),
		Title:    "the driver is older than torch needs",
		Why:      "torch was built for a newer CUDA than the driver offers. A pod cannot change its host's driver.",
		Note:     foundCUDA,
		Fix:      steps(do("install torch for that CUDA version or an older one, or rent another host"), cmd("nvidia-smi")),
		Source:   "sglang#11395, FunASR#2973"},
	{ID: "gpu.cpu-fallback", Signature: 17, Phase: Load, Class: Echo, Parks: true,
		Patterns: re(`[Ff]alling back to CPU`, `Auto-configed device: cpu`),
		Title:    "the server runs on the CPU without having been asked to",
		Why:      "CUDA could not be initialised, and the server went on. It will be a hundred times too slow; treat it as fatal.",
		Fix:      steps(Fix{Do: "ask CUDA itself", Argv: []string{"python3", "-c", "import torch; torch.cuda.init()"}}),
		Source:   "sglang#11395"},
	{ID: "gpu.no-fabric", Signature: 18, Phase: Load, Class: Cause, Parks: true,
		Patterns: re(`Error 802: system not yet initialized`),
		Title:    "the host's NVSwitch fabric is not up",
		Why:      "A machine with NVSwitch needs the fabric manager, which runs on the host. From inside a pod nothing can be done.",
		Fix:      steps(do("rent another host; tell the provider that the fabric manager does not run")),
		Source:   "pytorch#35710, ollama#12136"},
	{ID: "gpu.forward-compat", Signature: 19, Phase: Load, Class: Cause, Parks: true,
		Patterns: re(`Error 804: forward compatibility was attempted on non supported HW`),
		Title:    "the forward-compatibility libcuda is in the way",
		Why:      "The image's cuda-compat library is found before the driver's own, and works only on data-centre GPUs.",
		Note:     driverNote,
		Fix:      steps(do("take the compat folder out of LD_LIBRARY_PATH (and of ld.so.conf.d)"), cmd("ldconfig -p")),
		Source:   "nvidia-docker#1515, gpustack#1540"},
	{ID: "gpu.ptx-newer", Signature: 20, Phase: Serve, Class: Cause, Parks: true,
		Patterns: re(`cudaErrorUnsupportedPtxVersion`, `provided PTX was compiled with an unsupported toolchain`),
		Title:    "a kernel was compiled by a newer CUDA than the driver reads",
		Why:      "Minor-version compatibility does not cover PTX, so the first just-in-time kernel fails, often at the first token.",
		Note:     driverNote,
		Fix:      steps(do("use a CUDA toolkit no newer than the driver for compilation at run time, wheels with ready kernels, or a newer host")),
		Source:   "docs.nvidia.com/deploy/cuda-compatibility, minefield trap 08"},
	{ID: "gpu.nvml-cgroup", Signature: 21, Class: Cause,
		Patterns: re(`Failed to initialize NVML: Unknown Error`),
		Title:    "the container lost its access to the GPU's device files",
		Why:      "A daemon-reload on the host rewrote the container's device rules. What already runs goes on; nothing new starts.",
		Fix:      steps(do("recreate the pod; on your own host, list the device nodes explicitly")),
		Source:   "nvidia-container-toolkit#48, #251, #1227"},
	{ID: "gpu.nvml-mismatch", Signature: 22, Class: Cause, Parks: true,
		Patterns: re(`Failed to initialize NVML: Driver/library version mismatch`),
		Title:    "the host's driver was upgraded under the running kernel module",
		Why:      "The user-space libraries are new, the loaded module is old.",
		Fix:      steps(do("reboot the host, or recreate the pod on another one")),
		Source:   "nvidia-container-toolkit#171, #394"},
	{ID: "gpu.no-libcuda", Signature: 23, Phase: Load, Class: Cause, Parks: true,
		Patterns: re(`libcuda\.so\.1: cannot open shared object file`),
		Title:    "the container has no GPU driver library",
		Why:      "It was started without the NVIDIA runtime, or without the compute capability.",
		Fix:      steps(do("start it with --gpus all and NVIDIA_DRIVER_CAPABILITIES=compute,utility, or take a GPU pod template")),
		Source:   "sglang#4778"},
	{ID: "gpu.no-bf16", Signature: 45, Phase: Load, Class: Cause, Parks: true,
		Patterns: re(`Bfloat16 is only supported on GPUs with compute capability of at least 8\.0`),
		Title:    "this GPU does not compute in bfloat16",
		Why:      "bfloat16 begins with sm_80 (A100, RTX 30xx).",
		Fix:      steps(do("add --dtype half to the server's command line")),
		Source:   "vllm#946, vllm#1157"},
	{ID: "gpu.no-fp8", Signature: 46, Phase: Load, Class: Cause, Parks: true,
		Patterns: re(`type fp8e4nv not supported in this architecture`),
		Title:    "this GPU does not compute in FP8",
		Why:      "FP8 begins with sm_89 (RTX 40xx, L40, H100).",
		Fix:      steps(do("take the model's bf16, AWQ or GPTQ weights instead of the FP8 ones")),
		Source:   "sglang#7715, sglang#5871, vllm#17581, vllm#41014"},
	{ID: "gpu.ecc", Signature: 47, Phase: Serve, Class: Cause,
		Patterns: re(`uncorrectable ECC error encountered`),
		Title:    "the GPU's memory is faulty",
		Why:      "The hardware found an error that it could not correct. The process cannot go on, and another start may meet it again.",
		Fix:      steps(do("recreate the pod on another machine and report the GPU's serial"), cmd("nvidia-smi -q -d ECC,ROW_REMAPPER")),
		Source:   "vllm#5222, verl#407, ai-toolkit#470"},
	{ID: "xid.app", Signature: 48, Class: Cause,
		Patterns: re(`NVRM: Xid \(PCI:[^)]+\): (13|31|32|39|40|41|69|94)\b`),
		Title:    "a program did something wrong on the GPU",
		Why:      "Such an Xid means an invalid access or instruction in a kernel, or an error that is contained to one process.",
		Note:     xidNote, Fix: steps(do("start the server again; if it comes back with the same model and flags, it is a bug of a kernel")),
		Source: "docs.nvidia.com/deploy/xid-errors; gpud's catalogue"},
	{ID: "xid.follows", Signature: 48, Class: Echo,
		Patterns: re(`NVRM: Xid \(PCI:[^)]+\): (43|44|45|63)\b`),
		Title:    "the driver cleaned up after something else",
		Why:      "This Xid only follows: a process was stopped, or a row of memory was marked to be replaced.",
		Note:     xidNote, Fix: steps(do("look at the Xid, or the end of a process, before it")),
		Source: "docs.nvidia.com/deploy/xid-errors; gpud's catalogue"},
	{ID: "xid.reset", Signature: 48, Class: Cause,
		Patterns: re(`NVRM: Xid \(PCI:[^)]+\): (46|62|64|95|109|110|119|120|136|140|143|155|156|158)\b`),
		Title:    "the GPU must be reset",
		Why:      "From inside a pod it cannot be; a new pod gets a GPU that was.",
		Note:     xidNote, Fix: steps(do("recreate the pod; on your own host reset the GPU when nothing uses it")),
		Source: "docs.nvidia.com/deploy/xid-errors; gpud's catalogue"},
	{ID: "xid.host", Signature: 48, Class: Cause, Parks: true,
		Patterns: re(`NVRM: Xid \(PCI:[^)]+\): (79|151)\b`),
		Title:    "the GPU is gone from the bus",
		Why:      "Only a restart of the machine brings it back.",
		Note:     xidNote, Fix: steps(do("move to another host and tell the provider")),
		Source: "docs.nvidia.com/deploy/xid-errors; gpud's catalogue"},
	{ID: "xid.hardware", Signature: 48, Class: Cause,
		Patterns: re(`NVRM: Xid \(PCI:[^)]+\): (48|74|92|144|145|146|147|148|149|150|154)\b`),
		Title:    "the GPU or its NVLink reports a hardware error",
		Why:      "48 is a double-bit memory error, 74 and 144 to 150 are NVLink, 92 is a high rate of corrected errors, 154 asks for a recovery.",
		Note:     xidNote, Fix: steps(cmd("nvidia-smi -q -d ECC,ROW_REMAPPER"), do("if it comes back, move to another host")),
		Source: "docs.nvidia.com/deploy/xid-errors; gpud's catalogue"},
}

var deepGEMM = re(`DeepG(?:emm|EMM) (?:is )?not supported on this architecture`, `Unsupported architecture.*deep_?gemm`)

func hasDeepGEMM(sm int) bool { return sm == 90 || sm == 100 || sm == 103 }

func xidNote(_ *Context, g []string) string { return "Xid " + g[1] }

// driverNote adds the CUDA line that the live driver can carry (NVIDIA's minor-version compatibility floors).
func driverNote(c *Context, _ []string) string {
	major, err := strconv.Atoi(strings.SplitN(c.Facts.Driver, ".", 2)[0])
	switch {
	case err != nil:
		return ""
	case major >= 580:
		return "the driver here is " + c.Facts.Driver + ": good for CUDA 13 and older"
	case major >= 525:
		return "the driver here is " + c.Facts.Driver + ": CUDA 12 at most; SGLang after 0.5.19 is CUDA 13 only"
	}
	return "the driver here is " + c.Facts.Driver + ": too old for CUDA 12"
}

// foundCUDA reads the driver's CUDA version as torch prints it: 12040 is 12.4.
func foundCUDA(c *Context, g []string) string {
	n, err := strconv.Atoi(g[1])
	if err != nil || n < 1000 {
		return driverNote(c, g)
	}
	return fmt.Sprintf("the driver offers CUDA %d.%d", n/1000, n%1000/10)
}
