package check

import (
	"strings"
	"testing"

	"radish/doctor"
)

// patients is written by hand from what was spoiled: the states that matter, by check. What is not named must be ok or
// skipped. The golden reports hold the words.
var patients = map[string]struct {
	spoil  func(t *testing.T, p *patient)
	states string
}{
	"sglang-good": {func(*testing.T, *patient) {}, "py.engine=ok py.requires=ok py.torch_arch=ok py.kernel_arch=ok py.torch_abi=ok py.pair.flashinfer=ok py.pair.kernels=ok py.libs=ok py.libstdcxx=ok py.headers_cc=ok py.nvcc=ok py.transformers_arch=ok py.version=ok"},
	"cuda13-old-driver": {func(t *testing.T, p *patient) {
		p.torch(t, "2.9.1", "13.0", sass(75, 80, 86, 90, 100, 120), true)
		p.card("NVIDIA A40", 86, "550.54.15", 12040)
	}, "py.torch_driver=fail py.pair.kernels=fail py.nvcc=warn py.torch_cuda=warn"},
	"ptx-risk":  {func(_ *testing.T, p *patient) { p.card("NVIDIA A40", 86, "535.54.03", 12020) }, "py.torch_driver=warn py.nvcc=warn"},
	"cpu-torch": {func(t *testing.T, p *patient) { p.torch(t, "2.9.1", "", nil, true) }, "py.torch_cuda=fail py.torch_arch=skipped py.torch_abi=skipped"},
	"torchvision-mismatch": {func(_ *testing.T, p *patient) {
		p.dists["torchvision"].requires[1], p.dists["torchvision"].version = "torch (==2.8.0)", "0.23.0"
	}, "py.pair.torchvision=fail"},
	"flashinfer-other-torch": {func(_ *testing.T, p *patient) {
		p.add(dist{name: "flashinfer", version: "0.1.6+cu121torch2.4", tag: "cp312-cp312-linux_x86_64"})
		p.dists["flashinfer-cubin"].version = "0.5.2"
		p.add(dist{name: "flashinfer-jit-cache", version: "0.6.7.post3+cu130"})
	}, "py.pair.flashinfer=fail py.requires=fail"},
	"kernels-without-sm": {func(_ *testing.T, p *patient) { p.card("Tesla T4", 75, "580.95.05", 13000) }, "py.kernel_arch=fail"},
	"blackwell-old-torch": {func(t *testing.T, p *patient) {
		p.torch(t, "2.9.1", "12.6", sass(50, 60, 70, 75, 80, 86, 90), true)
		p.card("NVIDIA GeForce RTX 5090", 120, "580.95.05", 13000)
		p.files["usr/local/cuda/version.json"] = `{"cuda": {"version": "12.6.3"}}`
	}, "py.torch_arch=fail py.kernel_arch=fail py.nvcc=fail"},
	"few-kernels": {func(t *testing.T, p *patient) {
		p.torch(t, "2.9.1", "12.8", append(sass(80, 90, 80, 90, 80, 90), fatCode{2, 100, 0x100011}), true)
		p.card("NVIDIA B200", 100, "580.95.05", 13000)
	}, "py.torch_arch=fail"},
	"python39":            {func(_ *testing.T, p *patient) { rejuvenate(p, "3.9") }, "py.version=fail"},
	"python313":           {func(_ *testing.T, p *patient) { rejuvenate(p, "3.13") }, "py.version=fail"},
	"abi-mismatch":        {func(t *testing.T, p *patient) { p.torch(t, "2.9.1", "12.8", sass(80, 90), false) }, "py.torch_abi=fail"},
	"system-shadows-venv": {func(_ *testing.T, p *patient) { p.setenv("PATH", "/usr/bin:/"+venv+"/bin") }, "py.interpreters=warn"},
	"two-torches": {func(t *testing.T, p *patient) {
		p.setenv("PYTHONPATH", "/root/old")
		now := p.dists["torch"]
		p.torch(t, "2.4.0", "12.1", sass(80, 90), false)
		p.dists["torch"].into(p.files, "root/old")
		p.dists["torch"] = now
	}, "py.env=warn py.pkgs=fail py.requires=fail py.torch_abi=fail py.pair.torchvision=fail py.pair.triton=ok"},
	"conda-and-venv": {func(_ *testing.T, p *patient) {
		p.setenv("CONDA_PREFIX", "/opt/conda")
		p.files["opt/conda/conda-meta/python-3.11.9-h955ad1f_0.json"], p.files["opt/conda/bin/python3.11"] = "{}", "elf"
		p.files["opt/conda/bin/python3"] = "-> python3.11"
	}, "py.interpreters=warn"},
	"nothing-to-compile-with": {func(_ *testing.T, p *patient) { p.without("bin/cc", "bin/ninja", "bin/nvcc", "Python.h") }, "py.headers_cc=fail"},
	"nvcc-in-a-wheel": {func(_ *testing.T, p *patient) {
		p.setenv("CUDA_HOME", "/usr/local/cuda-12.8")
		p.files[site312+"/nvidia/cu12/bin/nvcc"] = "elf"
	}, "py.headers_cc=fail py.nvcc=skipped"},
	"cudnn-upgraded": {func(_ *testing.T, p *patient) { p.dists["nvidia-cudnn-cu12"].version = "9.15.1.9" }, "py.torch_requires=fail"},
	"both-cudas": {func(_ *testing.T, p *patient) {
		p.add(dist{name: "nvidia-cudnn-cu13", version: "9.24.0.43"})
		p.add(dist{name: "nvidia-cutlass-dsl-libs-cu13", version: "4.8.0"})
	}, "py.torch_cuda=warn"},
	"vllm": {func(t *testing.T, p *patient) {
		p.engine = "vllm"
		delete(p.dists, "sglang")
		delete(p.dists, "sglang-kernel")
		l := library{wants: []string{emptyLike}, needs: []string{"libcudart.so.12"}, fat: []fatCode{{2, 80, 0x11}, {1, 90, 0x11}, {2, 100, 0x200011}}}.build(t)
		p.add(dist{name: "vllm", version: "0.12.0", python: "<3.14,>=3.10", tag: "cp38-abi3-manylinux_2_31_x86_64", requires: []string{"torch==2.9.1", "numba==0.61.2"},
			files: map[string]string{"vllm/_C.abi3.so": l, "vllm/_flashmla_C.abi3.so": library{fat: []fatCode{{2, 90, 0x100011}}}.build(t)}})
		p.without("cuda/bin/nvcc")
		p.card("NVIDIA GeForce RTX 5090", 120, "580.95.05", 13000)
	}, "py.requires=warn py.headers_cc=warn py.kernel_arch=ok"},
	"ninja-not-on-path": {func(_ *testing.T, p *patient) { p.setenv("PATH", "/usr/bin") }, "py.headers_cc=warn py.interpreters=warn"},
	"numpy2": {func(t *testing.T, p *patient) {
		p.torch(t, "2.2.2", "12.1", sass(80, 90), true)
		p.files["usr/local/cuda/version.json"] = `{"cuda": {"version": "12.1.1"}}`
	}, "py.numpy=fail py.requires=fail py.pair.torchvision=fail"},
	"half-upgraded": {func(_ *testing.T, p *patient) {
		dist{name: "torch", version: "2.8.0"}.into(p.files, site312)
		p.files[site312+"/~orch/version.py"] = ""
	}, "py.pkgs=fail py.torch_cuda=fail py.requires=fail"},
	"disk-was-full": {func(_ *testing.T, p *patient) {
		p.dists["sglang"].files = map[string]string{"sglang/launch_server.py": "import sglang\n"}
		p.late = map[string]string{site312 + "/sglang/launch_server.py": "imp"}
	}, "py.pkgs=fail"},
	"interpreter-gone": {func(_ *testing.T, p *patient) { p.without("usr/bin/python3") }, "py.interpreters=fail py.engine=skipped"},
	"old-libstdcxx": {func(t *testing.T, p *patient) {
		p.files["lib/x86_64-linux-gnu/libstdc++.so.6"] = library{exports: []string{"stub"}, defines: "GLIBCXX_3.4.9"}.build(t)
	}, "py.libstdcxx=fail"},
	"no-libnuma":        {func(_ *testing.T, p *patient) { p.without("libnuma") }, "py.libs=fail"},
	"nothing-installed": {func(_ *testing.T, p *patient) { p.dists = map[string]*dist{} }, "py.engine=fail py.torch_cuda=fail py.pkgs=ok py.transformers_arch=fail"},
	"no-python":         {func(_ *testing.T, p *patient) { p.dists = map[string]*dist{}; p.without("python3", "pyvenv.cfg") }, "py.interpreters=fail"},
	"unknown-model":     {func(t *testing.T, p *patient) { write(t, p.model, "config.json", `{"model_type": "brandnew"}`) }, "py.transformers_arch=fail"},
	"silently-old":      {func(_ *testing.T, p *patient) { p.dists["sglang"].version = "0.5.9" }, "py.uv_prerelease=warn"},
	"no-card": {func(_ *testing.T, p *patient) {
		p.nvml = noDriver().nvml
		p.without("dev/nvidia", "proc/driver", "libcuda.so", "libnvidia")
	}, "py.torch_arch=skipped py.torch_driver=skipped py.kernel_arch=skipped"},
	"driver-hangs": {func(_ *testing.T, p *patient) { p.nvml = hanging().nvml }, "py.torch_arch=unknown py.torch_driver=unknown py.kernel_arch=unknown"},
	"system-python": {func(_ *testing.T, p *patient) {
		p.without(venv)
		p.setenv("VIRTUAL_ENV", "")
		p.setenv("PATH", "/usr/bin")
		p.site = "usr/local/lib/python3.12/dist-packages"
		p.files["usr/bin/ninja"], p.files["usr/local/cuda/lib64/libcudart.so.12"] = "elf", "elf"
	}, "py.pep668=warn"},
}

