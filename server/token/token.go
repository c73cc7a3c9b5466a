// Package token turns text into the model's tokens and back, from the files that every Hugging Face model carries:
// tokenizer.json, and beside it tokenizer_config.json, special_tokens_map.json, generation_config.json, config.json
// and chat_template.jinja.
//
// Two families are known. Byte-level BPE (GPT-2, Llama 3, Qwen 2 and 3) cuts text into words by a pattern and merges
// bytes. Sentencepiece-style BPE (Llama 2, Mistral, Gemma) writes spaces as "▁" and merges characters, with
// byte pieces <0x00>..<0xFF> for characters outside the vocabulary. Whatever a file asks for beyond what this package
// implements is refused by Load in one sentence that names it; nothing is guessed. The behaviour to match is that of
// the tokenizers library (https://github.com/huggingface/tokenizers) as transformers configures it.
//
//	t, err := token.Load(os.DirFS("models/llama"))
//	ids, err := t.Encode("Hello", token.EncodeOptions{AddSpecial: true})
//	d := t.NewDecoder(true)
//	for _, id := range ids {
//		fmt.Print(d.Push(id))
//	}
//	fmt.Print(d.Flush())
//
// A control token (<|eot_id|>, <s>: "special" in the files) ends turns and switches roles, so text from a user must
// never become one. Encode therefore reads the spelling of a control token as plain text unless the bytes lie in a
// range that the caller vouches for (EncodeOptions.Control), which is the text that the chat template wrote. Ranges
// change nothing else: no merge stops at their borders. Added tokens that are not special (Qwen's <think>) are
// ordinary vocabulary and match everywhere, as they do in transformers.
//
// Text must be valid UTF-8; anything else is an error, never a silent U+FFFD. All sizes read from files are bounded
// before they size anything, and the work of Encode is O(n log n) in the longest word.
//
// The judges are the tokenizers library 0.23.3 and llama.cpp's public vectors; testdata/README.md says where they come
// from and how they are made again. With the full vocabularies of Llama 3, Qwen 2, Llama 2 and Gemma, 2,202 texts each
// (4 MB of documentation, and random mixtures of scripts) gave 5.5 million tokens without a difference.
//
// Measured on 2026-11-24 on two cores of a Sapphire Rapids virtual machine that others used too (Encode runs on one),
// with the full vocabularies and 15.6 MB of English documentation without repeated lines:
//
//	                     Llama 3        Qwen 2        Llama 2
//	Load                 0.15-0.30 s    0.13-0.22 s   0.03 s     the file has 9.1, 8.9 and 2.7 MB
//	Encode               22-34 MB/s     21-26 MB/s    14 MB/s    the target is 8
//	word, 16,000 letters 3-4 ms         3-4 ms        3-7 ms     random letters; the target is 20 ms
//	word, 1 Mi letters   0.45-0.78 s    0.45-0.76 s   0.41 s
//
// The benchmarks repeat this on the reduced vocabularies of testdata: go test -bench . ./server/token
package token

import (
	"errors"
	"sync"

	"radish/server/seq"
)

// Errors that Load and Encode wrap; test them with errors.Is.
var (
	ErrUnsupported = errors.New("unsupported tokenizer")      // the files ask for something this package does not do
	ErrMalformed   = errors.New("malformed tokenizer file")   // the files contradict themselves or exceed a limit
	ErrInvalidUTF8 = errors.New("text is not valid UTF-8")    // Encode only
	ErrTooLong     = errors.New("text has too many tokens")   // more than EncodeOptions.Max, or text over MaxText
	ErrRange       = errors.New("control range outside text") // EncodeOptions.Control is not sorted or not inside
)

// MaxText is the longest text in bytes that Encode accepts.
const MaxText = 64 << 20

// Tokenizer encodes and decodes for one model. It is immutable after Load and safe for concurrent use.
type Tokenizer struct {
	pieces  []string         // spelling by id; "" where no token has that id
	ids     map[string]int32 // the inverse
	special []bool           // control tokens, by id
	raw     *addedSet        // added tokens that match the text itself
	normed  *addedSet        // added tokens that match the normalized text
	norm    normalizers
	stages  []stage // pre-tokenizer
	bpe     *bpe
	dec     decoding
	prefix  []seq.Token // added in front by the post-processor
	suffix  []seq.Token // added at the end
	conf    config
	pool    sync.Pool // of *encoder
}

// Range is the half-open range of bytes [From, To) of a text.
type Range struct{ From, To int }

// EncodeOptions says how Encode reads a text. The zero value reads all of it as plain text.
type EncodeOptions struct {
	AddSpecial bool    // add what the post-processor adds, such as BOS
	Control    []Range // sorted, disjoint ranges of the text whose control tokens count; elsewhere they are plain text
	AllControl bool    // control tokens count everywhere
	Max        int     // > 0: give up with ErrTooLong once the text certainly has more tokens
}

// Template is one chat template as the files hold it: Jinja source, not interpreted here.
type Template struct{ Name, Source string }
