package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"radish/provision/hub/hubtest"
	"radish/server/supervise"
)

// TestKilledSetup kills -9 a real radish setup at every step and runs it again: the model is whole, one supervisor keeps
// it up and it answers, nothing is left over; a third run changes nothing and asks nobody but the server.
func TestKilledSetup(t *testing.T) {
	said := func(text string) func(*setupRig) {
		return func(r *setupRig) { r.env = append(r.env, killEnv+"="+text) }
	}
	step := func(name, state string) func(*setupRig) {
		return said(fmt.Sprintf(`"event":"step","step":%q,"state":%q`, name, state))
	}
	asked := func(on hubtest.Place, path string) func(*setupRig) {
		return func(r *setupRig) {
			r.hub.Break(hubtest.Fault{On: on, Path: path, Times: 1, Do: hubtest.First(r.kill)})
		}
	}
	pulled := func(then func(*setupRig)) func(*setupRig) {
		return func(r *setupRig) {
			if out, err := r.radish("pull", "org/model").CombinedOutput(); err != nil {
				t.Fatalf("pull: %v: %s", err, out)
			}
			then(r)
		}
	}
	for _, c := range []struct {
		name string
		when func(*setupRig)
	}{
		{"doctor", step("doctor", "ok")},
		{"resolve", asked(hubtest.API, "")},
		{"list", asked(hubtest.Tree, "")},
		{"config", asked(hubtest.Resolve, "config.json")},
		{"plan", step("plan", "ok")},
		{"before the pull", step("pull", "begun")},
		{"first byte", asked(hubtest.Link, "model.safetensors")},
		{"half a file", func(r *setupRig) { r.killWhenSent("model.safetensors", 5<<20) }},
		{"after the pull", step("pull", "done")},
		{"before verify", pulled(step("verify", "begun"))},
		{"in verify", pulled(said(`"event":"file"`))},
		{"after verify", pulled(step("verify", "done"))},
		{"before the start", step("start", "begun")},
		{"after the start", step("start", "done")},
		{"before it is ready", step("ready", "begun")},
		{"ready", step("ready", "done")},
		{"before the answer", step("answer", "begun")},
		{"the end", said(`"event":"done"`)},
		{"supervisor too", func(r *setupRig) { step("ready", "done")(r); r.after = func() { r.killSupervisor(false) } }},
		{"supervisor too, worker hung", func(r *setupRig) { step("ready", "done")(r); r.after = func() { r.killSupervisor(true) } }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newSetupRig(t)
			c.when(r)
			r.killed()
			r.again()
			r.idle()
		})
	}
}

// setupRig is a hub that has the builtin model, and a machine to set up.
type setupRig struct {
	*killRig
	home  string
	port  string
	env   []string // of the run that is to be killed
	after func()   // between that and the next
}

func newSetupRig(t *testing.T) *setupRig {
	files, err := builtinFiles()
	if err != nil {
		t.Fatal(err)
	}
	delete(files, "README.md") // the default patterns leave it out, and the rig wants to see all
	r := &setupRig{killRig: newKillRig(t, files), home: t.TempDir()}
	for r.port == "" { // below the ports that the kernel hands out to others meanwhile
		n := 20000 + rand.IntN(10000)
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", n)); err == nil {
			r.port = fmt.Sprint(n)
			l.Close()
		}
	}
	t.Cleanup(func() { endDaemons(r.home) })
	return r
}

func (r *setupRig) radish(args ...string) *exec.Cmd {
	c := radish(r.t, r.home, args...)
	c.Env = append(c.Env, "HF_ENDPOINT="+r.hub.URL, "HF_HUB_CACHE="+r.dir, "HF_TOKEN=", "TMPDIR="+r.dir, "XDG_RUNTIME_DIR=")
	return c
}

// setup is what is run three times. The doctor is left out: its verdict is the test machine's.
func (r *setupRig) setup() *exec.Cmd {
	return r.radish("setup", "--json", "org/model", "--skip-doctor", "--device", "cpu", "--threads", "1", "--max-total-tokens", "4096", "--port", r.port)
}

// killWhenSent lets the CDN send so much of a file and no more, and kills when it has.
func (r *setupRig) killWhenSent(path string, n int64) {
	r.hub.Break(hubtest.Fault{On: hubtest.Link, Path: path, Do: hubtest.Stall(n)})
	r.spy = func() bool {
		return slices.ContainsFunc(r.hub.Log(), func(q hubtest.Request) bool { return q.Place == hubtest.Link && q.Path == path && q.Sent >= n })
	}
}

// killed is the first run, which must not come to its end.
func (r *setupRig) killed() {
	r.cmd = r.setup()
	r.cmd.Env = append(r.cmd.Env, r.env...)
	r.cmd.Stderr = &r.out
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	dead := make(chan struct{})
	go func() {
		defer close(dead)
		_ = r.cmd.Wait() // judged below
	}()
	for alive := true; alive; {
		select {
		case <-dead:
			alive = false
		case <-time.After(5 * time.Millisecond):
			if r.spy != nil && r.spy() {
				r.kill()
			}
		}
	}
	if ws, ok := r.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !ws.Signaled() || ws.Signal() != syscall.SIGKILL {
		r.t.Fatalf("the first run ended by itself: %s\n%s", r.cmd.ProcessState, r.out.String())
	}
	r.honest()
	if r.after != nil {
		r.after()
	}
}

