package token

import (
	"io/fs"

	"radish/server/seq"
)

// Load reads a tokenizer from the files at the root of fsys.
func Load(fsys fs.FS) (*Tokenizer, error) { return nil, ErrUnsupported }

// Encode turns text into tokens.
func (t *Tokenizer) Encode(text string, o EncodeOptions) ([]seq.Token, error) { return nil, nil }

// Decode turns tokens into text; skipSpecial leaves control tokens out.
func (t *Tokenizer) Decode(ids []seq.Token, skipSpecial bool) string { return "" }

// TokenBytes is what one token adds to the text, before any invalid UTF-8 is replaced; nil for an unknown id.
func (t *Tokenizer) TokenBytes(id seq.Token) []byte { return nil }

// ID finds a token by its spelling in tokenizer.json.
func (t *Tokenizer) ID(piece string) (seq.Token, bool) { return 0, false }

// Piece is a token's spelling in tokenizer.json, the inverse of ID.
func (t *Tokenizer) Piece(id seq.Token) (string, bool) { return "", false }

// VocabSize is one more than the largest token id.
func (t *Tokenizer) VocabSize() int { return 0 }

// IsSpecial reports whether id is a control token.
func (t *Tokenizer) IsSpecial(id seq.Token) bool { return false }

// BOS is the token that begins a text, if the model has one.
func (t *Tokenizer) BOS() (seq.Token, bool) { return 0, false }

// EOS are the tokens that end a generation.
func (t *Tokenizer) EOS() []seq.Token { return nil }

// ChatTemplate is the default chat template's source.
func (t *Tokenizer) ChatTemplate() (string, bool) { return "", false }

// Templates are all chat templates; the default one, named "default", comes first.
func (t *Tokenizer) Templates() []Template { return nil }

// SpecialText is the spelling of a token that tokenizer_config.json names: "bos_token", "eos_token", "unk_token",
// "pad_token" and so on; empty if it names none.
func (t *Tokenizer) SpecialText(name string) string { return "" }

// Decoder turns a stream of tokens into text and never emits half a character.
type Decoder struct{}

// NewDecoder starts a stream; skipSpecial leaves control tokens out.
func (t *Tokenizer) NewDecoder(skipSpecial bool) *Decoder { return &Decoder{} }

// Push takes the next token and returns the text that became certain.
func (d *Decoder) Push(id seq.Token) string { return "" }

// Flush returns what was held back, incomplete bytes as U+FFFD.
func (d *Decoder) Flush() string { return "" }

// Reset begins a new stream that continues after the prompt's tokens (none: at the beginning of a text).
func (d *Decoder) Reset(prompt ...seq.Token) {}
