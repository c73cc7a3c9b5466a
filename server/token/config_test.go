package token

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"radish/server/seq"
)

// with puts more files beside a small tokenizer.json whose post-processor adds <|end|> (257) in front.
func with(files map[string]string) fstest.MapFS {
	fsys := file(parts{"post_processor": `{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x"}},{"Sequence":{"id":"A"}}],
		"special_tokens":{"x":{"ids":[257]}}}`})
	for name, data := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(data)}
	}
	return fsys
}

// TestEdges: what AddSpecial adds follows the post-processor unless add_bos_token or add_eos_token say otherwise. The
// ids are of the vocabulary of letters: "a" is 97, "b" 98, "c" 99.
func TestEdges(t *testing.T) {
	for _, c := range []struct {
		config string
		want   []seq.Token
	}{
		{`{}`, []seq.Token{257, 97}},
		{`{"bos_token":"b"}`, []seq.Token{257, 97}},
		{`{"bos_token":"b","add_bos_token":null}`, []seq.Token{257, 97}},
		{`{"bos_token":"b","add_bos_token":true}`, []seq.Token{98, 257, 97}},
		{`{"bos_token":"<|end|>","add_bos_token":true}`, []seq.Token{257, 97}},
		{`{"bos_token":"<|end|>","add_bos_token":false}`, []seq.Token{97}},
		{`{"bos_token":null,"add_bos_token":true}`, []seq.Token{257, 97}},
		{`{"eos_token":{"content":"c","lstrip":false},"add_eos_token":true}`, []seq.Token{257, 97, 99}},
		{`{"eos_token":"c","add_eos_token":false}`, []seq.Token{257, 97}},
	} {
		tok, err := Load(with(map[string]string{"tokenizer_config.json": c.config}))
		if err != nil {
			t.Errorf("%s: %v", c.config, err)
			continue
		}
		checkEncode(t, tok, "a", EncodeOptions{AddSpecial: true}, c.want)
		checkEncode(t, tok, "a", EncodeOptions{}, []seq.Token{97})
	}
}

// TestMaxWithEdges: what AddSpecial adds counts towards Max.
func TestMaxWithEdges(t *testing.T) {
	tok, err := Load(with(map[string]string{"tokenizer_config.json": `{"eos_token":"c","add_eos_token":true}`}))
	if err != nil {
		t.Fatal(err)
	}
	for limit := 1; limit <= 4; limit++ { // <|end|> x y c
		_, err := tok.Encode("xy", EncodeOptions{AddSpecial: true, Max: limit})
		if errors.Is(err, ErrTooLong) != (limit < 4) {
			t.Errorf("Max %d: %v", limit, err)
		}
	}
}

// TestEOS: generations end at eos_token and at the ids of generation_config.json, or of config.json without it.
func TestEOS(t *testing.T) {
	for _, c := range []struct {
		files map[string]string
		want  []seq.Token
	}{
		{nil, nil},
		{map[string]string{"tokenizer_config.json": `{"eos_token":"c"}`}, []seq.Token{99}},
		{map[string]string{"special_tokens_map.json": `{"eos_token":{"content":"c"}}`}, []seq.Token{99}},
		{map[string]string{"special_tokens_map.json": `{"eos_token":"a"}`, "tokenizer_config.json": `{"eos_token":"c"}`}, []seq.Token{99}},
		{map[string]string{"config.json": `{"eos_token_id":[98,99]}`}, []seq.Token{98, 99}},
		{map[string]string{"config.json": `{"eos_token_id":98}`, "generation_config.json": `{"eos_token_id":[99,100]}`}, []seq.Token{99, 100}},
		{map[string]string{"config.json": `{"eos_token_id":98}`, "generation_config.json": `{"eos_token_id":null}`}, []seq.Token{98}},
		{map[string]string{"config.json": `{"eos_token_id":98}`, "generation_config.json": `{}`}, []seq.Token{98}},
		{map[string]string{"tokenizer_config.json": `{"eos_token":"c"}`, "config.json": `{"eos_token_id":[99,98,98,-1,9999]}`}, []seq.Token{99, 98}},
		{map[string]string{"tokenizer_config.json": `{"eos_token":"no such piece"}`}, nil},
	} {
		tok, err := Load(with(c.files))
		if err != nil || !slices.Equal(tok.EOS(), c.want) {
			t.Errorf("%v: EOS %v, %v, want %v", c.files, tok.EOS(), err, c.want)
		}
	}
}

