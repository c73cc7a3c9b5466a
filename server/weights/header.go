package weights

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"sort"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// Limits of a safetensors header. maxHeader is the reference implementation's
// (https://github.com/huggingface/safetensors, format section of the README); the others are far above real files.
const (
	maxHeader = 100_000_000
	maxToken  = 64 << 10 // bytes between two punctuation marks of the JSON
	maxRank   = 8
	maxName   = 1024
)

// widths is the size in bytes of an element of each type that may stand in a file.
var widths = map[string]uint64{
	"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1,
	"I16": 2, "U16": 2, "F16": 2, "BF16": 2,
	"I32": 4, "U32": 4, "F32": 4,
	"I64": 8, "U64": 8, "F64": 8, "C64": 8,
}

// tensor is where one tensor lies.
type tensor struct {
	dtype      string
	shape      []int64
	begin, end int64 // within the data part, as the header says
	off        int64 // of the first byte in the file
	file       *file
}

func (t *tensor) bytes() int64 { return t.end - t.begin }

// readHeader reads and verifies the header of a safetensors file: 8 bytes of length, JSON, data.
//
// The JSON is read as a stream, so a header that is wrong early costs little however long it claims to be.
func readHeader(f *file) (map[string]*tensor, error) {
	tensors, err := parseHeader(f)
	if err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		return nil, fmt.Errorf("read %s: %w", f.name, err)
	}
	return tensors, nil
}

func parseHeader(f *file) (map[string]*tensor, error) {
	var head [9]byte
	if f.size < int64(len(head)) {
		return nil, fmt.Errorf("%w: %d bytes are too few for a header", ErrMalformed, f.size)
	}
	if n, err := f.r.ReadAt(head[:], 0); n < len(head) {
		return nil, fmt.Errorf("header length: %w", truncated(err))
	}
	n := binary.LittleEndian.Uint64(head[:8])
	if n > maxHeader || int64(n) > f.size-8 {
		return nil, fmt.Errorf("%w: header of %d bytes in a file of %d (at most %d)", ErrMalformed, n, f.size, maxHeader)
	}
	if head[8] != '{' {
		return nil, fmt.Errorf("%w: header begins with %q, not {", ErrMalformed, head[8])
	}
	tensors, err := decodeHeader(io.NewSectionReader(f.r, 8, int64(n)))
	if err != nil {
		return nil, err
	}
	for _, t := range tensors {
		t.file, t.off = f, 8+int64(n)+t.begin
	}
	return tensors, checkTiling(tensors, f.size-8-int64(n))
}

