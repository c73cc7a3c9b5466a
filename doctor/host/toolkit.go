package host

import (
	"os"
	"path/filepath"
)

// Toolkit is an installed CUDA toolkit, which only engines that compile kernels at run time need.
type Toolkit struct {
	Dir     string // empty: none was found
	Version string // "12.4.1"; empty: its version.json could not be read
	NVCC    string // the compiler; empty: not there
}

// readToolkit looks where PyTorch's extension builder looks, without running anything.
func readToolkit(root string, e Env) Toolkit {
	var dirs []string
	for _, name := range []string{"CUDA_HOME", "CUDA_PATH"} {
		if d, ok := e.Get(name); ok {
			dirs = append(dirs, d)
		}
	}
	for _, dir := range append(dirs, "/usr/local/cuda") {
		if info, err := os.Stat(filepath.Join(root, dir)); err != nil || !info.IsDir() {
			continue
		}
		t := Toolkit{Dir: dir, Version: toolkitJSON(filepath.Join(root, dir, "version.json"))}
		if nvcc := filepath.Join(dir, "bin/nvcc"); regular(filepath.Join(root, nvcc)) {
			t.NVCC = nvcc
		}
		return t
	}
	return Toolkit{}
}

func regular(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular()
}

// toolkitJSON is the version that a toolkit's version.json tells; empty where it tells none.
func toolkitJSON(file string) string {
	var v struct {
		CUDA struct {
			Version string `json:"version"`
		} `json:"cuda"`
	}
	if err := readJSON(file, maxConfig, &v); err != nil {
		return ""
	}
	return v.CUDA.Version
}
