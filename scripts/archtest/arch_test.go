// Package archtest holds the import table of the house as a test: who may import whom, one package comment per
// directory, and a top level with nothing else in it. It reads the source files itself, because a test that shells out
// to the go command is answered from the test cache after a violation.
package archtest

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "radish/"

// allowed names, for each room, the rooms of ours that its non-test code may import. A room missing here fails the
// test: a new package comes with its row. DO NOT CHANGE THIS TABLE TO FIX A BUILD; change it when the plan changes, and
// README's plan with it.
var allowed = map[string][]string{
	"cmd/radish":            {"*"},
	"cmd/internal/ui":       {},
	"doctor":                {"doctor/host"},
	"doctor/check":          {"doctor", "doctor/host", "doctor/pep440"},
	"doctor/explain":        {},
	"doctor/host":           {"doctor/pep440"},
	"doctor/pep440":         {},
	"provision":             {"provision/hub", "provision/store"},
	"provision/builtin":     {},
	"provision/hub":         {"provision/store"},
	"provision/hub/hubtest": {},
	"provision/store":       {},
	"server": {"server/api", "server/engine", "server/metrics", "server/model", "server/radix", "server/runner",
		"server/sched", "server/seq", "server/token", "server/token/jinja", "server/weights", "kernels", "kernels/cpu", "kernels/cuda"},
	"server/api":          {"server/engine", "server/metrics", "server/seq", "server/token", "server/token/jinja"},
	"server/bench":        {},
	"server/bench/report": {"server/bench"},
	"server/engine":       {"server/kvpool", "server/radix", "server/sched", "server/seq"},
	"server/kvpool":       {"server/seq"},
	"server/metrics":      {"server/engine", "server/seq"},
	"server/model":        {"server/weights", "server/seq", "kernels"},
	"server/radix":        {"server/seq"},
	"server/runner":       {"server/engine", "server/model", "server/weights", "server/seq", "kernels"},
	"server/sched":        {"server/kvpool", "server/radix", "server/seq"},
	"server/seq":          {},
	"server/supervise":    {},
	"server/token":        {"server/seq", "server/token/jinja"},
	"server/token/jinja":  {},
	"server/weights":      {"kernels"},
	"kernels":             {},
	"kernels/cpu":         {"kernels"},
	"kernels/cuda":        {"kernels", "kernels/cuda/driver", "kernels/cuda/image"},
	"kernels/cuda/driver": {},
	"kernels/cuda/image":  {},
	"kernels/kerneltest":  {"kernels", "kernels/ref"},
	"kernels/ref":         {"kernels"},
	"scripts/testhub":     {"provision/hub/hubtest"},
	"scripts/archtest":    {},
	"scripts/kernels":     {"kernels/cuda/image"},
}

// topLevel is what the project's root may hold, dot-files aside.
var topLevel = strings.Fields("cmd doctor provision server kernels scripts go.mod go.sum Makefile README.md LICENSE CHANGELOG.md bin")

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestImportTable(t *testing.T) {
	top := root(t)
	eachGoFile(t, top, func(rel string) {
		dir := path.Dir(rel)
		if isTest(rel) {
			return
		}
		rooms, known := allowed[dir]
		if !known {
			t.Errorf("%s: package %s has no row in the import table", rel, dir)
			return
		}
		for _, imp := range imports(t, filepath.Join(top, rel)) {
			if !mayImport(rooms, imp) {
				t.Errorf("%s imports %s, which %s may not", rel, imp, dir)
			}
		}
	})
}

func TestTableIsNotVacuous(t *testing.T) {
	if mayImport(allowed["server/radix"], "server/kvpool") || mayImport(allowed["server/engine"], "kernels") {
		t.Fatal("the table lets radix see kvpool, or engine see kernels")
	}
	if !mayImport(allowed["cmd/radish"], "server") {
		t.Fatal("cmd may import everything")
	}
}

func TestPackageDocs(t *testing.T) {
	top := root(t)
	documented, sample := map[string]bool{}, map[string]string{}
	eachGoFile(t, top, func(rel string) {
		if isTest(rel) {
			return
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(top, rel), nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		dir := path.Dir(rel)
		sample[dir] = rel
		documented[dir] = documented[dir] || f.Doc != nil
	})
	for dir, ok := range documented {
		if !ok {
			t.Errorf("%s: package %s has no package comment", sample[dir], dir)
		}
	}
}

func TestTopLevel(t *testing.T) {
	entries, err := os.ReadDir(root(t))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, n := range topLevel {
		known[n] = true
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !known[e.Name()] {
			t.Errorf("the top level holds %s, which the project's owner did not name", e.Name())
		}
	}
}

func mayImport(rooms []string, imp string) bool {
	for _, r := range rooms {
		if r == "*" || r == imp {
			return true
		}
	}
	return false
}

func isTest(rel string) bool {
	return strings.HasSuffix(rel, "_test.go") && path.Dir(rel) != "scripts/archtest"
}

func imports(t *testing.T, file string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	var ours []string
	for _, spec := range f.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		if rest, ok := strings.CutPrefix(p, module); ok {
			ours = append(ours, rest)
		}
	}
	return ours
}

func eachGoFile(t *testing.T, top string, visit func(rel string)) {
	t.Helper()
	err := filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && p != top && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules") {
			return filepath.SkipDir
		}
		if !d.IsDir() && strings.HasSuffix(name, ".go") {
			rel, _ := filepath.Rel(top, p)
			visit(filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
