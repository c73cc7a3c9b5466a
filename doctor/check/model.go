package check

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"radish/doctor"
	"radish/doctor/host"
)

// Figures of the memory plans, from what engines take beside weights and KV: activations, graphs, the driver's context.
const (
	cardOverhead = 3 * gib / 2
	poolMin      = gib
	loadExtra    = 4 * gib
)

func modelFiles(_ context.Context, m facts) finding {
	const rule = "config.json, a tokenizer, at least 1 safetensors file, every shard of the index, no Git LFS pointer"
	x := m.Model
	if x == nil {
		return is(doctor.Skipped, rule, "no model was named (--for DIR, --for ORG/MODEL)")
	}
	if x.Dir == "" && x.Err == "" {
		return elsewhere(m, rule)
	}
	var v verdict
	switch {
	case strings.Contains(x.Err, "no answer within"):
		v.say(doctor.Unknown, "%s", x.Err)
	case x.Err != "":
		v.say(doctor.Fail, "%s", x.Err)
	default:
		localFiles(&v, x)
	}
	return seen(v.finding(rule), x.Dir, "model_type %q, %d files, %d bytes", kind(x), x.Weights, x.Bytes)
}

func localFiles(v *verdict, x *host.Model) {
	v.say(doctor.OK, "%s, %d files of weights, %s", orNone(kind(x)), x.Weights, bytesText(x.Bytes))
	if x.Problem != "" {
		v.say(doctor.Fail, "%s", x.Problem)
	}
	if x.Weights == 0 {
		v.say(doctor.Fail, "no safetensors file")
	}
	if !x.Tokens {
		v.say(doctor.Fail, "no tokenizer.json or tokenizer.model")
	}
	if len(x.Missing) > 0 {
		v.say(doctor.Fail, "%d files are missing, the first is %s", len(x.Missing), x.Missing[0])
	}
	if len(x.Pointers) > 0 {
		v.say(doctor.Fail, "%s is a Git LFS pointer, not the file", x.Pointers[0])
	}
}

// elsewhere is a repository that the cache does not hold: what the hub has of it decides.
func elsewhere(m facts, rule string) finding {
	x := m.Model
	source := filepath.Join(m.Env.CacheDir(), "models--"+strings.ReplaceAll(x.Repo, "/", "--"))
	var f finding
	switch r := x.Remote; {
	case r == nil:
		f = is(doctor.Unknown, rule, "%s is no directory and not in the cache, and the hub was not asked", x.Repo)
	case r.Err != "":
		f = is(doctor.Unknown, rule, "%s is no directory and not in the cache: %s", x.Repo, r.Err)
	case r.Weights == 0:
		f = is(doctor.Fail, rule, "%s has no safetensors file", x.Repo)
	case r.Config == nil:
		f = is(doctor.Fail, rule, "%s has no readable config.json", x.Repo)
	default:
		f = seen(is(doctor.OK, rule, "%s is not here yet: %d files, %s to fetch", x.Repo, r.Files, bytesText(r.Bytes)), "the hub's list",
			"%d files, %d bytes, %d of weights", r.Files, r.Bytes, r.Weights)
		f = fixed(f, doctor.RunCommand, "radish pull "+x.Repo+" fetches it")
	}
	return seen(f, source, "no snapshot of main")
}

// config is the model's shape, from the disk or from the hub; never nil.
func config(x *host.Model) *host.Config {
	switch {
	case x == nil:
	case x.Config != nil:
		return x.Config
	case x.Remote != nil && x.Remote.Config != nil:
		return x.Remote.Config
	}
	return &host.Config{}
}

func kind(x *host.Model) string { return config(x).Kind }

// weights is the size of the model's tensors in bytes, 0 if it is not known.
func weights(x *host.Model) uint64 {
	switch {
	case x == nil:
		return 0
	case x.Bytes == 0 && x.Remote != nil:
		return x.Remote.Weights
	}
	return x.Bytes
}

func modelHeaders(_ context.Context, m facts) finding {
	const rule = "8 bytes of length, JSON, and offsets that end where the file ends"
	x := m.Model
	if x == nil || x.Dir == "" {
		return is(doctor.Skipped, rule, "no files here")
	}
	if len(x.Broken) > 0 {
		f := is(doctor.Fail, rule, "%d files are damaged, the first is %s", len(x.Broken), x.Broken[0])
		return fixed(seen(f, x.Dir, "%s", strings.Join(x.Broken[:min(5, len(x.Broken))], "; ")), doctor.RunCommand, "fetch these files again; in the cache, radish models verify --fix and radish pull do")
	}
	return seen(is(doctor.OK, rule, "%d files", x.Weights), x.Dir, "every header fits its file")
}

