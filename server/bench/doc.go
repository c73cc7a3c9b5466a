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
//
// # What the prefix cache is worth
//
// RunRadix (radish bench radix) measures it on one server, Advise asks it of a workload. The claims, and what each was
// found to be. Fake time: server/engine's TestRadixClaims, 100 users, 1,000 tokens in, 8 out, steps that take 1 ms and
// 1/8 ms a token; exact and the same in every run. The others: 2026-11-27, 2 virtual CPUs of an AMD EPYC (family 25,
// avx512bf16), builtin model, prompts of 256 words (about 600 tokens), 8 tokens out, radish bench radix, shared with
// other work (load 2 to 30 on 2 CPUs). CPU: processor time of the whole server per output token, off / on, one thread, 32
// users (nothing shared: 16 users, 128 words), which neighbours disturb less; wall: output tokens/s, on / off. Medians,
// then the smallest and largest pair and the number of pairs.
//
//	                       claim     fake time   CPU                      wall
//	nothing shared         >= 0.99   1.000       1.006 (0.91-1.19), 24    see below
//	RAG 80 %               -         4.87        -                        5.9 (4.6-13.7), 3, 100 users
//	RAG 95 %               >= 5      17.6        8.3 (7.8-8.7), 5         12.6 (5.6-18.6), 3, 100 users
//	  TTFT p50             <= 0.15   0.032       -                        0.045 (0.039-0.097)
//	five turns             >= 2      2.93        2.07 (1.86-2.16), 5      2.3 (1.3-2.8), 5, 32 users
//
// Nothing shared on the wall clock says nothing here: its pairs lie between 0.5 and 1.9. On an idle machine five pairs of
// radish bench offline had 1.001 (0.992 to 1.006; kernels/SPEED.md, 2026-11-24). The engine's own share of a request that
// shares nothing is 10 to 15 us of about 16 ms (server/engine, BenchmarkUniqueRequest). The five turns are the nearest to
// their limit: without answers the cache can save two thirds of the prompt tokens, so at most 3 times; three pairs with
// 100 users at load 20 had 1.4 (1.3 to 2.3), one pair at load 2 had 2.8.
//
// Overload at ten times the capacity, fake time (TestOverloadKeepsItsPromises, 16 slots, 32 may wait): p99 of the accepted
// 1.67 s, of a full queue at 1.3 times the capacity 1.62 s; the rest is refused at once; at 0.8 times the capacity the
// p99 is 40.9 ms before and after, and every request is served.
package bench
