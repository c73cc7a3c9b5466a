package host

import (
	"os"
	"strings"
	"syscall"
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

// TestLocks has the network filesystems that give a lock to everybody, and those that know none.
func TestLocks(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if why, lies := lockTwice(f, func(int, int) error { return nil }); why != "" || !lies {
		t.Errorf("two locks on one file: %q, lies %t", why, lies)
	}
	if why, lies := lockTwice(f, func(int, int) error { return syscall.ENOSYS }); !strings.Contains(why, "not implemented") || lies {
		t.Errorf("no locks: %q, lies %t", why, lies)
	}
	if why, lies := lockTwice(f, syscall.Flock); why != "" || lies {
		t.Errorf("this filesystem: %q, lies %t", why, lies)
	}
}
