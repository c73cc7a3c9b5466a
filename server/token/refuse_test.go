package token

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// parts are the components of a tokenizer.json as JSON.
type parts map[string]string

// letters is a vocabulary that spells every byte, and the merge of a and b.
func letters() string {
	vocab := map[string]int{}
	for c := range 256 {
		vocab[string(byteRune[c])] = c
	}
	vocab["ab"], vocab["<|end|>"] = 256, 257
	data, _ := json.Marshal(vocab, json.Deterministic(true))
	return string(data)
}

// file is a small byte-level tokenizer.json with some parts replaced; "" leaves a part out.
func file(change parts) fstest.MapFS {
	all := parts{
		"added_tokens":  `[{"id":257,"content":"<|end|>","special":true,"normalized":false}]`,
		"normalizer":    `null`,
		"pre_tokenizer": `{"type":"ByteLevel","add_prefix_space":false,"use_regex":true}`,
		"decoder":       `{"type":"ByteLevel"}`,
		"model":         `{"type":"BPE","vocab":` + letters() + `,"merges":["a b"]}`,
	}
	var b strings.Builder
	b.WriteString(`{"version":"1.0"`)
	for name, part := range change {
		all[name] = part
	}
	for name, part := range all {
		if part != "" {
			fmt.Fprintf(&b, ",%q:%s", name, part)
		}
	}
	b.WriteString("}")
	return fstest.MapFS{"tokenizer.json": {Data: []byte(b.String())}}
}

