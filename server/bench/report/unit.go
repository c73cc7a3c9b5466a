package report

// inUnits scales the seconds on the y axis to a unit in which they read well, and names it.
func (p *Panel) inUnits() string {
	top := 0.0
	for _, l := range p.Lines {
		for _, v := range l.Y {
			top = max(top, v)
		}
	}
	scale, unit := unitOf(top)
	for _, l := range p.Lines {
		times(l.Y, scale)
	}
	return unit
}

// xInUnits does so for the x axis.
func (p *Panel) xInUnits() string {
	top := 0.0
	for _, l := range p.Lines {
		for _, v := range l.X {
			top = max(top, v)
		}
	}
	scale, unit := unitOf(top)
	for _, l := range p.Lines {
		times(l.X, scale)
	}
	return unit
}

func unitOf(seconds float64) (scale float64, unit string) {
	if seconds >= 10 {
		return 1, "s"
	}
	return 1e3, "ms"
}

func times(v []float64, by float64) {
	for i := range v {
		v[i] *= by
	}
}

// wide reports whether the x values span so much that only a logarithmic axis shows them all.
func (p *Panel) wide() bool {
	low, high := 0.0, 0.0
	for _, l := range p.Lines {
		for _, v := range l.X {
			if v <= 0 {
				return false
			}
			if low == 0 || v < low {
				low = v
			}
			high = max(high, v)
		}
	}
	return low > 0 && high > 30*low
}
