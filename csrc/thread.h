/* One pool of threads for the whole library. */
#ifndef ENGINE_THREAD_H
#define ENGINE_THREAD_H

#include <stdint.h>

/* Runs body(context, task, worker) for every task in [0, tasks), on at most `threads` threads, the caller among them.
   `worker` is below that number and held by one thread at a time, so it can index scratch memory.
   Neighbouring tasks mostly go to the same worker, one after the other, and to the same one again in the next call that is
   alike; but which worker gets which is not fixed, so bodies must write disjoint memory. */
void engine_parallel(int64_t threads, int64_t tasks, void (*body)(void *context, int64_t task, int64_t worker), void *context);

#endif
