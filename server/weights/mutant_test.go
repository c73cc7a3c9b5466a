package weights

import (
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
)

// mutant is a directory that must be refused, with what the error has to name.
type mutant struct {
	name  string
	files map[string]string
	names []string
}

// single is a mutant of model.safetensors.
func single(name string, raw []byte, names ...string) mutant {
	return mutant{name, map[string]string{singleName: string(raw)}, append(names, singleName)}
}

// entry is a header with one tensor, "t.x".
func entry(dtype, shape, offsets string) string {
	return fmt.Sprintf(`{"t.x":{"dtype":%s,"shape":%s,"data_offsets":%s}}`, dtype, shape, offsets)
}

// lengths lie about the header or cut the file.
func lengths() (all []mutant) {
	good := build(twoTensors, counting(14))
	for _, n := range []int{0, 1, 7, 8, 9, 20, 100, len(good) - 14, len(good) - 1} {
		all = append(all, single(fmt.Sprintf("cut at %d", n), good[:n]))
	}
	for _, n := range []uint64{0, 1, 2, uint64(len(twoTensors)) - 4, uint64(len(twoTensors)) + 1, uint64(len(twoTensors)) + 14, uint64(len(good)),
		100_000_000, 100_000_001, 1 << 32, 1 << 62, 1 << 63, math.MaxUint64 - 8, math.MaxUint64} {
		b := append([]byte(nil), good...)
		binary.LittleEndian.PutUint64(b, n)
		all = append(all, single(fmt.Sprintf("header of %d", n), b))
	}
	return append(all,
		single("data too long", append(append([]byte(nil), good...), 0)),
		single("zeros", make([]byte, 4096)),
		single("ones", []byte(strings.Repeat("\xff", 4096))))
}

// documents are headers that are not the right kind of JSON.
func documents() (all []mutant) {
	x := entry(`"U8"`, `[1]`, `[0,1]`)
	for name, h := range map[string]string{
		"blank first":             " " + x,
		"array":                   `[]`,
		"string":                  `"{}"`,
		"no end":                  x[:len(x)-1],
		"two documents":           x + x,
		"garbage after":           x + "x",
		"zero bytes after":        x + "\x00\x00",
		"comment":                 `{/**/}`,
		"trailing comma":          x[:len(x)-1] + ",}",
		"not UTF-8":               strings.Replace(x, "t.x", "t\xffx", 1),
		"half a surrogate":        strings.Replace(x, "t.x", `t\ud800x`, 1),
		"control letter":          strings.Replace(x, "t.x", "t\x01x", 1),
		"bad escape":              strings.Replace(x, "t.x", `t\x`, 1),
		"duplicate tensor":        x[:len(x)-1] + "," + x[1:],
		"duplicate by escape":     x[:len(x)-1] + "," + strings.Replace(x[1:], "t.x", `t\u002ex`, 1),
		"duplicate metadata":      `{"__metadata__":{},"__metadata__":{}}`,
		"duplicate metadata key":  `{"__metadata__":{"a":"b","a":"c"}}`,
		"metadata is a list":      `{"__metadata__":[]}`,
		"metadata holds a number": `{"__metadata__":{"a":1}}`,
		"metadata is deep":        `{"__metadata__":` + strings.Repeat(`{"a":`, 200000),
		"deep arrays":             `{"t.x":{"shape":` + strings.Repeat("[", 500000),
		"deep objects":            strings.Repeat(`{"a":`, 300000),
		"name without end":        `{"` + strings.Repeat("a", 3<<20),
		"long name":               `{"` + strings.Repeat("a", 2000) + `":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`,
		"number without end":      `{"t.x":{"shape":[` + strings.Repeat("1", 3<<20),
		"blanks without end":      `{` + strings.Repeat(" ", 3<<20),
		"long rank":               `{"t.x":{"shape":[` + strings.Repeat("1,", 1<<20),
		"many empty tensors cut":  `{` + strings.Repeat(`"q":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},`, 2),
	} {
		all = append(all, single("document: "+name, build(h, counting(1))))
	}
	return all
}

