package check

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"radish/doctor"
	"radish/doctor/host"
	"radish/doctor/pep440"
)

// markerEnv is what the markers of requirements see in the judged environment.
func markerEnv(e host.Environment, extra string) map[string]string {
	machine := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
	full := e.Version
	if strings.Count(full, ".") < 2 {
		full += ".0"
	}
	return map[string]string{"python_version": e.Minor(), "python_full_version": full, "implementation_version": full, "os_name": "posix",
		"sys_platform": "linux", "platform_machine": machine, "platform_system": "Linux", "platform_python_implementation": "CPython",
		"implementation_name": "cpython", "extra": extra}
}

// demand is one requirement that applies here, and what is installed for it.
type demand struct {
	line  string
	req   pep440.Requirement
	extra bool
	have  *host.Dist
	holds bool
}

// demands evaluates a distribution's Requires-Dist. Nothing records which extras were asked for, so an extra's pin counts
// only where the package it names is there. A line that cannot be read is left out.
func demands(p *host.Python, d host.Dist, extras []string) []demand {
	e, _ := p.Environment()
	var all []demand
	for _, line := range d.RequiresDist {
		req, err := pep440.ParseRequirement(line)
		if err != nil || req.Name == d.Name {
			continue
		}
		x := demand{line: line, req: req}
		applies := req.Applies(markerEnv(e, ""))
		for _, extra := range extras {
			if !applies && req.Applies(markerEnv(e, extra)) {
				applies, x.extra = true, true
			}
		}
		have, ok := p.Dist(req.Name)
		if !applies || !ok && x.extra {
			continue
		}
		if ok {
			x.have = &have
			v, err := pep440.Parse(have.Version)
			x.holds = req.URL != "" || err == nil && req.Set.Holds(v)
		}
		all = append(all, x)
	}
	return all
}

// maxPins is how many broken pins are shown that no kernel hangs on.
const maxPins = 5

// enginePins judges what the engine asks for.
func enginePins(_ context.Context, m facts) finding {
	return pins(m, m.Python.Engine, pythonTable().engine(m.Python.Engine).Extras)
}

// torchPins judges what torch asks for: each wheel of it names the CUDA libraries that it was built with.
func torchPins(_ context.Context, m facts) finding {
	if _, ok := m.Python.Dist("torch"); !ok {
		return is(doctor.Skipped, "", "torch was installed without metadata")
	}
	return pins(m, "torch", nil)
}

func pins(m facts, name string, extras []string) finding {
	p := m.Python
	rule := "every Requires-Dist of " + name + " that applies here (PEP 508) is installed in a version that it allows"
	d, _ := p.Dist(name)
	all := demands(p, d, extras)
	if len(all) == 0 {
		return seen(is(doctor.Unknown, rule, "%s names no requirement", d.Name), d.Info, "no Requires-Dist was read")
	}
	v, f, wrong := verdict{}, finding{}, 0
	v.say(doctor.OK, "%d pins of %s %s hold", len(all), d.Name, d.Version)
	for _, x := range all {
		if x.have != nil && x.holds {
			continue
		}
		state := x.weight()
		if x.have == nil {
			v.say(state, "%s is not installed", x.req.Name+x.req.Set.String())
		} else {
			v.say(state, "%s wants %s, installed is %s", d.Name, x.req.Name+x.req.Set.String(), x.have.Version)
		}
		if wrong++; state == doctor.Fail || wrong <= maxPins {
			f = seen(f, d.Info+"/METADATA", "Requires-Dist: %s", x.line)
		}
	}
	told := v.finding(rule)
	told.Evidence = f.Evidence
	if wrong > 0 {
		told.Summary = fmt.Sprintf("%d of %d pins do not hold: %s", wrong, len(all), told.Summary)
		told = installing(told, p, "install it in this version again: one resolver run sees all its pins", d.Name+"=="+d.Version)
	}
	return told
}

// weight is how much hangs on a demand: compiled code, or some import that may never run.
func (x demand) weight() doctor.State {
	if slices.Contains(pythonTable().LoadBearing, x.req.Name) || strings.HasPrefix(x.req.Name, "nvidia-") {
		return doctor.Fail
	}
	return doctor.Warn
}

