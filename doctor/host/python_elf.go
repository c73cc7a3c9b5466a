package host

import (
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"radish/doctor/pep440"
)

// Code is one architecture that a library carries GPU code for.
type Code struct {
	SM     int  // 86
	PTX    bool // text that the driver compiles for any later architecture; else machine code
	Exact  bool // sm_90a: for this architecture only
	Family bool // sm_100f: for this major version
	Files  int  // how many of the library's object files carry it
}

// Runs says whether a card of architecture sm can run it: machine code on the same major version from its minor on, PTX
// on everything later (CUDA C++ Programming Guide, binary and PTX compatibility).
func (c Code) Runs(sm int) bool {
	switch {
	case c.Exact:
		return sm == c.SM
	case c.PTX && !c.Family:
		return sm >= c.SM
	}
	return sm/10 == c.SM/10 && sm >= c.SM
}

// Cover says how well a card is served: by most of a library's files, by a few of them, or by none. A kernel tuned for one
// card says nothing about the others in the same library.
func Cover(codes []Code, sm int) (most, few bool) {
	usual := 0
	for _, c := range codes {
		usual = max(usual, c.Files)
	}
	for _, c := range codes {
		if c.Runs(sm) {
			most, few = most || 2*c.Files >= usual, true
		}
	}
	return most, few && !most
}

// String is the compiler's name: "sm_90a", "compute_80".
func (c Code) String() string {
	name := "sm_"
	if c.PTX {
		name = "compute_"
	}
	name += fmt.Sprint(c.SM)
	switch {
	case c.Exact:
		name += "a"
	case c.Family:
		name += "f"
	}
	return name
}

// ErrNotFatbin says that a section does not hold what nvcc writes.
var ErrNotFatbin = errors.New("not a fat binary")

// The fat binary as nvcc lays it out, read from the wheels of torch 2.8 to 2.14, sgl-kernel and vLLM:
//
//	container  0 magic u32 · 4 version u16 · 6 header bytes u16 · 8 bytes of entries u64
//	entry      0 kind u16 (1 PTX, 2 machine code) · 4 header bytes u32 · 8 bytes of payload u64 · 28 sm u32 · 40 flags u64
const (
	fatMagic      = 0xBA55ED50
	fatHeader     = 16
	fatEntry      = 48
	fatPTX        = 1
	fatFlagExact  = 1 << 20
	fatFlagFamily = 1 << 21
	maxFatEntries = 1 << 20
)

// readFat hops from header to header, so that a library of a gigabyte costs a few thousand small reads.
func readFat(ctx context.Context, r io.ReaderAt, size int64) ([]Code, error) {
	found := map[Code]int{}
	var head [fatEntry]byte
	entries := 0
	for at := int64(0); at+fatHeader <= size; {
		if err := readFull(r, head[:fatHeader], at); err != nil {
			return sorted(found), err
		}
		if binary.LittleEndian.Uint64(head[:]) == 0 {
			at += 8 // padding between containers
			continue
		}
		header, body := int64(binary.LittleEndian.Uint16(head[6:])), binary.LittleEndian.Uint64(head[8:])
		if binary.LittleEndian.Uint32(head[:]) != fatMagic || header < fatHeader || body > uint64(size) {
			return sorted(found), fmt.Errorf("read container at %d: %w", at, ErrNotFatbin)
		}
		end := min(at+header+int64(body), size)
		for at += header; at+fatEntry <= end; entries++ {
			if ctx.Err() != nil || entries > maxFatEntries {
				return sorted(found), fmt.Errorf("read fat binary: stopped after %d entries", entries)
			}
			if err := readFull(r, head[:], at); err != nil {
				return sorted(found), err
			}
			c, length := fatCode(head[:])
			if length < fatEntry || length > uint64(end-at) {
				return sorted(found), fmt.Errorf("read entry at %d: %w", at, ErrNotFatbin)
			}
			found[c]++
			at += int64(length)
		}
		at = end
	}
	return sorted(found), nil
}

