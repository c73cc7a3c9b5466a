package bench

// Definition says what a figure is.
type Definition struct{ Name, Text string }

// Definitions are printed beside the numbers, and are in each result.
var Definitions = []Definition{
	{"window", "opens when every user has its first answer (open loop: after a tenth of the arrivals), closes when no further request is sent; rates are inside it, latencies of complete answers to requests sent inside it"},
	{"ttft", "first non-empty content delta minus the send (open loop: minus the intended send); n/a when not streamed"},
	{"tpot", "(e2e - ttft) / (output tokens - 1), per answer"},
	{"itl", "gaps between chunks, pooled, where a chunk is a token within 5 %; otherwise n/a"},
	{"icl", "gaps between chunks, pooled, whatever a chunk holds"},
	{"e2e", "end of the answer minus the send (open loop: minus the intended send)"},
	{"jitter", "mean of |gap - gap before it| between the chunks of one answer"},
	{"output", "output tokens (usage) of complete answers that arrived inside the window, per second of it"},
	{"per user", "output tokens / e2e of one answer, mean over the answers"},
	{"input", "prompt tokens (usage, cached ones included), counted at the first token, per second of the window"},
	{"tokens", "as usage says; up to 64 answers of a repeat are counted again with the model's tokenizer where it is here: over 10 % apart is not valid (with ignore_eos only fewer than counted)"},
	{"cached", "cached prompt tokens / prompt tokens, as usage says"},
	{"goodput", "complete answers that keep every SLO, per second of the window; its ratio is of all measured requests"},
	{"concurrency", "requests in flight, weighted by time, inside the window"},
	{"efficiency", "(output / users) / (output / users of the level with the fewest users)"},
	{"interval", "95 % confidence interval of the mean over the repeats, Student's t"},
	{"drift", "(output of the window's second half - first half) / mean; over 10 % the window is not called steady"},
	{"mfu", "FLOP/s done / peak FLOP/s; a token costs 2 x parameters + 4 x layers x heads x head size x context, parameters without the input embedding, and without the output head for prompt tokens; counted are output tokens (context: prompt + half the output) and prompt tokens that were not cached (context: half the prompt and half its cached part)"},
	{"mbu", "(weight bytes / mean TPOT + output tok/s x mean context x KV bytes per token) / peak bytes/s; one token per sequence and step (no speculation)"},
	{"roofline", "a sequence cannot be decoded faster than peak bytes/s / weight bytes, nor all of them together faster than peak FLOP/s allows; beyond it (by 5 %) the level is not valid"},
	{"energy", "the device's energy counter over the window; idle watts are taken before the first level"},
	{"lag", "how late a goroutine that sleeps 10 ms wakes up"},
	{"saturation", "X(u) = V u / (K + u), u the achieved concurrency, by least squares of relative errors; 95 % by bootstrap of the residuals; not given below five levels, without a level near K, or with an interval too wide"},
}

func definitions() map[string]string {
	m := map[string]string{}
	for _, d := range Definitions {
		m[d.Name] = d.Text
	}
	return m
}
