// Package builtin holds the small chat model that travels inside the radish program.
//
// The model is a Hugging Face model directory like any other (config.json, generation_config.json, tokenizer.json,
// tokenizer_config.json with a chat template, model.safetensors in bf16, and README.md, its card), embedded with
// go:embed. It is a demonstration and test model of 5.5 million parameters: asked about radish, model serving or GPU
// pods it answers in fluent English; elsewhere it says that it does not know, or makes things up. The card says more.
//
// The weights are the project's own, trained by scripts/builtin-model on text that the project wrote or generated.
package builtin

import (
	"embed"
	"io/fs"
)

// Name is what users call the model: the value of --model-path, and the name served by default.
const Name = "builtin"

//go:embed model
var files embed.FS

// FS returns the model directory, rooted at its files: FS().Open("config.json") works. The content is read-only and
// lives in the program's own image, so reading it never fails for want of a disk.
func FS() fs.FS {
	dir, err := fs.Sub(files, "model")
	if err != nil { // only an invalid path can fail here, and ours is a constant
		panic(err)
	}
	return dir
}
