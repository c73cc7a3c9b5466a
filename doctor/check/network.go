package check

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"radish/doctor"
	"radish/doctor/host"
)

// Thresholds of the network checks.
const (
	skewWarn = 30 * time.Second  // presigned links begin to fail
	skewFail = 300 * time.Second // TLS and tokens fail
)

// unasked is the answer of every check that needs the network while nobody asked for it.
func unasked(m facts, rule string) (finding, bool) {
	if m.Network.Asked {
		return finding{}, false
	}
	if m.Env.Offline() {
		return is(doctor.Skipped, rule, "Hugging Face clients are told to stay offline"), true
	}
	return is(doctor.Skipped, rule, "the network was not asked (--network)"), true
}

func dns(_ context.Context, m facts) finding {
	const rule = "the names of the hub and of the host behind a weight file's link must have addresses"
	if f, skip := unasked(m, rule); skip {
		return f
	}
	n := m.Network
	if n.Proxy != "" {
		return seen(is(doctor.Skipped, rule, "the proxy resolves names"), "proxy", "%s", n.Proxy)
	}
	f := is(doctor.OK, rule, "%d addresses", n.Resolved)
	switch {
	case n.DNS != "":
		f = fixed(is(doctor.Fail, rule, "%s has no address: %s", n.Endpoint, n.DNS), doctor.EditTemplate, "mend the pod's /etc/resolv.conf, or set HTTPS_PROXY")
	case n.CDN.DNS != "":
		f = fixed(is(doctor.Fail, rule, "%s, where the weights come from, has no address: %s", n.CDN.Host, n.CDN.DNS),
			doctor.EditTemplate, "let this host through, or mend the pod's /etc/resolv.conf")
	case n.Resolved == 0:
		return is(doctor.Unknown, rule, "the name was not looked up: %s", n.Hub.Err)
	}
	f = seen(f, n.Endpoint, "%s", orWell(n.DNS))
	if n.CDN.Host != "" {
		f = seen(f, n.CDN.Host, "%s", orWell(n.CDN.DNS))
	}
	return f
}

// reach judges the first answer of the hub: any answer of its own will do.
func reach(_ context.Context, m facts) finding {
	rule := fmt.Sprintf("the hub answers within %s", host.NetworkWait)
	if f, skip := unasked(m, rule); skip {
		return f
	}
	n := m.Network
	f := is(doctor.OK, rule, "%s answers", n.Endpoint)
	switch {
	case n.Hub.Authority:
		f = fixed(is(doctor.Fail, rule, "%s", n.Hub.Err), doctor.SetFlag, "name the authority's file in SSL_CERT_FILE, if this network inspects TLS")
	case n.Hub.Err != "" && n.Proxy != "":
		f = fixed(is(doctor.Fail, rule, "%s cannot be reached through the proxy %s: %s", n.Endpoint, n.Proxy, n.Hub.Err),
			doctor.SetFlag, "correct HTTPS_PROXY, or add the hub to NO_PROXY")
	case n.Hub.Err != "":
		f = fixed(is(doctor.Fail, rule, "the hub cannot be reached: %s", n.Hub.Err), doctor.SetFlag, "set HF_ENDPOINT to a mirror, HTTPS_PROXY to a proxy, or HF_HUB_OFFLINE=1")
	case n.Hub.Status >= http.StatusInternalServerError:
		f = is(doctor.Warn, rule, "the hub is in trouble itself (%d): try again later", n.Hub.Status)
	}
	f = seen(f, n.Endpoint+n.Hub.URL, "status %d %s", n.Hub.Status, n.Hub.Code)
	if n.Proxy != "" {
		f = seen(f, "proxy", "%s", n.Proxy)
	}
	return f
}

func whoami(_ context.Context, m facts) finding {
	const rule = "the hub knows the token (200)"
	if f, skip := unasked(m, rule); skip {
		return f
	}
	a := m.Network.Hub
	var f finding
	switch {
	case m.Env.Token.Masked == "":
		return is(doctor.Skipped, rule, "there is no token")
	case !a.WithToken:
		f = is(doctor.Warn, rule, "the token was not sent: %s is not https, and everybody on the way could read it", m.Network.Endpoint)
	case a.Status == http.StatusOK:
		f = is(doctor.OK, rule, "%s is valid", m.Env.Token.Masked)
	case a.Status == http.StatusUnauthorized:
		f = fixed(is(doctor.Fail, rule, "the hub does not accept the token: it was revoked, or is mistyped"), doctor.SetFlag,
			"make a new one at https://huggingface.co/settings/tokens and set HF_TOKEN")
	default:
		f = is(doctor.Unknown, rule, "the hub did not say: %d %s", a.Status, a.Err)
	}
	return seen(f, "GET "+a.URL+" with "+m.Env.Token.Source, "status %d", a.Status)
}

