package host

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// recording is a file of facts, so that a machine can be judged where it is not.
type recording struct {
	Schema string `json:"schema"`
	Facts  *Facts `json:"facts"`
}

const (
	recordSchema = "radish.host/1"
	recordName   = "facts.json"
)

// Record writes the facts into dir, which it makes. They hold no secret, because reading masked them; they do hold
// names of processes, directories and cards.
func (f *Facts) Record(dir string) error {
	b, err := json.MarshalIndent(recording{recordSchema, f}, "", " ")
	if err != nil {
		return fmt.Errorf("encode facts: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("record facts: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, recordName), append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("record facts: %w", err)
	}
	return nil
}

// Replay reads what Record wrote.
func Replay(dir string) (*Facts, error) {
	b, err := os.ReadFile(filepath.Join(dir, recordName))
	if err != nil {
		return nil, fmt.Errorf("replay facts: %w", err)
	}
	r := recording{Facts: &Facts{}}
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("decode facts: %w", err)
	}
	if r.Schema != recordSchema || r.Facts == nil {
		return nil, fmt.Errorf("replay facts: %s is %q, not %q", recordName, r.Schema, recordSchema)
	}
	return r.Facts, nil
}

// envJSON is Env with what is unexported there.
type envJSON struct {
	Vars     map[string]string
	Token    Token
	Platform Platform
	Secrets  []string
	ServeKey bool
}

// MarshalJSON gives the kept variables, masked as they are.
func (e Env) MarshalJSON() ([]byte, error) {
	return json.Marshal(envJSON{e.vars, e.Token, e.Platform, e.Secrets, e.ServeKey})
}

// UnmarshalJSON is the reverse of MarshalJSON.
func (e *Env) UnmarshalJSON(b []byte) error {
	var j envJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*e = Env{j.Vars, j.Token, j.Platform, j.Secrets, j.ServeKey}
	return nil
}