// modelDisk compares what is still to be fetched with the room that the cache has.
func modelDisk(_ context.Context, m facts) finding {
	const rule = "free >= bytes to fetch + the larger of 2 GiB and 2 %"
	if m.Model == nil || m.Model.Remote == nil {
		return is(doctor.Skipped, rule, "nothing is to be fetched, as far as is known")
	}
	if len(m.Disks) == 0 || m.Disks[0].Err != "" {
		return is(doctor.Unknown, rule, "the cache's filesystem could not be read")
	}
	r, d := m.Model.Remote, m.Disks[0]
	if r.Err != "" {
		return is(doctor.Unknown, rule, "%s", r.Err)
	}
	rest := r.Bytes - min(r.Bytes, m.Model.Bytes)
	if rest == 0 {
		return is(doctor.OK, rule, "nothing is to be fetched")
	}
	need := rest + max(2*gib, rest/50)
	f := is(doctor.OK, rule, "%s to fetch, %s free", bytesText(rest), bytesText(d.Free))
	if d.Free < need {
		f = fixed(is(doctor.Fail, rule, "%s are needed, %s are free", bytesText(need), bytesText(d.Free)), doctor.SetFlag, "set HF_HOME to a larger volume, or make room (disk.junk)")
	}
	return seen(seen(f, "the hub's list", "%d bytes", r.Bytes), "statfs "+d.Asked, "%d bytes free", d.Free)
}

// modelFit counts by file size. On the CPU: the weights, a tenth more for buffers and 1 GiB for the KV pool. On a card
// the machine's memory only passes the weights on, a file at a time.
func modelFit(_ context.Context, m facts) finding {
	const rule = "on the CPU: 1.1 x weights + 1 GiB <= available memory; on a card: 1.1 x largest file + 4 GiB; < 1.5 x that is a warning"
	size := weights(m.Model)
	if size == 0 || m.Memory.Err != "" {
		return is(doctor.Unknown, rule, "the model or the memory could not be read")
	}
	need, have := size+size/10+poolMin, m.Memory.Available()
	left := "little is left for the KV pool"
	if len(m.NVIDIA.CUDA.Devices) > 0 && len(m.Self.Kernels) > 0 {
		need, left = largest(m.Model)+largest(m.Model)/10+loadExtra, "loading will be slow"
	}
	var f finding
	switch {
	case need > have:
		f = fixed(is(doctor.Fail, rule, "needs about %s, %s are available", bytesText(need), bytesText(have)),
			doctor.SetFlag, "choose a smaller model, or a machine with more memory")
	case need+need/2 > have:
		f = is(doctor.Warn, rule, "needs about %s of %s: %s", bytesText(need), bytesText(have), left)
	default:
		f = is(doctor.OK, rule, "needs about %s of %s", bytesText(need), bytesText(have))
	}
	f = seen(f, where(m.Model), "%d bytes of weights, the largest file %d", size, largest(m.Model))
	return seen(f, m.Memory.Source, "%d bytes available", have)
}

func largest(x *host.Model) uint64 {
	if x.Bytes == 0 && x.Remote != nil {
		return x.Remote.Largest
	}
	return x.Largest
}

func where(x *host.Model) string {
	if x.Dir == "" {
		return x.Repo
	}
	return x.Dir
}

