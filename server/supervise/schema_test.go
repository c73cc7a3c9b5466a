package supervise

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// The names in a status are a promise: they may become more, and none may go while the schema keeps its number.
func TestStatusKeepsItsNames(t *testing.T) {
	id := Identity{PID: 1, Start: 1, Boot: "b", Namespace: "n", Exe: "e"}
	cause := &Explanation{ID: "i", Title: "t", Text: "x", Parks: true}
	b, err := json.Marshal(Status{
		Supervisor: &id, Worker: &Worker{Identity: id}, Cause: cause, Warnings: []string{"w"}, Args: []string{"a"},
		Report:   &Report{Note: "n", Done: 1, Total: 1, URL: "u", Model: "m", Device: "d", Why: "w", Memory: 1, Figures: &Figures{}},
		Restarts: Restarts{History: []Exit{{Time: time.Unix(0, 0), Signal: "s", Cause: cause}}}, Log: LogFacts{Error: "e"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	walk("", v, names)
	promised, err := os.ReadFile("testdata/status.names")
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Fields(string(promised))
	for _, n := range want {
		if !names[n] {
			t.Errorf("%s is gone from %s", n, Schema)
		}
	}
	for n := range names {
		if !slices.Contains(want, n) {
			t.Errorf("%s is new: add it to testdata/status.names", n)
		}
	}
}

func walk(path string, v any, names map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			walk(strings.TrimPrefix(path+"."+k, "."), x, names)
		}
	case []any:
		for _, x := range v {
			walk(path+"[]", x, names)
		}
	default:
		names[path] = true
	}
}
