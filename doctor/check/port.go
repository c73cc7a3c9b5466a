package check

import (
	"context"
	"strconv"

	"radish/doctor"
	"radish/doctor/host"
)

// wantedPort judges a real bind. It names the owner of a taken port and proposes a free one; nothing is ever ended.
func wantedPort(_ context.Context, m facts) finding {
	const rule = "bind on every address must succeed"
	if len(m.Ports) == 0 {
		return is(doctor.Unknown, rule, "no port was tried")
	}
	p := m.Ports[0]
	source := "bind :" + strconv.Itoa(p.Number)
	switch {
	case p.Err != "":
		return seen(is(doctor.Fail, rule, "port %d cannot be taken", p.Number), source, "%s", p.Err)
	case !p.Taken:
		return seen(is(doctor.OK, rule, "port %d is free", p.Number), source, "free")
	}
	f := seen(is(doctor.Fail, rule, "port %d is held by %s", p.Number, holder(p)), source, "address already in use")
	if p.Free == 0 {
		return f
	}
	n := strconv.Itoa(p.Free)
	return fixed(f, doctor.SetFlag, "leave it alone and use port "+n, "radish", "serve", "--port", n)
}

func holder(p host.Port) string {
	if p.Owner == nil {
		return "a process that cannot be seen from here"
	}
	return p.Owner.String()
}

// otherPorts only tells: 8888 is usually the Jupyter that the user works in.
func otherPorts(_ context.Context, m facts) finding {
	const rule = "told, not judged: radish does not use 8000 or 8888 unless asked"
	var v verdict
	for _, p := range m.Ports[min(1, len(m.Ports)):] {
		switch {
		case p.Err != "":
			v.say(doctor.Unknown, "%d: %s", p.Number, p.Err)
		case p.Taken:
			v.say(doctor.OK, "%d is held by %s: leave it", p.Number, holder(p))
		default:
			v.say(doctor.OK, "%d is free", p.Number)
		}
	}
	if v.state == "" {
		return is(doctor.Skipped, rule, "no other port was tried")
	}
	return v.finding(rule)
}