// killSupervisor kills it with -9. A worker that is stopped before cannot go with it.
func (r *setupRig) killSupervisor(stopped bool) {
	p, err := supervise.NewPlace(filepath.Join(r.home, "run"), filepath.Join(r.home, "logs"), "default")
	if err != nil {
		r.t.Fatal(err)
	}
	st, err := supervise.Look(context.Background(), p)
	if err != nil || st.Supervisor == nil {
		r.t.Fatalf("no supervisor: %+v, %v", st, err)
	}
	if stopped {
		if err := syscall.Kill(st.Worker.PID, syscall.SIGSTOP); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := syscall.Kill(st.Supervisor.PID, syscall.SIGKILL); err != nil {
		r.t.Fatal(err)
	}
}

// TestSetupTwice: while one set-up waits for the hub another is refused, and disturbs nothing.
func TestSetupTwice(t *testing.T) {
	t.Parallel()
	r := newSetupRig(t)
	r.killWhenSent("model.safetensors", 1<<20)
	first := r.setup()
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	for !r.spy() {
		time.Sleep(5 * time.Millisecond)
	}
	out, err := r.setup().CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitRunning || !strings.Contains(string(out), "another set-up is at work") {
		t.Errorf("second: %v: %s", err, out)
	}
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait() // killed
	r.again()
}

// run runs setup to its end and gives its last word on every step.
func (r *setupRig) run() map[string]setupEvent {
	var out, said bytes.Buffer
	c := r.setup()
	c.Stdout, c.Stderr = &out, &said
	if err := c.Run(); err != nil {
		r.t.Fatalf("%v: %s\n%s", err, &out, &said)
	}
	steps := map[string]setupEvent{}
	lines := bufio.NewScanner(&out)
	for lines.Scan() {
		var e setupEvent
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			r.t.Fatal(err)
		}
		if e.Event == "step" {
			steps[e.Step] = e
		} else if e.Event == "done" && e.Schema == setupSchema {
			steps["done"] = e
		}
	}
	return steps
}

// again is the second run, and what must be so afterwards.
func (r *setupRig) again() {
	r.hub.Forget()
	steps := r.run()
	for _, name := range []string{"doctor", "plan", "pull", "verify", "start", "ready", "answer"} {
		if s := steps[name].State; s != "ok" && s != "already" && s != "done" {
			r.t.Errorf("step %s ended %q", name, s)
		}
	}
	if want := "http://127.0.0.1:" + r.port; steps["done"].URL != want || !strings.Contains(steps["answer"].Text, "tokens for a prompt") {
		r.t.Errorf("it serves at %q, want %s, and answered %q", steps["done"].URL, want, steps["answer"].Text)
	}
	r.honest()
	if got := len(r.repo("snapshots/*/*")); got != len(r.want) {
		r.t.Errorf("%d files in the snapshot, want %d", got, len(r.want))
	}
	if out, err := r.radish("models", "verify", "org/model").CombinedOutput(); err != nil {
		r.t.Errorf("verify: %v: %s", err, out)
	}
	junk := append(r.repo("*radish*"), r.repo("*/*radish*")...)
	for _, pattern := range []string{"run/*/.state-*", "logs/*/*.new", "logs/*/*.tmp"} {
		more, err := filepath.Glob(filepath.Join(r.home, pattern))
		if err != nil {
			r.t.Fatal(err)
		}
		junk = append(junk, more...)
	}
	if len(junk) > 0 {
		r.t.Errorf("left over: %q", junk)
	}
	r.processes()
}

// processes looks at all of this machine: of ours there are one supervisor and one worker.
func (r *setupRig) processes() {
	count := map[string]int{}
	all, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		r.t.Fatal(err)
	}
	for _, file := range all {
		env, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(env, []byte(homeEnv+"="+r.home+"\x00")) {
			continue // gone by now, or not ours
		}
		argv, err := os.ReadFile(strings.TrimSuffix(file, "environ") + "cmdline")
		if args := strings.Split(string(argv), "\x00"); err == nil && len(args) > 1 {
			count[args[1]]++
		}
	}
	if len(count) != 2 || count["__supervise"] != 1 || count["serve"] != 1 {
		r.t.Errorf("processes: %v, want one supervisor and one worker", count)
	}
}

// idle is the third run: nothing to do, nobody asked, nothing written.
func (r *setupRig) idle() {
	r.hub.Forget()
	journal := filepath.Join(r.home, "logs", "default", "setup.json")
	before, err := os.ReadFile(journal)
	if err != nil {
		r.t.Fatal(err)
	}
	for name, e := range r.run() {
		if name != "answer" && name != "done" && e.State != "ok" && e.State != "already" {
			r.t.Errorf("step %s was %s: %s", name, e.State, e.Text)
		}
	}
	if asked := r.hub.Log(); len(asked) > 0 {
		r.t.Errorf("the hub was asked: %+v", asked)
	}
	if after, err := os.ReadFile(journal); err != nil || !bytes.Equal(before, after) {
		r.t.Errorf("the journal has changed (%v):\n%s", err, after)
	}
	if bytes.Contains(before, []byte(`"state": "begun"`)) {
		r.t.Errorf("a step that nobody is at counts as begun:\n%s", before)
	}
}
