package host

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// layout writes files below a fresh root; a text that begins with "-> " is a link.
func layout(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if to, link := strings.CutPrefix(text, "-> "); link {
			err = os.Symlink(to, file)
		} else {
			err = os.WriteFile(file, []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func engineIn(site string) map[string]string {
	return map[string]string{site + "/sglang-0.5.10.dist-info/METADATA": "Name: sglang\nVersion: 0.5.10\n"}
}

// pythons is one machine with an interpreter of every kind, the engine in none of them.
var pythons = map[string]string{
	"usr/bin/python3":                                                            "-> python3.10",
	"usr/bin/python3.10":                                                         "",
	"usr/lib/python3.10/os.py":                                                   "",
	"opt/conda/bin/python3":                                                      "-> python3.11",
	"opt/conda/bin/python3.11":                                                   "",
	"opt/conda/conda-meta/python-3.11.9-h955ad1f_0.json":                         "{}",
	"opt/conda/envs/serve/bin/python3":                                           "-> python3.12",
	"opt/conda/envs/serve/bin/python3.12":                                        "",
	"opt/conda/envs/serve/conda-meta/python-3.12.2-hab00c5b_0.json":              "{}",
	"root/.pyenv/shims/python3":                                                  "#!/usr/bin/env bash",
	"root/.pyenv/version":                                                        "3.13.1\n",
	"root/.pyenv/versions/3.13.1/bin/python3":                                    "-> python3.13",
	"root/.pyenv/versions/3.13.1/bin/python3.13":                                 "",
	"root/.pyenv/versions/3.13.1/include/python3.13/patchlevel.h":                "#define PY_VERSION \"3.13.1+\"\n",
	"root/.local/share/uv/python/cpython-3.12.7-linux-x86_64-gnu/bin/python3":    "-> python3.12",
	"root/.local/share/uv/python/cpython-3.12.7-linux-x86_64-gnu/bin/python3.12": "",
	"root/.local/share/uv/python/cpython-3.12.7-linux-x86_64-gnu/include/python3.12/patchlevel.h": "#define PY_VERSION  \"3.12.7\"\n",
	"workspace/app/.venv/bin/python3": "-> /root/.local/share/uv/python/cpython-3.12.7-linux-x86_64-gnu/bin/python3.12",
	"workspace/app/.venv/pyvenv.cfg":  "home = /root/.local/share/uv/python/cpython-3.12.7-linux-x86_64-gnu/bin\nimplementation = CPython\nuv = 0.13.9\nversion_info = 3.12.7\ninclude-system-site-packages = false\n",
	"workspace/old/bin/python3":       "-> /usr/bin/python3.9",
	"workspace/old/pyvenv.cfg":        "home = /usr/bin\nversion = 3.9.2\n",
}

func look(t *testing.T, files []map[string]string, environ ...string) *Python {
	t.Helper()
	all := map[string]string{}
	for _, m := range files {
		maps.Copy(all, m)
	}
	root := layout(t, all)
	o := Options{Root: root, Engine: "sglang", WorkDir: "/workspace", Wait: time.Minute}
	for i, kv := range environ {
		if name, ok := strings.CutPrefix(kv, "--python="); ok {
			o.Python = name
			environ = slices.Delete(slices.Clone(environ), i, i+1)
			break
		}
	}
	env, _ := readEnv(root, append([]string{"HOME=/root"}, environ...))
	return readPython(t.Context(), o, env)
}

func TestEveryKindIsFound(t *testing.T) {
	p := look(t, []map[string]string{pythons}, "PATH=/usr/bin")
	got := map[string]string{}
	for _, e := range p.Environments {
		got[e.Prefix] = e.Kind + " " + e.Version
		if e.HomeMissing != (e.Prefix == "/workspace/old") {
			t.Errorf("%s: home missing is %v", e.Prefix, e.HomeMissing)
		}
	}
	want := map[string]string{"/usr": "system 3.10", "/opt/conda": "conda 3.11.9", "/opt/conda/envs/serve": "conda 3.12.2", "/root/.pyenv/versions/3.13.1": "pyenv 3.13.1",
		"/root/.local/share/uv/python/cpython-3.12.7-linux-x86_64-gnu": "uv 3.12.7", "/workspace/app/.venv": "venv 3.12.7", "/workspace/old": "venv 3.9.2"}
	if !maps.Equal(got, want) {
		t.Errorf("found %v\nwant %v", got, want)
	}
}

func TestWhichIsChosen(t *testing.T) {
	conda, venv := engineIn("opt/conda/envs/serve/lib/python3.12/site-packages"), engineIn("workspace/app/.venv/lib/python3.12/site-packages")
	for name, c := range map[string]struct {
		files   []map[string]string
		environ []string
		want    string
		first   string
	}{
		"what PATH runs":          {[]map[string]string{pythons, conda, venv}, []string{"PATH=/opt/conda/envs/serve/bin:/usr/bin"}, "/opt/conda/envs/serve", "/opt/conda/envs/serve"},
		"the one with the engine": {[]map[string]string{pythons, venv}, []string{"PATH=/usr/bin"}, "/workspace/app/.venv", "/usr"},
		"the active one first":    {[]map[string]string{pythons, conda, venv}, []string{"PATH=/usr/bin", "CONDA_PREFIX=/opt/conda/envs/serve"}, "/opt/conda/envs/serve", "/usr"},
		"none has it":             {[]map[string]string{pythons}, []string{"PATH=/opt/conda/bin"}, "/opt/conda", "/opt/conda"},
		"a shim of pyenv":         {[]map[string]string{pythons}, []string{"PATH=/root/.pyenv/shims:/usr/bin"}, "/root/.pyenv/versions/3.13.1", "/root/.pyenv/versions/3.13.1"},
		"named by directory":      {[]map[string]string{pythons, venv}, []string{"PATH=/usr/bin", "--python=/opt/conda"}, "/opt/conda", "/usr"},
		"named by interpreter":    {[]map[string]string{pythons, venv}, []string{"PATH=/usr/bin", "--python=/workspace/app/.venv/bin/python3"}, "/workspace/app/.venv", "/usr"},
		"named and not there":     {[]map[string]string{pythons, venv}, []string{"PATH=/usr/bin", "--python=/nowhere"}, "", "/usr"},
	} {
		t.Run(name, func(t *testing.T) {
			p := look(t, c.files, c.environ...)
			e, ok := p.Environment()
			if e.Prefix != c.want || ok != (c.want != "") || p.FirstPrefix != c.first {
				t.Errorf("chose %q, PATH runs %q, want %q and %q", e.Prefix, p.FirstPrefix, c.want, c.first)
			}
		})
	}
}

// TestCondaBringsItsOwnLibraries: conda's interpreter looks in its own lib before the system's.
func TestCondaBringsItsOwnLibraries(t *testing.T) {
	p := look(t, []map[string]string{pythons, engineIn("opt/conda/lib/python3.11/site-packages"),
		{"opt/conda/lib/libstdc++.so.6": "", "usr/lib/x86_64-linux-gnu/libstdc++.so.6": ""}}, "PATH=/opt/conda/bin")
	if p.Libraries.Libstdcxx != "/opt/conda/lib/libstdc++.so.6" {
		t.Errorf("took %q", p.Libraries.Libstdcxx)
	}
}

func TestNoEngineReadsNothing(t *testing.T) {
	if p := readPython(t.Context(), Options{Root: t.TempDir()}, Env{}); p != nil {
		t.Errorf("read %+v", p)
	}
}
