package check

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/go-version"

	"radish/doctor"
	"radish/doctor/host"
	"radish/doctor/pep440"
)

// nvidiaDist is the libraries that torch loads; other packages of NVIDIA's come for several CUDA versions at once.
var nvidiaDist = regexp.MustCompile(`^nvidia-(?:cublas|cuda-runtime|cuda-nvrtc|cudnn|cufft|cusolver|cusparse|nccl)-cu(\d+)$`)

func torchCUDA(_ context.Context, m facts) finding {
	const rule = "torch/version.py names a CUDA version, libtorch_cuda.so is there, the metadata agrees, one CUDA major version is installed"
	p := m.Python
	t := p.Torch
	if t == nil {
		return installing(is(doctor.Fail, rule, "torch is not installed"), p, "install the engine; it brings its torch", p.Engine)
	}
	v := verdict{}
	switch {
	case t.HIP != "":
		v.say(doctor.Fail, "torch %s is a ROCm build (%s): it cannot use NVIDIA cards", t.Version, t.HIP)
	case t.CUDA == "" && noCard(m):
		v.say(doctor.Warn, "torch %s is a CPU build, and this machine has no NVIDIA card", t.Version)
	case t.CUDA == "":
		v.say(doctor.Fail, "torch %s is a CPU build: the wheel came from an index without CUDA", t.Version)
	case t.Library == "":
		v.say(doctor.Unknown, "torch %s is built for CUDA %s, but lib/libtorch_cuda.so is not beside it", t.Version, t.CUDA)
	default:
		v.say(doctor.OK, "torch %s, CUDA %s", t.Version, t.CUDA)
	}
	f := finding{}
	if d, ok := p.Dist("torch"); ok && publicOf(d.Version) != publicOf(t.Version) {
		v.say(doctor.Fail, "torch is half upgraded: its files are %s, its metadata says %s", t.Version, d.Version)
		f = seen(f, d.Info+"/METADATA", "%s", d.Version)
	}
	majors := map[string]string{}
	for _, d := range p.Dists {
		if c := nvidiaDist.FindStringSubmatch(d.Name); c != nil {
			majors[c[1]] = d.Info
		}
	}
	for major, info := range majors {
		if t.CUDA != "" && !strings.HasPrefix(t.CUDA, major+".") {
			v.say(doctor.Warn, "libraries of CUDA %s are installed beside a torch for CUDA %s", major, t.CUDA)
			f = seen(f, info, "cu%s", major)
		}
	}
	told := v.finding(rule)
	told.Evidence = seen(f, t.Dir+"/version.py", "__version__ %s, cuda %s, hip %s", t.Version, orNone(t.CUDA), orNone(t.HIP)).Evidence
	if told.State == doctor.Fail {
		told = installing(told, p, "reinstall torch from the index of your driver's CUDA version", "--force-reinstall", "torch=="+publicOf(t.Version),
			"--index-url", "https://download.pytorch.org/whl/"+wheelTag(m))
	}
	return told
}

// noCard says that this machine has neither NVIDIA's devices nor its library.
func noCard(m facts) bool { return m.NVIDIA.NVML.Absent && len(m.NVIDIA.Nodes) == 0 }

// wheelTag is the newest of torch's CUDA lines that the driver runs.
func wheelTag(m facts) string {
	if d, err := version.NewVersion(m.NVIDIA.NVML.Driver); err == nil && d.GreaterThanOrEqual(table().floor("13")) {
		return "cu130"
	}
	return "cu128"
}

// torchDriver is the cliff: CUDA 13 needs driver 580, which nobody inside a pod can install.
func torchDriver(_ context.Context, m facts) finding {
	ref, t := table(), m.Python.Torch
	rule := fmt.Sprintf("driver >= %s for CUDA 12, >= %s for CUDA 13; below a toolkit's own driver its PTX is refused with error 222 (table of %s)",
		ref.floor("12").Original(), ref.floor("13").Original(), ref.Date)
	floor := ref.floor(major(t.CUDA))
	driver, err := version.NewVersion(m.NVIDIA.NVML.Driver)
	switch {
	case t.CUDA == "" || noCard(m):
		return is(doctor.Skipped, rule, "torch has no CUDA, or this machine no card")
	case err != nil:
		return seen(is(doctor.Unknown, rule, "the driver's version is not known: %s", orNone(m.NVIDIA.NVML.Err)), t.Dir+"/version.py", "cuda %s", t.CUDA)
	case floor == nil:
		return seen(is(doctor.Unknown, rule, "the table has no CUDA %s", t.CUDA), t.Dir+"/version.py", "cuda %s", t.CUDA)
	}
	f := is(doctor.OK, rule, "driver %s runs CUDA %s", driver.Original(), t.CUDA)
	switch own := ref.own(t.CUDA); {
	case driver.LessThan(floor):
		f = is(doctor.Fail, rule, "torch is built for CUDA %s, which needs driver >= %s; here it is %s and a pod cannot change it", t.CUDA, floor.Original(), driver.Original())
		f = olderEngine(f, m)
	case own != nil && driver.LessThan(own):
		f = is(doctor.Warn, rule, "driver %s is older than CUDA %s's own %s: wheels run, kernels compiled here may fail with error 222", driver.Original(), t.CUDA, own.Original())
	}
	f = seen(f, "nvmlSystemGetDriverVersion", "%s", driver.Original())
	return seen(f, t.Dir+"/version.py", "cuda %s", t.CUDA)
}

