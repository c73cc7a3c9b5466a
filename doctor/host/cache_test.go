package host

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const sha = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestCache(t *testing.T) {
	hub := "h/.cache/huggingface/hub/"
	root := fixture(t, map[string]string{
		hub + "models--a--x/blobs/" + sha:          "0123456789",
		hub + "models--a--x/blobs/dead.incomplete": "0123",
		hub + "models--a--x/blobs/orphan":          "012",
		hub + "models--b--y/blobs/" + sha:          "0123456789",
		hub + "models--b--y/snapshots/c/keep":      "",
		hub + "models--a--x/snapshots/c/deep/keep": "",
		hub + "version.txt":                        "1",
		"h/.cache/pip/http/a":                      "01234",
		"h/.cache/uv/b":                            "01",
		"w/.cache/huggingface/download/m.metadata": "c\n" + sha + "\n1.0\n",
		"w/m": "0123456789",
		"w/.cache/huggingface/download/gone.metadata": "c\n" + sha + "\n1.0\n",
		"w/core.12":  strings.Repeat("x", 2<<20),
		"w/core.txt": "x",
	})
	for _, link := range []string{"models--a--x/snapshots/c/deep/model", "models--b--y/snapshots/c/model"} {
		if err := os.Symlink("../../../blobs/"+sha, filepath.Join(root, hub, link)); err != nil {
			t.Fatal(err)
		}
	}
	o := Options{Root: root, WorkDir: "/w"}
	e := envOf(root, []string{"HOME=/h"})
	c := readCache(t.Context(), o, e)
	if c.Err != "" || c.Cut || c.Repos != 2 || c.Bytes != 27 {
		t.Errorf("cache %+v", c)
	}
	if len(c.Duplicates) != 2 || c.Duplicates[0].At[0] != "/"+hub+"models--a--x/blobs/"+sha || c.Duplicates[1].At[1] != "/w/m" {
		t.Errorf("twice %+v", c.Duplicates)
	}
	got := ""
	for _, p := range c.Junk {
		got += fmt.Sprintf("%s %d %d\n", p.What, p.Files, p.Bytes)
	}
	if want := "unfinished downloads 1 4\nfiles that no snapshot uses 1 3\npip's cache 1 5\nuv's cache 1 2\ncore files 1 2097152\n"; got != want {
		t.Errorf("junk\n%swant\n%s", got, want)
	}

	// One file under two names is no waste.
	if err := os.Remove(filepath.Join(root, "w/m")); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(root, hub, "models--a--x/blobs", sha), filepath.Join(root, "w/m")); err != nil {
		t.Fatal(err)
	}
	if c = readCache(t.Context(), o, e); len(c.Duplicates) != 1 {
		t.Errorf("a hard link counts as twice: %+v", c.Duplicates)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if c = readCache(ctx, o, e); !c.Cut {
		t.Error("a walk that was cut short claims to be whole")
	}
}

func TestPlatform(t *testing.T) {
	p := readPlatform(map[string]string{"RUNPOD_POD_ID": "secret", "RUNPOD_TCP_PORT_22": "10022", "RUNPOD_TCP_PORT_70000": "10030",
		"RUNPOD_TCP_PORT_x": "1", "RUNPOD_TCP_PORT_1": "70000", "VAST_TCP_PORT_8080": "40001"})
	if p.Name != "runpod" || len(p.Exposed) != 2 || p.Exposed[22] != 10022 || p.Exposed[10030] != 10030 {
		t.Errorf("platform %+v", p)
	}
	if p = readPlatform(map[string]string{"VAST_CONTAINERLABEL": "C.1", "VAST_TCP_PORT_8080": "40001"}); p.Name != "vast" || p.Exposed[8080] != 40001 {
		t.Errorf("platform %+v", p)
	}
	if p = readPlatform(map[string]string{"RUNPOD_TCP_PORT_22": "1"}); p.Name != "" {
		t.Errorf("platform %+v", p)
	}
}