// rejuvenate makes the venv one of another Python, with the same packages copied into it.
func rejuvenate(p *patient, minor string) {
	p.without(venv, "Python.h")
	p.site = venv + "/lib/python" + minor + "/site-packages"
	p.files["usr/bin/python"+minor], p.files["usr/include/python"+minor+"/Python.h"] = "elf", ""
	p.files[venv+"/bin/python3"], p.files[venv+"/bin/ninja"] = "-> /usr/bin/python"+minor, "elf"
	p.files[venv+"/pyvenv.cfg"] = "home = /usr/bin\nversion_info = " + minor + ".2.final.0\n"
	p.files[p.site+"/nvidia/cuda_runtime/lib/libcudart.so.12"] = "elf"
}

func TestPatients(t *testing.T) {
	for name, c := range patients {
		t.Run(name, func(t *testing.T) {
			p := goodSGLang(t)
			c.spoil(t, p)
			facts := p.examine(t)
			r := doctor.Run(t.Context(), facts, Python())
			want := map[string]string{}
			for pair := range strings.FieldsSeq(c.states) {
				id, s, _ := strings.Cut(pair, "=")
				want[id] = s
			}
			for _, f := range r.Findings {
				w, told := want[f.ID]
				if told && string(f.State) != w || !told && f.State != doctor.OK && f.State != doctor.Skipped {
					t.Errorf("%s is %s, want %q: %s", f.ID, f.State, w, f.Summary)
				}
			}
			file := problemsOnly + name
			if name == "sglang-good" {
				file = "python-" + name
			}
			golden(t, file, facts.Root, r)
		})
	}
}

// TestPythonIsAskedFor: without --engine nothing is judged, and no check of the machine shares an id with one of Python's.
func TestPythonIsAskedFor(t *testing.T) {
	facts := h100().read(t)
	ids := map[string]bool{}
	for _, c := range append(All(), Python()...) {
		if ids[c.ID] {
			t.Errorf("%s is there twice", c.ID)
		}
		ids[c.ID] = true
	}
	for _, f := range doctor.Run(t.Context(), facts, Python()).Findings {
		if f.State != doctor.Skipped {
			t.Errorf("%s is %s without an engine", f.ID, f.State)
		}
	}
}
