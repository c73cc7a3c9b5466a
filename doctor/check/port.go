package check

import (
	"context"
	"fmt"
	"strconv"
	"strings"

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
	if p.Owner == nil && p.Speaks != "" {
		return "a process that cannot be seen from here; it answers as " + p.Speaks
	}
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

// proxyLimit is after how many seconds of silence RunPod's HTTP proxy cuts a request (docs.runpod.io, expose ports).
const proxyLimit = 100

// exposed tells how a server on this port is reached from outside the pod. Addresses stay as variables: RunPod's
// documentation calls the pod's id a password of sorts.
func exposed(_ context.Context, m facts) finding {
	rule := fmt.Sprintf("the platform must map the port; RunPod's HTTP proxy cuts what is silent for %d s (524)", proxyLimit)
	p := m.Env.Platform
	if p.Name == "" || len(m.Ports) == 0 {
		return is(doctor.Skipped, rule, "no pod platform that radish knows")
	}
	n := m.Ports[0].Number
	address := map[string]string{"runpod": "$RUNPOD_PUBLIC_IP", "vast": "$PUBLIC_IPADDR"}[p.Name]
	if out, ok := p.Exposed[n]; ok {
		return seen(is(doctor.OK, rule, "port %d is %s:%d outside, over TCP without a proxy", n, address, out), p.Name+"'s variables", "%d -> %d", n, out)
	}
	if p.Name == "runpod" {
		f := is(doctor.Unknown, rule, "port %d is not mapped over TCP; if it is exposed over HTTP, which cannot be seen from here, it is "+
			"https://${RUNPOD_POD_ID}-%d.proxy.runpod.net: stream answers, or they are cut", n, n)
		f = fixed(f, doctor.EditTemplate, fmt.Sprintf("expose port %d in the pod's settings, over TCP for answers that take long", n))
		return seen(f, "RUNPOD_TCP_PORT_*", "%d ports, not this one", len(p.Exposed))
	}
	f := fixed(is(doctor.Warn, rule, "port %d is not mapped: it cannot be reached from outside", n), doctor.EditTemplate, fmt.Sprintf("add -p %d:%d to the instance's options", n, n))
	return seen(f, "VAST_TCP_PORT_*", "%d ports, not this one", len(p.Exposed))
}

// listen judges the address that a server would listen on (--host).
func listen(_ context.Context, m facts) finding {
	const rule = "127.0.0.1 is for this machine; any other address needs a key"
	address, pod := m.Self.Host, m.Env.Platform.Name != ""
	local := address == "" || address == "localhost" || strings.HasPrefix(address, "127.") || address == "::1"
	var f finding
	switch {
	case !local && !m.Env.ServeKey:
		f = fixed(is(doctor.Warn, rule, "%s is public and there is no key: radish serve will refuse without --api-key", address), doctor.SetFlag, "give it a key",
			"radish", "serve", "--host", address, "--api-key", "$KEY")
	case !local:
		f = is(doctor.OK, rule, "%s, with a key", address)
	case pod && address != "":
		f = fixed(is(doctor.Warn, rule, "%s cannot be reached from outside the pod", address), doctor.SetFlag, "listen on every address, with a key",
			"radish", "serve", "--host", "0.0.0.0", "--api-key", "$KEY")
	case pod:
		f = is(doctor.OK, rule, "radish serve listens on 127.0.0.1 unless told otherwise; for the pod's proxy it needs --host 0.0.0.0 and --api-key")
	default:
		f = is(doctor.OK, rule, "only this machine")
	}
	return seen(seen(f, "--host", "%s", orNone(address)), "RADISH_API_KEY", "set %t", m.Env.ServeKey)
}

// otherServers names the model servers that already run here.
func otherServers(_ context.Context, m facts) finding {
	const rule = "no other model server on this machine"
	if m.Others.Err != "" {
		return is(doctor.Unknown, rule, "%s", m.Others.Err)
	}
	v := verdict{}
	v.say(doctor.OK, "none")
	f := finding{}
	for _, p := range m.Others.List {
		if p.Engine == "" || p.Worker {
			continue
		}
		model := ""
		if p.Model != "" {
			model = " with " + p.Model
		}
		v.say(doctor.Warn, "%s%s: %s", p.Engine, model, p.Owner)
		f = seen(f, fmt.Sprintf("/proc/%d/cmdline", p.PID), "%s", p.Name)
	}
	told := v.finding(rule)
	told.Evidence = f.Evidence
	return told
}
