package host

import (
	"context"
	"path/filepath"
	"strings"
)

// Python is what the disk says of Python and of an inference engine written in it. Nothing is imported and no
// interpreter is run: what is to be judged may be too broken for that.
type Python struct {
	Engine       string // the distribution that was asked for: "sglang", "vllm"
	Environments []Environment
	Chosen       int          // the environment that is judged; -1: there is none
	Named        bool         // it was named by the user
	Why          string       // how it was chosen
	First        string       // the first python3 on PATH; empty: none
	FirstPrefix  string       // the environment that First belongs to
	Dists        []Dist       // of the chosen environment, in the order of sys.path
	Leftovers    []string     // directories that pip renamed and never removed
	Torch        *Torch       // nil: no torch on the chosen environment's path
	Kernels      []Extension  // compiled modules that are built against torch
	Libraries    Libraries    // what those find when they are loaded
	Tools        Tools        // what just-in-time compilation needs
	Transformers Transformers // what model types it knows
	Err          string
}

// pythonVars are the variables that decide which Python runs and what it finds.
var pythonVars = strings.Fields(`PATH VIRTUAL_ENV CONDA_PREFIX PYTHONPATH PYTHONHOME PYTHONNOUSERSITE PYENV_ROOT PYENV_VERSION
	UV_PYTHON_INSTALL_DIR CUDA_HOME CUDA_PATH CC LD_PRELOAD FLASHINFER_DISABLE_VERSION_CHECK`)

// disk reads below a root directory as a process whose root it were would: absolute links stay below it.
type disk struct {
	root string
	env  Env
	ctx  context.Context
}

// readPython reads what o.Engine needs. It returns nil where no engine was asked for.
func readPython(ctx context.Context, o Options, e Env) *Python {
	if o.Engine == "" {
		return nil
	}
	// A torch on a network volume takes its time, and half an answer is one: this ends before Read stops waiting.
	ctx, cancel := context.WithTimeout(ctx, o.Wait*9/10)
	defer cancel()
	d := disk{root: o.Root, env: e, ctx: ctx}
	p := &Python{Engine: o.Engine, Chosen: -1}
	d.findEnvironments(p, o)
	d.choose(p, o)
	if p.Chosen < 0 {
		return p
	}
	env := p.Environments[p.Chosen]
	p.Dists, p.Leftovers = d.readDists(env.Path)
	d.readKeyDists(p.Dists)
	p.Torch = d.readTorch(env.Path)
	p.Kernels = d.readKernels(env.Path)
	p.Libraries = d.readLibraries(env, p)
	p.Tools = d.readTools(env)
	p.Transformers = d.readTransformers(env.Path)
	return p
}

// Environment is the one that is judged.
func (p *Python) Environment() (Environment, bool) {
	if p.Chosen < 0 {
		return Environment{}, false
	}
	return p.Environments[p.Chosen], true
}

// Dist is the installed distribution of a normalised name that Python finds first.
func (p *Python) Dist(name string) (Dist, bool) {
	for _, d := range p.Dists {
		if d.Name == name {
			return d, true
		}
	}
	return Dist{}, false
}

// All is every installed distribution of a normalised name, the one that Python finds first in front.
func (p *Python) All(name string) []Dist {
	var all []Dist
	for _, d := range p.Dists {
		if d.Name == name {
			all = append(all, d)
		}
	}
	return all
}

// homes is where people keep environments, in the order in which they are listed.
func (d disk) homes(workDir string) []string {
	home, _ := d.env.Get("HOME")
	dirs := []string{"/workspace", "/opt", "/root", "/app", "/venv", "/", "/sgl-workspace", "/home"}
	return append([]string{workDir, filepath.Join("/", home)}, dirs...)
}
