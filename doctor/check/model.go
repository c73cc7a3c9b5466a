package check

import (
	"context"
	"strings"

	"radish/doctor"
)

func modelFiles(_ context.Context, m facts) finding {
	const rule = "config.json, a tokenizer, at least 1 safetensors file, every shard of the index, no Git LFS pointer"
	x := m.Model
	if x == nil {
		return is(doctor.Skipped, rule, "no model was named (--for DIR)")
	}
	var v verdict
	switch {
	case strings.Contains(x.Err, "no answer within"):
		v.say(doctor.Unknown, "%s", x.Err)
	case x.Err != "":
		v.say(doctor.Fail, "%s", x.Err)
	default:
		v.say(doctor.OK, "%s, %d files of weights, %s", orNone(x.Kind), x.Weights, bytesText(x.Bytes))
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
	return seen(v.finding(rule), x.Dir, "model_type %q, %d files, %d bytes", x.Kind, x.Weights, x.Bytes)
}

// modelFit counts by file size: the weights, a tenth more for buffers and 1 GiB for the KV pool.
func modelFit(_ context.Context, m facts) finding {
	const rule = "1.1 x weights + 1 GiB <= available memory; < 1.5 x that is a warning"
	if m.Model == nil || m.Memory.Err != "" {
		return is(doctor.Unknown, rule, "the model or the memory could not be read")
	}
	need, have := m.Model.Bytes+m.Model.Bytes/10+gib, m.Memory.Available()
	var f finding
	switch {
	case need > have:
		f = fixed(is(doctor.Fail, rule, "needs about %s, %s are available", bytesText(need), bytesText(have)),
			doctor.SetFlag, "choose a smaller model, or a machine with more memory")
	case need+need/2 > have:
		f = is(doctor.Warn, rule, "needs about %s of %s: little is left for the KV pool", bytesText(need), bytesText(have))
	default:
		f = is(doctor.OK, rule, "needs about %s of %s", bytesText(need), bytesText(have))
	}
	f = seen(f, m.Model.Dir, "%d bytes of weights", m.Model.Bytes)
	return seen(f, m.Memory.Source, "%d bytes available", have)
}
