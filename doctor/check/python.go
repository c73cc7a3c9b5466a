package check

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"radish/doctor"
	"radish/doctor/host"
	"radish/doctor/pep440"
)

// Python is every check of the Python side of an engine; each needs Options.Engine of package host.
func Python() []doctor.Check {
	const env, torch, engine = "py.interpreters", "py.torch_cuda", "py.engine"
	all := []doctor.Check{
		{ID: env, Title: "which Python is run", Run: interpreters},
		{ID: "py.env", Title: "variables that change Python", Run: pythonEnv},
		{ID: engine, Title: "the engine is installed", DependsOn: []string{env}, Run: engineThere},
		{ID: "py.version", Title: "Python's version fits the packages", DependsOn: []string{env}, Run: pythonVersion},
		{ID: "py.pep668", Title: "the environment is the user's own", DependsOn: []string{env}, Run: managed},
		{ID: "py.pkgs", Title: "packages are whole and there once", DependsOn: []string{env}, Run: packages},
		{ID: "py.requires", Title: "the engine's pins hold", DependsOn: []string{engine}, Run: enginePins},
		{ID: torch, Title: "torch is a CUDA build", DependsOn: []string{env}, Run: torchCUDA},
		{ID: "py.torch_requires", Title: "torch's pins hold", DependsOn: []string{torch}, Run: torchPins},
		{ID: "py.torch_driver", Title: "the driver runs torch's CUDA", DependsOn: []string{torch}, Run: torchDriver},
		{ID: "py.torch_arch", Title: "torch has code for this GPU", DependsOn: []string{torch}, Run: torchArch},
		{ID: "py.kernel_arch", Title: "the engine's kernels have code for this GPU", DependsOn: []string{engine}, Run: kernelArch},
		{ID: "py.torch_abi", Title: "compiled modules fit this torch", DependsOn: []string{torch}, Run: torchABI},
		{ID: "py.pair.torchvision", Title: "torchvision fits torch", DependsOn: []string{torch}, Run: pairOf("torchvision")},
		{ID: "py.pair.torchaudio", Title: "torchaudio fits torch", DependsOn: []string{torch}, Run: pairOf("torchaudio")},
		{ID: "py.pair.triton", Title: "triton fits torch", DependsOn: []string{torch}, Run: pairTriton},
		{ID: "py.pair.flashinfer", Title: "FlashInfer's parts fit each other and torch", DependsOn: []string{torch}, Run: pairFlashInfer},
		{ID: "py.pair.kernels", Title: "the engine's kernels fit torch's CUDA", DependsOn: []string{torch, engine}, Run: pairKernels},
		{ID: "py.libs", Title: "libraries that compiled modules need", DependsOn: []string{env}, Run: neededLibs},
		{ID: "py.libstdcxx", Title: "C and C++ runtime libraries are new enough", DependsOn: []string{env}, Run: runtimeLibs},
		{ID: "py.numpy", Title: "numpy fits torch", DependsOn: []string{torch}, Run: numpyTrap},
		{ID: "py.headers_cc", Title: "compiler, headers and ninja", DependsOn: []string{env}, Run: compiler},
		{ID: "py.nvcc", Title: "CUDA compiler", DependsOn: []string{torch}, Run: cudaCompiler},
		{ID: "py.transformers_arch", Title: "transformers knows the model", DependsOn: []string{env}, Run: knowsModel},
		{ID: "py.uv_prerelease", Title: "the engine is not a silently old one", DependsOn: []string{engine}, Run: silentOld},
	}
	for i := range all {
		run := all[i].Run
		all[i].Family = "python"
		all[i].Run = func(ctx context.Context, m facts) finding {
			switch {
			case m.Python == nil:
				return finding{State: doctor.Skipped, Summary: "no engine was named (--engine)"}
			case m.Python.Err != "":
				return finding{State: doctor.Unknown, Summary: m.Python.Err}
			}
			return run(ctx, m)
		}
	}
	return all
}

// installing ends a finding with a command for the judged environment. It replaces packages, so --fix leaves it alone.
func installing(f finding, p *host.Python, text string, args ...string) finding {
	e, ok := p.Environment()
	if !ok {
		return f
	}
	argv := []string{"uv", "pip", "install", "--python", e.Prefix}
	if _, pip := p.Dist("pip"); pip {
		argv = []string{e.Bin() + "/python", "-m", "pip", "install"}
	}
	f = fixed(f, doctor.RunCommand, text, append(argv, args...)...)
	f.Fix.Destructive = true
	return f
}

