package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"radish/provision/builtin"
	"radish/provision/hub/hubtest"
)

// startHub runs a test hub until the script ends: $HF_ENDPOINT is its URL, $HUBTOKEN its token. With "broken" its CDN
// sends wrong bytes of the first shard.
func startHub(ts *testscript.TestScript, _ bool, args []string) {
	files, err := builtinFiles()
	ts.Check(err)
	h, err := hubtest.Start(append(hubtest.Sample(), hubtest.NewRepo("org/builtin", files), hugeRepo(), vastRepo(files))...)
	ts.Check(err)
	ts.Defer(h.Close)
	if len(args) > 0 && args[0] == "broken" {
		h.Break(hubtest.Fault{On: hubtest.Link, Path: "model-00001-of-00002.safetensors", Do: hubtest.Wrong()})
	}
	ts.Setenv("HF_ENDPOINT", h.URL)
	ts.Setenv("HUBTOKEN", h.Token)
}

// builtinFiles is the model inside the binary, as a hub would have it.
func builtinFiles() (map[string]*hubtest.File, error) {
	files := map[string]*hubtest.File{}
	names, err := fs.Glob(builtin.FS(), "*")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		b, err := fs.ReadFile(builtin.FS(), name)
		if err != nil {
			return nil, err
		}
		files[name] = hubtest.Bytes(strings.HasSuffix(name, ".safetensors"), b)
	}
	return files, nil
}

// hugeRepo is a model that fits into no machine's memory, by its configuration.
func hugeRepo() *hubtest.Repo {
	const config = `{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 65536, "intermediate_size": 262144,
		"num_hidden_layers": 500, "num_attention_heads": 512, "num_key_value_heads": 8, "vocab_size": 128256,
		"max_position_embeddings": 131072, "rms_norm_eps": 1e-5, "torch_dtype": "bfloat16", "hidden_act": "silu"}`
	return hubtest.NewRepo("org/huge", map[string]*hubtest.File{"config.json": hubtest.Bytes(false, []byte(config)),
		"model.safetensors": hubtest.Bytes(true, hubtest.Noise(1, 1000))})
}

// vastRepo is a model that fits on no disk, by its listing.
func vastRepo(files map[string]*hubtest.File) *hubtest.Repo {
	vast := *files["model.safetensors"]
	vast.Size = 1 << 52
	return hubtest.NewRepo("org/vast", map[string]*hubtest.File{"config.json": files["config.json"], "model.safetensors": &vast})
}

// spoil changes the first letter of the sample's config.json among the blobs of a repository.
func spoil(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: spoil BLOBS")
	}
	file := filepath.Join(ts.MkAbs(args[0]), hubtest.SampleFiles()["config.json"].Hash())
	b, err := os.ReadFile(file)
	ts.Check(err)
	b[0] ^= 1
	ts.Check(os.WriteFile(file, b, 0o644))
}

// TestKilledPull kills -9 a real radish at every step of a pull and runs it again: nothing unverified was visible, the
// second run fetches what is missing and no more, and ends with every byte right and nothing left over.
func TestKilledPull(t *testing.T) {
	const big = 24 << 20
	files := map[string]*hubtest.File{
		"config.json": hubtest.Bytes(false, []byte("{}")), "a.safetensors": hubtest.Bytes(true, hubtest.Noise(1, big)),
		"b.safetensors": hubtest.Bytes(true, hubtest.Noise(2, 1<<20)),
	}
	blob := func(name string) string { return "blobs/" + files[name].Hash() }
	seen := func(name string) func(*killRig) { return func(k *killRig) { k.whenThere(name) } }
	asked := func(on hubtest.Place, path string) func(*killRig) {
		return func(k *killRig) {
			k.hub.Break(hubtest.Fault{On: on, Path: path, Times: 1, Do: hubtest.First(k.kill)})
		}
	}
	sent := func(n int64) func(*killRig) { return func(k *killRig) { k.whenSent("a.safetensors", n) } }
	for _, c := range []struct {
		name string
		when func(*killRig)
		kept int64 // at least
	}{
		{"resolve", asked(hubtest.API, ""), 0},
		{"list", asked(hubtest.Tree, ""), 0},
		{"open", asked(hubtest.Resolve, "a.safetensors"), 0},
		{"first byte", asked(hubtest.Link, "a.safetensors"), 0},
		{"1 %", sent(big / 100), 0},
		{"50 %", sent(big / 2), 1 << 20},
		{"99 %", sent(big * 99 / 100), 1 << 20},
		{"first journal", seen(blob("a.safetensors") + ".radish-part.json"), 1},
		{"verify", sent(big), 1 << 20},
		{"after the first rename", seen(blob("config.json")), 0},
		{"after a rename", seen(blob("b.safetensors")), 1 << 20},
		{"after the last rename", seen(blob("a.safetensors")), big},
		{"link", seen("snapshots/*"), big},
		{"listing", seen("trees/*.json"), big},
		{"ref", seen("refs/main"), big},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			k := newKillRig(t, files)
			c.when(k)
			k.run()
			k.finish(c.kept)
		})
	}
}

