package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"radish/cmd/internal/ui"
	"radish/doctor/host"
	"radish/provision/builtin"
	"radish/server/bench"
	"radish/server/model"
	"radish/server/weights"
)

// benchDeviceFlags say what an endpoint runs on: the source of MFU, MBU, the roofline, energy and the token check.
type benchDeviceFlags struct {
	modelPath  string
	gpu        string
	count      int
	peak       bench.Peak
	parameters float64
	bits       float64
	energyGPUs []int
	noEnergy   bool
}

func (f *benchDeviceFlags) add(c *cobra.Command) {
	fs := c.Flags()
	fs.StringVar(&f.modelPath, "model-path", "", "the model's directory, or builtin: its shape for MFU and MBU, its tokenizer to check usage")
	fs.StringVar(&f.gpu, "gpu", "", "name of the server's card, such as A40, for its peaks; auto: the first card here")
	fs.IntVar(&f.count, "gpus", 1, "cards that the model runs on")
	fs.Float64Var(&f.peak.FLOPS, "peak-tflops", 0, "dense 16-bit TFLOP/s of one device, instead of --gpu")
	fs.Float64Var(&f.peak.Bytes, "peak-gb-per-second", 0, "memory bandwidth of one device in GB/s, instead of --gpu")
	fs.Float64Var(&f.parameters, "parameters", 0, "of the model in billions, without --model-path; attention is then left out")
	fs.Float64Var(&f.bits, "weight-bits", 16, "of a weight in the server's memory")
	fs.IntSliceVar(&f.energyGPUs, "energy-gpus", nil, "cards of this machine whose energy is counted (default: all, when --url is this machine)")
	fs.BoolVar(&f.noEnergy, "no-energy", false, "do not read energy counters")
}

// fill adds to b what the flags tell. The returned func ends the reading of energy.
func (f *benchDeviceFlags) fill(term *ui.Terminal, b *bench.Beside, address string) (end func(), err error) {
	shape, err := f.shape(b)
	if err != nil {
		return nil, err
	}
	meter := f.openMeter(term, address)
	end = func() {}
	if meter != nil {
		b.Meter, end = meter.Joules, meter.Close
	}
	b.Device, err = f.device(shape)
	if err != nil {
		end()
	}
	return end, err
}

// shape is what the model costs, and puts its tokenizer into b. It is null when neither a directory nor a size is given.
func (f *benchDeviceFlags) shape(b *bench.Beside) (*bench.Shape, error) {
	if f.modelPath == "" {
		if f.parameters == 0 {
			return nil, nil
		}
		return &bench.Shape{Parameters: f.parameters * 1e9, WeightBytes: f.parameters * f.bits / 8 * 1e9}, nil
	}
	files := builtin.FS()
	if f.modelPath != "builtin" {
		files = os.DirFS(f.modelPath)
	}
	shape, err := f.readShape(files)
	if err != nil {
		return nil, fmt.Errorf("read model of %s: %w", f.modelPath, err)
	}
	b.Count, err = tokenCounter(f.modelPath)
	return shape, err
}

// readShape counts what one forward pass multiplies and reads; the input embedding is looked up, unless it is the
// output head too.
func (f *benchDeviceFlags) readShape(files fs.FS) (*bench.Shape, error) {
	conf, err := weights.ReadConfig(files)
	if err != nil {
		return nil, err
	}
	spec, err := model.New(conf)
	if err != nil {
		return nil, err
	}
	n, table := float64(spec.Parameters()), float64(spec.Vocab)*float64(spec.Hidden)
	if !spec.Tied {
		n -= table
	}
	const kvBytes = 2 // of one number; a key and a value
	h := spec.Heads
	return &bench.Shape{
		Parameters: n, Head: table, WeightBytes: n * f.bits / 8, KVBytes: 2 * kvBytes * float64(spec.Layers*h.KV*h.Dim), Attention: float64(spec.Layers * h.Q * h.Dim),
	}, nil
}

var errNoPeak = errors.New("unknown card")

// device is null when its peaks or the model's shape are not known: then there is no roofline.
func (f *benchDeviceFlags) device(shape *bench.Shape) (*bench.Device, error) {
	p := bench.Peak{Name: "as told", FLOPS: f.peak.FLOPS * 1e12, Bytes: f.peak.Bytes * 1e9, Source: "flags"}
	name := f.gpu
	if name == "auto" {
		gpus, _, err := host.GPUs()
		if err != nil || len(gpus) == 0 {
			return nil, advise(fmt.Errorf("look for a card: %w", errors.Join(errNoPeak, err)), "name it: --gpu A40, or --peak-tflops and --peak-gb-per-second")
		}
		name = gpus[0].Name
	}
	known, ok := bench.FindPeak(name)
	switch {
	case p.FLOPS > 0 && p.Bytes > 0:
	case ok:
		p = known
	case name == "":
		return nil, nil
	default:
		return nil, advise(&usageError{err: fmt.Errorf("read gpu: %w: %q", errNoPeak, name)}, "give --peak-tflops and --peak-gb-per-second")
	}
	if shape == nil {
		return nil, &usageError{err: errors.New("read gpu: its peaks need the model's shape: --model-path or --parameters")}
	}
	return &bench.Device{Peak: p, Count: f.count, Model: *shape}, nil
}

// openMeter opens the energy counters when they are the server's. No counter is no error unless one was asked for; then
// it is said.
func (f *benchDeviceFlags) openMeter(term *ui.Terminal, address string) *host.EnergyMeter {
	if f.noEnergy || (len(f.energyGPUs) == 0 && !isHere(address)) {
		return nil
	}
	m, err := host.OpenEnergyMeter(f.energyGPUs...)
	if err != nil {
		if len(f.energyGPUs) > 0 || !errors.Is(err, host.ErrNoDriver) {
			term.Say("energy is n/a: %s", err)
		}
		return nil
	}
	if len(m.Names) == 0 {
		m.Close()
		return nil
	}
	return m
}

// isHere says whether an address is this machine's loopback.
func isHere(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return strings.EqualFold(u.Hostname(), "localhost") || (ip != nil && ip.IsLoopback())
}
