package check

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"radish/doctor/host"
)

// library describes a shared object that cc builds for a fixture, so that the linker and not this project decides what an
// ELF file looks like.
type library struct {
	exports, wants []string // symbols
	needs          []string // other libraries
	fat            []fatCode
	defines        string // the version that exports carry: "GLIBCXX_3.4.30"
	demands        string // a version of libstdc++.so.6
}

// fatCode is an entry of a fat binary: the fields of host.Code as nvcc writes them.
type fatCode struct {
	kind  uint16 // 1 PTX, 2 machine code
	sm    uint32
	flags uint64 // 1<<20: "a"
}

func sass(sms ...uint32) []fatCode {
	var all []fatCode
	for _, sm := range sms {
		all = append(all, fatCode{2, sm, 0x11})
	}
	return all
}

// fatbin lays entries out in one container, each with 24 bytes of payload.
func fatbin(entries []fatCode) []byte {
	var body bytes.Buffer
	for _, e := range entries {
		var head [64]byte
		binary.LittleEndian.PutUint16(head[0:], e.kind)
		binary.LittleEndian.PutUint16(head[2:], 0x101)
		binary.LittleEndian.PutUint32(head[4:], uint32(len(head)))
		binary.LittleEndian.PutUint64(head[8:], 24)
		binary.LittleEndian.PutUint32(head[28:], e.sm)
		binary.LittleEndian.PutUint32(head[32:], 64)
		binary.LittleEndian.PutUint64(head[40:], e.flags)
		body.Write(head[:])
		body.Write(make([]byte, 24))
	}
	var head [16]byte
	binary.LittleEndian.PutUint32(head[:], 0xBA55ED50)
	binary.LittleEndian.PutUint16(head[4:], 1)
	binary.LittleEndian.PutUint16(head[6:], 16)
	binary.LittleEndian.PutUint64(head[8:], uint64(body.Len()))
	return append(head[:], body.Bytes()...)
}

var built = struct {
	sync.Mutex
	libs map[string]string
}{libs: map[string]string{}}

// build is the bytes of a library; the same one is compiled once.
func (l library) build(t *testing.T) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	key := fmt.Sprintf("%+v", l)
	if b, ok := built.libs[key]; ok {
		return b
	}
	dir := t.TempDir()
	var src strings.Builder
	for _, s := range l.exports {
		fmt.Fprintf(&src, "void %s(void) {}\n", s)
	}
	for i, s := range l.wants {
		fmt.Fprintf(&src, "extern void %s(void); void use_%d(void) { %s(); }\n", s, i, s)
	}
	args := []string{"-shared", "-nostdlib", "-fPIC", "-o", "out.so", "in.c"}
	if l.fat != nil {
		write(t, dir, "fat.bin", string(fatbin(l.fat)))
		src.WriteString(`__asm__(".section .nv_fatbin,\"a\"\n.balign 8\n.incbin \"fat.bin\"\n.previous");` + "\n")
	}
	if l.defines != "" {
		write(t, dir, "versions", l.defines+" { global: *; };")
		args = append(args, "-Wl,--version-script=versions")
	}
	for i, need := range l.needs {
		args = append(args, linkStub(t, dir, fmt.Sprintf("stub%d.so", i), need, ""))
	}
	if l.demands != "" {
		args = append(args, linkStub(t, dir, "cxx.so", "libstdc++.so.6", l.demands))
		src.WriteString("extern void stub(void); void use_stub(void) { stub(); }\n")
	}
	write(t, dir, "in.c", src.String())
	compile(t, dir, args)
	built.libs[key] = read(t, filepath.Join(dir, "out.so"))
	return built.libs[key]
}