// TestRefuse: what is not known is refused by a sentence that names it.
func TestRefuse(t *testing.T) {
	if _, err := Load(file(nil)); err != nil {
		t.Fatalf("the file to change: %v", err)
	}
	seq := func(list, step string, n int) string {
		return `{"type":"Sequence","` + list + `":[` + strings.TrimSuffix(strings.Repeat(step+",", n), ",") + `]}`
	}
	for _, c := range []struct {
		part, value string
		want        error
		says        string
	}{
		{"normalizer", `{"type":"Lowercase"}`, ErrUnsupported, "Lowercase"},
		{"normalizer", `{"type":"Precompiled","precompiled_charsmap":""}`, ErrUnsupported, "Precompiled"},
		{"normalizer", `{"type":"Replace","pattern":{"Regex":" +"},"content":"x"}`, ErrUnsupported, "fixed string"},
		{"normalizer", `{"type":"Replace","pattern":{"String":" "},"content":"x","more":1}`, ErrUnsupported, "more"},
		{"normalizer", `{"type":"Prepend","prepend":"` + strings.Repeat("x", 17) + `"}`, ErrMalformed, "Prepend"},
		{"normalizer", seq("normalizers", `{"type":"Replace","pattern":{"String":"a"},"content":"aaaaa"}`, 2), ErrMalformed, "times as long"},
		{"normalizer", seq("normalizers", `{"type":"NFC"}`, 33), ErrMalformed, "normalizers"},
		{"normalizer", seq("normalizers", seq("normalizers", seq("normalizers", seq("normalizers", seq("normalizers", `{"type":"NFC"}`, 1), 1), 1), 1), 1), ErrMalformed, "nested"},
		{"pre_tokenizer", `{"type":"Whitespace"}`, ErrUnsupported, "Whitespace"},
		{"pre_tokenizer", `{"type":"Split","pattern":{"Regex":"\\w+"},"behavior":"Isolated","invert":false}`, ErrUnsupported, `\\w+`},
		{"pre_tokenizer", `{"type":"Split","pattern":{"String":"-"},"behavior":"Isolated","invert":false}`, ErrUnsupported, "Isolated"},
		{"pre_tokenizer", `{"type":"Split","pattern":{"Regex":` + quote(patternQwen2) + `},"behavior":"Removed","invert":false}`, ErrUnsupported, "Removed"},
		{"pre_tokenizer", seq("pretokenizers", `{"type":"ByteLevel"}`, 2), ErrUnsupported, "after ByteLevel"},
		{"pre_tokenizer", `{"type":"Metaspace","replacement":"▁","prepend_scheme":"sometimes"}`, ErrUnsupported, "sometimes"},
		{"pre_tokenizer", `{"type":"Metaspace","replacement":"▁"}`, ErrUnsupported, "unk_token"},
		{"pre_tokenizer", `{"type":"Digits","individual":true}`, ErrUnsupported, "individual"},
		{"pre_tokenizer", `7`, ErrMalformed, ""},
		{"decoder", `null`, ErrUnsupported, "no decoder"},
		{"decoder", `{"type":"WordPiece","prefix":"##"}`, ErrUnsupported, "WordPiece"},
		{"decoder", `{"type":"Fuse"}`, ErrUnsupported, "ByteLevel"},
		{"decoder", seq("decoders", `{"type":"ByteLevel"}`, 2), ErrUnsupported, "in this place"},
		{"decoder", `{"type":"Strip","content":" ","start":1,"stop":0}`, ErrUnsupported, "Strip"},
		{"decoder", `{"type":"Replace","pattern":{"String":"a"},"content":"aa"}`, ErrUnsupported, "longer"},
		{"post_processor", `{"type":"BertProcessing"}`, ErrUnsupported, "BertProcessing"},
		{"post_processor", `{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<x>"}},{"Sequence":{"id":"A"}}],"special_tokens":{}}`, ErrMalformed, "unknown token"},
		{"post_processor", `{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x"}},{"Sequence":{"id":"A"}}],"special_tokens":{"x":{"ids":[258]}}}`, ErrMalformed, "258"},
		{"post_processor", `{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x"}},{"Sequence":{"id":"A"}}],"special_tokens":{"x":{"ids":[-1]}}}`, ErrMalformed, "-1"},
		{"post_processor", `{"type":"TemplateProcessing","single":[],"special_tokens":{}}`, ErrUnsupported, "0 texts"},
		{"added_tokens", `[{"id":258,"content":""}]`, ErrMalformed, "empty"},
		{"added_tokens", `[{"id":256,"content":"<x>"}]`, ErrMalformed, "<x>"},
		{"added_tokens", `[{"id":258,"content":"ab"}]`, ErrMalformed, "ab"},
		{"added_tokens", `[{"id":-1,"content":"<x>"}]`, ErrMalformed, "-1"},
		{"added_tokens", `{}`, ErrMalformed, "added_tokens"},
		{"model", `{"type":"Unigram","vocab":[]}`, ErrUnsupported, "Unigram"},
		{"model", `{"type":"WordPiece"}`, ErrUnsupported, "WordPiece"},
		{"model", `{"type":"BPE"}`, ErrMalformed, "no vocabulary"},
		{"model", `{"type":"BPE","dropout":0.1,"vocab":{}}`, ErrUnsupported, "dropout"},
		{"model", `{"type":"BPE","end_of_word_suffix":"</w>","vocab":{}}`, ErrUnsupported, "end_of_word_suffix"},
		{"model", `{"type":"BPE","vocab":{"a":0}}`, ErrUnsupported, "byte 0x00"},
		{"model", `{"type":"BPE","unk_token":"<unk>","vocab":{"a":0}}`, ErrMalformed, "<unk>"},
	} {
		_, err := Load(file(parts{c.part: c.value}))
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s = %.90s: %v, want %v with %q", c.part, c.value, err, c.want, c.says)
		}
	}
}

func quote(s string) string {
	b, _ := jsontext.AppendQuote(nil, s)
	return string(b)
}

