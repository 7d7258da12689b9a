#include "sink.h"

static char *next_line(char *p) { return (char *)(((uintptr_t)p + VEC_BYTES - 1) / VEC_BYTES * VEC_BYTES); }

static void stream_out(char *to, const char *from, int64_t bytes) {
    int64_t head = next_line(to) - to, i = head < bytes ? head : bytes;
    memcpy(to, from, (size_t)i);
    for (; i + VEC_BYTES <= bytes; i += VEC_BYTES) vec_stream(to + i, vec_load((const elem *)(from + i)));
    memcpy(to + i, from + i, (size_t)(bytes - i));
}

/* Empties the buffer, but for a last part of a cache line if more will come. */
static void flush(struct sink *sink, int last) {
    int64_t bytes = sink->filled;
    if (sink->stream) {
        if (!last) bytes = next_line(sink->to + bytes) - VEC_BYTES - sink->to;
        stream_out(sink->to, sink->buffer, bytes);
    } else {
        memcpy(sink->to, sink->buffer, (size_t)bytes);
    }
    memmove(sink->buffer, sink->buffer + bytes, (size_t)(sink->filled - bytes));
    sink->to += bytes;
    sink->filled -= bytes;
}

void NAME(sink_row)(struct sink *sink, void *row, int64_t count) {
    if (sink->contiguous) {
        sink->filled += count * sink->item;
        if (sink->filled >= SINK_BYTES) flush(sink, 0);
    } else if (sink->step == 1) {
        memcpy(row, sink->buffer, (size_t)(count * sink->item));
    } else if (sink->item == 8) {
        for (int64_t j = 0; j < count; j++) ((uint64_t *)row)[j * sink->step] = ((const uint64_t *)sink->buffer)[j];
    } else {
        for (int64_t j = 0; j < count; j++) ((uint32_t *)row)[j * sink->step] = ((const uint32_t *)sink->buffer)[j];
    }
}

void NAME(sink_close)(struct sink *sink) {
    if (sink->contiguous) flush(sink, 1);
    if (sink->stream) vec_stream_end();
}
