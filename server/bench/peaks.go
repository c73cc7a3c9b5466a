package bench

import (
	"slices"
	"strings"
)

// peaks are dense 16-bit (bf16, or fp16 where the card has no bf16) tensor speeds with 32-bit accumulation and memory
// bandwidths, from the makers' data sheets. The first row all of whose words are in a card's name is the card's.
var peaks = []struct {
	words []string
	Peak
}{
	{[]string{"b200"}, Peak{Name: "B200", FLOPS: 2250e12, Bytes: 8.0e12}},
	{[]string{"gh200"}, Peak{Name: "GH200", FLOPS: 989.4e12, Bytes: 4.0e12}},
	{[]string{"h200"}, Peak{Name: "H200", FLOPS: 989.4e12, Bytes: 4.8e12}},
	{[]string{"h20"}, Peak{Name: "H20", FLOPS: 148e12, Bytes: 4.0e12}},
	{[]string{"h100", "pcie"}, Peak{Name: "H100 PCIe", FLOPS: 756e12, Bytes: 2.0e12}},
	{[]string{"h100", "nvl"}, Peak{Name: "H100 NVL", FLOPS: 835.5e12, Bytes: 3.9e12}},
	{[]string{"h100"}, Peak{Name: "H100 SXM", FLOPS: 989.4e12, Bytes: 3.35e12}},
	{[]string{"a100", "80gb", "pcie"}, Peak{Name: "A100 80GB PCIe", FLOPS: 312e12, Bytes: 1.935e12}},
	{[]string{"a100", "80gb"}, Peak{Name: "A100 80GB SXM", FLOPS: 312e12, Bytes: 2.039e12}},
	{[]string{"a100"}, Peak{Name: "A100 40GB", FLOPS: 312e12, Bytes: 1.555e12}},
	{[]string{"a40"}, Peak{Name: "A40", FLOPS: 149.7e12, Bytes: 696e9}},
	{[]string{"a30"}, Peak{Name: "A30", FLOPS: 165e12, Bytes: 933e9}},
	{[]string{"a10g"}, Peak{Name: "A10G", FLOPS: 70e12, Bytes: 600e9}},
	{[]string{"a10"}, Peak{Name: "A10", FLOPS: 125e12, Bytes: 600e9}},
	{[]string{"a6000"}, Peak{Name: "RTX A6000", FLOPS: 154.8e12, Bytes: 768e9}},
	{[]string{"l40s"}, Peak{Name: "L40S", FLOPS: 362e12, Bytes: 864e9}},
	{[]string{"l40"}, Peak{Name: "L40", FLOPS: 181e12, Bytes: 864e9}},
	{[]string{"l4"}, Peak{Name: "L4", FLOPS: 121e12, Bytes: 300e9}},
	{[]string{"5090"}, Peak{Name: "RTX 5090", FLOPS: 209.5e12, Bytes: 1.792e12}},
	{[]string{"4090"}, Peak{Name: "RTX 4090", FLOPS: 165.2e12, Bytes: 1.008e12}},
	{[]string{"3090"}, Peak{Name: "RTX 3090", FLOPS: 71e12, Bytes: 936e9}},
	{[]string{"v100"}, Peak{Name: "V100", FLOPS: 125e12, Bytes: 900e9}},
	{[]string{"t4"}, Peak{Name: "T4", FLOPS: 65e12, Bytes: 320e9}},
}

// peaksDate is when the table was written.
const peaksDate = "2026-11-27"

// FindPeak looks a card up by the name that NVML gives it.
func FindPeak(name string) (Peak, bool) {
	have := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return r == ' ' || r == '-' || r == '_' || r == '/' })
	for _, row := range peaks {
		if !slices.ContainsFunc(row.words, func(w string) bool { return !slices.Contains(have, w) }) {
			p := row.Peak
			p.Source, p.Date = "maker's data sheet", peaksDate
			return p, true
		}
	}
	return Peak{}, false
}
