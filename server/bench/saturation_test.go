package bench

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// synthetic is V u / (K + u) with relative noise, one point a load.
func synthetic(v, k, noise float64, rng *rand.Rand, loads ...int) []Point {
	var points []Point
	for _, u := range loads {
		x := v * float64(u) / (k + float64(u)) * (1 + noise*rng.NormFloat64())
		points = append(points, Point{u, float64(u), x})
	}
	return points
}

func TestFitWithoutNoise(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v, k := rapid.Float64Range(1, 1e6).Draw(t, "v"), rapid.Float64Range(2, 150).Draw(t, "k")
		c, ok := fitCurve(synthetic(v, k, 0, rand.New(rand.NewPCG(1, 1)), 1, 5, 20, 50, 100, 200))
		if !ok || math.Abs(c.v/v-1) > 1e-6 || math.Abs(c.k/k-1) > 1e-6 {
			t.Fatalf("V %v K %v became %+v %v", v, k, c, ok)
		}
	})
}

// TestIntervalsHoldTheTruth draws many noisy runs. A 95 % interval that holds V and K in fewer than 90 % of them is too
// narrow.
func TestIntervalsHoldTheTruth(t *testing.T) {
	const v, k, runs = 3000.0, 40.0, 100
	for _, loads := range [][]int{{5, 10, 20, 50, 100}, {1, 2, 5, 10, 20, 50, 100, 200}} {
		heldV, heldK, given := 0, 0, 0
		for seed := range uint64(runs) {
			s := Fit(synthetic(v, k, 0.02, rand.New(rand.NewPCG(seed, 2)), loads...), seed)
			if !s.Identifiable {
				continue
			}
			given++
			if s.V.Low <= v && v <= s.V.High {
				heldV++
			}
			if s.K.Low <= k && k <= s.K.High {
				heldK++
			}
		}
		if given < runs*3/4 || heldV < given*9/10 || heldK < given*9/10 {
			t.Errorf("%v: of %d fits, %d given, V held in %d, K in %d", loads, runs, given, heldV, heldK)
		}
	}
}

func TestBandEndsWithTheLoad(t *testing.T) {
	s := Fit(synthetic(3000, 40, 0.01, rand.New(rand.NewPCG(3, 3)), 5, 10, 20, 50, 100), 1)
	if !s.Identifiable {
		t.Fatal(s.Why)
	}
	if last := s.Band[len(s.Band)-1]; last.Load != 100 {
		t.Errorf("the band goes to %v, the load to 100", last.Load)
	}
	for _, b := range s.Band {
		if truth := 3000 * b.Load / (40 + b.Load); truth < b.Low || truth > b.High || b.Value < b.Low || b.Value > b.High {
			t.Errorf("at %v: %v is outside %v..%v", b.Load, truth, b.Low, b.High)
		}
	}
}

// TestNotIdentifiable begins with the three points of the source document, whose R2 was 0.999.
func TestNotIdentifiable(t *testing.T) {
	none := rand.New(rand.NewPCG(4, 4))
	line := synthetic(1, 0, 0, none, 1, 2, 4, 8, 16, 32)
	for i := range line {
		line[i].Output = 30 * line[i].Load
	}
	flat := synthetic(100, 0, 0, none, 1, 2, 4, 8, 16, 32)
	for _, c := range []struct {
		points []Point
		why    string
	}{
		{[]Point{{10, 10, 224.6}, {50, 50, 894.6}, {100, 100, 1637.6}}, "3 levels"},
		{append(synthetic(3000, 40, 0, none, 10, 20, 50, 100), synthetic(3000, 40, 0, none, 100, 100)...), "4 levels"},
		{synthetic(8351, 411, 0, none, 5, 10, 20, 50, 100), "no level near K"},
		{synthetic(3000, 0.2, 0, none, 5, 10, 20, 50, 100), "no level near K"},
		{line, "converge"},
		{flat, "converge"},
		{synthetic(3000, 90, 0.2, rand.New(rand.NewPCG(5, 5)), 5, 10, 20, 50, 100), "not identifiable"},
		{[]Point{{1, 1, 10}, {2, 2, 0}}, "without output"},
	} {
		s := Fit(c.points, 1)
		if s.Identifiable || s.V != nil || s.Band != nil || !strings.Contains(s.Why, c.why) {
			t.Errorf("want %q, got %v %q", c.why, s.Identifiable, s.Why)
		}
	}
}

// TestStudent compares with published tables.
func TestStudent(t *testing.T) {
	for free, want := range map[int]float64{1: 12.706, 2: 4.303, 10: 2.228, 30: 2.042, 40: 2.021, 60: 2.000, 120: 1.980} {
		if got := student(free); math.Abs(got-want) > 0.002 {
			t.Errorf("t(%d) = %v, want %v", free, got, want)
		}
	}
	iv, ok := newInterval([]float64{9, 10, 11})
	if !ok || math.Abs(iv.High-(10+4.303/math.Sqrt(3))) > 1e-3 || iv.Mean != 10 {
		t.Errorf("%+v", iv)
	}
	if _, ok := newInterval([]float64{1}); ok {
		t.Error("one value has an interval")
	}
}

func TestDrift(t *testing.T) {
	steady := []float64{100, 103, 98, 101, 97, 102, 99, 100, 104, 98}
	falling := []float64{100, 97, 93, 90, 86, 80, 77, 73, 70, 66}
	if d := drift(steady, 100); d == nil || *d != 0 {
		t.Errorf("steady: %v", d)
	}
	if d := drift(falling, 100); d == nil || math.Abs(*d-(-0.24)) > 0.01 {
		t.Errorf("falling: %v", d)
	}
	if drift(falling, 5) != nil {
		t.Error("five answers drift")
	}
}
