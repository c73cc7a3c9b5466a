package bench

import "fmt"

// Device is what the model runs on and the model's shape, as the caller tells. It makes MFU, MBU and the roofline.
type Device struct {
	Peak
	Count int   `json:"count"`
	Model Shape `json:"model"`
}

// Peak is a card's dense 16-bit speed as its maker states it.
type Peak struct {
	Name   string  `json:"name"`
	FLOPS  float64 `json:"peak_flops"`            // per second, of one card
	Bytes  float64 `json:"peak_bytes_per_second"` // of one card
	Source string  `json:"source,omitempty"`
	Date   string  `json:"date,omitempty"`
}

// Shape is what a forward pass costs.
type Shape struct {
	Parameters  float64 `json:"parameters"`      // active ones, without the input embedding
	Head        float64 `json:"head_parameters"` // of those, the output head's: prompt tokens need none; 0: not known
	WeightBytes float64 `json:"weight_bytes"`    // read in a step; without the input embedding
	KVBytes     float64 `json:"kv_bytes_per_token"`
	// Attention is layers x query heads x head size.
	Attention float64 `json:"attention_width"`
}

// Roofline sets a window's figures against the device.
type Roofline struct {
	MFU        *float64 `json:"mfu"`
	MBU        *float64 `json:"mbu"`                                 // null: no TPOT
	FLOPS      float64  `json:"flops"`                               // done, per second
	Bytes      *float64 `json:"bytes_per_second"`                    // moved
	MaxUser    float64  `json:"max_tokens_per_second_per_sequence"`  // what the device allows
	BestUser   float64  `json:"best_tokens_per_second_per_sequence"` // of the median sequence, without its first token
	MaxTotal   float64  `json:"max_tokens_per_second"`
	Impossible []string `json:"impossible,omitempty"`
}

// slack is how far over the roofline a figure may be before it is called impossible: peaks are nominal.
const slack = 1.05

// contexts are the mean number of positions that a token attends to.
type contexts struct{ prompt, output float64 }

// contextsOf are those of answers of the given mean lengths, when a share of the prompt is not computed: what is
// computed stands at the prompt's end.
func contextsOf(prompt, output, cached float64) contexts {
	return contexts{prompt: prompt * (1 + cached) / 2, output: prompt + output/2}
}

// output and prompt are what one token costs, in FLOP.
func (s *Shape) output(context float64) float64 { return 2*s.Parameters + 4*s.Attention*context }
func (s *Shape) prompt(context float64) float64 { return s.output(context) - 2*s.Head }

// roofline judges m. A figure that the device cannot reach says so in Impossible.
func (d *Device) roofline(m *Measures, c contexts) *Roofline {
	peakFLOPS, peakBytes := d.FLOPS*float64(d.Count), d.Bytes*float64(d.Count)
	computed := m.Rates.Input
	if m.Rates.Cached != nil {
		computed *= 1 - *m.Rates.Cached
	}
	r := &Roofline{
		FLOPS:   m.Rates.Output*d.Model.output(c.output) + computed*d.Model.prompt(c.prompt),
		MaxUser: peakBytes / d.Model.WeightBytes, MaxTotal: peakFLOPS / d.Model.output(c.output),
	}
	mfu := r.FLOPS / peakFLOPS
	r.MFU = &mfu
	if mfu > slack {
		r.Impossible = append(r.Impossible, fmt.Sprintf("%.3g FLOP/s done, %.3g possible", r.FLOPS, peakFLOPS))
	}
	r.sequence(m)
	if m.Latency.TPOT != nil && m.Latency.TPOT.Mean > 0 {
		r.moved(d, m, c.output, peakBytes)
	}
	if most := r.MaxUser * float64(max(m.Concurrency.Peak, 1)); m.Rates.Output > slack*most {
		r.Impossible = append(r.Impossible, fmt.Sprintf("%.1f output tok/s with %d requests in flight, %.1f possible",
			m.Rates.Output, m.Concurrency.Peak, most))
	}
	return r
}

// sequence judges the speed of one sequence: 1 / the median TPOT, or whole answers where nothing was streamed.
func (r *Roofline) sequence(m *Measures) {
	r.BestUser = m.Rates.PerUser
	if t := m.Latency.TPOT; t != nil && t.P50 > 0 {
		r.BestUser = max(r.BestUser, 1/t.P50)
	}
	if r.BestUser > slack*r.MaxUser {
		r.Impossible = append(r.Impossible, fmt.Sprintf("%.1f tok/s in one sequence, %.1f possible (peak bytes/s / weight bytes)",
			r.BestUser, r.MaxUser))
	}
}

func (r *Roofline) moved(d *Device, m *Measures, context, peak float64) {
	moved := d.Model.WeightBytes/m.Latency.TPOT.Mean + m.Rates.Output*context*d.Model.KVBytes
	mbu := moved / peak
	r.Bytes, r.MBU = &moved, &mbu
	if mbu > slack {
		r.Impossible = append(r.Impossible, fmt.Sprintf("%.3g bytes/s moved, %.3g possible", moved, peak))
	}
}

func (d *Device) check() error {
	if d == nil {
		return nil
	}
	for _, x := range []struct {
		what string
		v    float64
	}{{"peak FLOP/s", d.FLOPS}, {"peak bytes/s", d.Bytes}, {"parameters", d.Model.Parameters}, {"weight bytes", d.Model.WeightBytes},
		{"count", float64(d.Count)}} {
		if !(x.v > 0 && x.v < 1e21) {
			return fmt.Errorf("%w: a device's %s is %v", ErrOptions, x.what, x.v)
		}
	}
	if m := d.Model; !(m.KVBytes >= 0 && m.Attention >= 0 && m.Head >= 0 && m.Head <= m.Parameters) {
		return fmt.Errorf("%w: a KV size, attention width or output head is negative or too large", ErrOptions)
	}
	return nil
}
