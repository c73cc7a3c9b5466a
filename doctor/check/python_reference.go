package check

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"sync"
)

// python_reference.json is what engines and their parts publish about each other, with the day it was read. What the
// installed packages say of themselves comes first; this holds only what no package says.
//
//go:embed python_reference.json
var pythonReferenceJSON []byte

type pythonReference struct {
	Date      string       `json:"date"`
	Engines   []engineFact `json:"engines"`
	NumPy2    string       `json:"numpy2_since_torch"`
	SilentOld struct {
		Dist    string `json:"dist"`
		Version string `json:"version"`
		UV      string `json:"uv"`
	} `json:"silent_old"`
	LoadBearing []string `json:"load_bearing"`
}

type engineFact struct {
	Dist       string   `json:"dist"`
	Kernels    []string `json:"kernels"`     // distributions with its compiled code; any one of them
	Extras     []string `json:"extras"`      // whose pins count as the engine's own
	LastCUDA12 string   `json:"last_cuda12"` // last release with CUDA 12 wheels; empty: not known
	NeedsNVCC  bool     `json:"needs_nvcc"`  // its default attention kernels are compiled on first use
}

var pythonTable = sync.OnceValue(func() pythonReference {
	var r pythonReference
	if err := json.Unmarshal(pythonReferenceJSON, &r); err != nil {
		panic(fmt.Sprintf("decode python_reference.json: %v", err))
	}
	return r
})

func (r pythonReference) engine(dist string) engineFact {
	for _, e := range r.Engines {
		if e.Dist == dist {
			return e
		}
	}
	return engineFact{Dist: dist}
}

// Engines is the inference engines whose Python side can be judged.
func Engines() []string {
	var names []string
	for _, e := range pythonTable().Engines {
		names = append(names, e.Dist)
	}
	return names
}
