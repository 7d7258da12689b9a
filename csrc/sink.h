/* Where rows of results go.  Kernels write whole vectors, past the end of a row too: rows follow one another in order, so what
   was written too far is written again, or they are laid in a small buffer first. */
#ifndef ENGINE_SINK_H
#define ENGINE_SINK_H

#include "vec.h"

enum { SINK_BYTES = 2048 }; /* collected at least, before they are stored past the caches */

struct sink {
    char *buffer;         /* room for SINK_BYTES, the most rows that come at once, and what is written past their end */
    char *to, *end;       /* where the next byte belongs, and the end of the run, if contiguous */
    int64_t item;         /* bytes of an element */
    int64_t row, step;    /* elements from one row to the next in the destination, and from one element to the next */
    int64_t filled;       /* bytes in the buffer */
    int contiguous;       /* every row begins where the one before it ends */
    int stream;           /* store past the caches */
    int direct;           /* the last place was the destination itself */
};

/* A new run of rows, from there to there. */
static inline void sink_open(struct sink *sink, void *to, void *end) { sink->to = to, sink->end = end, sink->filled = 0; }

/* Where to write the next rows, that many elements with what is written past their end. */
static inline void *sink_place(struct sink *sink, int64_t elements) {
    sink->direct = sink->contiguous && !sink->stream && elements * sink->item <= sink->end - sink->to;
    return sink->direct ? sink->to : sink->buffer + sink->filled;
}

/* Rows of `count` elements have been written there, one right after the other, and belong to `to` and on. */
void NAME(sink_rows)(struct sink *sink, void *to, int64_t rows, int64_t count);

/* The end of a run. */
void NAME(sink_close)(struct sink *sink);

#endif