// truncated says why fewer bytes came than the size of the file promised.
func truncated(err error) error {
	if err == nil || err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// decodeHeader reads the JSON object. The decoder refuses duplicate keys and bytes that are not UTF-8.
func decodeHeader(r io.Reader) (map[string]*tensor, error) {
	d := &decoder{jsontext.NewDecoder(&tokenGuard{r: r})}
	tensors := map[string]*tensor{}
	err := d.object(func(name string) error {
		if name == "__metadata__" {
			return d.object(func(key string) error {
				_, err := d.expect('"')
				return within("__metadata__", err)
			})
		}
		if len(name) > maxName {
			return fmt.Errorf("%w: a tensor's name has %d bytes", ErrMalformed, len(name))
		}
		t, err := d.tensor()
		tensors[name] = t
		return within(name, err)
	})
	if err != nil {
		return nil, err
	}
	return tensors, d.end()
}

// within adds the name of a tensor to an error.
func within(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("tensor %q: %w", name, err)
}

// decoder reads JSON token by token.
type decoder struct{ *jsontext.Decoder }

// expect reads one token of a kind.
func (d *decoder) expect(k jsontext.Kind) (string, error) {
	t, err := d.ReadToken()
	if err != nil {
		return "", fmt.Errorf("%w: header: %w", ErrMalformed, truncated(err))
	}
	if t.Kind() != k {
		return "", fmt.Errorf("%w: header: %v where %v should be", ErrMalformed, t.Kind(), k)
	}
	return t.String(), nil
}

// end checks that nothing but blanks follows.
func (d *decoder) end() error {
	if t, err := d.ReadToken(); err == nil {
		return fmt.Errorf("%w: header: %v after its end", ErrMalformed, t.Kind())
	} else if err != io.EOF {
		return fmt.Errorf("%w: header: %w", ErrMalformed, err)
	}
	return nil
}

// object reads an object, calling member at the value of each key.
func (d *decoder) object(member func(key string) error) error {
	if _, err := d.expect('{'); err != nil {
		return err
	}
	for d.PeekKind() != '}' {
		key, err := d.expect('"')
		if err != nil {
			return err
		}
		if err := member(key); err != nil {
			return err
		}
	}
	_, err := d.expect('}')
	return err
}

// integers reads an array of at most n non-negative integers, written with digits alone.
func (d *decoder) integers(n int) ([]int64, error) {
	if _, err := d.expect('['); err != nil {
		return nil, err
	}
	var list []int64
	for d.PeekKind() != ']' {
		s, err := d.expect('0')
		if err != nil {
			return nil, err
		}
		v, err := strconv.ParseUint(s, 10, 63)
		if err != nil {
			return nil, fmt.Errorf("%w: %.40s is not a size", ErrMalformed, s)
		}
		if len(list) == n {
			return nil, fmt.Errorf("%w: more than %d numbers", ErrMalformed, n)
		}
		list = append(list, int64(v))
	}
	_, err := d.expect(']')
	return list, err
}

// tensor reads {"dtype": ..., "shape": [...], "data_offsets": [begin, end]} and checks it in itself.
func (d *decoder) tensor() (*tensor, error) {
	t := &tensor{}
	var offsets []int64
	seen := 0
	err := d.object(func(key string) (err error) {
		seen++
		switch key {
		case "dtype":
			t.dtype, err = d.expect('"')
		case "shape":
			t.shape, err = d.integers(maxRank)
		case "data_offsets":
			offsets, err = d.integers(2)
		default:
			err = fmt.Errorf("%w: unknown key %.40q", ErrMalformed, key)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if seen != 3 || len(offsets) != 2 {
		return nil, fmt.Errorf("%w: needs dtype, shape and two data_offsets", ErrMalformed)
	}
	t.begin, t.end = offsets[0], offsets[1]
	return t, t.check()
}

// check compares dtype x shape with the offsets.
func (t *tensor) check() error {
	n, ok := widths[t.dtype]
	if !ok {
		return fmt.Errorf("%w: dtype %.40q", ErrUnsupported, t.dtype)
	}
	zero := false
	for _, dim := range t.shape {
		if dim == 0 {
			zero = true
			continue
		}
		hi, lo := bits.Mul64(n, uint64(dim))
		if hi != 0 || lo > math.MaxInt64 {
			return fmt.Errorf("%w: shape %v of %s overflows", ErrMalformed, t.shape, t.dtype)
		}
		n = lo
	}
	if zero {
		n = 0
	}
	if t.begin > t.end || uint64(t.end-t.begin) != n {
		return fmt.Errorf("%w: %s%v needs %d bytes, data_offsets are [%d, %d]",
			ErrMalformed, t.dtype, t.shape, n, t.begin, t.end)
	}
	return nil
}

// checkTiling verifies that the tensors fill the data part exactly, without overlap or gap.
func checkTiling(tensors map[string]*tensor, size int64) error {
	names := make([]string, 0, len(tensors))
	for name := range tensors {
		names = append(names, name)
	}
	sort.Slice(names, func(i, j int) bool {
		a, b := tensors[names[i]], tensors[names[j]]
		if a.begin != b.begin {
			return a.begin < b.begin
		}
		if a.end != b.end {
			return a.end < b.end
		}
		return names[i] < names[j]
	})
	at := int64(0)
	for _, name := range names {
		t := tensors[name]
		if t.end > size {
			return within(name, fmt.Errorf("%w: ends at %d of %d data bytes", ErrMalformed, t.end, size))
		}
		if t.begin < at {
			return within(name, fmt.Errorf("%w: begins at %d and overlaps the tensor before, which ends at %d", ErrMalformed, t.begin, at))
		}
		if t.begin > at {
			return within(name, fmt.Errorf("%w: begins at %d and leaves a gap from %d", ErrMalformed, t.begin, at))
		}
		at = t.end
	}
	if at != size {
		return fmt.Errorf("%w: tensors end at %d of %d data bytes", ErrMalformed, at, size)
	}
	return nil
}

// tokenGuard passes bytes on and fails when a single JSON token or run of blanks is absurdly long: a decoder has to
// hold a token whole, and no name or number in a header is long.
type tokenGuard struct {
	r   io.Reader
	run int
	// inside a string, where punctuation does not end the token, and after a backslash in it
	quoted, escaped bool
}

func (g *tokenGuard) Read(p []byte) (int, error) {
	n, err := g.r.Read(p)
	for _, c := range p[:n] {
		g.run++
		switch {
		case g.escaped:
			g.escaped = false
		case g.quoted && c == '\\':
			g.escaped = true
		case c == '"':
			g.quoted, g.run = !g.quoted, 0
		case !g.quoted && (c == ',' || c == ':' || c == '{' || c == '}' || c == '[' || c == ']'):
			g.run = 0
		}
		if g.run > maxToken {
			return 0, fmt.Errorf("%w: header: a name or number of more than %d bytes", ErrMalformed, maxToken)
		}
	}
	return n, err
}
