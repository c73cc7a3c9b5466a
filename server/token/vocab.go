package token

import (
	"slices"

	"radish/server/seq"
)

// ID finds a token by its spelling in tokenizer.json.
func (t *Tokenizer) ID(piece string) (seq.Token, bool) {
	id, ok := t.ids[piece]
	return seq.Token(id), ok
}

// Piece is a token's spelling in tokenizer.json, the inverse of ID.
func (t *Tokenizer) Piece(id seq.Token) (string, bool) {
	if !t.known(id) {
		return "", false
	}
	return t.pieces[id], true
}

// known reports whether a token has that id.
func (t *Tokenizer) known(id seq.Token) bool {
	return id >= 0 && int(id) < len(t.pieces) && t.pieces[id] != ""
}

// VocabSize is one more than the largest token id. A model's logits may be more, padded to a round number.
func (t *Tokenizer) VocabSize() int { return len(t.pieces) }

// IsSpecial reports whether id is a control token.
func (t *Tokenizer) IsSpecial(id seq.Token) bool { return t.isSpecial(int32(id)) }

func (t *Tokenizer) isSpecial(id int32) bool {
	return id >= 0 && int(id) < len(t.special) && t.special[id]
}

// BOS is the token that begins a text, if the model has one.
func (t *Tokenizer) BOS() (seq.Token, bool) { return t.ID(t.conf.named["bos_token"]) }

// EOS are the tokens that end a generation: eos_token and the ids of generation_config.json, or of config.json where
// that file is missing. Ids outside the vocabulary are left out.
func (t *Tokenizer) EOS() []seq.Token {
	var out []seq.Token
	if id, ok := t.ID(t.conf.named["eos_token"]); ok {
		out = append(out, id)
	}
	for _, id := range t.conf.eos {
		if t.known(id) && !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}

// ChatTemplate is the source of the default chat template, if the model has one.
func (t *Tokenizer) ChatTemplate() (string, bool) {
	if len(t.conf.templates) == 0 || t.conf.templates[0].Name != "default" {
		return "", false
	}
	return t.conf.templates[0].Source, true
}

// Templates are all chat templates, the default one, named "default", first.
func (t *Tokenizer) Templates() []Template { return slices.Clone(t.conf.templates) }

// SpecialText is the spelling of a token that the configuration names: "bos_token", "eos_token", "unk_token",
// "pad_token" and so on; empty if it names none.
func (t *Tokenizer) SpecialText(name string) string { return t.conf.named[name] }
