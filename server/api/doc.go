// Package api is the HTTP face of the server: OpenAI's completions and chat completions, SGLang's native routes, and
// what operators ask (health, metrics, facts of the server). Text lives here: the engine below knows token ids only.
//
// A request walks through four steps, each in its own files:
//
//	decode    object.go, ranges.go    bytes -> fields, each bounded by one row of a table
//	validate  params.go, completions.go, chat.go, generate.go    fields -> job
//	submit    submit.go               job -> one engine stream for each choice
//	answer    answer.go, text.go, stops.go, sse.go    events -> text -> one JSON body or server-sent events
//
// The routes differ in how a job is read and in how its pieces are written (the shape interface); everything between
// is shared. Stop strings are found here, across token and event borders: text that may be the beginning of one is held
// back until it is known not to be, and the request is cancelled once one is complete.
//
// # What is refused and what is ignored
//
// A field out of its range, of the wrong type, or one that asks for an answer this server cannot give (tools,
// response_format other than text, suffix, LoRA, grammars) is refused with status 400 and the field's name in "param".
// A field that changes nothing here is accepted and named in the response header X-Radish-Ignored. Names are matched
// case-sensitively; duplicate names, invalid UTF-8 and nesting deeper than 64 are refused.
//
// Every error, of any status, has OpenAI's shape {"error":{"message","type","param","code"}}. A client's mistake also
// carries "x-should-retry: false"; a full queue is 429 with Retry-After and Retry-After-Ms.
//
// # Streams
//
// Server-sent events are "data: " lines only. Chat begins with a role delta; the last chunk of a choice has its
// finish_reason; a usage chunk follows only if stream_options.include_usage asked for it; then "data: [DONE]". If the
// engine breaks, an error event ends the stream and there is no [DONE]. A comment line is sent after 15 silent seconds.
// A reader that does not take a write within Options.WriteTimeout is cut; a client that leaves is cancelled within one
// step of the engine.
//
// # Keys and cache domains
//
// With API keys set, every path but /health, /healthz and /readyz wants one, as "Authorization: Bearer" or "x-api-key".
// A request's prefixes are shared only within its cache domain: the hash of its key, cache_salt and extra_key. With
// "cache_prompt": false (llama.cpp's name) it is computed as if there were no prefix cache: it reads nothing from it and
// leaves nothing there. Request ids (rid) are likewise private to a key. Nothing here logs prompts, answers or keys.
package api
