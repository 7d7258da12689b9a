/* One pool of threads for the whole library. */
#ifndef ENGINE_THREAD_H
#define ENGINE_THREAD_H

#include "arena.h"

/* Runs body(context, task, worker) for every task in [0, tasks), on at most `threads` threads, the caller among them.
   `worker` is below that number and held by one thread at a time, so it can index scratch memory.
   Neighbouring tasks mostly go to the same worker, one after the other, and to the same one again in the next call that
   is alike; but which worker gets which is not fixed, so bodies must write disjoint memory. */
void engine_parallel(int64_t threads, int64_t tasks, void (*body)(void *context, int64_t task, int64_t worker), void *context);

/* Whether a thread may wait long for another that has one task more. */
static inline int tasks_are_few(int64_t tasks, int64_t threads) { return threads > 1 && tasks < 8 * threads; }

/* Into how many pieces to cut each of `things`, from `least` up to `most`: where they are few, so many that all threads
   get the same number. */
static inline int64_t even_cut(int64_t things, int64_t least, int64_t most, int64_t threads) {
    int64_t pieces = least;
    if (tasks_are_few(things * least, threads))
        while (things * pieces % threads) pieces++;
    return pieces <= most ? pieces : least;
}

#endif
