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
// avx512bf16), builtin model, prompts of 256 words (about 600 tokens), 8 tokens out, radish bench radix. CPU: processor time
// per output token, off / on, one thread, on the machine while others used it; of the whole server with 32 users (nothing
// shared: 16 users, 128 words). Wall: output tokens/s, on / off, 100 users, the machine otherwise idle. Medians, then the
// smallest and largest pair and the number of pairs.
//
//	                claim     fake time  engine, CPU         server, CPU           wall
//	nothing shared  >= 0.99   1.000      1.01 (0.91-1.04) 10 1.006 (0.91-1.19) 24  1.022 (0.999-1.128) 5
//	RAG 80 %        -         4.87       -                   -                     3.14 (3.00-3.59) 3
//	RAG 95 %        >= 5      17.6       7.6 (7.0-7.7) 3     8.3 (7.8-8.7) 5       8.76 (7.86-8.77) 3
//	  TTFT p50      <= 0.15   0.032      -                   -                     0.039 (0.039-0.046)
//	five turns      >= 2      2.93       2.43 (2.2-2.5) 3    2.07 (1.86-2.16) 5    2.009 (1.996-2.056) 3
//
// On one H200, the 8B shape with dummy weights, 100 users, prompts of 1,200 words (about 2,900 tokens), 8 tokens out: RAG 95 %
// 16.1 (15.8-16.3) 2, TTFT p50 0.034.
//
// Engine, CPU is server's BenchmarkPrefixCache: no HTTP, 16 users, 1,000 tokens or turns of 300, one thread.
//
// The engine's own share of a request that shares nothing is 10 to 15 us of about 16 ms (server/engine,
// BenchmarkUniqueRequest). The five turns are the nearest to their limit: without answers the cache can save two thirds of
// the prompt tokens, so at most 3 times.
//
// Overload at ten times the capacity, fake time (TestOverloadKeepsItsPromises, 16 slots, 32 may wait): p99 of the accepted
// 1.67 s, of a full queue at 1.3 times the capacity 1.62 s; the rest is refused at once; at 0.8 times the capacity the
// p99 is 40.9 ms before and after, and every request is served. Over HTTP, the same machine idle, the server on one CPU and
// radish bench serve on the other, 16 slots, 32 may wait, 64 words in, 8 tokens out, 6 to 8 s each: 48 users (a full queue)
// 78.0 answers/s, e2e p50 610 ms, p99 638 ms; 700 sent/s, nine times as many: 594 accepted (74.3/s) with p50 637 ms, p99
// 730 ms, 5,006 refused with 429; afterwards 48 users 77.5 answers/s, p99 812 ms; 30/s p99 103 ms before, 83 ms after, every
// request served. A full queue refuses before it reads a request; when it read first, the flood took a quarter of the
// CPU: 60.4 answers/s, p99 932 ms.
//
// # Measured
//
// At 1,000 streams, each at one token in 50 ms, the client adds 0.16 to 0.46 ms at p99 and takes 88 to 92 MiB (BenchmarkClient,
// three runs, 16 idle cores of a Xeon, 2026-11-27); on 2 shared CPUs p99 is what the machine makes of it, 2 to 47 ms.
//
// On 2026-11-27, radish serve and radish bench serve on one machine with nothing else on it: AMD EPYC, 2 virtual processors,
// which the two share. The builtin model (5.5 M parameters, CPU), prompts of 60 words that share nothing (164 tokens), 32
// tokens with ignore_eos, three repeats of 4 s; +- is half the 95 % interval.
//
//	radish bench serve --users 1,2,4,8,16,32 --duration 4s --repeat 3 --input-words 60 --output-len 32
//
//	users                    1            2            4            8            16           32
//	in flight                1.0          2.0          4.0          8.0          16.0         32.0
//	complete/failed          470/0        733/0        944/0        995/0        1099/0       1124/0
//	output tok/s             1246 +- 205  1957 +- 138  2529 +- 68   2658 +- 271  2988 +- 390  3093 +- 447
//	input tok/s              6376         10011        12941        13572        15093        15405
//	scaling efficiency       100 %        78.5 %       50.7 %       26.7 %       15.0 %       7.8 %
//	ttft ms p50/p99          7.1/13.6     9.3/22.0     22.9/28.4    34.0/53.5    47.7/76.0    60.2/91.9
//	tpot ms p50/p99          0.6/0.9      0.7/1.2      0.9/1.9      2.0/3.3      4.1/5.4      8.9/11.0
//	e2e ms p50/p99           24/39        31/51        49/80        96/126       171/203      332/413
//	server running, queued   0.8, 0.0     1.9, 0.0     3.5, 0.0     6.5, 0.7     13.5, 1.4    29.0, 1.6
//	client lag p99 ms        3.0          3.7          3.5          2.3          3.2          4.3
//
// The saturation fit: V 3,273 tok/s (3,089 to 3,394), K 1.5 (1.3 to 1.7). ITL is n/a, because after its end the model goes on
// in control tokens, which have no text. The client wakes 2 to 4 ms late because the server computes on the same two
// processors, and the result says so.
//
//	radish bench serve --rate 5,10,20 --duration 4s --repeat 2 --workload rag --overlap 0.8 --input-words 60 --output-len 32
//
//	requests/s               5            10           20
//	in flight, peak          0.2, 2       0.4, 4       0.7, 6
//	output tok/s             156          324          637
//	prompt cached            80.5 %       80.4 %       80.6 %
//	ttft ms p50/p99          7.1/12.8     6.2/9.6      5.0/12.0
//	e2e ms p50/p99           43/63        41/74        35/58
//
// What the client itself adds (BenchmarkClient: 1,000 streams of 20 tokens/s from a server in another process on the same
// machine; written to noted): see above. It takes 20 to 50 us of processor time a token.
package bench
