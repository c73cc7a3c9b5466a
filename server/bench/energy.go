package bench

import "sort"

// power are readings of an energy counter: joules at seconds since the load's start.
type power struct{ times, joules []float64 }

func (p *power) read(meter Meter, at float64) {
	if j, err := meter(); err == nil {
		p.times, p.joules = append(p.times, at), append(p.joules, j)
	}
}

// series is watts between neighbouring readings.
func (p *power) series() []Series {
	if len(p.times) < 2 {
		return nil
	}
	s := Series{Name: "power", Unit: "watts", Source: "energy counter"}
	for i := 1; i < len(p.times); i++ {
		if dt := p.times[i] - p.times[i-1]; dt > 0 {
			s.Times = append(s.Times, p.times[i])
			s.Values = append(s.Values, (p.joules[i]-p.joules[i-1])/dt)
		}
	}
	return []Series{s}
}

// at interpolates the counter.
func (p *power) at(t float64) float64 {
	i := sort.SearchFloat64s(p.times, t)
	switch {
	case i == 0:
		return p.joules[0]
	case i == len(p.times):
		return p.joules[i-1]
	}
	part := (t - p.times[i-1]) / (p.times[i] - p.times[i-1])
	return p.joules[i-1] + part*(p.joules[i]-p.joules[i-1])
}

// energy is what was used inside the window for tokens output tokens; nil without a counter that covers it.
func (w *watch) energy(win window, tokens float64, idle *float64) *Energy {
	p := &w.power
	if len(p.times) < 2 {
		return nil
	}
	e := &Energy{Joules: p.at(win.closed) - p.at(win.opened), IdleWatts: idle, seconds: win.closed - win.opened, tokens: tokens}
	return e.ratios()
}

func (e *Energy) ratios() *Energy {
	e.Watts = e.Joules / e.seconds
	if e.tokens > 0 && e.Joules > 0 {
		perJoule, perToken := e.tokens/e.Joules, e.Joules/e.tokens
		e.TokensJoule, e.JoulesToken = &perJoule, &perToken
		if e.IdleWatts != nil {
			above := (e.Joules - *e.IdleWatts*e.seconds) / e.tokens
			e.AboveIdle = &above
		}
	}
	return e
}

// merge adds the windows of two repeats.
func (e *Energy) merge(o *Energy) *Energy {
	if e == nil || o == nil {
		return o
	}
	return (&Energy{Joules: e.Joules + o.Joules, IdleWatts: e.IdleWatts, seconds: e.seconds + o.seconds, tokens: e.tokens + o.tokens}).ratios()
}
