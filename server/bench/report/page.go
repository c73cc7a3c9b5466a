package report

import (
	"bytes"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"radish/server/bench"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// page is what the template shows.
type page struct {
	Title    string
	Valid    bool
	Verdict  string
	Reasons  []string
	Facts    []fact
	Head     []string
	Rows     []row
	Notes    []fact
	Pictures []picture
	Meanings []bench.Definition
	Version  string
}

type fact struct{ Name, Value string }

type row struct {
	Name  string
	Cells []string
}

// picture is a chart as data URIs, so that the page needs no other file.
type picture struct {
	Title, Caption string
	Light          template.URL
	Dark           template.Srcset
}

// Write puts report.html and a PNG for each chart into dir, which is made if it is not there. It returns the page's path.
func Write(dir string, res *bench.Result) (string, error) {
	return write(dir, newPage(res), Charts(res))
}

// WriteRadix is Write for the experiment of prefix caching.
func WriteRadix(dir string, res *bench.RadixResult) (string, error) {
	return write(dir, newRadixPage(res), RadixCharts(res))
}

func write(dir string, p page, charts []Chart) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make report directory: %w", err)
	}
	for _, c := range charts {
		onWhite, err := PNG(c, false)
		if err != nil {
			return "", err
		}
		onDark, err := PNG(c, true)
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, c.Name+".png"), onWhite, 0o644); err != nil {
			return "", fmt.Errorf("write plot: %w", err)
		}
		p.Pictures = append(p.Pictures, picture{c.Title, c.Caption, template.URL(dataURI(onWhite)), template.Srcset(dataURI(onDark))})
	}
	var out bytes.Buffer
	if err := pageTemplate.Execute(&out, p); err != nil {
		return "", fmt.Errorf("write page: %w", err)
	}
	name := filepath.Join(dir, "report.html")
	if err := os.WriteFile(name, out.Bytes(), 0o644); err != nil {
		return "", fmt.Errorf("write report: %w", err)
	}
	return name, nil
}

func dataURI(png []byte) string {
	return "data:image/png;base64," + base64.StdEncoding.EncodeToString(png)
}

func newPage(res *bench.Result) page {
	p := page{
		Title: "radish bench: " + res.Endpoint.Model, Valid: res.Valid, Verdict: verdict(res.Valid), Reasons: res.Reasons,
		Facts: facts(res), Meanings: bench.Definitions, Version: res.Version,
	}
	p.Head, p.Rows = table(res)
	for _, l := range ordered(res) {
		for _, why := range l.Reasons {
			p.Notes = append(p.Notes, fact{levelName(l), why})
		}
		for _, what := range slices.Sorted(maps.Keys(l.Failures)) {
			p.Notes = append(p.Notes, fact{levelName(l), fmt.Sprintf("%d x %s", l.Failures[what], what)})
		}
	}
	return p
}

func verdict(valid bool) string {
	if valid {
		return "valid"
	}
	return "not valid"
}

// facts say what was asked of whom.
func facts(res *bench.Result) []fact {
	e, p, w := res.Endpoint, res.Plan, res.Workload
	all := []fact{
		{"measured", res.Started.UTC().Format("2006-01-02 15:04:05 UTC")},
		{"endpoint", e.URL},
		{"model", e.Model},
	}
	if e.Server != "" {
		all = append(all, fact{"server", e.Server})
	}
	length := "ignore_eos"
	if e.Natural {
		length = "or where the model stops"
	}
	load := fmt.Sprintf("%s loop, %d repeats of each level", p.Loop, p.Repeats)
	if p.Requests > 0 {
		load += fmt.Sprintf(", %d requests", p.Requests)
	}
	if p.Duration > 0 {
		load += fmt.Sprintf(", window of %.4g s", p.Duration)
	}
	all = append(all, fact{"load", load}, fact{"prefix cache", p.Cache}, fact{"answers", fmt.Sprintf("%d tokens, %s", e.MaxTokens, length)})
	if w.Workload != nil {
		all = append(all, fact{"workload", fmt.Sprintf("%s, seed %d, %.1f %% of a prompt shared with the one before it", w.Kind, w.Seed, w.Shared*100)},
			fact{"workload hash", w.Hash})
	}
	if d := res.Device; d != nil {
		all = append(all, fact{"device", strings.TrimSpace(fmt.Sprintf("%d x %s", d.Count, d.Name))})
	}
	return append(all, fact{"client", fmt.Sprintf("%s/%s, %d CPUs, %s", res.Client.OS, res.Client.Arch, res.Client.CPUs, res.Client.Go)})
}