// killRig is a hub, a cache directory and a radish that is to be killed.
type killRig struct {
	t    *testing.T
	hub  *hubtest.Server
	dir  string
	cmd  *exec.Cmd
	out  bytes.Buffer
	spy  func() bool // true: kill now
	want map[string]*hubtest.File
}

func newKillRig(t *testing.T, files map[string]*hubtest.File) *killRig {
	h, err := hubtest.Start(hubtest.NewRepo("org/model", files))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return &killRig{t: t, hub: h, dir: t.TempDir(), want: files}
}

func (k *killRig) radish() *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		k.t.Fatal(err)
	}
	c := exec.Command(self)
	c.Args = []string{"radish", "pull", "--json", "org/model"}
	c.Env = append(os.Environ(), "HF_ENDPOINT="+k.hub.URL, "HF_HUB_CACHE="+k.dir, "HF_TOKEN=", "TMPDIR="+k.dir, "XDG_RUNTIME_DIR=")
	c.Stdout, c.Stderr = &k.out, os.Stderr
	return c
}

func (k *killRig) kill() { _ = k.cmd.Process.Kill() } // it may be over already

func (k *killRig) repo(pattern string) []string {
	m, err := filepath.Glob(filepath.Join(k.dir, "models--org--model", pattern))
	if err != nil {
		k.t.Fatal(err)
	}
	return m
}

func (k *killRig) whenThere(pattern string) {
	k.slow()
	k.spy = func() bool { return len(k.repo(pattern)) > 0 }
}

func (k *killRig) whenSent(path string, n int64) {
	k.slow()
	k.spy = func() bool {
		var sent int64
		for _, q := range k.hub.Log() {
			if q.Path == path {
				sent += q.Sent
			}
		}
		return sent >= n
	}
}

// slow lets a file take about a second.
func (k *killRig) slow() {
	k.hub.Break(hubtest.Fault{On: hubtest.Link, Path: "a.safetensors", Do: hubtest.Drip(512<<10, time.Millisecond)})
}

// run starts radish and waits until it is dead, or done: a file may be seen too late.
func (k *killRig) run() {
	k.cmd = k.radish()
	if err := k.cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	dead := make(chan struct{})
	go func() {
		defer close(dead)
		_ = k.cmd.Wait() // killed
	}()
	for {
		select {
		case <-dead:
			return
		case <-time.After(2 * time.Millisecond):
			if k.spy != nil && k.spy() {
				k.kill()
				<-dead
				return
			}
		}
	}
}

// finish runs radish again and judges what it did.
func (k *killRig) finish(kept int64) {
	k.honest()
	k.hub.Forget()
	k.out.Reset()
	if err := k.radish().Run(); err != nil {
		k.t.Fatalf("second run: %v\n%s", err, k.out.String())
	}
	var first, last pullEvent
	lines := bufio.NewScanner(&k.out)
	for lines.Scan() {
		last = pullEvent{}
		if err := json.Unmarshal(lines.Bytes(), &last); err != nil {
			k.t.Fatal(err)
		}
		if first.Event == "" {
			first = last
		}
	}
	if first.Done < kept {
		k.t.Errorf("%d bytes were kept, want at least %d", first.Done, kept)
	}
	var sent int64
	for _, q := range k.hub.Log() {
		if q.Place == hubtest.Link {
			sent += q.Sent
		}
	}
	if missing := first.Total - first.Done; sent > missing {
		k.t.Errorf("%d bytes were missing, %d came", missing, sent)
	}
	k.honest()
	for name, f := range k.want {
		if got, err := os.Readlink(filepath.Join(last.Dir, name)); err != nil || filepath.Base(got) != f.Hash() {
			k.t.Errorf("%s links to %q (%v)", name, got, err)
		}
	}
	if junk := append(k.repo("*radish*"), k.repo("*/*radish*")...); len(junk) > 0 {
		k.t.Errorf("left over: %q", junk)
	}
}

// honest checks, without radish's own code, that every file with a blob's name has that blob's bytes, and every link of
// a named snapshot leads to one.
func (k *killRig) honest() {
	known := map[string][]byte{}
	for _, f := range k.want {
		in, err := f.Open()
		if err != nil {
			k.t.Fatal(err)
		}
		var b bytes.Buffer
		if _, err := b.ReadFrom(in); err != nil {
			k.t.Fatal(err)
		}
		known[f.Hash()] = b.Bytes()
	}
	for _, p := range k.repo("blobs/*") {
		if strings.Contains(p, "radish") {
			continue
		}
		b, err := os.ReadFile(p)
		if err != nil || !bytes.Equal(b, known[filepath.Base(p)]) {
			k.t.Errorf("blob %s is not what its name says (%v)", filepath.Base(p), err)
		}
	}
	for _, p := range k.repo("snapshots/*/*") {
		if _, err := os.Stat(p); err != nil {
			k.t.Errorf("snapshot with a hole: %v", err)
		}
	}
	if refs := k.repo("refs/main"); len(refs) == 1 && len(k.repo("snapshots/*/*")) != len(k.want) {
		k.t.Error(fmt.Sprintf("main is named before its %d files are there", len(k.want)))
	}
}
