package explain

// telemetrySignature is the catalogue's number of the telemetry line: its figures are gathered.
const telemetrySignature = 8

// benignRules: lines that people mistake for errors.
var benignRules = []Rule{
	{ID: "ok.telemetry", Signature: telemetrySignature, Phase: Serve, Class: Benign,
		Patterns: re(`(?:Decode|Prefill) batch(?: ?\[\d+\])?[.,] `),
		Title:    "telemetry of a server at work",
		Why:      "Each line says what one step did. It is a sign of health.",
		Source:   "sglang python/sglang/srt/managers/scheduler_metrics_mixin.py"},
	{ID: "ok.throughput", Signature: 10, Phase: Serve, Class: Benign,
		Patterns: re(`gen throughput(?: \(token/s\))?: ([\d.]+)`),
		Title:    "tokens per second of all requests together",
		Why:      "There is no healthy figure as such: it grows with the number of requests and depends on model and GPU. Compare it with this server's own at the same #running-req.",
		Source:   "sglang python/sglang/srt/managers/scheduler_metrics_mixin.py"},
	{ID: "ok.moe-config", Signature: 66, Phase: Serve, Class: Benign,
		Patterns: re(`Using default MoE config\. Performance might be sub-optimal`),
		Title:    "no tuned kernel settings for this model and GPU",
		Why:      "The expert layers run with general settings: somewhat slower, and right.",
		Source:   "sglang#3204"},
}
