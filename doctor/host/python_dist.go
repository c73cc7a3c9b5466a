package host

import (
	"encoding/csv"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"radish/doctor/pep440"
)

// Dist is one installed distribution.
type Dist struct {
	Name         string // normalised as the index does it: "flashinfer-python"
	Version      string
	Info         string   // its .dist-info or .egg-info
	RequiresDist []string // read for the distributions that matter to an engine only
	RequiresPy   string
	Tags         []string // of its wheel
	Broken       []string // files that its RECORD lists and that are missing or of another size; the first few
	BrokenCount  int
}

// Site is the directory that the distribution is installed in.
func (d Dist) Site() string { return path.Dir(d.Info) }

// keyDists are read in full: what an engine loads, and what must fit what.
var keyDists = strings.Fields(`sglang vllm torch torchvision torchaudio triton flashinfer-python flashinfer-cubin flashinfer-jit-cache
	flashinfer sgl-kernel sglang-kernel transformers numpy xgrammar`)

// infoName is the form of the directory beside a distribution: name-version.dist-info, name-version-py3.x.egg-info.
var infoName = regexp.MustCompile(`^([A-Za-z0-9._-]+?)-(\d[^-]*)(?:-py\d[\d.]*)?\.(?:dist|egg)-info$`)

// readDists lists what is installed, from the names alone, and what pip left behind with a tilde in front.
func (d disk) readDists(dirs []string) (dists []Dist, leftovers []string) {
	for _, dir := range dirs {
		for _, name := range d.names(dir) {
			if strings.HasPrefix(name, "~") {
				leftovers = append(leftovers, path.Join(dir, name))
				continue
			}
			if m := infoName.FindStringSubmatch(name); m != nil {
				dists = append(dists, Dist{Name: pep440.Normal(m[1]), Version: m[2], Info: path.Join(dir, name)})
			}
		}
	}
	return dists, leftovers
}

func (d disk) hasDist(dirs []string, name string) bool {
	dists, _ := d.readDists(dirs)
	return slices.ContainsFunc(dists, func(x Dist) bool { return x.Name == name })
}

// readKeyDists fills in the distributions that matter.
func (d disk) readKeyDists(dists []Dist) {
	for i := range dists {
		x := &dists[i]
		if !slices.Contains(keyDists, x.Name) {
			continue
		}
		meta := d.text(path.Join(x.Info, "METADATA"), 1<<20)
		if meta == "" {
			meta = d.text(path.Join(x.Info, "PKG-INFO"), 1<<20)
		}
		x.readMetadata(meta)
		for line := range strings.Lines(d.text(path.Join(x.Info, "WHEEL"), 1<<14)) {
			if tag, ok := strings.CutPrefix(line, "Tag:"); ok {
				x.Tags = append(x.Tags, strings.TrimSpace(tag))
			}
		}
		d.checkRecord(x)
	}
}

// readMetadata reads the headers, which end at the first empty line; the description after it may say anything.
func (x *Dist) readMetadata(text string) {
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			return
		}
		key, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		value = strings.TrimSpace(value)
		switch strings.ToLower(key) {
		case "version":
			x.Version = value
		case "requires-python":
			x.RequiresPy = value
		case "requires-dist":
			x.RequiresDist = append(x.RequiresDist, value)
		}
	}
}

// maxBroken is how many broken files are named; the others are counted.
const maxBroken = 3

// checkRecord compares the files with the RECORD that the installer wrote (PEP 376). Byte code may go and come.
func (d disk) checkRecord(x *Dist) {
	r := csv.NewReader(strings.NewReader(d.text(path.Join(x.Info, "RECORD"), 16<<20)))
	site := d.onHost(x.Site())
	r.FieldsPerRecord, r.ReuseRecord, r.LazyQuotes = -1, true, true
	for d.ctx.Err() == nil {
		row, err := r.Read()
		if err != nil {
			return
		}
		if len(row) < 3 || strings.HasSuffix(row[0], ".pyc") || strings.HasPrefix(row[0], "..") || path.IsAbs(row[0]) {
			continue
		}
		size, err := strconv.ParseInt(row[2], 10, 64)
		if err != nil {
			continue // RECORD does not know its own size
		}
		info, err := os.Stat(filepath.Join(site, row[0]))
		switch {
		case err != nil:
			x.broken(row[0] + " is missing")
		case info.Size() != size:
			x.broken(fmt.Sprintf("%s has %d bytes of %d", row[0], info.Size(), size))
		}
	}
}

func (x *Dist) broken(what string) {
	if x.BrokenCount++; x.BrokenCount <= maxBroken {
		x.Broken = append(x.Broken, what)
	}
}
