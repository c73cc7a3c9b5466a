package ui

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestProgressLines gives, without a terminal, one line in five seconds, with the rate of what came since.
func TestProgressLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var err bytes.Buffer
		p := (&Terminal{Err: &err}).NewProgress(1000<<20, 400<<20)
		p.File("a", 600<<20)
		time.Sleep(time.Second)
		p.Add("a", 100<<20)
		time.Sleep(4500 * time.Millisecond)
		p.Add("a", 200<<20)
		p.Say("said")
		time.Sleep(5 * time.Second)
		p.Done("a")
		p.Close()
		want := "500.0 MiB of 1000.0 MiB (50 %), 20.0 MiB/s, 25s left\nsaid\n700.0 MiB of 1000.0 MiB (70 %), 30.0 MiB/s, 10s left\n"
		if err.String() != want {
			t.Errorf("lines %q, want %q", err.String(), want)
		}
	})
}

// TestProgressBars draws every file under way and the whole.
func TestProgressBars(t *testing.T) {
	var err bytes.Buffer
	p := (&Terminal{Err: &err, live: true}).NewProgress(100, 0)
	p.File("dir/model-00001-of-00002.safetensors-with-a-long-name", 60)
	p.Add("dir/model-00001-of-00002.safetensors-with-a-long-name", 30)
	p.Add("unknown", 1)
	p.File("not begun", 40)
	p.Add("not begun", 0)
	p.Say("said")
	time.Sleep(500 * time.Millisecond) // bars are drawn five times a second
	p.Close()
	if strings.Contains(err.String(), "not begun") {
		t.Errorf("a bar for a file that has not begun: %q", err.String())
	}
	for _, want := range []string{"tensors-with-a-long-name", "all ", "[====", "30 B of 60 B", "said\n"} {
		if !strings.Contains(err.String(), want) {
			t.Errorf("%q is not in %q", want, err.String())
		}
	}
}
