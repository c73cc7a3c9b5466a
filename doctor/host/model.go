package host

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
)

// Model is a model as far as names, sizes and headers tell.
type Model struct {
	Repo     string // as it was named, "org/name"; empty: a directory was named
	Dir      string // empty: it is not on this machine
	Err      string
	Config   *Config // nil: no readable config.json
	Problem  string  // what is wrong with config.json or the index
	Weights  int     // files of tensors
	Bytes    uint64  // of those files
	Largest  uint64  // one of those files
	Missing  []string
	Pointers []string // Git LFS pointers instead of files
	Broken   []string // safetensors whose header does not fit the file, and why
	Tokens   bool     // a tokenizer file is there
	Remote   *Remote  // what the hub has; nil: it was not asked
}

// Config is what config.json says of the model's shape.
type Config struct {
	Kind      string `json:"model_type"`
	Layers    int    `json:"num_hidden_layers"`
	Hidden    int    `json:"hidden_size"`
	Heads     int    `json:"num_attention_heads"`
	KVHeads   int    `json:"num_key_value_heads"`
	HeadDim   int    `json:"head_dim"`
	Positions int    `json:"max_position_embeddings"`
	TorchType string `json:"torch_dtype"`
	DType     string `json:"dtype"`
	Quant     struct {
		Method string `json:"quant_method"`
	} `json:"quantization_config"`
}

// Type is the element type that the weights are stored in, "" if config.json does not say.
func (c *Config) Type() string {
	if c.DType != "" {
		return c.DType
	}
	return c.TorchType
}

// KVBytes is what one token takes in a 16-bit KV pool: 2 x layers x KV heads x head size x 2 bytes. It is 0 where the
// shape is not told or is not plausible.
func (c *Config) KVBytes() uint64 {
	kv, dim := c.KVHeads, c.HeadDim
	if kv == 0 {
		kv = c.Heads
	}
	if dim == 0 && c.Heads > 0 {
		dim = c.Hidden / c.Heads
	}
	for _, n := range []int{c.Layers, kv, dim} {
		if n <= 0 || n > 1<<16 {
			return 0
		}
	}
	return 2 * uint64(c.Layers) * uint64(kv) * uint64(dim) * 2
}

// Limits on what a model directory may make this read.
const (
	maxConfig  = 1 << 20
	maxIndex   = 64 << 20
	maxEntries = 10000
	maxHeader  = 100 << 20 // of one safetensors file, as its reference reader has it
)

// repoName is what the hub accepts as a repository's name.
var repoName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,96}/[A-Za-z0-9_.-]{1,96}$`)

// repository tells a repository's name from a directory: what exists is a directory.
func repository(o Options) (repo string) {
	if !repoName.MatchString(o.Model) || strings.HasPrefix(o.Model, ".") {
		return ""
	}
	if _, err := os.Stat(o.Model); err == nil {
		return ""
	}
	return o.Model
}

// snapshot is where the cache keeps a repository's main revision, "" if it does not.
func snapshot(root, cache, repo string) string {
	dir := filepath.Join(root, cache, "models--"+strings.ReplaceAll(repo, "/", "--"))
	commit := readWord(dir, "refs/main")
	if commit == "" || strings.ContainsAny(commit, "/.") {
		return ""
	}
	dir = filepath.Join(dir, "snapshots", commit)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return ""
	}
	return dir
}

func readModel(o Options, e Env) *Model {
	if o.Model == "" {
		return nil
	}
	m := &Model{Dir: o.Model, Repo: repository(o)}
	if m.Repo != "" {
		if m.Dir = snapshot(o.Root, e.CacheDir(), m.Repo); m.Dir == "" {
			return m
		}
	}
	m.read()
	return m
}

func (m *Model) read() {
	d, err := os.Open(m.Dir)
	if err != nil {
		m.Err = err.Error()
		return
	}
	defer d.Close()
	names, err := d.Readdirnames(maxEntries)
	if err != nil && err != io.EOF {
		m.Err = err.Error()
		return
	}
	sort.Strings(names)
	for _, name := range names {
		m.add(name)
	}
	m.readConfig()
	m.readIndex(names)
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
		} else if why := brokenHeader(filepath.Join(m.Dir, name), info.Size()); why != "" {
			m.Broken = append(m.Broken, name+": "+why)
		}
		m.Weights++
		m.Bytes += uint64(max(info.Size(), 0))
		m.Largest = max(m.Largest, uint64(max(info.Size(), 0)))
	}
}

// isPointer recognises what a clone without Git LFS leaves behind.
func isPointer(file string, size int64) bool {
	return size < 1024 && strings.HasPrefix(readWord(file), "version https://git-lfs")
}

// brokenHeader reads a safetensors header (8 bytes of length, JSON) and says why it does not fit the file. A download
// that stopped is found here in a millisecond instead of after minutes of loading.
func brokenHeader(file string, size int64) string {
	f, err := os.Open(file)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	var length [8]byte
	if _, err := io.ReadFull(f, length[:]); err != nil {
		return "too short for a header"
	}
	n := binary.LittleEndian.Uint64(length[:])
	if n > maxHeader || n > uint64(size) {
		return fmt.Sprintf("a header of %d bytes in a file of %d", n, size)
	}
	header := make([]byte, n)
	if _, err := io.ReadFull(f, header); err != nil {
		return "the header ends early"
	}
	var tensors map[string]json.RawMessage
	if err := json.Unmarshal(header, &tensors); err != nil {
		return "the header is no JSON"
	}
	end := uint64(0)
	for name, raw := range tensors {
		var t struct {
			Offsets [2]uint64 `json:"data_offsets"`
		}
		if name == "__metadata__" {
			continue
		}
		if err := json.Unmarshal(raw, &t); err != nil || t.Offsets[0] > t.Offsets[1] {
			return "the header's offsets cannot be read"
		}
		end = max(end, t.Offsets[1])
	}
	if data := uint64(size) - 8 - n; end != data {
		return fmt.Sprintf("%d bytes of tensors are announced, %d are there", end, data)
	}
	return ""
}

func (m *Model) readConfig() {
	var c Config
	if err := readJSON(filepath.Join(m.Dir, "config.json"), maxConfig, &c); err != nil {
		m.Problem = err.Error()
		return
	}
	m.Config = &c
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
