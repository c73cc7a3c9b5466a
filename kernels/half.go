package kernels

import "math"

// BF16ToF32 widens a bfloat16, which is the top half of a float32. Exact.
func BF16ToF32(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// F32ToBF16 rounds to the nearest bfloat16, ties to even. A NaN stays one: its quiet bit is set, so that a NaN whose
// payload lies in the dropped half does not turn into an infinity.
func F32ToBF16(f float32) uint16 {
	b := math.Float32bits(f)
	if f != f {
		return uint16(b>>16) | 0x40
	}
	// Adding just under half a unit, and the rest when the kept part is odd, carries exactly when it should round up;
	// the carry out of the mantissa is the right exponent, up to infinity.
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// RoundBF16 is f as a bfloat16 would hold it.
func RoundBF16(f float32) float32 { return BF16ToF32(F32ToBF16(f)) }

// F16ToF32 widens an IEEE 754 binary16. Exact.
func F16ToF32(h uint16) float32 {
	sign, exp, man := uint32(h>>15)<<31, uint32(h>>10&31), uint32(h&0x3ff)
	switch exp {
	case 31: // infinity or NaN, made quiet
		if man != 0 {
			man |= 0x200
		}
		return math.Float32frombits(sign | 0xff<<23 | man<<13)
	case 0: // zero or subnormal: man * 2^-24, which float32 holds exactly
		return math.Float32frombits(sign | math.Float32bits(float32(man)*0x1p-24))
	}
	return math.Float32frombits(sign | (exp+112)<<23 | man<<13)
}

// F32ToF16 rounds to the nearest binary16, ties to even; what is too large becomes infinite.
func F32ToF16(f float32) uint16 {
	b := math.Float32bits(f)
	sign, abs := uint16(b>>16&0x8000), b&0x7fffffff
	switch {
	case f != f:
		return sign | 0x7e00 | uint16(abs>>13&0x3ff)
	case abs >= 0x477ff000: // 65520, half way to the value after the largest
		return sign | 0x7c00
	case abs < 0x38800000: // below 2^-14: adding 0.5 leaves the rounded multiple of 2^-24 in the low bits
		return sign | uint16(math.Float32bits(math.Float32frombits(abs)+0.5)-math.Float32bits(0.5))
	}
	return sign | uint16((abs-0x38000000+0xfff+abs>>13&1)>>13)
}
