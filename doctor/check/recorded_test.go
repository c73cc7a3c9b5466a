package check

import (
	"path/filepath"
	"testing"

	"radish/doctor"
	"radish/doctor/host"
)

// TestReplayIsTheSame judges every machine once as it was read and once from its recording.
func TestReplayIsTheSame(t *testing.T) {
	for name, c := range expected {
		facts := c.machine().read(t)
		dir := t.TempDir()
		if err := facts.Record(dir); err != nil {
			t.Fatal(err)
		}
		again, err := host.Replay(dir)
		if err != nil {
			t.Fatal(err)
		}
		a, b := doctor.Run(t.Context(), facts, All()), doctor.Run(t.Context(), again, All())
		if a.Text(true) != b.Text(true) {
			t.Errorf("%s: live\n%s\nreplayed\n%s", name, a.Text(true), b.Text(true))
		}
	}
}

// TestRecorded judges real machines: each directory of testdata/recorded is what radish doctor --record wrote there, with
// the report that it gave beside it.
func TestRecorded(t *testing.T) {
	dirs, err := filepath.Glob("testdata/recorded/*/facts.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range dirs {
		dir := filepath.Dir(file)
		facts, err := host.Replay(dir)
		if err != nil {
			t.Errorf("%s: %v", dir, err)
			continue
		}
		r := doctor.Run(t.Context(), facts, All())
		golden(t, filepath.Join("recorded", filepath.Base(dir)), "\x00", r)
	}
}

// TestEveryGPUCheckInEveryState looks through the machines: each GPU check must be met well, in trouble, and without an
// answer. What is never judged, or not asked of the driver, is named here with the states that it does not have.
func TestEveryGPUCheckInEveryState(t *testing.T) {
	lacks := map[string]string{
		"gpu.persistence":    "bad",     // told, not judged
		"gpu.libs":           "unknown", // files are there or not
		"gpu.forward_compat": "unknown", // the same
	}
	met := map[string]map[string]bool{}
	note := func(f doctor.Finding) {
		kind := map[doctor.State]string{doctor.OK: "ok", doctor.Warn: "bad", doctor.Fail: "bad", doctor.Unknown: "unknown"}[f.State]
		if met[f.ID] == nil {
			met[f.ID] = map[string]bool{}
		}
		met[f.ID][kind] = true
	}
	for _, c := range expected {
		for _, code := range [][]string{nil, {"sm_80", "sm_86", "sm_90a", "ptx compute_80"}, {"sm_70"}} {
			facts := c.machine().read(t)
			facts.Self.Kernels = code
			for _, f := range doctor.Run(t.Context(), facts, All()).Findings {
				note(f)
			}
		}
	}
	for _, c := range All() {
		c.DependsOn = nil
		note(doctor.Run(t.Context(), blind(), []doctor.Check{c}).Findings[0])
	}
	for _, c := range All() {
		if c.Family != "gpu" {
			continue
		}
		for _, kind := range []string{"ok", "bad", "unknown"} {
			if met[c.ID][kind] == (lacks[c.ID] == kind) {
				t.Errorf("%s: %s met %t", c.ID, kind, met[c.ID][kind])
			}
		}
	}
}
