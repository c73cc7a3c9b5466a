package check

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/go-version"

	"radish/doctor"
	"radish/doctor/pep440"
)

// systemPackages is what brings a library that no wheel brings, on Debian and Ubuntu.
var systemPackages = map[string]string{"libnuma.so.1": "libnuma1", "libgomp.so.1": "libgomp1", "libstdc++.so.6": "libstdc++6", "libGL.so.1": "libgl1",
	"libibverbs.so.1": "libibverbs1"}

func apt(f finding, packages ...string) finding {
	f = fixed(f, doctor.RunCommand, "install from the distribution", append([]string{"apt-get", "install", "-y"}, packages...)...)
	f.Fix.NeedsRoot = true
	return f
}

func neededLibs(_ context.Context, m facts) finding {
	const rule = "every library that a module names lies in torch's, NVIDIA's or the loader's directories"
	v, f := verdict{}, finding{}
	v.say(doctor.OK, "%d modules find their libraries", len(m.Python.Kernels))
	if len(m.Python.Kernels) == 0 {
		return is(doctor.Skipped, rule, "no compiled module beside torch")
	}
	var bring []string
	for _, lib := range m.Python.Libraries.Missing {
		state := doctor.Warn
		if lib.Main {
			state = doctor.Fail
		}
		v.say(state, "%s is missing", lib.Name)
		f = seen(f, lib.By, "NEEDED %s", lib.Name)
		if pack, ok := systemPackages[lib.Name]; ok {
			bring = append(bring, pack)
		}
	}
	told := v.finding(rule)
	told.Evidence = f.Evidence
	switch {
	case len(bring) > 0:
		told = apt(told, bring...)
	case told.State != doctor.OK:
		told = installing(told, m.Python, "reinstall the engine with the libraries of its CUDA version", "--force-reinstall", m.Python.Engine)
	}
	return told
}

func runtimeLibs(_ context.Context, m facts) finding {
	const rule = "libstdc++ and libc define every GLIBCXX and GLIBC version that a module demands"
	l := m.Python.Libraries
	if len(m.Python.Kernels) == 0 {
		return is(doctor.Skipped, rule, "no compiled module beside torch")
	}
	v, f := verdict{}, finding{}
	v.say(doctor.OK, "GLIBCXX_%s and GLIBC_%s", orNone(l.GLIBCXX), orNone(l.GLIBC))
	for _, x := range m.Python.Kernels {
		for _, pair := range [][4]string{{"GLIBCXX_", x.GLIBCXX, l.GLIBCXX, l.Libstdcxx}, {"GLIBC_", x.GLIBC, l.GLIBC, l.Libc}} {
			family, need, have, lib := pair[0], pair[1], pair[2], pair[3]
			switch {
			case need == "" || have != "" && !older(have, need):
			case have == "":
				v.say(doctor.Unknown, "which %s versions are there could not be read", family)
			default:
				v.say(doctor.Fail, "%s demands %s%s, %s ends at %s", x.Path, family, need, lib, have)
				f = seen(f, x.Path, "%s%s", family, need)
			}
		}
	}
	told := v.finding(rule)
	told.Evidence = seen(seen(f, orNone(l.Libstdcxx), "GLIBCXX_%s", orNone(l.GLIBCXX)), orNone(l.Libc), "GLIBC_%s", orNone(l.GLIBC)).Evidence
	if told.State == doctor.Fail {
		told = fixed(told, doctor.EditTemplate, "take an image with a newer distribution; in conda, install a newer libstdcxx-ng")
	}
	return told
}

func older(a, b string) bool {
	x, err := pep440.Parse(a)
	y, wrong := pep440.Parse(b)
	return err == nil && wrong == nil && x.Compare(y) < 0
}

// compiler judges what compiling on first use needs: triton always compiles a launcher in C, FlashInfer its kernels unless
// they came compiled.
func compiler(_ context.Context, m facts) finding {
	const rule = "a C compiler and Python.h for triton; ninja and nvcc for FlashInfer without flashinfer-jit-cache"
	p := m.Python
	t := p.Tools
	_, triton := p.Dist("triton")
	_, flashinfer := p.Dist("flashinfer-python")
	_, cached := p.Dist("flashinfer-jit-cache")
	jit := flashinfer && !cached
	v := verdict{}
	var bring []string
	if t.CC == "" && (triton || jit) {
		v.say(doctor.Fail, "there is no C compiler")
		bring = append(bring, "build-essential")
	}
	if t.PythonH == "" && triton {
		e, _ := p.Environment()
		v.say(doctor.Fail, "Python.h of Python %s is missing", e.Minor())
		bring = append(bring, "python"+e.Minor()+"-dev")
	}
	if t.Ninja == "" && jit {
		if t.NinjaInBin != "" {
			v.say(doctor.Warn, "ninja is in %s, which is not on PATH: activate the environment", t.NinjaInBin)
		} else {
			v.say(doctor.Fail, "ninja is missing")
			bring = append(bring, "ninja-build")
		}
	}
	if t.NVCC == "" && jit {
		state := doctor.Warn
		if pythonTable().engine(p.Engine).NeedsNVCC {
			state = doctor.Fail
		}
		v.say(state, "nvcc is not found: FlashInfer cannot compile its kernels")
	}
	v.say(doctor.OK, "all that is compiled on first use can be")
	f := v.finding(rule)
	for _, x := range [][2]string{{"cc", t.CC}, {"Python.h", t.PythonH}, {"ninja", t.Ninja}, {"ninja in bin", t.NinjaInBin}, {"nvcc", t.NVCC}, {"nvcc in a package", t.NVCCInWheel}} {
		f = seen(f, x[0], "%s", orNone(x[1]))
	}
	switch {
	case len(bring) > 0:
		f = apt(f, bring...)
	case f.State != doctor.OK && t.NVCC == "" && t.NVCCInWheel != "":
		f = fixed(f, doctor.SetFlag, "set CUDA_HOME="+strings.TrimSuffix(t.NVCCInWheel, "/bin/nvcc"))
	case f.State == doctor.Fail:
		f = fixed(f, doctor.EditTemplate, "take an image with the CUDA toolkit (devel), or install flashinfer-jit-cache for torch's CUDA version")
	}
	return f
}