func interpreters(_ context.Context, m facts) finding {
	p := m.Python
	const rule = "one Python: python3 on PATH is the environment with the engine, its interpreter is there, and no second environment is active"
	f, v := finding{}, verdict{}
	e, ok := p.Environment()
	venv, inVenv := m.Env.Get("VIRTUAL_ENV")
	conda, inConda := m.Env.Get("CONDA_PREFIX")
	switch {
	case !ok && len(p.Environments) == 0:
		v.say(doctor.Fail, "no Python was found")
	case !ok:
		v.say(doctor.Fail, "none of the %d environments found is the one that was named, or has %s", len(p.Environments), p.Engine)
	case e.HomeMissing:
		v.say(doctor.Fail, "the interpreter of %s is gone: it was made from %s, which this image does not have", e.Prefix, orNone(e.Home))
	default:
		v.say(doctor.OK, "%s, Python %s: %s", e.Prefix, e.Version, p.Why)
		if p.FirstPrefix != e.Prefix && !p.Named {
			v.say(doctor.Warn, "python3 on PATH is %s of %s, not %s, where %s is", orNone(p.First), orNone(p.FirstPrefix), e.Prefix, p.Engine)
		}
	}
	if inVenv && inConda && venv != conda {
		v.say(doctor.Warn, "a venv and a conda environment are active at once")
	}
	if inVenv && p.First != "" && p.FirstPrefix != venv {
		v.say(doctor.Warn, "VIRTUAL_ENV names %s, but python3 on PATH is %s", venv, p.First)
	}
	f = v.finding(rule)
	f = seen(seen(f, "VIRTUAL_ENV", "%s", orNone(venv)), "CONDA_PREFIX", "%s", orNone(conda))
	f = seen(f, "first python3 on PATH", "%s", orNone(p.First))
	for _, x := range p.Environments {
		f = seen(f, x.Prefix, "%s, Python %s, %s %s", x.Kind, x.Version, p.Engine, map[bool]string{true: "installed", false: "absent"}[x.HasEngine])
	}
	switch {
	case ok && e.HomeMissing:
		f = fixed(f, doctor.RunCommand, "make the environment anew with an interpreter of this image", "python3", "-m", "venv", "--clear", e.Prefix)
		f.Fix.Destructive = true
	case ok && f.State == doctor.Warn:
		f = fixed(f, doctor.SetFlag, "run "+e.Bin()+"/python by its full name, or activate it in a fresh shell: . "+e.Bin()+"/activate")
	}
	return f
}

func pythonEnv(_ context.Context, m facts) finding {
	const rule = "PYTHONHOME is not set; PYTHONPATH and LD_PRELOAD put their own in front; FLASHINFER_DISABLE_VERSION_CHECK hides a mismatch"
	v := verdict{}
	v.say(doctor.OK, "none is set")
	f := finding{}
	for _, name := range []string{"PYTHONHOME", "PYTHONPATH", "LD_PRELOAD", "FLASHINFER_DISABLE_VERSION_CHECK"} {
		value, set := m.Env.Get(name)
		f = seen(f, name, "%s", orNone(value))
		switch {
		case !set:
		case name == "PYTHONHOME":
			v.say(doctor.Fail, "PYTHONHOME makes every Python take %s's standard library", value)
		default:
			v.say(doctor.Warn, "%s is set", name)
		}
	}
	told := v.finding(rule)
	told.Evidence = f.Evidence
	if told.State != doctor.OK {
		told = fixed(told, doctor.SetFlag, "unset what was not set on purpose")
	}
	return told
}

func engineThere(_ context.Context, m facts) finding {
	p := m.Python
	rule := "the distribution " + p.Engine + " is installed once"
	d, ok := p.Dist(p.Engine)
	if !ok {
		e, _ := p.Environment()
		f := seen(is(doctor.Fail, rule, "%s is not installed in %s", p.Engine, e.Prefix), "looked in", "%s", orNone(strings.Join(e.Path, " ")))
		return installing(f, p, "install it", p.Engine)
	}
	f := is(doctor.OK, rule, "%s %s", d.Name, d.Version)
	return seen(f, d.Info, "%s", d.Version)
}

func managed(_ context.Context, m facts) finding {
	const rule = "no EXTERNALLY-MANAGED file (PEP 668)"
	e, _ := m.Python.Environment()
	if !e.Managed {
		return seen(is(doctor.OK, rule, "pip may install into it"), e.Prefix, "%s", e.Kind)
	}
	f := is(doctor.Warn, rule, "%s belongs to the system's package manager: pip refuses to install into it", e.Prefix)
	f = seen(f, e.Prefix+"/lib/python"+e.Minor()+"/EXTERNALLY-MANAGED", "there")
	return fixed(f, doctor.RunCommand, "make an environment of your own and install there: python3 -m venv DIR")
}

