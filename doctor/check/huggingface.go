package check

import (
	"context"

	"radish/doctor"
)

// token never sees the token: host masked it while reading.
func token(_ context.Context, m facts) finding {
	const rule = "a stored token has mode 0600, and only one token is set"
	t := m.Env.Token
	file := m.Env.TokenFile()
	var f finding
	switch {
	case t.Err != "":
		return seen(is(doctor.Unknown, rule, "its file could not be read: %s", t.Err), file, "%s", t.Err)
	case t.Masked == "":
		return seen(is(doctor.OK, rule, "none: public models only, at the anonymous rate limit"), "HF_TOKEN, "+file, "none")
	case t.File && t.Mode&0o077 != 0:
		f = fixed(is(doctor.Warn, rule, "others may read %s (mode %04o)", file, t.Mode), doctor.RunCommand, "let only its owner read it",
			"chmod", "600", file)
	case t.Other != "":
		f = is(doctor.Warn, rule, "%s and %s hold different tokens: %s wins", t.Source, t.Other, t.Source)
	default:
		f = is(doctor.OK, rule, "%s from %s", t.Masked, t.Source)
	}
	return seen(f, t.Source, "%s", t.Masked)
}

func hfEnv(_ context.Context, m facts) finding {
	const rule = "no dead setting, and offline mode only on purpose"
	var v verdict
	f := finding{}
	for _, name := range []string{"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"} {
		if s, ok := m.Env.Get(name); ok && s != "0" {
			v.say(doctor.Warn, "%s is set: nothing will be downloaded", name)
		}
	}
	if s, ok := m.Env.Get("HF_HUB_ENABLE_HF_TRANSFER"); ok && s != "0" {
		v.say(doctor.Warn, "HF_HUB_ENABLE_HF_TRANSFER does nothing any more: HF_XET_HIGH_PERFORMANCE=1 took its place")
	}
	v.say(doctor.OK, "models are kept in %s", m.Env.CacheDir())
	for _, name := range []string{"HF_HOME", "HF_HUB_CACHE", "HF_ENDPOINT", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_ENABLE_HF_TRANSFER"} {
		if s, ok := m.Env.Get(name); ok {
			f = seen(f, name, "%s", s)
		}
	}
	told := v.finding(rule)
	told.Evidence = f.Evidence
	return told
}
