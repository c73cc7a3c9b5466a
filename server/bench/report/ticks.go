package report

import (
	"math"
	"strconv"

	"gonum.org/v1/plot"
)

// ticker marks round values: 1, 2 or 5 times a power of ten, four to nine of them.
type ticker struct{}

// Ticks implements plot.Ticker.
func (ticker) Ticks(low, high float64) []plot.Tick {
	step := roundStep((high - low) / 8)
	var ticks []plot.Tick
	for i := math.Ceil(low / step); i*step <= high*(1+1e-9); i++ {
		ticks = append(ticks, plot.Tick{Value: i * step, Label: label(i*step, step)})
	}
	return ticks
}

func roundStep(rough float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(rough)))
	for _, m := range []float64{1, 2, 5} {
		if m*power >= rough {
			return m * power
		}
	}
	return 10 * power
}

// label writes v with as many decimals as the step between labels needs.
func label(v, step float64) string {
	decimals := max(0, int(math.Ceil(-math.Log10(step)-1e-9)))
	return strconv.FormatFloat(v, 'f', decimals, 64)
}

// logTicker marks 1, 2 and 5 times the powers of ten; over more than three of these only the powers have labels.
type logTicker struct{}

// Ticks implements plot.Ticker.
func (logTicker) Ticks(low, high float64) []plot.Tick {
	var ticks []plot.Tick
	few := high/low < 1e3
	for e := math.Floor(math.Log10(low)); e <= math.Ceil(math.Log10(high)); e++ {
		power := math.Pow(10, e)
		for _, m := range []float64{1, 2, 5} {
			if v := m * power; v >= low && v <= high {
				t := plot.Tick{Value: v}
				if few || m == 1 {
					t.Label = label(v, power)
				}
				ticks = append(ticks, t)
			}
		}
	}
	return ticks
}

// short writes v with three digits, and whole from 100 on.
func short(v float64) string {
	if v >= 100 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}
