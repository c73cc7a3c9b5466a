package bench

import "math"

// curve is X(u) = v u / (k + u).
type curve struct{ v, k float64 }

func (c curve) at(u float64) float64 { return c.v * u / (c.k + u) }

func (c curve) r2(points []Point) float64 {
	mean, rest, all := 0.0, 0.0, 0.0
	for _, p := range points {
		mean += p.Output / float64(len(points))
	}
	for _, p := range points {
		rest += (p.Output - c.at(p.Load)) * (p.Output - c.at(p.Load))
		all += (p.Output - mean) * (p.Output - mean)
	}
	return 1 - rest/all
}

// cost is the sum of squared relative errors: throughput's noise grows with it.
func (c curve) cost(points []Point) float64 {
	sum := 0.0
	for _, p := range points {
		e := c.at(p.Load)/p.Output - 1
		sum += e * e
	}
	return sum
}

// fitCurve is Levenberg-Marquardt over the logarithms of v and k, which keeps both positive. It gives up where k runs
// away, as it does on a straight line (k without end) and on a flat one (k to nothing).
func fitCurve(points []Point) (curve, bool) {
	c := start(points)
	top := highest(points)
	damping, cost := 1e-3, c.cost(points)
	for range 200 {
		step, ok := c.step(points, damping)
		if !ok {
			return c, false
		}
		next := curve{c.v * math.Exp(step[0]), c.k * math.Exp(step[1])}
		nextCost := next.cost(points)
		if !(nextCost < cost) {
			damping *= 4
			if damping > 1e12 {
				break
			}
			continue
		}
		small := cost-nextCost <= 1e-14*cost
		c, cost, damping = next, nextCost, damping/4
		if small {
			break
		}
	}
	return c, c.k > 1e-3 && c.k < 100*top && !math.IsNaN(c.v)
}

// start guesses from the lowest and the highest load, through which it draws the curve.
func start(points []Point) curve {
	low, high := points[0], points[0]
	for _, p := range points {
		if p.Load < low.Load {
			low = p
		}
		if p.Load > high.Load {
			high = p
		}
	}
	// 1/X is a straight line over 1/u: 1/X = 1/v + (k/v)/u.
	slope := (1/low.Output - 1/high.Output) / (1/low.Load - 1/high.Load)
	inverse := 1/high.Output - slope/high.Load
	if !(slope > 0 && inverse > 0) {
		return curve{2 * high.Output, high.Load}
	}
	return curve{1 / inverse, slope / inverse}
}

// step solves (JtJ + damping diag(JtJ)) s = -Jt r, where r are relative errors.
func (c curve) step(points []Point, damping float64) (s [2]float64, ok bool) {
	var a [2][2]float64
	var b [2]float64
	for _, p := range points {
		f := c.at(p.Load) / p.Output
		j := [2]float64{f, -f * c.k / (c.k + p.Load)}
		for i := range j {
			b[i] -= j[i] * (f - 1)
			for k := range j {
				a[i][k] += j[i] * j[k]
			}
		}
	}
	a[0][0] *= 1 + damping
	a[1][1] *= 1 + damping
	det := a[0][0]*a[1][1] - a[0][1]*a[1][0]
	if det == 0 || math.IsNaN(det) {
		return s, false
	}
	s[0] = (b[0]*a[1][1] - a[0][1]*b[1]) / det
	s[1] = (a[0][0]*b[1] - a[1][0]*b[0]) / det
	for i := range s { // a long step in logarithms is a leap
		s[i] = max(-2, min(2, s[i]))
	}
	return s, true
}
