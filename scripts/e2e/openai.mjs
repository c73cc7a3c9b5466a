// Runs OpenAI's Node client against a server: npm install && node openai.mjs http://127.0.0.1:30000 [api key]
//
// Prints one line for each check and a closing "N passed, N failed"; exits 1 when one failed. The server's model may be
// anything that generates text: nothing here depends on what it says, only on how it is said.
import assert from "node:assert/strict";
import OpenAI from "openai";

const base = (process.argv[2] ?? process.env.RADISH_URL ?? "http://127.0.0.1:30000").replace(/\/+$/, "");
const apiKey = process.argv[3] ?? process.env.RADISH_API_KEY ?? "none";
const client = new OpenAI({ baseURL: base + "/v1", apiKey, maxRetries: 0, timeout: 120_000 });
const model = (await client.models.list()).data[0].id;
const messages = [{ role: "user", content: "Hello! Who are you?" }];
const greedy = { model, messages, temperature: 0, max_tokens: 24 };

async function collect(stream) {
  const out = { text: "", finish: null, usage: null, chunks: 0 };
  for await (const chunk of stream) {
    out.chunks++;
    if (chunk.usage) out.usage = chunk.usage;
    const choice = chunk.choices[0];
    if (!choice) continue;
    assert.equal(out.finish, null, "a chunk after finish_reason");
    out.text += choice.delta?.content ?? choice.text ?? "";
    out.finish = choice.finish_reason;
  }
  return out;
}

async function refused(status, param, call) {
  const err = await call.then(() => null, (e) => e);
  assert.ok(err instanceof OpenAI.APIError, "it was not refused");
  assert.equal(err.status, status);
  if (param) assert.equal(err.param, param);
}

const checks = {
  "models": async () => {
    assert.equal((await client.models.retrieve(model)).id, model);
  },
  "chat": async () => {
    const r = await client.chat.completions.create(greedy);
    assert.equal(r.object, "chat.completion");
    assert.equal(r.choices[0].message.role, "assistant");
    assert.ok(["stop", "length"].includes(r.choices[0].finish_reason));
    assert.equal(r.usage.total_tokens, r.usage.prompt_tokens + r.usage.completion_tokens);
    assert.equal(typeof r.usage.prompt_tokens_details.cached_tokens, "number");
  },
  "chat, streamed, equals whole": async () => {
    const whole = await client.chat.completions.create(greedy);
    const s = await collect(await client.chat.completions.create(
      { ...greedy, stream: true, stream_options: { include_usage: true } }));
    assert.equal(s.text, whole.choices[0].message.content);
    assert.equal(s.finish, whole.choices[0].finish_reason);
    assert.equal(s.usage.completion_tokens, whole.usage.completion_tokens);
  },
  "no usage unless asked for": async () => {
    assert.equal((await collect(await client.chat.completions.create({ ...greedy, stream: true }))).usage, null);
  },
  "the second time is cached": async () => {
    const long = [{ role: "user", content: "count the same words ".repeat(12) }];
    await client.chat.completions.create({ ...greedy, messages: long, max_tokens: 2 });
    const r = await client.chat.completions.create({ ...greedy, messages: long, max_tokens: 2 });
    assert.ok(r.usage.prompt_tokens_details.cached_tokens > 0);
  },
  "chat logprobs": async () => {
    const r = await client.chat.completions.create({ ...greedy, logprobs: true, top_logprobs: 3, max_tokens: 4 });
    const content = r.choices[0].logprobs.content;
    assert.ok(content.length > 0 && content.every((t) => t.logprob <= 0 && t.top_logprobs.length === 3));
  },
  "n": async () => {
    const r = await client.chat.completions.create({ ...greedy, temperature: 1, seed: 7, n: 2, max_tokens: 4 });
    assert.deepEqual(r.choices.map((c) => c.index), [0, 1]);
  },
  "stop string": async () => {
    const whole = (await client.completions.create({ model, prompt: "The", temperature: 0, max_tokens: 24 })).choices[0].text;
    const stop = whole.trim().split(/\s+/)[1] ?? whole.trim();
    const r = await client.completions.create({ model, prompt: "The", temperature: 0, max_tokens: 24, stop: [stop] });
    assert.equal(r.choices[0].text, whole.slice(0, whole.indexOf(stop)));
    assert.equal(r.choices[0].finish_reason, "stop");
  },
  "completion": async () => {
    const r = await client.completions.create({ model, prompt: ["One", "Two"], temperature: 0, logprobs: 2, echo: true });
    assert.equal(r.choices.length, 2);
    assert.ok(r.choices[1].text.startsWith("Two"));
    assert.equal(r.choices[0].logprobs.tokens.length, r.choices[0].logprobs.text_offset.length);
  },
  "completion, streamed, equals whole": async () => {
    const p = { model, prompt: "Once", temperature: 0, max_tokens: 20 };
    const whole = await client.completions.create(p);
    const s = await collect(await client.completions.create({ ...p, stream: true }));
    assert.equal(s.text, whole.choices[0].text);
  },
  "same seed, same answer": async () => {
    const p = { ...greedy, temperature: 1, seed: 42 };
    const [a, b] = await Promise.all([client.chat.completions.create(p), client.chat.completions.create(p)]);
    assert.equal(a.choices[0].message.content, b.choices[0].message.content);
  },
  "abort by leaving": async () => {
    const s = await client.chat.completions.create({ ...greedy, stream: true, max_tokens: 200, ignore_eos: true });
    for await (const _ of s) break;
    s.controller.abort();
    assert.ok((await client.chat.completions.create({ ...greedy, max_tokens: 2 })).choices.length === 1);
  },
  "abort by rid": async () => {
    const rid = "e2e-" + Math.random().toString(36).slice(2);
    const s = await client.chat.completions.create({ ...greedy, stream: true, max_tokens: 200, ignore_eos: true, rid });
    let asked = null;
    let finish = null;
    for await (const chunk of s) {
      asked ??= fetch(base + "/abort_request", {
        method: "POST", body: JSON.stringify({ rid }),
        headers: { "content-type": "application/json", authorization: "Bearer " + apiKey },
      });
      finish = chunk.choices[0].finish_reason ?? finish;
    }
    assert.equal((await asked).status, 200);
    assert.ok(["abort", "length"].includes(finish)); // a very fast model may be done before
  },
  "errors": async () => {
    await refused(404, "model", client.chat.completions.create({ ...greedy, model: "no such model" }));
    await refused(400, "temperature", client.chat.completions.create({ ...greedy, temperature: -1 }));
    await refused(400, "messages", client.chat.completions.create({ ...greedy, messages: [] }));
    await refused(400, "response_format", client.chat.completions.create({ ...greedy, response_format: { type: "json_object" } }));
    await refused(400, "max_tokens", client.completions.create({ model, prompt: "a", max_tokens: 16_000_000 }));
    await refused(404, null, client.embeddings.create({ model, input: "a" }));
  },
};

let failed = 0;
for (const [name, check] of Object.entries(checks)) {
  try {
    await check();
    console.log("ok    " + name);
  } catch (err) {
    failed++;
    console.log("FAIL  " + name + ": " + (err.message ?? err).split("\n").slice(0, 4).join(" "));
  }
}
console.log(`${Object.keys(checks).length - failed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