// linkStub is a library to link against: its name, and the version of its one symbol. The caller holds built.
func linkStub(t *testing.T, dir, file, soname, version string) string {
	t.Helper()
	key := soname + " " + version
	if b, ok := built.libs[key]; ok {
		write(t, dir, file, b)
		return file
	}
	args := []string{"-shared", "-nostdlib", "-fPIC", "-o", file, "stub.c", "-Wl,-soname," + soname}
	write(t, dir, "stub.c", "")
	if version != "" {
		write(t, dir, "stub.c", "void stub(void) {}")
		write(t, dir, "stub.versions", version+" { global: *; };")
		args = append(args, "-Wl,--version-script=stub.versions")
	}
	compile(t, dir, args)
	built.libs[key] = read(t, filepath.Join(dir, file))
	return file
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func compile(t *testing.T, dir string, args []string) {
	t.Helper()
	c := exec.Command("cc", append([]string{"-Wl,--no-as-needed"}, args...)...)
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("cc %s: %v\n%s", args, err, out)
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// dist is one installed distribution: its metadata, a RECORD and its files.
type dist struct {
	name, version string
	requires      []string
	python        string // Requires-Python
	tag           string
	files         map[string]string
}

func (d dist) into(files map[string]string, site string) {
	info := site + "/" + strings.ReplaceAll(d.name, "-", "_") + "-" + d.version + ".dist-info"
	meta := "Metadata-Version: 2.1\nName: " + d.name + "\nVersion: " + d.version + "\n"
	if d.python != "" {
		meta += "Requires-Python: " + d.python + "\n"
	}
	for _, r := range d.requires {
		meta += "Requires-Dist: " + r + "\n"
	}
	files[info+"/METADATA"] = meta + "\nRequires-Dist: this is the description, not a header\n"
	if d.tag != "" {
		files[info+"/WHEEL"] = "Wheel-Version: 1.0\nTag: " + d.tag + "\n"
	}
	record := filepath.Base(info) + "/RECORD,,\n"
	for name, text := range d.files {
		files[site+"/"+name] = text
		record += fmt.Sprintf("%s,sha256=x,%d\n", name, len(text))
	}
	files[info+"/RECORD"] = record
}

// patient is a machine with an environment on it. Its makers below start from a good one and spoil one thing.
type patient struct {
	machine
	engine string
	site   string
	dists  map[string]*dist
	late   map[string]string // laid over what was installed
}

const (
	venv    = "workspace/venv"
	site312 = venv + "/lib/python3.12/site-packages"
)

// C++ names as torch's headers declare them.
const (
	symIntNe  = "_ZNK3c106SymInt6sym_neERKS0_"
	checkNew  = "_ZN3c106detail14torchCheckFailEPKcS2_jRKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"
	checkOld  = "_ZN3c106detail14torchCheckFailEPKcS2_jRKSs"
	emptyLike = "_ZN2at4_ops10empty_like4callERKNS_6TensorE"
)

// goodSGLang is an H100 with an activated venv in which everything fits.
func goodSGLang(t *testing.T) *patient {
	t.Helper()
	m := h100()
	m.files = with(m.files, map[string]string{
		"usr/bin/python3":                                    "-> python3.12",
		"usr/bin/python3.12":                                 "elf",
		"usr/bin/cc":                                         "elf",
		"usr/include/python3.12/Python.h":                    "",
		"usr/include/python3.12/patchlevel.h":                "#define PY_VERSION              \"3.12.3\"\n",
		"usr/lib/python3.12/EXTERNALLY-MANAGED":              "[externally-managed]\n",
		"usr/lib/python3.12/os.py":                           "",
		"usr/local/cuda/bin/nvcc":                            "elf",
		"usr/local/cuda/version.json":                        `{"cuda": {"name": "CUDA SDK", "version": "12.8.1"}}`,
		"lib/x86_64-linux-gnu/libnuma.so.1":                  "elf",
		"lib/x86_64-linux-gnu/libstdc++.so.6":                library{exports: []string{"stub"}, defines: "GLIBCXX_3.4.30"}.build(t),
		venv + "/bin/python":                                 "-> python3",
		venv + "/bin/python3":                                "-> /usr/bin/python3.12",
		venv + "/bin/ninja":                                  "elf",
		venv + "/pyvenv.cfg":                                 "home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.12.3\n",
		site312 + "/nvidia/cuda_runtime/lib/libcudart.so.12": "elf",
	})
	m.env = append(m.env, "VIRTUAL_ENV=/"+venv, "PATH=/"+venv+"/bin:/usr/local/bin:/usr/bin", "CUDA_HOME=/usr/local/cuda")
	p := &patient{machine: m, engine: "sglang", site: site312, dists: map[string]*dist{}}
	p.torch(t, "2.9.1", "12.8", sass(70, 75, 80, 86, 90, 100, 120), true)
	p.add(dist{name: "torchvision", version: "0.24.1", requires: []string{"numpy", "torch (==2.9.1)"}, python: ">=3.9", tag: "cp312-cp312-manylinux_2_28_x86_64",
		files: map[string]string{"torchvision/_C.so": library{wants: []string{emptyLike}, needs: []string{"libcudart.so.12"}, fat: sass(80, 90)}.build(t)}})
	p.add(dist{name: "triton", version: "3.5.1", python: "<3.15,>=3.10", tag: "cp312-cp312-manylinux_2_28_x86_64"})
	p.add(dist{name: "numpy", version: "2.3.1", python: ">=3.11", tag: "cp312-cp312-manylinux_2_28_x86_64"})
	p.add(dist{name: "flashinfer-python", version: "0.6.7.post3", python: "<4.0,>=3.10", requires: []string{"torch", "ninja"}, tag: "py3-none-any"})
	p.add(dist{name: "flashinfer-cubin", version: "0.6.7.post3", tag: "py3-none-any"})
	p.kernels(t, "sglang-kernel", "0.4.1", []string{symIntNe, checkNew, emptyLike}, append(sass(80, 89, 90), fatCode{2, 90, 0x100011}, fatCode{2, 100, 0x100011}))
	p.add(dist{name: "transformers", version: "5.3.0", python: ">=3.10", tag: "py3-none-any",
		files: map[string]string{"transformers/models/auto/auto_mappings.py": "        (\"llama\", \"LlamaConfig\"),\n        (\"qwen3\", \"Qwen3Config\"),\n"}})
	p.add(dist{name: "sglang", version: "0.5.10.post1", python: ">=3.10", tag: "py3-none-any", requires: []string{"torch==2.9.1", "torchvision",
		"flashinfer_python==0.6.7.post3", "flashinfer_cubin==0.6.7.post3", "sglang-kernel==0.4.1", "transformers==5.3.0", "numpy", "uvloop",
		`decord2; sys_platform == "linux" and platform_machine == "riscv64"`, `sglang[test]; extra == "dev"`, `torch==2.4; extra == "srt_hip"`}})
	p.add(dist{name: "filelock", version: "3.20.0"})
	p.add(dist{name: "nvidia-cudnn-cu12", version: "9.10.2.21"})
	p.add(dist{name: "uvloop", version: "0.21.0"})
	p.model = t.TempDir()
	write(t, p.model, "config.json", `{"model_type": "qwen3"}`)
	return p
}

func (p *patient) add(d dist) { p.dists[d.name] = &d }

// torch installs one built for a CUDA version, "" for none, with code for some architectures and one of the two ABIs.
func (p *patient) torch(t *testing.T, version, cuda string, code []fatCode, newABI bool) {
	t.Helper()
	check, tag, value := checkOld, "+cpu", "None"
	if newABI {
		check = checkNew
	}
	files := map[string]string{"torch/lib/libc10.so": library{exports: []string{symIntNe, check}}.build(t),
		"torch/lib/libtorch_cpu.so": library{exports: []string{emptyLike}}.build(t)}
	requires := []string{"filelock", "nvidia-cudnn-cu12==9.10.2.21 ; platform_system == \"Linux\"", `triton==3.5.1; platform_system == "Linux" and platform_machine == "x86_64"`}
	if cuda != "" {
		files["torch/lib/libtorch_cuda.so"] = library{fat: code}.build(t)
		tag, value = "+cu"+strings.ReplaceAll(cuda, ".", ""), "'"+cuda+"'"
	}
	files["torch/version.py"] = "from typing import Optional\n__all__ = ['__version__', 'cuda', 'hip']\n__version__ = '" + version + tag +
		"'\ndebug = False\ncuda: Optional[str] = " + value + "\nhip: Optional[str] = None\n"
	p.add(dist{name: "torch", version: version, requires: requires, python: ">=3.9.0", tag: "cp312-cp312-manylinux_2_28_x86_64", files: files})
}

// kernels installs sgl-kernel's two builds of common_ops.
func (p *patient) kernels(t *testing.T, name, version string, wants []string, code []fatCode) {
	t.Helper()
	l := library{wants: wants, needs: []string{"libc10.so", "libcudart.so.12", "libnuma.so.1", "libcuda.so.1"}, fat: code, demands: "GLIBCXX_3.4.29"}.build(t)
	p.add(dist{name: name, version: version, python: ">=3.10", tag: "cp310-abi3-manylinux2014_x86_64", files: map[string]string{
		"sgl_kernel/sm90/common_ops.abi3.so": l, "sgl_kernel/sm100/common_ops.abi3.so": l}})
}

// card puts another card and driver into the machine.
func (p *patient) card(name string, sm int, version string, cuda int) {
	p.nvml = driver(version, cuda, theCard(name, sm, 48, 300))
}

// without takes files away by what their names contain.
func (p *patient) without(parts ...string) {
	maps.DeleteFunc(p.files, func(name, _ string) bool {
		for _, part := range parts {
			if strings.Contains(name, part) {
				return true
			}
		}
		return false
	})
}

// setenv replaces one variable, or takes it away.
func (p *patient) setenv(name, value string) {
	var env []string
	for _, kv := range p.env {
		if !strings.HasPrefix(kv, name+"=") {
			env = append(env, kv)
		}
	}
	if value != "" {
		env = append(env, name+"="+value)
	}
	p.env = env
}

func (p *patient) examine(t *testing.T) *host.Facts {
	t.Helper()
	for _, d := range p.dists {
		d.into(p.files, p.site)
	}
	p.files = with(p.files, p.late)
	p.machine.engine, p.machine.wait = p.engine, time.Minute // the test's own machine may be busy
	return p.machine.read(t)
}
