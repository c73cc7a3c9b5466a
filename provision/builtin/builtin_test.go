package builtin

import (
	"encoding/binary"
	"encoding/json"
	"io/fs"
	"os"
	"strings"
	"testing"
)

// read decodes one JSON file of the model.
func read(t *testing.T, name string, into any) {
	t.Helper()
	data, err := fs.ReadFile(FS(), name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// TestSize holds the model to the 16 MiB it may take in the repository.
func TestSize(t *testing.T) {
	var total int64
	err := fs.WalkDir(FS(), ".", func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		total += info.Size()
		return err
	})
	if err != nil || total == 0 || total > 16<<20 {
		t.Fatalf("model takes %d bytes, %v", total, err)
	}
}

type config struct {
	Architectures []string
	Vocab         int `json:"vocab_size"`
	Hidden        int `json:"hidden_size"`
	Inner         int `json:"intermediate_size"`
	Layers        int `json:"num_hidden_layers"`
	Heads         int `json:"num_attention_heads"`
	KVHeads       int `json:"num_key_value_heads"`
	HeadDim       int `json:"head_dim"`
	Context       int `json:"max_position_embeddings"`
	BOS           int `json:"bos_token_id"`
	EOS           int `json:"eos_token_id"`
	Pad           int `json:"pad_token_id"`
}

// TestControlTokens checks that tokenizer, config and generation config mean the same ids.
func TestControlTokens(t *testing.T) {
	var c, g config
	read(t, "config.json", &c)
	read(t, "generation_config.json", &g)
	var tok struct {
		Added []struct {
			ID      int
			Content string
			Special bool
		} `json:"added_tokens"`
		Model struct{ Vocab map[string]int }
	}
	read(t, "tokenizer.json", &tok)
	ids := map[string]int{}
	for _, a := range tok.Added {
		if !a.Special || tok.Model.Vocab[a.Content] != a.ID {
			t.Errorf("added token %+v is not special or has another id in the vocabulary", a)
		}
		ids[a.Content] = a.ID
	}
	want := map[string]int{"<|bos|>": c.BOS, "<|end|>": c.EOS, "<|pad|>": c.Pad, "<|system|>": 3, "<|user|>": 4, "<|assistant|>": 5}
	for content, id := range want {
		if got, ok := ids[content]; !ok || got != id {
			t.Errorf("%s is %d in tokenizer.json, want %d", content, got, id)
		}
	}
	if g.BOS != c.BOS || g.EOS != c.EOS || g.Pad != c.Pad {
		t.Errorf("generation_config.json %+v does not agree with config.json", g)
	}
	if len(tok.Model.Vocab) != c.Vocab {
		t.Errorf("vocabulary has %d tokens, config says %d", len(tok.Model.Vocab), c.Vocab)
	}
}

// TestTemplate checks that a chat template is there and names every role's token.
func TestTemplate(t *testing.T) {
	var c struct {
		Template string `json:"chat_template"`
		BOS      string `json:"bos_token"`
		EOS      string `json:"eos_token"`
	}
	read(t, "tokenizer_config.json", &c)
	for _, part := range []string{"add_generation_prompt", "<|assistant|>", "<|end|>", "bos_token"} {
		if !strings.Contains(c.Template, part) {
			t.Errorf("template lacks %s", part)
		}
	}
	if c.BOS != "<|bos|>" || c.EOS != "<|end|>" {
		t.Errorf("bos %q, eos %q", c.BOS, c.EOS)
	}
}

// TestWeights checks every tensor of the safetensors header against the shapes that config.json implies.
func TestWeights(t *testing.T) {
	var c config
	read(t, "config.json", &c)
	if len(c.Architectures) != 1 || c.Architectures[0] != "LlamaForCausalLM" || c.Context != 2048 {
		t.Errorf("architecture %v, context %d", c.Architectures, c.Context)
	}
	data, err := fs.ReadFile(FS(), "model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	size := binary.LittleEndian.Uint64(data)
	if size > uint64(len(data)-8) {
		t.Fatalf("header of %d bytes in a file of %d", size, len(data))
	}
	var header map[string]json.RawMessage
	if err := json.Unmarshal(data[8:8+size], &header); err != nil {
		t.Fatal(err)
	}
	delete(header, "__metadata__")
	var params int
	for name, raw := range header {
		var tensor struct {
			Dtype string
			Shape []int
		}
		if err := json.Unmarshal(raw, &tensor); err != nil || tensor.Dtype != "BF16" {
			t.Errorf("%s: %s %v", name, tensor.Dtype, err)
		}
		n := 1
		for _, d := range tensor.Shape {
			n *= d
		}
		params += n
	}
	kv := c.KVHeads * c.HeadDim
	layer := 2*c.Hidden + 2*c.Hidden*c.Heads*c.HeadDim + 2*c.Hidden*kv + 3*c.Hidden*c.Inner
	if want := c.Vocab*c.Hidden + c.Layers*layer + c.Hidden; params != want || len(header) != 2+9*c.Layers {
		t.Errorf("%d parameters in %d tensors, want %d", params, len(header), want)
	}
	if rest := len(data) - 8 - int(size); rest != 2*params {
		t.Errorf("%d bytes of tensors for %d parameters", rest, params)
	}
}

// TestGolden checks that the golden answers, made with transformers, fit this vocabulary and end where they should.
func TestGolden(t *testing.T) {
	var c config
	read(t, "config.json", &c)
	data, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct {
		Prompt, Answer string
		PromptIDs      []int `json:"prompt_ids"`
		AnswerIDs      []int `json:"answer_ids"`
	}
	if err := json.Unmarshal(data, &rows); err != nil || len(rows) < 5 {
		t.Fatalf("%d golden rows, %v", len(rows), err)
	}
	for _, r := range rows {
		if len(r.PromptIDs) == 0 || r.PromptIDs[0] != c.BOS || len(r.AnswerIDs) == 0 || r.AnswerIDs[len(r.AnswerIDs)-1] != c.EOS {
			t.Errorf("%q: begins or ends wrongly", r.Prompt)
		}
		for _, id := range append(r.PromptIDs, r.AnswerIDs...) {
			if id < 0 || id >= c.Vocab {
				t.Errorf("%q: token %d is outside the vocabulary", r.Prompt, id)
			}
		}
	}
}
