package check

import (
	"testing"
	"time"

	"radish/doctor"
	"radish/doctor/host"
)

func onNetwork(n host.Network) *host.Facts {
	n.Asked, n.Endpoint = true, "https://hub"
	return &host.Facts{Network: n, Time: time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC), Env: host.Env{Token: host.Token{Masked: "hf_...abcd", Source: "HF_TOKEN"}}}
}

func TestNetworkRows(t *testing.T) {
	whois := func(status int, sent bool) *host.Facts {
		return onNetwork(host.Network{Hub: host.Answer{Status: status, WithToken: sent}})
	}
	to := func(a host.Answer) *host.Facts {
		m := onNetwork(host.Network{Access: a})
		m.Model = &host.Model{Repo: "a/x"}
		return m
	}
	left := func(known bool, r, status, files int) *host.Facts {
		m := onNetwork(host.Network{Rate: host.Rate{Known: known, Remaining: r}, Hub: host.Answer{Status: status}})
		m.Model = &host.Model{Remote: &host.Remote{Files: files}}
		return m
	}
	skewed := func(d time.Duration) *host.Facts { return onNetwork(host.Network{Dated: true, Skew: d}) }
	noToken := whois(200, false)
	noToken.Env.Token = host.Token{}
	judge(t, []judged{
		{"not asked", dns, &host.Facts{}, doctor.Skipped, "--network"},
		{"dns", dns, onNetwork(host.Network{Resolved: 2}), doctor.OK, "2 addresses"},
		{"dns", dns, onNetwork(host.Network{DNS: "no such host"}), doctor.Fail, "no such host"},
		{"dns", dns, onNetwork(host.Network{Resolved: 1, CDN: host.CDN{Host: "cdn", DNS: "no such host"}}), doctor.Fail, "cdn, where the weights"},
		{"dns", dns, onNetwork(host.Network{Proxy: "p:1"}), doctor.Skipped, "proxy"},
		{"dns", dns, onNetwork(host.Network{}), doctor.Unknown, ""},
		{"reach", reach, whois(401, true), doctor.OK, ""},
		{"reach", reach, whois(503, true), doctor.Warn, "503"},
		{"reach", reach, onNetwork(host.Network{Hub: host.Answer{Err: "refused"}}), doctor.Fail, "refused"},
		{"reach", reach, onNetwork(host.Network{Proxy: "p:1", Hub: host.Answer{Err: "refused"}}), doctor.Fail, "through the proxy p:1"},
		{"reach", reach, onNetwork(host.Network{Hub: host.Answer{Err: "unknown authority", Authority: true}}), doctor.Fail, "authority"},
		{"token", whoami, whois(200, true), doctor.OK, "hf_...abcd is valid"},
		{"token", whoami, whois(401, true), doctor.Fail, "revoked"},
		{"token", whoami, whois(429, true), doctor.Unknown, "429"},
		{"token", whoami, whois(200, false), doctor.Warn, "not sent"},
		{"token", whoami, noToken, doctor.Skipped, "no token"},
		{"token's file", token, &host.Facts{Env: host.Env{Token: host.Token{Err: "no answer within 500ms"}}}, doctor.Unknown, "no answer"},
		{"access", access, onNetwork(host.Network{}), doctor.Skipped, "no repository"},
		{"access", access, to(host.Answer{Status: 200}), doctor.OK, ""},
		{"access", access, to(host.Answer{Status: 401}), doctor.Fail, "missing, private or gated"},
		{"access", access, to(host.Answer{Status: 401, BadToken: true, WithToken: true}), doctor.Fail, "does not accept"},
		{"access", access, to(host.Answer{Status: 403, Code: "GatedRepo", WithToken: true}), doctor.Fail, "terms of a/x"},
		{"access", access, to(host.Answer{Status: 403, WithToken: true}), doctor.Fail, "may not read"},
		{"access", access, to(host.Answer{Status: 404, Code: "RepoNotFound"}), doctor.Fail, "RepoNotFound"},
		{"access", access, to(host.Answer{Err: "refused"}), doctor.Unknown, "refused"},
		{"rate", rateLimit, left(false, 0, 200, 5), doctor.Skipped, ""},
		{"rate", rateLimit, left(true, 6, 200, 5), doctor.OK, ""},
		{"rate", rateLimit, left(true, 5, 200, 5), doctor.Warn, "6 are needed"},
		{"rate", rateLimit, left(false, 0, 429, 5), doctor.Warn, ""},
		{"clock", clock, skewed(-30 * time.Second), doctor.OK, ""},
		{"clock", clock, skewed(31 * time.Second), doctor.Warn, "31s"},
		{"clock", clock, skewed(-301 * time.Second), doctor.Fail, ""},
	})
}

func TestOffline(t *testing.T) {
	m := h100()
	m.env = append(m.env, "HF_HUB_OFFLINE=1")
	m.model = "org/name"
	f := m.read(t)
	judge(t, []judged{
		{"not here", offline, f, doctor.Fail, "org/name is not in the cache"},
		{"files", modelFiles, f, doctor.Unknown, "not asked"},
		{"dns", dns, f, doctor.Skipped, "offline"},
	})
	f.Model = &host.Model{Dir: "/m", Missing: []string{"a"}}
	judge(t, []judged{{"half here", offline, f, doctor.Fail, "1 files"}})
	f.Model.Missing = nil
	judge(t, []judged{{"here", offline, f, doctor.OK, ""}})
}