// access tells apart what the hub tells apart; without a token a private, a gated and a missing repository look alike.
func access(_ context.Context, m facts) finding {
	const rule = "config.json of the named repository may be read (200)"
	if m.Model == nil || m.Model.Repo == "" {
		return is(doctor.Skipped, rule, "no repository was named (--for ORG/MODEL)")
	}
	if f, skip := unasked(m, rule); skip {
		return f
	}
	a, repo := m.Network.Access, m.Model.Repo
	page := "https://huggingface.co/" + repo
	var f finding
	switch {
	case a.Status == http.StatusOK:
		f = is(doctor.OK, rule, "%s may be read", repo)
	case a.Status == http.StatusUnauthorized && a.BadToken:
		f = is(doctor.Fail, rule, "the hub does not accept the token")
	case a.Status == http.StatusUnauthorized && !a.WithToken:
		f = fixed(is(doctor.Fail, rule, "%s is missing, private or gated: without a token that cannot be told apart", repo), doctor.SetFlag,
			"check the name; if "+page+" asks to accept terms, accept them and set HF_TOKEN")
	case a.Status == http.StatusForbidden && a.Code == "GatedRepo":
		f = fixed(is(doctor.Fail, rule, "the terms of %s have not been accepted with this token's account", repo), doctor.SetFlag, "accept them at "+page)
	case a.Status == http.StatusForbidden:
		f = fixed(is(doctor.Fail, rule, "the token may not read %s", repo), doctor.SetFlag, "give the fine-grained token the right to read gated repositories")
	case a.Status == http.StatusNotFound, a.Status == http.StatusUnauthorized:
		f = is(doctor.Fail, rule, "%s is not there, or this token may not see it (%s)", repo, orNone(a.Code))
	default:
		f = is(doctor.Unknown, rule, "the hub did not say: %d %s", a.Status, a.Err)
	}
	return seen(f, "GET "+orNone(a.URL), "status %d %s", a.Status, a.Code)
}

// rateLimit compares what is left with what a download needs: one request for each file and one for the list.
func rateLimit(_ context.Context, m facts) finding {
	const rule = "requests left >= files to fetch + 1; without a token 500 in 5 minutes for everybody behind one address"
	if f, skip := unasked(m, rule); skip {
		return f
	}
	r := m.Network.Rate
	need := 1
	if m.Model != nil && m.Model.Remote != nil {
		need += m.Model.Remote.Files
	}
	limited := m.Network.Hub.Status == http.StatusTooManyRequests
	if !r.Known && !limited {
		return is(doctor.Skipped, rule, "the hub does not tell its limit")
	}
	f := is(doctor.OK, rule, "%d requests left for %d s", r.Remaining, r.Reset)
	if limited || r.Remaining < need {
		f = fixed(is(doctor.Warn, rule, "%d requests left for the next %d s, %d are needed", r.Remaining, r.Reset, need), doctor.SetFlag,
			"wait, or set HF_TOKEN: an account has a limit of its own")
	}
	return seen(f, "ratelimit", "r=%d t=%d", r.Remaining, r.Reset)
}

// offline fails before a server waits for what it may not fetch.
func offline(_ context.Context, m facts) finding {
	const rule = "in offline mode the named model must be here, whole"
	if m.Model == nil || !m.Env.Offline() {
		return is(doctor.Skipped, rule, "not offline, or no model was named")
	}
	x := m.Model
	switch {
	case x.Dir == "":
		return fixed(is(doctor.Fail, rule, "%s is not in the cache and may not be fetched", x.Repo), doctor.SetFlag, "unset HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE")
	case len(x.Missing) > 0:
		return fixed(is(doctor.Fail, rule, "%d files are missing and may not be fetched: %s", len(x.Missing), strings.Join(x.Missing[:min(3, len(x.Missing))], ", ")),
			doctor.SetFlag, "unset HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE")
	}
	return is(doctor.OK, rule, "it is here")
}
