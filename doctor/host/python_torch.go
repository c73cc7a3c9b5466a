package host

import (
	"debug/elf"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Torch is what torch's own files say of it.
type Torch struct {
	Dir     string
	Version string // torch/version.py: "2.8.0+cu128"
	CUDA    string // "12.8"; empty: a build without CUDA
	HIP     string
	CXX11   bool   // its libraries pass std::string as the newer C++ ABI has it
	Library string // libtorch_cuda.so; empty: it is not there
	Code    []Code // that it carries
	CodeErr string // why Code is not everything
}

// Extension is a compiled module that is loaded next to torch.
type Extension struct {
	Package    string // the distribution: "sgl-kernel"
	Path       string
	Main       bool // the engine does not start without it
	Code       []Code
	Needs      []string // libraries by name
	Wants      int      // symbols that it takes from torch
	Unresolved []string // of those, what no library of this torch exports
	GLIBCXX    string   // the newest version it demands of libstdc++
	GLIBC      string   // and of libc
	Err        string
}

var assignment = regexp.MustCompile(`(?m)^(__version__|cuda|hip)\s*(?::[^=\n]*)?=\s*(?:None|'([^'\n]*)'|"([^"\n]*)")`)

func (d disk) readTorch(dirs []string) *Torch {
	for _, dir := range dirs {
		text := d.text(path.Join(dir, "torch/version.py"), 1<<16)
		if text == "" {
			continue
		}
		t := &Torch{Dir: path.Join(dir, "torch")}
		for _, m := range assignment.FindAllStringSubmatch(text, -1) {
			field := map[string]*string{"__version__": &t.Version, "cuda": &t.CUDA, "hip": &t.HIP}[m[1]]
			*field = m[2] + m[3]
		}
		t.CXX11 = d.newABI(path.Join(t.Dir, "lib/libc10.so"))
		if lib := path.Join(t.Dir, "lib/libtorch_cuda.so"); d.isFile(lib) {
			t.Library = lib
			t.Code, t.CodeErr = d.codeOf(lib)
		}
		return t
	}
	return nil
}

// newABI says whether a library's own names carry the mark of the C++11 std::string.
func (d disk) newABI(lib string) bool {
	f, err := elf.Open(d.onHost(lib))
	if err != nil {
		return false
	}
	defer f.Close()
	symbols, err := f.DynamicSymbols()
	return err == nil && slices.ContainsFunc(symbols, func(s elf.Symbol) bool {
		return s.Section != elf.SHN_UNDEF && torchSymbol.MatchString(s.Name) && strings.Contains(s.Name, "__cxx11")
	})
}

func (d disk) codeOf(lib string) ([]Code, string) {
	f, err := elf.Open(d.onHost(lib))
	if err != nil {
		return nil, err.Error()
	}
	defer f.Close()
	codes, err := gpuCode(d.ctx, f)
	if err != nil {
		return codes, err.Error()
	}
	return codes, ""
}

// extensions is where the modules lie, by distribution. Main ones are named as their packages load them.
var extensions = []struct {
	dist string
	main string // a prefix of the file's name
	at   []string
}{
	{"sgl-kernel", "common_ops.", []string{"sgl_kernel", "*.so"}},
	{"sgl-kernel", "common_ops.", []string{"sgl_kernel", "sm*", "*.so"}},
	{"vllm", "_C", []string{"vllm", "*.so"}},
	{"torchvision", "_C", []string{"torchvision", "*.so"}},
	{"torchaudio", "libtorchaudio", []string{"torchaudio", "lib", "libtorchaudio.so"}},
	{"flashinfer-jit-cache", "", []string{"flashinfer_jit_cache", "jit_cache", "*", "*.so"}},
}

// maxExtensions bounds the modules that are opened: flashinfer's cache has hundreds that are all alike.
const maxExtensions = 48

func (d disk) readKernels(dirs []string) []Extension {
	var all []Extension
	var wants []map[string]bool
	for _, x := range extensions {
		for _, dir := range dirs {
			for _, file := range d.glob(dir, x.at...) {
				if len(all) == maxExtensions || d.ctx.Err() != nil {
					break
				}
				e := Extension{Package: x.dist, Path: file, Main: x.main != "" && strings.HasPrefix(path.Base(file), x.main)}
				want, err := d.readExtension(&e)
				if err != nil {
					e.Err = err.Error()
				}
				all, wants = append(all, e), append(wants, want)
			}
		}
	}
	if err := d.resolveSymbols(dirs, wants); err != nil {
		for i := range all {
			all[i].Err = err.Error()
		}
		return all
	}
	for i := range all {
		all[i].Unresolved = slices.Sorted(maps.Keys(wants[i]))
	}
	return all
}

func (d disk) readExtension(e *Extension) (map[string]bool, error) {
	f, err := elf.Open(d.onHost(e.Path))
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	defer f.Close()
	if e.Code, err = gpuCode(d.ctx, f); err != nil {
		return nil, err
	}
	if e.Needs, err = f.ImportedLibraries(); err != nil {
		return nil, fmt.Errorf("read needed libraries: %w", err)
	}
	versions := versionNeeds(f)
	e.GLIBCXX, e.GLIBC = newest(versions, "GLIBCXX_"), newest(versions, "GLIBC_")
	want, err := wanted(f)
	e.Wants = len(want)
	return want, err
}

// torchLibs is where torch exports from, the small ones first.
var torchLibs = []string{"libc10.so", "libc10_cuda.so", "libtorch.so", "libtorch_python.so", "libtorch_cuda.so", "libtorch_cpu.so"}

// resolveSymbols strikes from wants what torch exports. Without a torch nothing can be said, and wants is emptied.
func (d disk) resolveSymbols(dirs []string, wants []map[string]bool) error {
	at := -1
	for i, dir := range dirs {
		if d.isFile(path.Join(dir, "torch/lib/libc10.so")) {
			at = i
			break
		}
	}
	if at < 0 {
		for _, w := range wants {
			clear(w)
		}
		return nil
	}
	for _, name := range torchLibs {
		lib := path.Join(dirs[at], "torch/lib", name)
		if !slices.ContainsFunc(wants, func(w map[string]bool) bool { return len(w) > 0 }) || !d.isFile(lib) {
			continue
		}
		if d.ctx.Err() != nil {
			return fmt.Errorf("resolve symbols: %w", d.ctx.Err())
		}
		f, err := elf.Open(d.onHost(lib))
		if err != nil {
			return fmt.Errorf("open %s: %w", lib, err)
		}
		err = strike(f, wants)
		f.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", lib, err)
		}
	}
	return nil
}

// Transformers is what the installed transformers says of the model types it knows.
type Transformers struct {
	Files []string
	Known map[string]bool // by model_type; empty: nothing could be read
}

var modelType = regexp.MustCompile(`\(\s*"([a-z0-9_.-]+)",\s*"[A-Za-z0-9_]+Config"`)

func (d disk) readTransformers(dirs []string) Transformers {
	t := Transformers{Known: map[string]bool{}}
	for _, dir := range dirs {
		for _, name := range []string{"configuration_auto.py", "auto_mappings.py"} {
			file := path.Join(dir, "transformers/models/auto", name)
			text := d.text(file, 4<<20)
			if text == "" {
				continue
			}
			t.Files = append(t.Files, file)
			for _, m := range modelType.FindAllStringSubmatch(text, -1) {
				t.Known[m[1]] = true
			}
		}
		if len(t.Files) > 0 {
			break
		}
	}
	return t
}
