package host

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestRecordAndReplay demands every field back, the unexported ones too.
func TestRecordAndReplay(t *testing.T) {
	root := fixture(t, map[string]string{"home/hf/token": "hf_aaaaaaaaaaaaaaaaaaaaSENTINEL"})
	f := Read(t.Context(), Options{Root: root, Environ: []string{"HF_HOME=/home/hf", "HF_ENDPOINT=https://u:SENTINEL@hub"}, WorkDir: "/",
		System: fake{taken: map[int]bool{8888: true}}, Wait: time.Minute, Kernels: []string{"sm_80"}})
	f.NVIDIA.NVML.Cards = []Card{{Unread: map[string]string{"ecc": NotSupported}, Holders: []Holder{{1, ^uint64(0)}}}}
	f.NVIDIA.CUDA.Devices = []CUDADevice{{Failed: Call{"cuInit", 802, "X"}}}
	f.Model = &Model{Dir: "/m", Missing: []string{"a"}}
	f.Time = f.Time.Round(0).UTC()
	dir := filepath.Join(t.TempDir(), "a/b")
	if err := f.Record(dir); err != nil {
		t.Fatal(err)
	}
	got, err := Replay(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, f) {
		t.Errorf("replayed %+v\nrecorded %+v", got, f)
	}
	b, err := os.ReadFile(filepath.Join(dir, recordName))
	if err != nil || strings.Contains(string(b), "SENTIN") {
		t.Errorf("%v, or a secret in %s", err, b)
	}
}

func TestReplayOfSomethingElse(t *testing.T) {
	for text, want := range map[string]string{`{"schema":"x/1","facts":{}}`: `is "x/1"`, `{"schema":"radish.host/1","facts":null}`: "not", `[`: "decode"} {
		dir := fixture(t, map[string]string{recordName: text})
		if _, err := Replay(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := Replay(t.TempDir()); err == nil {
		t.Error("an empty directory was replayed")
	}
}
