package host

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// Model is a model directory as far as names and sizes tell.
type Model struct {
	Dir      string
	Err      string
	Kind     string // model_type of config.json; empty: no readable config.json
	Problem  string // what is wrong with config.json or the index
	Weights  int    // files of tensors
	Bytes    uint64 // of those files
	Missing  []string
	Pointers []string // Git LFS pointers instead of files
	Tokens   bool     // a tokenizer file is there
}

// Limits on what a model directory may make this read.
const (
	maxConfig  = 1 << 20
	maxIndex   = 64 << 20
	maxEntries = 10000
)

func readModel(dir string) *Model {
	if dir == "" {
		return nil
	}
	m := &Model{Dir: dir}
	d, err := os.Open(dir)
	if err != nil {
		m.Err = err.Error()
		return m
	}
	defer d.Close()
	names, err := d.Readdirnames(maxEntries)
	if err != nil && err != io.EOF {
		m.Err = err.Error()
		return m
	}
	sort.Strings(names)
	for _, name := range names {
		m.add(name)
	}
	m.readConfig()
	m.readIndex(names)
	return m
}

func (m *Model) add(name string) {
	switch {
	case name == "tokenizer.json" || name == "tokenizer.model":
		m.Tokens = true
	case strings.HasSuffix(name, ".safetensors"):
		info, err := os.Stat(filepath.Join(m.Dir, name)) // the cache layout links to blobs
		if err != nil {
			m.Missing = append(m.Missing, name)
			return
		}
		if isPointer(filepath.Join(m.Dir, name), info.Size()) {
			m.Pointers = append(m.Pointers, name)
		}
		m.Weights++
		m.Bytes += uint64(max(info.Size(), 0))
	}
}

// isPointer recognises what a clone without Git LFS leaves behind.
func isPointer(file string, size int64) bool {
	return size < 1024 && strings.HasPrefix(readWord(file), "version https://git-lfs")
}

func (m *Model) readConfig() {
	var c struct {
		ModelType string `json:"model_type"`
	}
	if err := readJSON(filepath.Join(m.Dir, "config.json"), maxConfig, &c); err != nil {
		m.Problem = err.Error()
		return
	}
	m.Kind = c.ModelType
}

func (m *Model) readIndex(names []string) {
	const index = "model.safetensors.index.json"
	have := map[string]bool{}
	for _, n := range names {
		have[n] = true
	}
	if !have[index] {
		return
	}
	var x struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := readJSON(filepath.Join(m.Dir, index), maxIndex, &x); err != nil {
		m.Problem = err.Error()
		return
	}
	for _, shard := range x.WeightMap {
		if !have[shard] {
			have[shard] = true
			m.Missing = append(m.Missing, shard)
		}
	}
	sort.Strings(m.Missing)
}

func readJSON(file string, most int64, v any) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return fmt.Errorf("read %s: %w", filepath.Base(file), err)
	}
	if int64(len(b)) > most {
		return fmt.Errorf("read %s: larger than %d bytes", filepath.Base(file), most)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("decode %s: %w", filepath.Base(file), err)
	}
	return nil
}