// modelVRAM plans one card: weights, what an engine takes besides, and the rest for the KV pool.
func modelVRAM(_ context.Context, m facts) finding {
	const rule = "on one card: weights + 1.5 GiB + 1 GiB of KV pool <= free memory; the rest is context"
	c, size := config(m.Model), weights(m.Model)
	room, index := roomiest(m)
	if size == 0 || room == 0 {
		return is(doctor.Unknown, rule, "the model's size or the cards' memory could not be read")
	}
	need := size + cardOverhead
	per := c.KVBytes()
	var f finding
	switch {
	case need+poolMin > room:
		f = is(doctor.Fail, rule, "needs %s, gpu %d has %s free", bytesText(need+poolMin), index, bytesText(room))
		f = fixed(f, doctor.SetFlag, "choose a quantised or smaller model, a larger card, or an engine that spreads it over several (model.tp)")
	case per == 0:
		f = is(doctor.OK, rule, "fits on gpu %d; config.json does not tell what a token takes", index)
	default:
		tokens := (room - need) / per
		f = is(doctor.OK, rule, "fits on gpu %d and leaves %d tokens of context for all requests together", index, tokens)
		if c.Positions > 0 && tokens < uint64(c.Positions) {
			f = fixed(is(doctor.Warn, rule, "fits on gpu %d, but one request can have %d tokens at most, not the model's %d", index, tokens, c.Positions),
				doctor.SetFlag, "limit the context", "radish", "serve", "--context-length", fmt.Sprint(tokens/16*16))
		}
		f = seen(f, "config.json", "%d bytes of KV per token in 16 bits", per)
	}
	f = seen(f, where(m.Model), "%d bytes of weights", size)
	return seen(f, card(index), "%d bytes free", room)
}

// roomiest is the most memory that one card, or one instance of a card that is cut, has free.
func roomiest(m facts) (free uint64, index int) {
	for _, c := range m.NVIDIA.NVML.Cards {
		have := c.MemoryFree
		if c.MIG.On {
			have = c.MIG.Memory
		}
		if have > free {
			free, index = have, c.Index
		}
	}
	return free, index
}

// needsSM is the first architecture that computes a number type natively (doctor's table of cards).
var needsSM = []struct {
	word string
	sm   int
	fix  string
}{
	{"nvfp4", 100, "choose an fp8, awq or gptq version for this card"},
	{"mxfp4", 100, "engines may unpack it to bf16 here: slower, and more memory"},
	{"fp8", 89, "engines may unpack it to bf16 here: slower, and more memory"},
	{"bfloat16", 80, "load it as float16"},
}

func modelType(_ context.Context, m facts) finding {
	const rule = "bfloat16 needs sm_80, fp8 sm_89, 4-bit floats sm_100; below that a quantised type is a warning, bfloat16 fails"
	c := config(m.Model)
	told := strings.ToLower(c.Quant.Method + " " + c.Type())
	if strings.TrimSpace(told) == "" {
		return is(doctor.Unknown, rule, "config.json does not tell the type")
	}
	lowest := 0
	for _, g := range m.NVIDIA.NVML.Cards {
		if sm := g.Major*10 + g.Minor; sm > 0 && (lowest == 0 || sm < lowest) {
			lowest = sm
		}
	}
	if lowest == 0 {
		return is(doctor.Unknown, rule, "the cards' architecture could not be read")
	}
	f := is(doctor.OK, rule, "%s on sm_%d", strings.TrimSpace(told), lowest)
	for _, n := range needsSM {
		if strings.Contains(told, n.word) && lowest < n.sm {
			state := doctor.Warn
			if n.word == "bfloat16" {
				state = doctor.Fail
			}
			f = fixed(is(state, rule, "%s is not native on sm_%d, it needs sm_%d", n.word, lowest, n.sm), doctor.SetFlag, n.fix)
			break
		}
	}
	return seen(f, "config.json", "quant_method %q, dtype %q", c.Quant.Method, c.Type())
}

// modelSpread tells by which numbers of cards the heads can be divided.
func modelSpread(_ context.Context, m facts) finding {
	const rule = "tensor parallelism must divide the attention heads, and divide or be divided by the KV heads"
	c, cards := config(m.Model), len(m.NVIDIA.NVML.Cards)
	kv := c.KVHeads
	if kv == 0 {
		kv = c.Heads
	}
	if c.Heads <= 0 || kv <= 0 || c.Heads > 1<<16 {
		return is(doctor.Unknown, rule, "config.json does not tell the heads")
	}
	var fits []string
	for n := 1; n <= max(8, cards); n++ {
		if c.Heads%n == 0 && (kv%n == 0 || n%kv == 0) {
			fits = append(fits, fmt.Sprint(n))
		}
	}
	f := is(doctor.OK, rule, "1 card, or engines that can: %s", strings.Join(fits, ", "))
	if cards > 1 && !slices.Contains(fits, fmt.Sprint(cards)) {
		f = is(doctor.Warn, rule, "it cannot be spread over all %d cards, only over %s", cards, strings.Join(fits, ", "))
	}
	return seen(f, "config.json", "%d heads, %d KV heads", c.Heads, kv)
}
