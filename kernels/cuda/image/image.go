// Package image holds the compiled CUDA kernels that radish embeds: per source of kernels/cuda/src a raw cubin for sm_80
// (which serves every 8.x card) and for sm_90a (H100, H200), and compute_80 PTX, which the driver compiles for cards
// that the binary does not know. `make kernels` writes them and MANIFEST.json; a test fails when a source changed and
// its images did not.
package image

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
)

//go:embed MANIFEST.json sm_80 sm_90a compute_80
var files embed.FS

// Manifest is what was compiled, from what, with what.
type Manifest struct {
	Compiler string            `json:"compiler"`
	Sources  map[string]Source `json:"sources"` // by name without .cu
}

// Source is one source and its images, by architecture.
type Source struct {
	SHA256  string                    `json:"sha256"` // of the source and all headers; see Hash
	Images  map[string]File           `json:"images"`
	Kernels map[string]map[string]Use `json:"kernels"` // kernel -> architecture -> resources
}

// File is one image before compression.
type File struct {
	SHA256 string `json:"sha256"`
	Bytes  int    `json:"bytes"`
}

// Use is what a kernel takes: registers a thread, bytes of static shared memory a block, bytes of stack and of spills a
// thread.
type Use struct {
	Registers int `json:"registers"`
	Shared    int `json:"shared"`
	Stack     int `json:"stack"`
	Spilled   int `json:"spilled"`
}

// ReadManifest decodes the embedded manifest.
func ReadManifest() (Manifest, error) {
	var m Manifest
	text, err := files.ReadFile("MANIFEST.json")
	if err != nil {
		return m, fmt.Errorf("read manifest: %w", err)
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("read manifest: %w", err)
	}
	return m, nil
}

// Read is the image of one source for one architecture ("sm_80", "sm_90a", "compute_80"). The error is fs.ErrNotExist
// where there is none.
func Read(arch, source string) ([]byte, error) {
	packed, err := files.ReadFile(arch + "/" + source + ".gz")
	if err != nil {
		return nil, fmt.Errorf("read image: %w", err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("unpack image %s/%s: %w", arch, source, err)
	}
	code, err := io.ReadAll(z)
	if err != nil {
		return nil, fmt.Errorf("unpack image %s/%s: %w", arch, source, err)
	}
	return code, nil
}

var include = regexp.MustCompile(`(?m)^#include "([^"]+)"`)

// Hash identifies a source together with the headers that it includes, directly or not.
func Hash(text string, headers map[string]string) string {
	h := sha256.New()
	seen := map[string]bool{}
	var add func(text string)
	add = func(text string) {
		io.WriteString(h, text)
		for _, m := range include.FindAllStringSubmatch(text, -1) {
			if name := m[1]; !seen[name] {
				seen[name] = true
				fmt.Fprintf(h, "\x00%s\x00", name)
				add(headers[name])
			}
		}
	}
	add(text)
	return hex.EncodeToString(h.Sum(nil))
}