// olderEngine names the last release that still has wheels for the driver's CUDA, where that is known.
func olderEngine(f finding, m facts) finding {
	p := m.Python
	last := pythonTable().engine(p.Engine).LastCUDA12
	if major(p.Torch.CUDA) != "13" || last == "" {
		return fixed(f, doctor.ChangeHost, "rent a host with a newer driver, or install a torch for an older CUDA")
	}
	return installing(f, p, "take the last release with CUDA 12 wheels, or rent a host with driver >= "+table().floor("13").Original(),
		p.Engine+"<="+last, "--extra-index-url", "https://download.pytorch.org/whl/cu128")
}

// archs is the architectures of the cards, each once.
func archs(m facts) []int {
	var all []int
	for _, c := range m.NVIDIA.NVML.Cards {
		if sm := c.Major*10 + c.Minor; !slices.Contains(all, sm) {
			all = append(all, sm)
		}
	}
	return all
}

func codeText(codes []host.Code) string {
	var names []string
	for _, c := range codes {
		names = append(names, c.String())
	}
	return orNone(strings.Join(names, " "))
}

const archRule = "machine code of the same major architecture and no later minor one, or PTX of no later one; sm_90a and the like: exactly"

func torchArch(_ context.Context, m facts) finding {
	t := m.Python.Torch
	v := verdict{}
	for _, sm := range archs(m) {
		most, few := host.Cover(t.Code, sm)
		switch {
		case most:
			v.say(doctor.OK, "torch has code for sm_%d", sm)
		case few && t.CodeErr == "":
			v.say(doctor.Fail, "torch %s has code for sm_%d in a few kernels only: \"no kernel image is available\" in the others", t.Version, sm)
		case t.Library == "" || t.CodeErr != "":
			v.say(doctor.Unknown, "torch's code could not be read: %s", orNone(t.CodeErr))
		default:
			v.say(doctor.Fail, "torch %s has no code for sm_%d: \"no kernel image is available\"", t.Version, sm)
		}
	}
	if v.state == "" {
		return noArch(m, archRule, t.Library, t.Code)
	}
	f := seen(v.finding(archRule), t.Library, "%s", codeText(t.Code))
	if f.State == doctor.Fail {
		f = installing(f, m.Python, "install a torch built for this architecture", "torch", "--index-url", "https://download.pytorch.org/whl/"+wheelTag(m))
	}
	return f
}

// noArch answers where no card says what it is; what the file carries is told all the same.
func noArch(m facts, rule, file string, codes []host.Code) finding {
	f := is(doctor.Unknown, rule, "the card's architecture is not known")
	if noCard(m) {
		f = is(doctor.Skipped, rule, "this machine has no NVIDIA card")
	}
	if file == "" {
		return f
	}
	return seen(f, file, "%s", codeText(codes))
}

// loaded says whether sgl-kernel would load this file on the card: it keeps one build for sm_90 and one for all others.
func loaded(x host.Extension, sm int) bool {
	switch {
	case strings.Contains(x.Path, "/sm90/"):
		return sm == 90
	case strings.Contains(x.Path, "/sm100/"):
		return sm != 90
	}
	return true
}