func readFull(r io.ReaderAt, b []byte, at int64) error {
	if n, err := r.ReadAt(b, at); n < len(b) {
		return fmt.Errorf("read fat binary at %d: %w", at, err)
	}
	return nil
}

func fatCode(b []byte) (c Code, length uint64) {
	flags := binary.LittleEndian.Uint64(b[40:])
	c = Code{SM: int(binary.LittleEndian.Uint32(b[28:])), PTX: binary.LittleEndian.Uint16(b) == fatPTX,
		Exact: flags&fatFlagExact != 0, Family: flags&fatFlagFamily != 0}
	header, payload := uint64(binary.LittleEndian.Uint32(b[4:])), binary.LittleEndian.Uint64(b[8:])
	if payload > 1<<40 {
		return c, 0
	}
	return c, header + payload
}

func sorted(found map[Code]int) []Code {
	var all []Code
	for c, n := range found {
		c.Files = n
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b Code) int {
		if a.SM != b.SM {
			return a.SM - b.SM
		}
		return strings.Compare(a.String(), b.String())
	})
	return all
}

// fatSections is where nvcc puts code, linked as a whole and relocatable.
var fatSections = []string{".nv_fatbin", "__nv_relfatbin"}

// gpuCode is every architecture that a library has code for; none for a library without GPU code.
func gpuCode(ctx context.Context, f *elf.File) ([]Code, error) {
	found := map[Code]int{}
	var all error
	for _, name := range fatSections {
		s := f.Section(name)
		if s == nil || s.Type == elf.SHT_NOBITS {
			continue
		}
		codes, err := readFat(ctx, s, int64(s.FileSize))
		all = errors.Join(all, err)
		for _, c := range codes {
			n := c.Files
			c.Files = 0
			found[c] += n
		}
	}
	return sorted(found), all
}

// torchSymbol is a C++ name of torch's libraries, or a C name of their stable interface.
var torchSymbol = regexp.MustCompile(`^(?:_Z(?:TI|TV|TS)?N?K?(?:3c10|2at|5torch|6caffe2)|aoti_torch_)`)

// wanted is what a library takes from torch, by name.
func wanted(f *elf.File) (map[string]bool, error) {
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return nil, fmt.Errorf("read symbols: %w", err)
	}
	want := map[string]bool{}
	for _, s := range symbols {
		if s.Section == elf.SHN_UNDEF && elf.ST_BIND(s.Info) == elf.STB_GLOBAL && torchSymbol.MatchString(s.Name) {
			want[s.Name] = true
		}
	}
	return want, nil
}

// strike removes from the sets every symbol that a library exports.
func strike(f *elf.File, sets []map[string]bool) error {
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return fmt.Errorf("read symbols: %w", err)
	}
	for _, s := range symbols {
		if s.Section == elf.SHN_UNDEF || !torchSymbol.MatchString(s.Name) {
			continue
		}
		for _, set := range sets {
			delete(set, s.Name)
		}
	}
	return nil
}

// newest is the highest version of a family, "GLIBCXX_3.4.30" of "GLIBCXX_", among names; empty: none.
func newest(names []string, family string) string {
	best, found := pep440.Version{}, ""
	for _, name := range names {
		text, ok := strings.CutPrefix(name, family)
		if !ok {
			continue
		}
		v, err := pep440.Parse(text)
		if err == nil && (found == "" || v.Compare(best) > 0) {
			best, found = v, text
		}
	}
	return found
}

// versionNeeds is every symbol version that a library demands of others.
func versionNeeds(f *elf.File) []string {
	needs, err := f.DynamicVersionNeeds()
	if err != nil {
		return nil // a library without versions demands none
	}
	var names []string
	for _, n := range needs {
		for _, dep := range n.Needs {
			names = append(names, dep.Dep)
		}
	}
	return names
}

// versionsOf is every symbol version that a library defines.
func versionsOf(f *elf.File) []string {
	versions, err := f.DynamicVersions()
	if err != nil {
		return nil
	}
	var names []string
	for _, v := range versions {
		names = append(names, v.Name)
	}
	return names
}