// pythonVersion believes the packages: each says which Pythons it is for, and a wheel's tag which one it was built for.
func pythonVersion(_ context.Context, m facts) finding {
	e, _ := m.Python.Environment()
	const rule = "each package's Requires-Python and wheel tag; no version of Python is right or wrong by itself"
	have, err := pep440.Parse(e.Version)
	if err != nil {
		return seen(is(doctor.Unknown, rule, "the version %q is none", e.Version), e.Prefix, "%s", e.Version)
	}
	v := verdict{}
	v.say(doctor.OK, "Python %s", e.Version)
	f := finding{}
	for _, d := range m.Python.Dists {
		set, err := pep440.ParseSet(d.RequiresPy)
		switch {
		case err != nil:
			v.say(doctor.Unknown, "%s: Requires-Python %q is not readable", d.Name, d.RequiresPy)
		case !set.Holds(have):
			v.say(doctor.Fail, "%s %s needs Python %s, this is %s", d.Name, d.Version, set, e.Version)
			f = seen(f, d.Info+"/METADATA", "Requires-Python: %s", d.RequiresPy)
		case len(d.Tags) > 0 && !slices.ContainsFunc(d.Tags, func(tag string) bool { return tagFits(tag, e.Minor()) }):
			v.say(doctor.Fail, "%s %s was built for another Python (%s), this is %s", d.Name, d.Version, d.Tags[0], e.Version)
			f = seen(f, d.Info+"/WHEEL", "Tag: %s", strings.Join(d.Tags, ", "))
		}
	}
	told := v.finding(rule)
	told.Evidence = seen(f, e.Prefix, "Python %s", e.Version).Evidence
	if told.State == doctor.Fail {
		told = fixed(told, doctor.RunCommand, "make an environment with a Python that all of them are for: uv venv --python 3.12 DIR")
	}
	return told
}

// tagFits reads a wheel's tag, "cp310-abi3-linux_x86_64", against a Python's minor version.
func tagFits(tag, minor string) bool {
	parts := strings.SplitN(tag, "-", 3)
	if len(parts) != 3 {
		return true
	}
	var want, have int
	if n, _ := fmt.Sscanf(parts[0], "cp3%d", &want); n != 1 {
		return true // py3, py2.py3: any
	}
	if n, _ := fmt.Sscanf(minor, "3.%d", &have); n != 1 {
		return true
	}
	if parts[1] == "abi3" {
		return have >= want
	}
	return have == want
}

func packages(_ context.Context, m facts) finding {
	p := m.Python
	const rule = "each package once, every file of RECORD there and as long as it says, nothing left behind by pip"
	v, f := verdict{}, finding{}
	v.say(doctor.OK, "%d packages", len(p.Dists))
	seenNames := map[string]bool{}
	for _, d := range p.Dists {
		if all := p.All(d.Name); len(all) > 1 && !seenNames[d.Name] {
			f = twice(&v, f, d.Name, all)
		}
		seenNames[d.Name] = true
		if d.BrokenCount > 0 {
			v.say(doctor.Fail, "%d files of %s %s are not as installed: %s", d.BrokenCount, d.Name, d.Version, strings.Join(d.Broken, ", "))
			f = seen(f, d.Info+"/RECORD", "%d of its files differ", d.BrokenCount)
		}
	}
	if len(p.Leftovers) > 0 {
		v.say(doctor.Warn, "pip left %d renamed directories behind", len(p.Leftovers))
		f = seen(f, p.Leftovers[0], "there")
	}
	told := v.finding(rule)
	told.Evidence = f.Evidence
	if told.State != doctor.OK {
		told = installing(told, p, "reinstall the engine and what it pins in one run", "--force-reinstall", p.Engine)
	}
	return told
}

// twice judges a distribution that is installed more than once: in one directory it was half upgraded, in two the first
// on sys.path hides the other.
func twice(v *verdict, f finding, name string, all []host.Dist) finding {
	state := doctor.Warn
	if slices.Contains(pythonTable().LoadBearing, name) {
		state = doctor.Fail
	}
	for _, d := range all {
		f = seen(f, d.Info, "%s", d.Version)
	}
	if all[0].Site() == all[1].Site() {
		v.say(doctor.Fail, "%s is half upgraded: %s and %s in one directory", name, all[0].Version, all[1].Version)
	} else if all[0].Version != all[1].Version {
		v.say(state, "%s is there twice: %s hides %s", name, all[0].Version, all[1].Version)
	}
	return f
}