// llama8b is Llama-3-8B by its published config.json: 131,072 bytes of KV per token in 16 bits, 16.06 GB of weights.
func llama8b() *host.Model {
	return &host.Model{Dir: "/m", Tokens: true, Weights: 4, Bytes: 16_060_000_000, Config: &host.Config{Kind: "llama", Layers: 32, Hidden: 4096,
		Heads: 32, KVHeads: 8, Positions: 8192, TorchType: "bfloat16"}}
}

func onCard(sm int, free uint64, x *host.Model) *host.Facts {
	m := withCards(1)
	m.NVIDIA.NVML.Cards[0].Major, m.NVIDIA.NVML.Cards[0].Minor, m.NVIDIA.NVML.Cards[0].MemoryFree = sm/10, sm%10, free
	m.Model = x
	return m
}

func TestModelRows(t *testing.T) {
	if per := llama8b().Config.KVBytes(); per != 131072 {
		t.Fatalf("KV of Llama-3-8B is %d bytes per token", per)
	}
	quantised := func(method string) *host.Model {
		x := llama8b()
		x.Config.Quant.Method = method
		return x
	}
	half := llama8b()
	half.Config.TorchType = "float16"
	odd := llama8b()
	odd.Config.Heads, odd.Config.KVHeads = 14, 2
	broken := llama8b()
	broken.Broken = []string{"a.safetensors: the header ends early"}
	three := withCards(3)
	three.Model = llama8b()
	cutUp := onCard(90, 70*gib, llama8b())
	cutUp.NVIDIA.NVML.Cards[0].MIG = host.MIG{On: true, Instances: 2, Memory: 10 * gib}
	judge(t, []judged{
		// 45 GiB - 14.96 - 1.5 GiB leave 233,000 tokens; 19 GiB leave 20,000; 18 GiB 12,000; 17.46 GiB are the least.
		{"vram", modelVRAM, onCard(86, 45*gib, llama8b()), doctor.OK, "tokens of context"},
		{"vram", modelVRAM, onCard(86, 17*gib+512<<20, llama8b()), doctor.OK, "tokens of context"},
		{"vram", modelVRAM, onCard(86, 17*gib, llama8b()), doctor.Fail, "needs 17.5 GiB"},
		{"vram, cut card", modelVRAM, cutUp, doctor.Fail, "10.0 GiB free"},
		{"vram", modelVRAM, onCard(86, 0, llama8b()), doctor.Unknown, ""},
		{"type", modelType, onCard(75, gib, llama8b()), doctor.Fail, "bfloat16"},
		{"type", modelType, onCard(80, gib, llama8b()), doctor.OK, ""},
		{"type", modelType, onCard(75, gib, half), doctor.OK, ""},
		{"type", modelType, onCard(86, gib, quantised("fp8")), doctor.Warn, "sm_89"},
		{"type", modelType, onCard(89, gib, quantised("fp8")), doctor.OK, ""},
		{"type", modelType, onCard(90, gib, quantised("mxfp4")), doctor.Warn, "sm_100"},
		{"type", modelType, onCard(0, gib, llama8b()), doctor.Unknown, ""},
		{"spread", modelSpread, onCard(90, gib, llama8b()), doctor.OK, "1, 2, 4, 8"},
		{"spread", modelSpread, onCard(90, gib, odd), doctor.OK, "can: 1, 2"},
		{"spread", modelSpread, three, doctor.Warn, "all 3 cards"},
		{"spread", modelSpread, onCard(90, gib, &host.Model{}), doctor.Unknown, ""},
		{"headers", modelHeaders, onCard(90, gib, broken), doctor.Fail, "the header ends early"},
		{"headers", modelHeaders, onCard(90, gib, llama8b()), doctor.OK, ""},
	})
	long := llama8b()
	long.Config.Positions = 131072
	judge(t, []judged{{"vram, long", modelVRAM, onCard(86, 20*gib, long), doctor.Warn, "not the model's 131072"}})
}

func TestModelDisk(t *testing.T) {
	need := func(remote, here, free uint64) *host.Facts {
		return &host.Facts{Model: &host.Model{Repo: "a/x", Bytes: here, Remote: &host.Remote{Files: 3, Bytes: remote, Weights: remote, Config: &host.Config{}}},
			Disks: []host.Disk{{Space: host.Space{Free: free}}}}
	}
	judge(t, []judged{
		{"room", modelDisk, need(10*gib, 0, 12*gib), doctor.OK, "10.0 GiB to fetch"},
		{"room", modelDisk, need(10*gib, 0, 12*gib-1), doctor.Fail, "12.0 GiB are needed"},
		{"room, half here", modelDisk, need(10*gib, 5*gib, 7*gib), doctor.OK, "5.0 GiB to fetch"},
		{"room, 2 %", modelDisk, need(1000*gib, 0, 1020*gib-1), doctor.Fail, ""},
		{"room, here", modelDisk, need(10*gib, 10*gib, 0), doctor.OK, "nothing"},
		{"room, unasked", modelDisk, &host.Facts{}, doctor.Skipped, ""},
		{"files", modelFiles, need(10*gib, 0, 0), doctor.OK, "not here yet: 3 files"},
	})
}