// TestHostile: a file that contradicts itself, or asks for too much, is refused before it costs anything.
func TestHostile(t *testing.T) {
	deep := strings.Repeat("[", 20000) + strings.Repeat("]", 20000)
	for name, change := range map[string]parts{
		"huge id":              {"model": `{"vocab":{"a":1048576}}`},
		"id past int32":        {"model": `{"vocab":{"a":4294967296}}`},
		"negative id":          {"model": `{"vocab":{"a":-1}}`},
		"fractional id":        {"model": `{"vocab":{"a":1.5}}`},
		"id is a string":       {"model": `{"vocab":{"a":"1"}}`},
		"one piece, two ids":   {"model": `{"vocab":{"a":1,"a":2}}`},
		"two pieces, one id":   {"model": `{"vocab":{"a":1,"b":1}}`},
		"long piece":           {"model": `{"vocab":{"` + strings.Repeat("a", maxPiece+1) + `":1}}`},
		"vocabulary twice":     {"model": `{"vocab":{"a":0,"b":1,"ab":2},"merges":["a b"],"vocab":{"a":0}}`},
		"merge of no piece":    {"model": `{"vocab":{"a":0,"b":1},"merges":["a b"]}`},
		"merge of one part":    {"model": `{"vocab":{"a":0,"b":1,"ab":2},"merges":["ab"]}`},
		"merge of three parts": {"model": `{"vocab":{"a":0,"b":1,"ab":2},"merges":[["a","b",""]]}`},
		"merge of numbers":     {"model": `{"vocab":{"a":0,"b":1,"ab":2},"merges":[[0,1]]}`},
		"merge of nothing":     {"model": `{"vocab":{"a":0,"b":1,"ab":2},"merges":[["a",""]]}`},
		"deep component":       {"pre_tokenizer": deep},
		"deep unknown member":  {"padding": deep},
		"deep model option":    {"model": `{"x":` + deep + `}`},
		"duplicate component":  {"decoder": `{"type":"ByteLevel"},"decoder":{"type":"ByteLevel"}`},
		"duplicate member":     {"decoder": `{"type":"ByteLevel","type":"ByteLevel"}`},
		"two models":           {"model": `{"vocab":{"a":0}},"model":{"vocab":{"a":0}}`},
		"bad UTF-8":            {"model": "{\"vocab\":{\"\xff\":0}}"},
		"lone surrogate":       {"model": `{"vocab":{"\ud800":0}}`},
		"data after":           {"padding": `null}{`},
		"cut short":            {"padding": `{`},
		"many names":           {"padding": `0` + manyNames(40)},
		"long added tokens":    {"added_tokens": longAdded(maxSpell/maxPiece + 1)},
	} {
		if _, err := Load(file(change)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Load(fstest.MapFS{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func manyNames(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"x%d":0`, i)
	}
	return b.String()
}

// longAdded are n added tokens of the greatest length.
func longAdded(n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf(`{"id":%d,"content":"%0*d"}`, 300+i, maxPiece, i))
	}
	return "[" + strings.Join(list, ",") + "]"
}

// sizedFile claims a size that its content does not have.
type sizedFile struct {
	fs.File
	size int64
}

type sizedInfo struct {
	fs.FileInfo
	size int64
}

func (i sizedInfo) Size() int64 { return i.size }

func (f sizedFile) Stat() (fs.FileInfo, error) {
	info, err := f.File.Stat()
	return sizedInfo{info, f.size}, err
}

type sizedFS struct {
	fs.FS
	size int64
}

func (s sizedFS) Open(name string) (fs.File, error) {
	f, err := s.FS.Open(name)
	if err != nil {
		return nil, err
	}
	return sizedFile{f, s.size}, nil
}

// TestFileSize: a size over the limit is refused unread, and what grows after it was asked for is cut off.
func TestFileSize(t *testing.T) {
	small := fstest.MapFS{"x": {Data: []byte(strings.Repeat("x", 100))}}
	for _, c := range []struct {
		claimed, limit int64
		ok             bool
	}{{1 << 40, 1000, false}, {101, 100, false}, {0, 99, false}, {0, 100, true}, {50, 100, true}, {100, 100, true}} {
		data, err := readFile(sizedFS{small, c.claimed}, "x", c.limit)
		if c.ok != (err == nil) || err == nil && len(data) != 100 || err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("claims %d bytes, limit %d: %d bytes, %v", c.claimed, c.limit, len(data), err)
		}
	}
}
