/* Where rows of results go.  Kernels write whole vectors, past the end of a row too, so rows are first laid one after the
   other in a small buffer, and leave it in long runs where the destination is contiguous. */
#ifndef ENGINE_SINK_H
#define ENGINE_SINK_H

#include "vec.h"

enum { SINK_BYTES = 8192 }; /* collected at least, in L1 */

struct sink {
    char *buffer;         /* room for SINK_BYTES, one more row and what is written past its end */
    char *to;             /* where the first byte of the buffer belongs, if contiguous */
    int64_t item, step;   /* bytes of an element, and elements from one to the next in the destination */
    int64_t filled;
    int contiguous;       /* every row begins where the one before it ends */
    int stream;           /* store past the caches */
};

/* A new run of rows, the first of which goes there. */
static inline void sink_open(struct sink *sink, void *to) { sink->to = to, sink->filled = 0; }

/* Where to write the next row. */
static inline void *sink_place(const struct sink *sink) { return sink->buffer + sink->filled; }

/* A row of `count` elements has been written there and belongs to `row`. */
void NAME(sink_row)(struct sink *sink, void *row, int64_t count);

/* The end of a run. */
void NAME(sink_close)(struct sink *sink);

#endif
