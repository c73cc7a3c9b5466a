package host

import (
	"bytes"
	"debug/elf"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Tools is what compiling kernels on first use needs. A field is empty where the thing was not found.
type Tools struct {
	CC          string
	Ninja       string
	NinjaInBin  string // one in the environment's bin, which need not be on PATH
	NVCC        string
	NVCCVersion string
	NVCCInWheel string // one that a package carries and that nothing finds unless CUDA_HOME names its directory
	PythonH     string // the header of the judged interpreter
}

// Libraries is what the compiled modules find when they are loaded.
type Libraries struct {
	Libstdcxx string // the one that the loader takes
	GLIBCXX   string // the newest version it defines
	Libc      string
	GLIBC     string
	Missing   []MissingLib
}

// MissingLib is a library that a module needs and that lies nowhere the loader or torch looks.
type MissingLib struct {
	Name, By string
	Main     bool // By is a module that the engine does not start without
}

func (d disk) readTools(e Environment) Tools {
	var t Tools
	for _, name := range []string{"cc", "gcc", "clang"} {
		if t.CC == "" {
			t.CC = d.onPath(name)
		}
	}
	if cc, ok := d.env.Get("CC"); ok && (d.isFile(cc) || d.onPath(cc) != "") {
		t.CC = cc
	}
	t.Ninja = d.onPath("ninja")
	if file := path.Join(e.Bin(), "ninja"); d.isFile(file) {
		t.NinjaInBin = file
	}
	t.NVCC, t.NVCCVersion = d.findNVCC()
	t.NVCCInWheel = d.wheelNVCC(e)
	for _, prefix := range []string{e.Prefix, path.Dir(path.Clean("/" + e.Home)), d.realHome(e)} {
		if file := path.Join(prefix, "include/python"+e.Minor(), "Python.h"); t.PythonH == "" && d.isFile(file) {
			t.PythonH = file
		}
	}
	return t
}

// realHome is the prefix behind a venv's interpreter, its links followed.
func (d disk) realHome(e Environment) string {
	real, _ := d.resolve(path.Join(e.Prefix, "bin/python3"))
	return path.Join(real, "../..")
}

var cudaInPath = regexp.MustCompile(`cuda-(\d+\.\d+)`)

// findNVCC looks where torch and flashinfer look: CUDA_HOME or CUDA_PATH and nowhere else if one is set, then PATH, then
// /usr/local/cuda (torch/utils/cpp_extension.py, flashinfer/jit/cpp_ext.py).
func (d disk) findNVCC() (file, version string) {
	home := "/usr/local/cuda"
	if nvcc := d.onPath("nvcc"); nvcc != "" {
		home = path.Join(nvcc, "../..")
	}
	for _, name := range []string{"CUDA_PATH", "CUDA_HOME"} {
		if named, ok := d.env.Get(name); ok {
			home = named
		}
	}
	if file := path.Join(home, "bin/nvcc"); d.isFile(file) {
		return file, d.toolkitVersion(home)
	}
	return "", ""
}

// wheelNVCC is the compiler that a package carries.
func (d disk) wheelNVCC(e Environment) string {
	for _, dir := range e.Path {
		for _, home := range append(d.glob(dir, "nvidia", "cu[0-9]*"), d.glob(dir, "nvidia", "cuda_nvcc")...) {
			if file := path.Join(home, "bin/nvcc"); d.isFile(file) {
				return file
			}
		}
	}
	return ""
}

func (d disk) toolkitVersion(home string) string {
	if v := toolkitJSON(d.onHost(path.Join(home, "version.json"))); v != "" {
		return v
	}
	for _, info := range d.glob(path.Join(home, "../.."), "nvidia_cuda_nvcc*-*.dist-info") { // its headers are of another package
		if m := infoName.FindStringSubmatch(path.Base(info)); m != nil {
			return m[2]
		}
	}
	real, _ := d.resolve(home)
	if m := cudaInPath.FindStringSubmatch(real); m != nil {
		return m[1]
	}
	if m := cudaMacro.FindStringSubmatch(d.text(path.Join(home, "include/cuda.h"), 1<<16)); m != nil {
		return m[1] + "." + m[2]
	}
	return ""
}

// cudaMacro is CUDA_VERSION in cuda.h: 12040 is 12.4.
var cudaMacro = regexp.MustCompile(`#define\s+CUDA_VERSION\s+(\d+)0(\d)0\b`)

// loaderDirs is where a library is looked for, in order: LD_LIBRARY_PATH, conda's lib, what the packages bring and torch
// loads by path, the loader's cache and its own directories.
func (d disk) loaderDirs(e Environment) (early, packages []string) {
	if list, ok := d.env.Get("LD_LIBRARY_PATH"); ok {
		early = filepath.SplitList(list)
	}
	for _, prefix := range []string{e.Prefix, d.realHome(e)} {
		if d.isDir(path.Join(prefix, "conda-meta")) {
			early = append(early, path.Join(prefix, "lib"))
		}
	}
	for _, dir := range e.Path {
		packages = append(packages, path.Join(dir, "torch/lib"))
		packages = append(packages, d.glob(dir, "nvidia", "*", "lib")...)
		packages = append(packages, d.glob(dir, "*.libs")...)
	}
	return early, append(packages, "/usr/local/cuda/lib64")
}

// readLibraries finds each library that a module names. What torch itself needs is torch's own wheel's concern.
func (d disk) readLibraries(e Environment, p *Python) Libraries {
	early, packages := d.loaderDirs(e)
	cache := d.loaderCache()
	find := func(name string, more ...string) string {
		for _, dir := range slices.Concat(early, more) {
			if file := path.Join("/", dir, name); d.isFile(file) {
				return file
			}
		}
		if file := cache[name]; file != "" && d.isFile(file) {
			return file
		}
		for _, dir := range libDirs {
			if file := path.Join(dir, name); d.isFile(file) {
				return file
			}
		}
		return ""
	}
	l := Libraries{Libstdcxx: find("libstdc++.so.6"), Libc: find("libc.so.6")}
	l.GLIBCXX, l.GLIBC = d.defined(l.Libstdcxx, "GLIBCXX_"), d.defined(l.Libc, "GLIBC_")
	for _, x := range p.Kernels {
		for _, name := range x.Needs {
			known := slices.ContainsFunc(l.Missing, func(m MissingLib) bool { return m.Name == name })
			// gpu.libs judges libcuda; libtorch* are missing with torch, which has its own check.
			if known || name == "libcuda.so.1" || strings.HasPrefix(name, "libtorch") || strings.HasPrefix(name, "libc10") {
				continue
			}
			if find(name, append(packages, path.Dir(x.Path))...) == "" {
				l.Missing = append(l.Missing, MissingLib{name, x.Path, x.Main})
			}
		}
	}
	return l
}

func (d disk) defined(lib, family string) string {
	if lib == "" {
		return ""
	}
	f, err := elf.Open(d.onHost(lib))
	if err != nil {
		return ""
	}
	defer f.Close()
	return newest(versionsOf(f), family)
}

// loaderCache is ld.so.cache by library name; its strings end in NUL.
func (d disk) loaderCache() map[string]string {
	libs := map[string]string{}
	for _, s := range bytes.Split([]byte(d.text("/etc/ld.so.cache", 16<<20)), []byte{0}) {
		if name := path.Base(string(s)); bytes.HasPrefix(s, []byte("/")) && libs[name] == "" {
			libs[name] = string(s)
		}
	}
	return libs
}
