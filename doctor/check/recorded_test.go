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