func kernelArch(_ context.Context, m facts) finding {
	p := m.Python
	v, f := verdict{}, finding{}
	mine := pythonTable().engine(p.Engine).Kernels
	for _, sm := range archs(m) {
		for _, x := range p.Kernels {
			if len(x.Code) == 0 && x.Err == "" || !ours(x, mine) || !loaded(x, sm) {
				continue
			}
			f = seen(f, x.Path, "%s", codeText(x.Code))
			most, few := host.Cover(x.Code, sm)
			switch {
			case x.Err != "":
				v.say(doctor.Unknown, "%s: %s", x.Path, x.Err)
			case most:
				v.say(doctor.OK, "%s has code for sm_%d", x.Path, sm)
			case few:
				v.say(doctor.Warn, "%s has code for sm_%d in a few kernels only", x.Path, sm)
			case x.Main:
				v.say(doctor.Fail, "%s has no code for sm_%d", x.Path, sm)
			default:
				v.say(doctor.OK, "%s has none for sm_%d, and its operations are not used there", x.Path, sm)
			}
		}
	}
	if v.state == "" {
		return noArch(m, archRule, "", nil)
	}
	told := v.finding(archRule)
	told.Evidence = f.Evidence
	if told.State == doctor.Fail {
		told = fixed(told, doctor.ChangeHost, "rent a card that the wheel has code for, or build the kernels from source for this one")
	}
	return told
}

// ours says whether a module belongs to the engine's kernels; sgl-kernel's new name kept the old directory.
func ours(x host.Extension, dists []string) bool { return slices.Contains(dists, x.Package) }

func torchABI(_ context.Context, m facts) finding {
	const rule = "0 symbols of c10, at or torch that a module takes and this torch does not export"
	p := m.Python
	v, f := verdict{}, finding{}
	if len(p.Kernels) == 0 {
		return is(doctor.Skipped, rule, "no compiled module beside torch")
	}
	symbols, first := 0, ""
	for _, x := range p.Kernels {
		symbols += x.Wants
		switch {
		case x.Err != "":
			v.say(doctor.Unknown, "%s: %s", x.Path, x.Err)
		case len(x.Unresolved) > 0:
			state := doctor.Warn
			if x.Main {
				state = doctor.Fail
			}
			v.say(state, "%s takes %d symbols that torch %s does not export: it was built for another torch%s", x.Path, len(x.Unresolved), p.Torch.Version, abiHint(x, p.Torch))
			f = seen(f, x.Path, "undefined symbol: %s", x.Unresolved[0])
			first = owner(p, x.Package)
		}
	}
	v.say(doctor.OK, "%d symbols of %d modules are all exported", symbols, len(p.Kernels))
	told := v.finding(rule)
	told.Evidence = seen(f, p.Torch.Dir+"/lib", "torch %s, C++11 ABI %v", p.Torch.Version, p.Torch.CXX11).Evidence
	if first != "" {
		told = installing(told, p, "reinstall it, so that it comes with or for this torch", "--force-reinstall", first)
	}
	return told
}

// owner is the installed distribution that a module came with: sgl-kernel was renamed and kept its directory.
func owner(p *host.Python, dist string) string {
	if _, ok := p.Dist(dist); !ok && dist == "sgl-kernel" {
		return "sglang-kernel"
	}
	return dist
}

var oldString = regexp.MustCompile(`(?:RK|K|E)Ss`)

// abiHint recognises a module that passes std::string as the other C++ ABI does.
func abiHint(x host.Extension, t *host.Torch) string {
	for _, s := range x.Unresolved {
		switch {
		case strings.Contains(s, "__cxx11") && !t.CXX11:
			return ", with the C++11 ABI that this torch does not have"
		case oldString.MatchString(s) && t.CXX11:
			return ", with the old C++ ABI that this torch left"
		}
	}
	return ""
}

func numpyTrap(_ context.Context, m facts) finding {
	ref := pythonTable()
	rule := fmt.Sprintf("torch before %s was compiled for NumPy 1 and cannot use NumPy 2 (table of %s)", ref.NumPy2, ref.Date)
	d, ok := m.Python.Dist("numpy")
	numpy, err := pep440.Parse(d.Version)
	torch, wrong := pep440.Parse(m.Python.Torch.Version)
	if !ok || err != nil || wrong != nil {
		return is(doctor.Skipped, rule, "numpy is not installed, or a version is not readable")
	}
	f := is(doctor.OK, rule, "numpy %s with torch %s", d.Version, m.Python.Torch.Version)
	since, _ := pep440.Parse(ref.NumPy2)
	two, _ := pep440.Parse("2.0.0")
	if numpy.Compare(two) >= 0 && torch.Compare(since) < 0 {
		f = is(doctor.Fail, rule, "numpy %s with torch %s: \"Numpy is not available\"", d.Version, m.Python.Torch.Version)
		f = installing(f, m.Python, "install the last NumPy 1", "numpy<2")
	}
	return seen(seen(f, d.Info, "%s", d.Version), m.Python.Torch.Dir+"/version.py", "%s", m.Python.Torch.Version)
}
