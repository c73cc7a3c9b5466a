package kernels

import (
	"math"
	"math/rand/v2"
	"sort"
	"testing"
)

// half is the value of a small float by the formula of IEEE 754, which shares nothing with the shifts under test.
func half(h uint16, expBits, manBits int) float64 {
	man := int(h) & (1<<manBits - 1)
	exp := int(h) >> manBits & (1<<expBits - 1)
	bias := 1<<(expBits-1) - 1
	v := math.Ldexp(float64(man)+float64(int(1)<<manBits), exp-bias-manBits)
	switch {
	case exp == 1<<expBits-1 && man != 0:
		v = math.NaN()
	case exp == 1<<expBits-1:
		v = math.Inf(1)
	case exp == 0:
		v = math.Ldexp(float64(man), 1-bias-manBits)
	}
	if h>>15 == 1 {
		return -v
	}
	return v
}

type format struct {
	name             string
	expBits, manBits int
	widen            func(uint16) float32
	narrow           func(float32) uint16
}

var formats = []format{
	{"bf16", 8, 7, BF16ToF32, F32ToBF16},
	{"f16", 5, 10, F16ToF32, F32ToF16},
}

func TestHalfWidensEveryValue(t *testing.T) {
	for _, f := range formats {
		for i := range 1 << 16 {
			h := uint16(i)
			want, got := half(h, f.expBits, f.manBits), f.widen(h)
			if math.IsNaN(want) != (got != got) {
				t.Fatalf("%s %#04x: got %v, want %v", f.name, h, got, want)
			}
			if math.IsNaN(want) {
				if back := f.narrow(got); !math.IsNaN(half(back, f.expBits, f.manBits)) {
					t.Fatalf("%s %#04x: a NaN came back as %#04x", f.name, h, back)
				}
				continue
			}
			if float64(got) != want || math.Signbit(float64(got)) != math.Signbit(want) {
				t.Fatalf("%s %#04x: got %v, want %v", f.name, h, got, want)
			}
			if back := f.narrow(got); back != h {
				t.Fatalf("%s %#04x: came back as %#04x", f.name, h, back)
			}
		}
	}
}

// TestHalfRoundsToNearestEven judges every rounding by a search in the sorted list of all finite values, at the
// midpoints, beside them, and at random.
func TestHalfRoundsToNearestEven(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, f := range formats {
		var values []float64 // non-negative ones, by bit pattern, and one past the end
		for h := uint16(0); ; h++ {
			v := half(h, f.expBits, f.manBits)
			if math.IsInf(v, 1) {
				v = 2*values[h-1] - values[h-2]
				values = append(values, v)
				break
			}
			values = append(values, v)
		}
		nearest := func(x float64) uint16 {
			i := sort.SearchFloat64s(values, x)
			if i == len(values) {
				return uint16(i - 1)
			}
			if i == 0 || values[i] == x {
				return uint16(i)
			}
			up, down := values[i]-x, x-values[i-1]
			if up < down || up == down && i%2 == 0 {
				return uint16(i)
			}
			return uint16(i - 1)
		}
		check := func(x float32) {
			x = float32(math.Abs(float64(x)))
			if x != x {
				return
			}
			want := nearest(float64(x))
			if got := f.narrow(x); got != want {
				t.Fatalf("%s: %v rounds to %#04x, want %#04x", f.name, x, got, want)
			}
			if got := f.narrow(-x); got != want|0x8000 {
				t.Fatalf("%s: %v rounds to %#04x, want %#04x", f.name, -x, got, want|0x8000)
			}
		}
		for i := range len(values) - 1 {
			mid := float32((values[i] + values[i+1]) / 2)
			check(mid)
			check(math.Nextafter32(mid, 0))
			check(math.Nextafter32(mid, math.MaxFloat32))
		}
		for range 200_000 {
			check(math.Float32frombits(rng.Uint32()))
		}
		check(math.MaxFloat32)
		check(float32(math.Inf(1)))
	}
}

func TestHalfKeepsNaN(t *testing.T) {
	for _, b := range []uint32{0x7f800001, 0x7fc00000, 0x7fffffff, 0xff800001, 0xffffffff} {
		f := math.Float32frombits(b)
		for _, m := range formats {
			if got := m.widen(m.narrow(f)); got == got {
				t.Errorf("%s: NaN %#x became %v", m.name, b, got)
			}
		}
	}
	if RoundBF16(1.00390625) != 1 || RoundBF16(1.01171875) != 1.015625 {
		t.Error("RoundBF16 does not round ties to even")
	}
}
