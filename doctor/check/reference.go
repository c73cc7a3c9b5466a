package check

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/hashicorp/go-version"

	"radish/doctor"
)

// reference.json is what vendors publish, with the day it was read.
//
//go:embed reference.json
var referenceJSON []byte

type reference struct {
	Date       string `json:"date"`
	WantedCUDA string `json:"wanted_cuda"`
	Floors     []struct {
		Major  string           `json:"major"`
		Driver *version.Version `json:"driver"`
	} `json:"floors"`
	Toolkits []struct {
		CUDA   string           `json:"cuda"`
		Driver *version.Version `json:"driver"`
	} `json:"toolkits"`
	Archs []arch `json:"archs"`
	Xids  []struct {
		Numbers []int          `json:"numbers"`
		State   doctor.State   `json:"state"`
		Text    string         `json:"text"`
		Kind    doctor.FixKind `json:"kind"`
	} `json:"xids"`
}

type arch struct {
	SM   int    `json:"sm"`
	CUDA string `json:"cuda"` // first toolkit that knows it
	BF16 bool   `json:"bf16"`
	FP8  bool   `json:"fp8"`
}

// table parses reference.json once. It is embedded, so a mistake in it is a mistake in this binary.
var table = sync.OnceValue(func() reference {
	var r reference
	if err := json.Unmarshal(referenceJSON, &r); err != nil {
		panic(fmt.Sprintf("decode reference.json: %v", err))
	}
	return r
})

// floor is the oldest driver that runs a CUDA major at all.
func (r reference) floor(major string) *version.Version {
	for _, f := range r.Floors {
		if f.Major == major {
			return f.Driver
		}
	}
	return nil
}

// native is the newest toolkit that shipped with this driver or an older one, so that even its PTX loads.
func (r reference) native(driver *version.Version) string {
	newest := ""
	for _, t := range r.Toolkits {
		if driver.GreaterThanOrEqual(t.Driver) {
			newest = t.CUDA
		}
	}
	return newest
}

// own is the driver that shipped with a toolkit.
func (r reference) own(cuda string) *version.Version {
	for _, t := range r.Toolkits {
		if t.CUDA == cuda {
			return t.Driver
		}
	}
	return nil
}

func (r reference) arch(sm int) (arch, bool) {
	for _, a := range r.Archs {
		if a.SM == sm {
			return a, true
		}
	}
	return arch{}, false
}

// xid says what an error number of the driver means. One that the table does not know is a warning.
func (r reference) xid(n int) (state doctor.State, text string, kind doctor.FixKind) {
	for _, x := range r.Xids {
		if slices.Contains(x.Numbers, n) {
			return x.State, x.Text, x.Kind
		}
	}
	return doctor.Warn, "not in the table: look it up in NVIDIA's catalogue", doctor.RecreatePod
}
