package weights

import (
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Limits of an index, far above real ones (DeepSeek-V3: 9 MB, 91,991 tensors, 163 shards).
const (
	maxIndex  = 32 << 20
	maxShards = 4096
)

// index is model.safetensors.index.json, checked in itself.
type index struct {
	files  map[string]string // tensor -> shard
	shards []string          // sorted
	total  int64             // -1: not stated
}

// readIndex reads the index; it opens no shard.
func readIndex(fsys fs.FS) (*index, error) {
	raw, err := readSmall(fsys, indexName, maxIndex)
	if err != nil {
		return nil, err
	}
	ix, err := parseIndex(raw)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", indexName, err)
	}
	return ix, nil
}

func parseIndex(raw []byte) (*index, error) {
	var doc struct {
		Metadata struct {
			Total jsontext.Value `json:"total_size"`
		} `json:"metadata"`
		Map map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if len(doc.Map) == 0 {
		return nil, fmt.Errorf("%w: weight_map is missing or empty", ErrMalformed)
	}
	ix := &index{files: doc.Map, total: -1}
	if s := string(doc.Metadata.Total); s != "" && s != "null" {
		// Some writers sum the sizes as floating point: 15231233024.0.
		n, err := strconv.ParseUint(strings.TrimSuffix(s, ".0"), 10, 63)
		if err != nil {
			return nil, fmt.Errorf("%w: total_size is %.40s", ErrMalformed, s)
		}
		ix.total = int64(n)
	}
	seen := map[string]bool{}
	for name, shard := range doc.Map {
		if err := checkShard(shard); err != nil {
			return nil, within(clip(name), err)
		}
		seen[shard] = true
		if len(seen) > maxShards {
			return nil, fmt.Errorf("%w: more than %d shards", ErrMalformed, maxShards)
		}
	}
	ix.shards = sorted(seen)
	return ix, nil
}

// checkShard allows plain file names that end in .safetensors.
func checkShard(name string) error {
	plain := len(name) <= 255 && strings.HasSuffix(name, ".safetensors") && !strings.HasPrefix(name, ".") &&
		!strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || strings.ContainsRune(`/\:`, r) })
	if !plain {
		return fmt.Errorf("%w: shard %.80q is not the name of a safetensors file in the directory", ErrMalformed, name)
	}
	return nil
}

// clip shortens a name for an error.
func clip(name string) string { return name[:min(len(name), 200)] }
