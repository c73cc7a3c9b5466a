// Command kernels compiles kernels/cuda/src into the images that radish embeds, and writes their manifest.
//
//	go run ./scripts/kernels -nvrtc PATH [-check] [FILE.cu ...]
//
// Without files it compiles all of them and removes images that no source stands behind; with files, those only. -check
// compiles, prints registers, shared memory and spills, and writes nothing.
//
// A source says in its first lines which images it wants ("// images: sm_90a"); the default is sm_80, sm_90a and
// compute_80. Images are raw cubins (an NVRTC 12.4 cubin loads on every driver from 525 on) or PTX, gzipped by Go.
package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"radish/kernels/cuda/image"
)

const (
	sources = "kernels/cuda/src"
	images  = "kernels/cuda/image"
)

func main() {
	nvrtc := flag.String("nvrtc", "", "path of libnvrtc.so.12")
	check := flag.Bool("check", false, "compile and print, write nothing")
	flag.Parse()
	if err := run(*nvrtc, *check, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "kernels:", err)
		os.Exit(1)
	}
}

func run(nvrtc string, check bool, only []string) error {
	if err := openCompiler(nvrtc); err != nil {
		return err
	}
	headers, files, err := readSources()
	if err != nil {
		return err
	}
	m := image.Manifest{Compiler: "NVRTC 12.4.127", Sources: map[string]image.Source{}}
	if len(only) > 0 {
		if m, err = image.ReadManifest(); err != nil {
			return err
		}
	}
	for _, f := range files {
		if len(only) > 0 && !slices.ContainsFunc(only, func(o string) bool { return filepath.Base(o) == f.name }) {
			continue
		}
		src, err := build(f, headers, check)
		if err != nil {
			return err
		}
		m.Sources[strings.TrimSuffix(f.name, ".cu")] = src
	}
	if check {
		return nil
	}
	return writeManifest(m, files)
}

// file is a source's name and text.
type file struct{ name, text string }

// readSources reads the headers (*.cuh) and the sources.
func readSources() (headers map[string]string, files []file, err error) {
	headers = map[string]string{}
	names, err := filepath.Glob(filepath.Join(sources, "*.cu*"))
	if err != nil {
		return nil, nil, err
	}
	for _, n := range names {
		text, err := os.ReadFile(n)
		if err != nil {
			return nil, nil, err
		}
		if base := filepath.Base(n); strings.HasSuffix(base, ".cuh") {
			headers[base] = string(text)
		} else {
			files = append(files, file{base, string(text)})
		}
	}
	return headers, files, nil
}

var wanted = regexp.MustCompile(`(?m)^// images: (.*)$`)

// build compiles one source for every image that it wants.
func build(f file, headers map[string]string, check bool) (image.Source, error) {
	archs := []string{"sm_80", "sm_90a", "compute_80"}
	if m := wanted.FindStringSubmatch(f.text); m != nil {
		archs = strings.Fields(m[1])
	}
	out := image.Source{SHA256: image.Hash(f.text, headers), Images: map[string]image.File{}, Kernels: map[string]map[string]image.Use{}}
	for _, arch := range archs {
		ptx := strings.HasPrefix(arch, "compute_")
		options := []string{"--gpu-architecture=" + arch, "--std=c++17", "-default-device", "--ptxas-options=-v", "-lineinfo"}
		code, log, err := compile(f.name, f.text, headers, options, ptx)
		if err != nil {
			return out, fmt.Errorf("%w for %s\n%s", err, arch, log)
		}
		for name, use := range usage(log) {
			fmt.Printf("%-10s %-34s %3d registers %6d B shared %4d B spilled %4d B stack\n", arch, name, use.Registers, use.Shared, use.Spilled, use.Stack)
			if out.Kernels[name] == nil {
				out.Kernels[name] = map[string]image.Use{}
			}
			out.Kernels[name][arch] = use
		}
		if strings.Contains(log, "warning") || strings.Contains(log, "Potential Performance Loss") {
			fmt.Print(log)
		}
		if check {
			continue
		}
		sum := sha256.Sum256(code)
		out.Images[arch] = image.File{SHA256: hex.EncodeToString(sum[:]), Bytes: len(code)}
		if err := write(filepath.Join(images, arch, strings.TrimSuffix(f.name, ".cu")+".gz"), code); err != nil {
			return out, err
		}
	}
	return out, nil
}

// write gzips code to path; the same code gives the same file.
func write(path string, code []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	var buf bytes.Buffer
	z, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := z.Write(code); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return os.WriteFile(path, buf.Bytes(), 0o644)
}

var (
	entry  = regexp.MustCompile(`Compiling entry function '(\w+)'`)
	used   = regexp.MustCompile(`Used (\d+) registers`)
	smem   = regexp.MustCompile(`(\d+) bytes smem`)
	spills = regexp.MustCompile(`(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads`)
)

// usage reads what ptxas printed of each kernel.
func usage(log string) map[string]image.Use {
	uses, name, at := map[string]image.Use{}, "", image.Use{}
	number := func(s string) int { n, _ := strconv.Atoi(s); return n } // the expression admits digits only
	for _, line := range strings.Split(log, "\n") {
		if m := entry.FindStringSubmatch(line); m != nil {
			name, at = m[1], image.Use{}
		} else if m := spills.FindStringSubmatch(line); m != nil {
			at.Stack, at.Spilled = number(m[1]), number(m[2])+number(m[3])
		} else if m := used.FindStringSubmatch(line); m != nil && name != "" {
			at.Registers = number(m[1])
			if m := smem.FindStringSubmatch(line); m != nil {
				at.Shared = number(m[1])
			}
			uses[name] = at
		}
	}
	return uses
}

// writeManifest writes the manifest and removes images without a source.
func writeManifest(m image.Manifest, files []file) error {
	known := map[string]bool{}
	for name, src := range m.Sources {
		if !slices.ContainsFunc(files, func(f file) bool { return f.name == name+".cu" }) {
			delete(m.Sources, name)
			continue
		}
		for arch := range src.Images {
			known[filepath.Join(images, arch, name+".gz")] = true
		}
	}
	present, err := filepath.Glob(filepath.Join(images, "*", "*.gz"))
	if err != nil {
		return err
	}
	for _, p := range present {
		if !known[p] {
			if err := os.Remove(p); err != nil {
				return err
			}
		}
	}
	text, err := json.MarshalIndent(m, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(images, "MANIFEST.json"), append(text, '\n'), 0o644)
}