// TestNames: the tokens that the configuration names are found and are control tokens.
func TestNames(t *testing.T) {
	tok, err := Load(with(map[string]string{
		"tokenizer_config.json": `{"bos_token":"ab","pad_token":{"content":"c"},"model_max_length":5,"tokenizer_class":"X",
			"added_tokens_decoder":{"300":{"content":"<tool>","special":true},"301":{"content":"<think>","special":false}}}`}))
	if err != nil {
		t.Fatal(err)
	}
	if id, ok := tok.BOS(); !ok || id != 256 || !tok.IsSpecial(id) {
		t.Errorf("BOS %d, %t, special %t", id, ok, tok.IsSpecial(id))
	}
	if p := tok.SpecialText("pad_token"); p != "c" {
		t.Errorf("pad_token %q", p)
	}
	if tok.SpecialText("tokenizer_class") != "" || tok.VocabSize() != 302 {
		t.Errorf("tokenizer_class %q, %d pieces", tok.SpecialText("tokenizer_class"), tok.VocabSize())
	}
	checkEncode(t, tok, "ab<tool><think>", EncodeOptions{AllControl: true}, []seq.Token{256, 300, 301})
	checkEncode(t, tok, "ab<think>", EncodeOptions{}, []seq.Token{97, 98, 301}) // "ab" is BOS now: no merge makes it
	for _, id := range []seq.Token{-1, 258, 299, 302} {
		if _, ok := tok.Piece(id); ok || tok.IsSpecial(id) || tok.TokenBytes(id) != nil || tok.Decode([]seq.Token{id}, false) != "" {
			t.Errorf("id %d counts as a token", id)
		}
	}
}

// TestTemplates: of the places where a template can stand the later ones count, and the default one comes first.
func TestTemplates(t *testing.T) {
	const list = `{"chat_template":[{"name":"tool_use","template":"T"},{"name":"default","template":"D"}]}`
	for _, c := range []struct {
		files map[string]string
		want  []Template
		first string
	}{
		{nil, nil, ""},
		{map[string]string{"tokenizer_config.json": `{"chat_template":null}`}, nil, ""},
		{map[string]string{"tokenizer_config.json": `{"chat_template":"A\n"}`}, []Template{{"default", "A\n"}}, "A\n"},
		{map[string]string{"tokenizer_config.json": list}, []Template{{"default", "D"}, {"tool_use", "T"}}, "D"},
		{map[string]string{"tokenizer_config.json": `{"chat_template":[{"name":"rag","template":"R"}]}`}, []Template{{"rag", "R"}}, ""},
		{map[string]string{"chat_template.json": `{"chat_template":"J"}`}, []Template{{"default", "J"}}, "J"},
		{map[string]string{"tokenizer_config.json": list, "chat_template.jinja": "X\n"}, []Template{{"default", "X\n"}, {"tool_use", "T"}}, "X\n"},
	} {
		tok, err := Load(with(c.files))
		if err != nil || !slices.Equal(tok.Templates(), c.want) {
			t.Errorf("%v: %v, %v", c.files, tok.Templates(), err)
			continue
		}
		if got, ok := tok.ChatTemplate(); got != c.first || ok != (c.first != "") {
			t.Errorf("%v: default template %q, %t", c.files, got, ok)
		}
	}
}

// TestBadConfig: a file beside tokenizer.json that is no JSON, or says what cannot be, is refused by its name.
func TestBadConfig(t *testing.T) {
	long := `[{"name":"n","template":"t"},{"name":"x","template":"` + strings.Repeat("t", maxTemplate+1) + `"}]`
	many := "["
	for i := range 40 {
		many += fmt.Sprintf(`{"name":"n%d","template":"t"},`, i)
	}
	many = strings.TrimSuffix(many, ",") + "]"
	for _, c := range []struct{ name, data string }{
		{"tokenizer_config.json", `{`},
		{"tokenizer_config.json", `[]`},
		{"tokenizer_config.json", `{"add_bos_token":"yes"}`},
		{"tokenizer_config.json", `{"bos_token":"a","bos_token":"b"}`},
		{"tokenizer_config.json", `{"added_tokens_decoder":{"x":{"content":"y"}}}`},
		{"tokenizer_config.json", `{"chat_template":7}`},
		{"tokenizer_config.json", `{"chat_template":` + long + `}`},
		{"tokenizer_config.json", `{"chat_template":` + many + `}`},
		{"special_tokens_map.json", `nonsense`},
		{"config.json", `{"eos_token_id":"2"}`},
		{"config.json", `{"eos_token_id":4294967296}`},
		{"generation_config.json", `{"eos_token_id":[1,"2"]}`},
		{"generation_config.json", `{"eos_token_id":[` + strings.Repeat("1,", 1024) + `1]}`},
		{"chat_template.json", `{"chat_template":{}}`},
		{"chat_template.jinja", strings.Repeat("x", maxTemplate+1)},
		{"config.json", strings.Repeat("[", 20000)},
	} {
		_, err := Load(with(map[string]string{c.name: c.data}))
		if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), c.name) {
			t.Errorf("%s %.60s: %v", c.name, c.data, err)
		}
	}
}
