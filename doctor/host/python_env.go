package host

import (
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Environment is one prefix that Python can run from.
type Environment struct {
	Prefix      string
	Kind        string // "venv", "conda", "pyenv", "uv", "system"
	Version     string // "3.12" or, where a file tells, "3.12.3"
	Home        string // of a venv: where its interpreter was taken from
	HomeMissing bool
	SystemSite  bool     // a venv that also sees its home's packages
	Managed     bool     // EXTERNALLY-MANAGED: the distribution's package manager owns it (PEP 668)
	Path        []string // where it looks for packages, in order
	HasEngine   bool
}

// Bin is the directory of its commands.
func (e Environment) Bin() string { return path.Join(e.Prefix, "bin") }

// Minor is "3.12".
func (e Environment) Minor() string {
	parts := strings.SplitN(e.Version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// maxEnvironments bounds the search on a machine full of them.
const maxEnvironments = 64

var pythonName = regexp.MustCompile(`^python3(?:\.(\d{1,2}))?$`)

// findEnvironments looks where interpreters and environments are kept, and lists each prefix once.
func (d disk) findEnvironments(p *Python, o Options) {
	seen := map[string]bool{}
	add := func(prefix string) {
		prefix = path.Clean("/" + prefix)
		if seen[prefix] || len(p.Environments) >= maxEnvironments {
			return
		}
		seen[prefix] = true
		if e, ok := d.environment(prefix); ok {
			e.HasEngine = d.hasDist(e.Path, o.Engine)
			p.Environments = append(p.Environments, e)
		}
	}
	if o.Python != "" {
		add(d.prefixOf(o.Python))
	}
	for _, name := range []string{"VIRTUAL_ENV", "CONDA_PREFIX"} {
		if prefix, ok := d.env.Get(name); ok {
			add(prefix)
		}
	}
	list, _ := d.env.Get("PATH")
	for _, dir := range filepath.SplitList(list) {
		for _, name := range d.glob(path.Join("/", dir), "python3*") {
			if dir == "" || !pythonName.MatchString(path.Base(name)) || !d.isFile(name) {
				continue
			}
			prefix := d.prefixOf(name)
			if p.First == "" && path.Base(name) == "python3" {
				p.First, p.FirstPrefix = name, prefix
			}
			add(prefix)
		}
	}
	for _, prefix := range d.usualPrefixes(o.WorkDir) {
		add(prefix)
	}
}

// usualPrefixes is where venv, conda, uv and pyenv put things.
func (d disk) usualPrefixes(workDir string) []string {
	var all []string
	for _, home := range d.homes(workDir) {
		for _, at := range [][]string{{"pyvenv.cfg"}, {"*", "pyvenv.cfg"}, {"*", ".venv", "pyvenv.cfg"}, {".venv", "pyvenv.cfg"}} {
			for _, cfg := range d.glob(home, at...) {
				all = append(all, path.Dir(cfg))
			}
		}
		for _, meta := range append(d.glob(home, "*", "conda-meta"), d.glob(home, "*", "envs", "*", "conda-meta")...) {
			all = append(all, path.Dir(meta))
		}
	}
	home, _ := d.env.Get("HOME")
	uv, ok := d.env.Get("UV_PYTHON_INSTALL_DIR")
	if !ok {
		uv = path.Join("/", home, ".local/share/uv/python")
	}
	all = append(all, d.glob(uv, "cpython-3*")...)
	all = append(all, d.glob(d.pyenvRoot(), "versions", "3*")...)
	return append(all, "/usr/local", "/usr")
}

func (d disk) pyenvRoot() string {
	if root, ok := d.env.Get("PYENV_ROOT"); ok {
		return root
	}
	home, _ := d.env.Get("HOME")
	return path.Join("/", home, ".pyenv")
}

// prefixOf is the prefix that an interpreter, or an environment's directory, belongs to. Python looks for pyvenv.cfg
// beside the name it was called by, before any link is followed (PEP 405).
func (d disk) prefixOf(name string) string {
	if d.isDir(name) {
		return path.Clean("/" + name)
	}
	if d.isFile(path.Join(name, "../../pyvenv.cfg")) {
		return path.Join(name, "../..")
	}
	if strings.Contains(name, "/shims/") {
		return d.pyenvPrefix()
	}
	real, _ := d.resolve(name)
	return path.Join(real, "../..")
}

// pyenvPrefix is what a shim of pyenv would run: the version in the environment, else the global one.
func (d disk) pyenvPrefix() string {
	version, ok := d.env.Get("PYENV_VERSION")
	if !ok {
		version = d.text(path.Join(d.pyenvRoot(), "version"), 1<<10)
	}
	first, _, _ := strings.Cut(strings.TrimSpace(version), "\n")
	first, _, _ = strings.Cut(first, ":")
	return path.Join(d.pyenvRoot(), "versions", path.Base("/"+first))
}

// environment reads one prefix; false where no Python lives there.
func (d disk) environment(prefix string) (Environment, bool) {
	e := Environment{Prefix: prefix, Kind: "system"}
	cfg := d.text(path.Join(prefix, "pyvenv.cfg"), 1<<16)
	settings := map[string]string{}
	for line := range strings.Lines(cfg) {
		if k, v, ok := strings.Cut(line, "="); ok {
			settings[strings.ToLower(strings.TrimSpace(k))] = strings.TrimSpace(v)
		}
	}
	switch {
	case cfg != "":
		e.Kind, e.Home = "venv", settings["home"]
		e.SystemSite = strings.EqualFold(settings["include-system-site-packages"], "true")
		e.Version = settings["version"]
		if e.Version == "" {
			e.Version = strings.TrimSuffix(settings["version_info"], ".final.0")
		}
		_, python := d.resolve(path.Join(prefix, "bin/python"))
		_, python3 := d.resolve(path.Join(prefix, "bin/python3"))
		e.HomeMissing = !python && !python3
	case d.isDir(path.Join(prefix, "conda-meta")):
		e.Kind = "conda"
	case strings.Contains(prefix, "/uv/python/"):
		e.Kind = "uv"
	case strings.HasPrefix(prefix, d.pyenvRoot()+"/"):
		e.Kind = "pyenv"
	}
	if e.Version == "" {
		e.Version = d.pythonVersion(prefix)
	}
	if e.Version == "" {
		return e, false
	}
	e.Path = d.searchPath(e)
	e.Managed = d.isFile(path.Join(prefix, "lib/python"+e.Minor(), "EXTERNALLY-MANAGED"))
	return e, true
}

var patchLevel = regexp.MustCompile(`#define\s+PY_VERSION\s+"([^"]+)"`)

// pythonVersion tells the version of the interpreter in prefix/bin from names and, for the last number, from its header
// or conda's record.
func (d disk) pythonVersion(prefix string) string {
	real, ok := d.resolve(path.Join(prefix, "bin/python3"))
	m := pythonName.FindStringSubmatch(path.Base(real))
	minor := ""
	if ok && m != nil && m[1] != "" {
		minor = "3." + m[1]
	} else if libs := d.glob(prefix, "lib", "python3.*"); ok && len(libs) == 1 {
		minor = strings.TrimPrefix(path.Base(libs[0]), "python")
	}
	if minor == "" {
		return ""
	}
	for _, meta := range d.glob(prefix, "conda-meta", "python-"+minor+".*.json") {
		return strings.SplitN(path.Base(meta), "-", 3)[1]
	}
	header := d.text(path.Join(prefix, "include/python"+minor, "patchlevel.h"), 1<<14)
	if m := patchLevel.FindStringSubmatch(header); m != nil {
		return strings.TrimSuffix(m[1], "+")
	}
	return minor
}

// searchPath is sys.path as site.py makes it, without the standard library: PYTHONPATH, a venv's own directory, the user's
// unless a venv shuts it out, and the prefix's, which for an open venv is its home's.
func (d disk) searchPath(e Environment) []string {
	var dirs []string
	if list, ok := d.env.Get("PYTHONPATH"); ok {
		dirs = filepath.SplitList(list)
	}
	prefix := e.Prefix
	if e.Kind == "venv" {
		dirs = append(dirs, sites(prefix, e.Minor())...)
		prefix = path.Dir(path.Clean("/" + e.Home))
	}
	if e.Kind != "venv" || e.SystemSite {
		home, _ := d.env.Get("HOME")
		if _, off := d.env.Get("PYTHONNOUSERSITE"); !off {
			dirs = append(dirs, path.Join("/", home, ".local/lib/python"+e.Minor(), "site-packages"))
		}
		dirs = append(dirs, sites(prefix, e.Minor())...)
	}
	var there, real []string
	for _, dir := range dirs {
		at, ok := d.resolve(dir)
		if dir != "" && ok && d.isDir(at) && !slices.Contains(real, at) {
			there, real = append(there, path.Clean(dir)), append(real, at)
		}
	}
	return there
}

// sites is where a prefix keeps its packages; below /usr as Debian has it.
func sites(prefix, minor string) []string {
	var dirs []string
	for _, lib := range []string{"lib", "lib64"} {
		dirs = append(dirs, path.Join(prefix, lib, "python"+minor, "site-packages"))
	}
	if prefix == "/usr" {
		dirs = append(dirs, path.Join("/usr/local/lib/python"+minor, "dist-packages"), "/usr/lib/python3/dist-packages")
	}
	return dirs
}

// choose picks the environment to judge: the one named, else the one that python3 on PATH runs if the engine is there,
// else the first that has the engine, activated ones in front, else the one that python3 runs.
func (d disk) choose(p *Python, o Options) {
	first := -1
	for i, e := range p.Environments {
		if e.Prefix == p.FirstPrefix {
			first = i
		}
	}
	switch {
	case o.Python != "":
		p.Named, p.Why = true, "it was named"
		if len(p.Environments) > 0 && p.Environments[0].Prefix == d.prefixOf(o.Python) {
			p.Chosen = 0
		}
		return
	case first >= 0 && p.Environments[first].HasEngine:
		p.Chosen, p.Why = first, "python3 on PATH runs it"
		return
	}
	for i, e := range p.Environments {
		if e.HasEngine {
			p.Chosen, p.Why = i, "it has "+o.Engine
			return
		}
	}
	if first >= 0 {
		p.Chosen, p.Why = first, "python3 on PATH runs it"
	}
}
