package host

import (
	"os"
	"strings"
	"testing"
)

func TestTrial(t *testing.T) {
	dir := t.TempDir()
	got := try(dir, 1<<20)
	if got != (Trial{Bytes: 1 << 20}) {
		t.Errorf("trial of a good directory: %+v", got)
	}
	if got = try(dir, 1<<61); got.Reserve == "" || got.Write != "" {
		t.Errorf("2 EiB were there: %+v", got)
	}
	if got = try(dir+"/nowhere", 1); !strings.Contains(got.Write, "no such file") {
		t.Errorf("trial of nothing: %+v", got)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