func cudaCompiler(_ context.Context, m facts) finding {
	ref, t, torch := table(), m.Python.Tools, m.Python.Torch
	rule := "nvcc of torch's CUDA major version, no older than the card's first CUDA, no newer than the driver's (table of " + ref.Date + ")"
	if t.NVCC == "" {
		return is(doctor.Skipped, rule, "there is no nvcc; py.headers_cc says whether one is needed")
	}
	have, err := version.NewVersion(t.NVCCVersion)
	if err != nil {
		return seen(is(doctor.Unknown, rule, "nvcc's version could not be read"), t.NVCC, "%s", orNone(t.NVCCVersion))
	}
	v := verdict{}
	v.say(doctor.OK, "nvcc %s", t.NVCCVersion)
	if torch.CUDA != "" && fmt.Sprint(have.Segments()[0]) != major(torch.CUDA) {
		v.say(doctor.Warn, "nvcc is of CUDA %s, torch of %s: torch refuses to compile extensions with it", t.NVCCVersion, torch.CUDA)
	}
	for _, sm := range archs(m) {
		a, known := ref.arch(sm)
		if first, err := version.NewVersion(a.CUDA); known && err == nil && have.LessThan(first) {
			v.say(doctor.Fail, "nvcc %s does not know sm_%d, which came with CUDA %s: \"Unsupported gpu architecture\"", t.NVCCVersion, sm, a.CUDA)
		}
	}
	driver, err := version.NewVersion(m.NVIDIA.NVML.Driver)
	own := ref.own(strings.Join(strings.SplitN(t.NVCCVersion, ".", 3)[:2], "."))
	if err == nil && own != nil && driver.LessThan(own) {
		v.say(doctor.Warn, "nvcc %s is newer than driver %s: PTX that it makes may be refused with error 222", t.NVCCVersion, m.NVIDIA.NVML.Driver)
	}
	return seen(v.finding(rule), t.NVCC, "%s", t.NVCCVersion)
}

func knowsModel(_ context.Context, m facts) finding {
	const rule = "config.json's model_type is among those that the installed transformers lists"
	t := m.Python.Transformers
	switch {
	case m.Model == nil:
		return is(doctor.Skipped, rule, "no model was named (--for DIR)")
	case kind(m.Model) == "":
		return is(doctor.Unknown, rule, "the model's model_type is not known")
	case len(t.Files) == 0:
		return is(doctor.Fail, rule, "transformers is not installed")
	case len(t.Known) == 0:
		return seen(is(doctor.Unknown, rule, "transformers' list could not be read"), t.Files[0], "0 model types")
	}
	d, _ := m.Python.Dist("transformers")
	f := is(doctor.OK, rule, "transformers %s knows %s", d.Version, kind(m.Model))
	if !t.Known[kind(m.Model)] {
		f = is(doctor.Fail, rule, "transformers %s does not know %q: it is too old, or the model brings its own code", d.Version, kind(m.Model))
		f = installing(f, m.Python, "upgrade it as far as the engine's pin allows", "--upgrade", m.Python.Engine, "transformers")
	}
	return seen(f, strings.Join(t.Files, ", "), "%d model types", len(t.Known))
}

// silentOld catches the release that an older uv resolves to without a word.
func silentOld(_ context.Context, m facts) finding {
	ref := pythonTable()
	old := ref.SilentOld
	rule := fmt.Sprintf("%s %s is what uv before %s installs without --prerelease=allow (table of %s)", old.Dist, old.Version, old.UV, ref.Date)
	d, _ := m.Python.Dist(m.Python.Engine)
	uv, ok := m.Python.Dist("uv")
	f := is(doctor.OK, rule, "%s %s", d.Name, d.Version)
	if d.Name == old.Dist && d.Version == old.Version && (!ok || older(uv.Version, old.UV)) {
		f = is(doctor.Warn, rule, "%s %s was perhaps not what you asked for", d.Name, d.Version)
		f = installing(f, m.Python, "ask for a version", "--prerelease=allow", d.Name+">"+old.Version)
		f.Fix.Argv = slices.DeleteFunc(f.Fix.Argv, func(a string) bool { return a == "--prerelease=allow" && f.Fix.Argv[0] != "uv" })
	}
	return seen(f, d.Info, "%s, uv %s", d.Version, orNone(uv.Version))
}