// pairOf judges a package by what it says itself of the torch it was built for.
func pairOf(name string) func(context.Context, facts) finding {
	return func(_ context.Context, m facts) finding {
		rule := name + "'s own Requires-Dist for torch"
		p := m.Python
		d, ok := p.Dist(name)
		if !ok {
			return is(doctor.Skipped, rule, "%s is not installed", name)
		}
		all := slices.DeleteFunc(demands(p, d, nil), func(x demand) bool { return x.req.Name != "torch" })
		v := verdict{}
		for _, x := range all {
			x.have = &host.Dist{Version: p.Torch.Version} // torch's files, whatever its metadata says
			have, err := pep440.Parse(p.Torch.Version)
			if err != nil || !x.req.Set.Holds(have) {
				v.say(doctor.Fail, "%s %s is built for torch%s, installed is torch %s", name, d.Version, x.req.Set, p.Torch.Version)
				continue
			}
			v.say(doctor.OK, "%s %s with torch %s", name, d.Version, p.Torch.Version)
		}
		if len(all) == 0 {
			v.say(doctor.Skipped, "%s %s ties itself to no release of torch: py.torch_abi judges its symbols", name, d.Version)
		}
		if mine, torch := localCUDA(d.Version), p.Torch.CUDA; mine != "" && torch != "" && mine != torch {
			v.say(doctor.Fail, "%s %s is built for CUDA %s, torch for %s", name, d.Version, mine, torch)
		}
		f := v.finding(rule)
		for _, x := range all {
			f = seen(f, d.Info+"/METADATA", "Requires-Dist: %s", x.line)
		}
		f = seen(f, p.Torch.Dir+"/version.py", "%s", p.Torch.Version)
		if f.State == doctor.Fail {
			f = installing(f, p, "install the release that goes with this torch", "torch=="+p.Torch.Version, name)
		}
		return f
	}
}

var cudaLocal = regexp.MustCompile(`cu(?:da)?(\d{2})\.?(\d)`)

// localCUDA is the CUDA version in a local part: "+cu128" is "12.8". Empty: the version does not say.
func localCUDA(text string) string {
	_, local, _ := strings.Cut(text, "+")
	m := cudaLocal.FindStringSubmatch(local)
	if m == nil {
		return ""
	}
	return m[1] + "." + m[2]
}

func major(version string) string {
	first, _, _ := strings.Cut(version, ".")
	return first
}

func pairTriton(_ context.Context, m facts) finding {
	const rule = "torch's own Requires-Dist for triton"
	p := m.Python
	torch, _ := p.Dist("torch")
	for _, x := range demands(p, torch, nil) {
		if x.req.Name != "triton" {
			continue
		}
		f := is(doctor.OK, rule, "triton is what torch %s pins", torch.Version)
		if x.have == nil {
			f = is(doctor.Fail, rule, "torch %s pins triton%s, which is not installed", torch.Version, x.req.Set)
		} else if !x.holds {
			f = is(doctor.Fail, rule, "torch %s pins triton%s, installed is %s", torch.Version, x.req.Set, x.have.Version)
		}
		f = seen(f, torch.Info+"/METADATA", "Requires-Dist: %s", x.line)
		if f.State == doctor.Fail {
			f = installing(f, p, "install the one it pins", "triton"+x.req.Set.String())
		}
		return f
	}
	return is(doctor.Skipped, rule, "this torch pins no triton")
}

var torchLocal = regexp.MustCompile(`torch(\d+\.\d+)`)