// entries are wrong descriptions of one tensor, all of which must be named.
func entries() (all []mutant) {
	for name, h := range map[string]string{
		"tensor is null":          `{"t.x":null}`,
		"tensor is a number":      `{"t.x":1}`,
		"tensor is a list":        `{"t.x":[1]}`,
		"nothing in it":           `{"t.x":{}}`,
		"no dtype":                `{"t.x":{"shape":[1],"data_offsets":[0,1]}}`,
		"no shape":                `{"t.x":{"dtype":"U8","data_offsets":[0,1]}}`,
		"no offsets":              `{"t.x":{"dtype":"U8","shape":[1]}}`,
		"unknown key":             `{"t.x":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"more":1}}`,
		"duplicate key":           `{"t.x":{"dtype":"U8","shape":[1],"shape":[1],"data_offsets":[0,1]}}`,
		"key in capitals":         `{"t.x":{"DTYPE":"U8","shape":[1],"data_offsets":[0,1]}}`,
		"dtype unknown":           entry(`"U9"`, `[1]`, `[0,1]`),
		"dtype in small letters":  entry(`"u8"`, `[1]`, `[0,1]`),
		"dtype of four bits":      entry(`"F4"`, `[2]`, `[0,1]`),
		"dtype empty":             entry(`""`, `[1]`, `[0,1]`),
		"dtype is a number":       entry(`8`, `[1]`, `[0,1]`),
		"dtype null":              entry(`null`, `[1]`, `[0,1]`),
		"dtype too wide":          entry(`"F32"`, `[1]`, `[0,1]`),
		"shape null":              entry(`"U8"`, `null`, `[0,1]`),
		"shape is a number":       entry(`"U8"`, `1`, `[0,1]`),
		"shape too small":         entry(`"U8"`, `[0]`, `[0,1]`),
		"shape too large":         entry(`"U8"`, `[2]`, `[0,1]`),
		"shape negative":          entry(`"U8"`, `[-1]`, `[0,1]`),
		"shape minus zero":        entry(`"U8"`, `[-0]`, `[0,1]`),
		"shape two negatives":     entry(`"U8"`, `[-1,-1]`, `[0,1]`),
		"shape a fraction":        entry(`"U8"`, `[1.0]`, `[0,1]`),
		"shape an exponent":       entry(`"U8"`, `[1e0]`, `[0,1]`),
		"shape a string":          entry(`"U8"`, `["1"]`, `[0,1]`),
		"shape true":              entry(`"U8"`, `[true]`, `[0,1]`),
		"shape nested":            entry(`"U8"`, `[[1]]`, `[0,1]`),
		"rank 9":                  entry(`"U8"`, `[1,1,1,1,1,1,1,1,1]`, `[0,1]`),
		"product wraps to 0":      entry(`"U8"`, `[4294967296,4294967296]`, `[0,0]`),
		"product wraps to 1":      entry(`"U8"`, `[6148914691236517205,3,1]`, `[0,1]`),
		"product beyond int64":    entry(`"U8"`, `[4611686018427387904,2]`, `[0,1]`),
		"bytes wrap":              entry(`"F64"`, `[2305843009213693952]`, `[0,0]`),
		"bytes wrap to 8":         entry(`"F64"`, `[2305843009213693953]`, `[0,8]`),
		"zero hides an overflow":  entry(`"F64"`, `[0,9223372036854775807,9223372036854775807]`, `[0,0]`),
		"dimension beyond int64":  entry(`"U8"`, `[9223372036854775808]`, `[0,1]`),
		"dimension beyond uint64": entry(`"U8"`, `[18446744073709551617]`, `[0,1]`),
		"offsets null":            entry(`"U8"`, `[1]`, `null`),
		"offsets empty":           entry(`"U8"`, `[1]`, `[]`),
		"one offset":              entry(`"U8"`, `[1]`, `[1]`),
		"three offsets":           entry(`"U8"`, `[1]`, `[0,1,1]`),
		"offsets reversed":        entry(`"U8"`, `[1]`, `[1,0]`),
		"offset negative":         entry(`"U8"`, `[1]`, `[-1,0]`),
		"offset beyond int64":     entry(`"U8"`, `[1]`, `[18446744073709551615,0]`),
		"offset a fraction":       entry(`"U8"`, `[1]`, `[0,1.0]`),
		"begins late":             entry(`"U8"`, `[1]`, `[1,2]`),
		"begins far away":         entry(`"U8"`, `[1]`, `[9223372036854775806,9223372036854775807]`),
		"ends past the data":      entry(`"U8"`, `[1000]`, `[0,1000]`),
		"claims a huge tensor":    entry(`"U8"`, `[9223372036854775807]`, `[0,9223372036854775807]`),
		"escaped name":            strings.Replace(entry(`"U9"`, `[1]`, `[0,1]`), "t.x", `t\u002ex`, 1),
	} {
		all = append(all, single("entry: "+name, build(h, counting(1)), `"t.x"`))
	}
	return all
}

// tilings are tensors that are right one by one and wrong together.
func tilings() (all []mutant) {
	two := func(a, b, c, d int) string {
		return fmt.Sprintf(`{"first":{"dtype":"U8","shape":[%d],"data_offsets":[%d,%d]},"second":{"dtype":"U8","shape":[%d],"data_offsets":[%d,%d]}}`,
			b-a, a, b, d-c, c, d)
	}
	for _, m := range []struct{ name, header, tensor string }{
		{"the same bytes twice", two(0, 8, 0, 8), "second"},
		{"overlap by one", two(0, 5, 4, 8), "second"},
		{"one inside the other", two(0, 8, 2, 4), "second"},
		{"gap of one", two(0, 4, 5, 8), "second"},
		{"gap at the start", two(1, 4, 4, 8), "first"},
		{"gap at the end", two(0, 4, 4, 7), ""},
		{"past the end", two(0, 4, 4, 9), "second"},
		{"reversed with a gap", two(5, 8, 0, 4), "first"},
		{"empty one inside another", two(0, 8, 3, 3), "second"},
		{"empty one past the end", two(0, 8, 9, 9), "second"},
		{"no tensors over data", `{}`, ""},
		{"metadata alone over data", `{"__metadata__":{}}`, ""},
	} {
		all = append(all, single("tiling: "+m.name, build(m.header, counting(8)), m.tensor))
	}
	return all
}

