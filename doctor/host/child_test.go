package host

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

func shell(script string) Child {
	return Child{Path: "/bin/sh", Argv: []string{"sh", "-c", script}, Limit: 10 * time.Second}
}

func TestChildAnswers(t *testing.T) {
	want := NVML{Driver: "550.54.15", CUDA: 12040, Cards: []Card{{GPU: GPU{Name: "NVIDIA A40", Major: 8, Minor: 6},
		ECC: ECC{Volatile: 1 << 40}, Holders: []Holder{{7, ^uint64(0)}}, Unread: map[string]string{"mig": NotSupported}}}}
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if got := shell("cat <<'END'\n" + string(b) + "\nEND").NVML(t.Context()); !reflect.DeepEqual(got, want) {
		t.Errorf("answer %+v", got)
	}
}

func TestChildInTrouble(t *testing.T) {
	for script, want := range map[string]string{
		"echo x: symbol lookup error: undefined symbol: nvmlX >&2; exit 127": "exit status 127: x: symbol lookup error: undefined symbol: nvmlX",
		"kill -SEGV $$": "segmentation fault",
		"echo hello":    "decode the driver's answer",
		"head -c 5000000 /dev/zero || true; exit 3": "ended with",
	} {
		if got := shell(script).NVML(t.Context()); !strings.Contains(got.Err, want) {
			t.Errorf("%s: %q, want %q", script, got.Err, want)
		}
	}
	c := shell("exec sleep 600; # $0")
	c.Limit = 20 * time.Millisecond
	if got := c.NVML(t.Context()); !strings.Contains(got.Err, "no answer within") {
		t.Errorf("a child that hangs: %+v", got)
	}
	if got := (Child{}).NVML(t.Context()); got.Err == "" {
		t.Error("no command, and yet an answer")
	}
}
