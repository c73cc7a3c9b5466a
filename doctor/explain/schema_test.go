package explain

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(JSONSchema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("explain.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("explain.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func value(t *testing.T, rep *Report) map[string]any {
	t.Helper()
	b, err := json.Marshal(rep)
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return v.(map[string]any)
}

// TestJSONKeepsTheSchema holds every report that the fixtures and whole logs give against the committed schema, and sees
// that together they use every field of it.
func TestJSONKeepsTheSchema(t *testing.T) {
	s := compileSchema(t)
	used := map[string]bool{}
	hold := func(name string, rep *Report) {
		v := value(t, rep)
		if err := s.Validate(v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for k := range v {
			used[k] = true
		}
		found := []any{v["cause"]}
		for _, list := range []string{"also", "echoes", "benign"} {
			if more, ok := v[list].([]any); ok {
				found = append(found, more...)
			}
		}
		for _, f := range found {
			if f, ok := f.(map[string]any); ok {
				for k := range f {
					used["finding."+k] = true
				}
			}
		}
	}
	for _, fx := range loadFixtures(t) {
		hold(fx.rule, explainString(t, fx.log, fx.facts))
	}
	logs, err := filepath.Glob("testdata/logs/*")
	if err != nil || len(logs) == 0 {
		t.Fatalf("logs %v, %v", logs, err)
	}
	for _, file := range logs {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		rep, err := Read(f, Facts{SM: 86, Driver: "550.54.15", OOMKnown: true, OOMKills: 1})
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		hold(file, rep)
	}
	var doc struct {
		Properties map[string]any `json:"properties"`
		Defs       struct {
			Finding struct {
				Properties map[string]any `json:"properties"`
			} `json:"finding"`
		} `json:"$defs"`
	}
	if err := json.Unmarshal(JSONSchema, &doc); err != nil {
		t.Fatal(err)
	}
	for k := range doc.Properties {
		if !used[k] {
			t.Errorf("no report has %s", k)
		}
	}
	for k := range doc.Defs.Finding.Properties {
		if !used["finding."+k] {
			t.Errorf("no finding has %s", k)
		}
	}
}

func TestSchemaRefuses(t *testing.T) {
	s := compileSchema(t)
	log := "[2025-12-10 10:38:01] Decode batch, #running-req: 1, #token: 9, token usage: 0.01, gen throughput (token/s): 5, #queue-req: 0\n" +
		"RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.\n"
	for name, change := range map[string]func(map[string]any){
		"nothing":       func(map[string]any) {},
		"extra field":   func(v map[string]any) { v["token"] = "x" },
		"no cause":      func(v map[string]any) { delete(v, "cause") },
		"other schema":  func(v map[string]any) { v["schema"] = "radish.explain/2" },
		"other class":   func(v map[string]any) { v["cause"].(map[string]any)["class"] = "guess" },
		"other phase":   func(v map[string]any) { v["phase"] = "dream" },
		"line 0":        func(v map[string]any) { v["cause"].(map[string]any)["line"] = json.Number("0") },
		"no telemetry":  func(v map[string]any) { v["telemetry"].(map[string]any)["lines"] = json.Number("0") },
		"extra in fact": func(v map[string]any) { v["facts"].(map[string]any)["hostname"] = "x" },
	} {
		v := value(t, explainString(t, log, Facts{}))
		change(v)
		if err := s.Validate(v); (err == nil) != (name == "nothing") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