// indexes are sharded checkpoints that do not agree with themselves.
func indexes() (all []mutant) {
	add := func(name string, change func(files map[string]string), names ...string) {
		files := shards()
		change(files)
		all = append(all, mutant{"index: " + name, files, names})
	}
	swap := func(old, new string) func(map[string]string) {
		return func(f map[string]string) { f[indexName] = strings.Replace(f[indexName], old, new, 1) }
	}
	whole := func(s string) func(map[string]string) { return func(f map[string]string) { f[indexName] = s } }
	for _, shard := range []string{"../one.safetensors", "/etc/passwd", "sub/one.safetensors", `sub\\one.safetensors`, "..", "", ".hidden.safetensors",
		"one.bin", "c:one.safetensors", `one\u0000.safetensors`, "one.safetensors/", strings.Repeat("a", 300) + ".safetensors"} {
		add("shard "+shard[:min(len(shard), 20)], swap(`"a":"one.safetensors"`, `"a":"`+shard+`"`), indexName, `"a"`)
	}
	add("no such shard", swap(`"a":"one.safetensors"`, `"a":"three.safetensors"`), "three.safetensors")
	add("wrong shard", swap(`"a":"one.safetensors"`, `"a":"two.safetensors"`), `"a"`)
	add("tensor not in the shard", swap(`"c":`, `"d":"one.safetensors","c":`), `"d"`)
	add("tensor not in the map", swap(`,"c":"two.safetensors"`, ``), "two.safetensors", `"c"`)
	add("total_size too large", swap("17", "18"), indexName, "total_size")
	add("total_size too small", swap("17", "16"), indexName, "total_size")
	add("total_size negative", swap("17", "-17"), indexName, "total_size")
	add("total_size huge", swap("17", "1e300"), indexName, "total_size")
	add("total_size beyond int64", swap("17", "18446744073709551633"), indexName, "total_size")
	add("total_size a string", swap("17", `"17"`), indexName, "total_size")
	add("duplicate tensor", swap(`"c":`, `"a":"two.safetensors","c":`), indexName)
	add("duplicate map", swap(`"weight_map"`, `"weight_map":{},"weight_map"`), indexName)
	add("tensor mapped to a number", swap(`"a":"one.safetensors"`, `"a":1`), indexName)
	add("empty", whole(""), indexName)
	add("no map", whole(`{"metadata":{"total_size":0}}`), indexName)
	add("empty map", whole(`{"weight_map":{}}`), indexName)
	add("null", whole(`null`), indexName)
	add("list", whole(`[]`), indexName)
	add("cut", swap(`}}`, `}`), indexName)
	add("not UTF-8", swap(`"a":`, "\"\xff\":"), indexName)
	add("deep", whole(strings.Repeat(`{"weight_map":`, 100000)), indexName)
	add("deep beside the map", swap(`"metadata":{"total_size":17}`, `"x":`+strings.Repeat("[", 100000)), indexName)
	add("a broken shard", func(f map[string]string) { f["two.safetensors"] = f["two.safetensors"][:30] }, "two.safetensors")
	add("a tensor in two shards", func(f map[string]string) { f["one.safetensors"] = f["two.safetensors"] }, "one.safetensors")
	return all
}

// TestMutants: every one is refused, by name, with little memory however much it claims.
func TestMutants(t *testing.T) {
	var all []mutant
	for _, family := range []func() []mutant{lengths, documents, entries, tilings, indexes} {
		all = append(all, family()...)
	}
	if len(all) < 100 {
		t.Fatalf("only %d mutants", len(all))
	}
	for _, m := range all {
		t.Run(m.name, func(t *testing.T) {
			fsys := mapFS(m.files)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			c, err := OpenFS(fsys)
			runtime.ReadMemStats(&after)
			if err == nil {
				c.Close()
				t.Fatal("accepted")
			}
			for _, name := range m.names {
				if !strings.Contains(err.Error(), name) {
					t.Errorf("%q does not name %s", err, name)
				}
			}
			if len(err.Error()) > 2000 {
				t.Errorf("the error has %d letters", len(err.Error()))
			}
			// Everything ever allocated, which bounds what was held at once.
			if n := after.TotalAlloc - before.TotalAlloc; n > 64<<20 {
				t.Errorf("allocated %d MiB", n>>20)
			}
		})
	}
	t.Logf("%d mutants", len(all))
}
