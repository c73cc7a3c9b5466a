// Package bench measures an OpenAI-compatible endpoint over HTTP, so that the numbers cannot mislead. It knows nothing
// of any engine.
//
// A run has levels, each measured once or repeatedly; repeats go round all levels, so that a drift of the machine falls
// on all of them. A closed-loop level keeps a number of users busy, each asking again when answered. An open-loop level
// sends at Poisson or gamma times drawn beforehand and counts latency from the intended time, so that a stalled server
// cannot hide behind a client that politely waits (coordinated omission).
//
// What counts is in Definitions, which are in every result and printed by `radish bench serve --definitions`. Failures
// (by status), incomplete answers and complete ones are counted apart; only complete ones have latencies. Tokens are
// those the server's usage says; without it there are no token rates and the level is not valid.
//
// A level is not valid, with the reason beside it, when nothing was complete, when there was no steady window, when
// tokens are unknown or miscounted, or when a figure is beyond what the device can do. What is only to be known, such as
// a client that was the bottleneck, fewer requests in flight than asked, or a window that drifted, is a reason beside a
// valid level.
//
// Every workload is a pure function of its settings and seed; its hash is in the result. schema/result.json describes
// the result, schema/request.json a line of the raw file.
package bench
