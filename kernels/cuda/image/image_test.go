package image

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestImagesAreCurrent: a source that changed without its images, an image that changed by itself, and a source without
// images are all told apart. `make kernels` mends the first and the last.
func TestImagesAreCurrent(t *testing.T) {
	m, err := ReadManifest()
	if err != nil {
		t.Fatal(err)
	}
	headers, sources := map[string]string{}, map[string]string{}
	names, err := filepath.Glob("../src/*.cu*")
	if err != nil || len(names) == 0 {
		t.Fatalf("no sources: %v", err)
	}
	for _, n := range names {
		text, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		if base := filepath.Base(n); strings.HasSuffix(base, ".cuh") {
			headers[base] = string(text)
		} else {
			sources[strings.TrimSuffix(base, ".cu")] = string(text)
		}
	}
	for name, text := range sources {
		src, ok := m.Sources[name]
		if !ok || src.SHA256 != Hash(text, headers) {
			t.Errorf("%s.cu or a header of it changed after its images were made: run make kernels", name)
		}
		for arch, want := range src.Images {
			code, err := Read(arch, name)
			if err != nil {
				t.Error(err)
				continue
			}
			if sum := sha256.Sum256(code); hex.EncodeToString(sum[:]) != want.SHA256 || len(code) != want.Bytes {
				t.Errorf("image %s of %s.cu is not the one in the manifest", arch, name)
			}
		}
	}
	for name := range m.Sources {
		if _, ok := sources[name]; !ok {
			t.Errorf("manifest lists %s, which has no source", name)
		}
	}
}

// TestHash: a changed header changes the sources that include it, through other headers too, and no others.
func TestHash(t *testing.T) {
	old := map[string]string{"a.cuh": "#include \"b.cuh\"\n", "b.cuh": "int b;"}
	changed := map[string]string{"a.cuh": old["a.cuh"], "b.cuh": "int c;"}
	with, without := "#include \"a.cuh\"\nint x;", "int x;"
	if Hash(with, old) == Hash(with, changed) {
		t.Error("a header's header changed unseen")
	}
	if Hash(without, old) != Hash(without, changed) {
		t.Error("a source depends on a header that it does not include")
	}
}