func pairFlashInfer(_ context.Context, m facts) finding {
	const rule = "flashinfer-python, -cubin and -jit-cache carry one version; a wheel that names torch or CUDA names the installed ones"
	p := m.Python
	v, f := verdict{}, finding{}
	found := map[string]host.Dist{}
	for _, name := range []string{"flashinfer-python", "flashinfer-cubin", "flashinfer-jit-cache", "flashinfer"} {
		if d, ok := p.Dist(name); ok {
			found[name] = d
			f = seen(f, d.Info, "%s", d.Version)
			judgeLocal(&v, d, p.Torch)
		}
	}
	main, ok := found["flashinfer-python"]
	_, old := found["flashinfer"]
	switch {
	case len(found) == 0:
		return is(doctor.Skipped, rule, "FlashInfer is not installed")
	case old && ok:
		v.say(doctor.Fail, "flashinfer and flashinfer-python are both installed and write to one directory")
	case old:
		v.say(doctor.Warn, "flashinfer %s is the package's old name: current engines import flashinfer-python", found["flashinfer"].Version)
	case !ok:
		v.say(doctor.Fail, "flashinfer-python is missing beside its own parts")
	}
	public := publicOf(main.Version)
	for _, name := range []string{"flashinfer-cubin", "flashinfer-jit-cache"} {
		if d, there := found[name]; ok && there && publicOf(d.Version) != public {
			v.say(doctor.Fail, "%s %s does not match flashinfer-python %s", name, d.Version, main.Version)
		}
	}
	v.say(doctor.OK, "%s", strings.Join(slices.Sorted(maps.Keys(found)), ", ")+" "+public)
	told := v.finding(rule)
	told.Evidence = seen(f, p.Torch.Dir+"/version.py", "%s", p.Torch.Version).Evidence
	if told.State != doctor.OK {
		told = installing(told, p, "install the version that the engine pins, all parts alike", p.Engine, "flashinfer-python")
	}
	return told
}

// judgeLocal compares the "+cu121torch2.4" of a wheel with the torch that is there.
func judgeLocal(v *verdict, d host.Dist, t *host.Torch) {
	_, local, _ := strings.Cut(d.Version, "+")
	if cuda := localCUDA(d.Version); cuda != "" && t.CUDA != "" && major(cuda) != major(t.CUDA) {
		v.say(doctor.Fail, "%s %s is built for CUDA %s, torch for %s", d.Name, d.Version, cuda, t.CUDA)
	}
	if m := torchLocal.FindStringSubmatch(local); m != nil && !strings.HasPrefix(t.Version, m[1]+".") {
		v.say(doctor.Fail, "%s %s is built for torch %s, installed is %s", d.Name, d.Version, m[1], t.Version)
	}
}

func publicOf(text string) string {
	v, err := pep440.Parse(text)
	if err != nil {
		return text
	}
	return v.Public()
}

var cudaRuntime = regexp.MustCompile(`^libcudart\.so\.(\d+)$`)

// pairKernels reads the CUDA that compiled code is linked to out of the code: a version need not say it.
func pairKernels(_ context.Context, m facts) finding {
	const rule = "one distribution of the engine's kernels, linked to the libcudart of torch's CUDA major version"
	p := m.Python
	v, f := verdict{}, finding{}
	var there []string
	for _, name := range pythonTable().engine(p.Engine).Kernels {
		if d, ok := p.Dist(name); ok {
			there = append(there, name)
			f = seen(f, d.Info, "%s", d.Version)
			judgeLocal(&v, d, p.Torch)
		}
	}
	switch len(there) {
	case 0:
		return is(doctor.Fail, rule, "none of %s is installed", strings.Join(pythonTable().engine(p.Engine).Kernels, ", "))
	case 1:
		v.say(doctor.OK, "%s with CUDA %s", there[0], orNone(p.Torch.CUDA))
	default:
		v.say(doctor.Fail, "%s are both installed and write to one directory", strings.Join(there, " and "))
	}
	if strange, lib := otherCUDA(p); len(strange) > 0 {
		v.say(doctor.Fail, "%d modules are linked to %s, torch is built for CUDA %s: the first is %s", len(strange), lib, p.Torch.CUDA, strange[0])
		f = seen(f, strange[0], "NEEDED %s", lib)
	}
	told := v.finding(rule)
	told.Evidence = seen(f, p.Torch.Dir+"/version.py", "cuda %s", orNone(p.Torch.CUDA)).Evidence
	if told.State == doctor.Fail {
		told = installing(told, p, "reinstall the engine with the kernels of one CUDA version", "--force-reinstall", p.Engine)
	}
	return told
}

// otherCUDA names the modules that are linked to a CUDA runtime of another major version than torch's, and that runtime.
func otherCUDA(p *host.Python) (files []string, lib string) {
	for _, x := range p.Kernels {
		for _, need := range x.Needs {
			if c := cudaRuntime.FindStringSubmatch(need); c != nil && p.Torch.CUDA != "" && c[1] != major(p.Torch.CUDA) {
				files, lib = append(files, x.Path), need
			}
		}
	}
	return files, lib
}
