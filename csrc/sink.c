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

static void scatter(const struct sink *sink, char *to, const char *from, int64_t count) {
    if (sink->step == 1) {
        memcpy(to, from, (size_t)(count * sink->item));
    } else if (sink->item == 8) {
        for (int64_t j = 0; j < count; j++) ((uint64_t *)to)[j * sink->step] = ((const uint64_t *)from)[j];
    } else {
        for (int64_t j = 0; j < count; j++) ((uint32_t *)to)[j * sink->step] = ((const uint32_t *)from)[j];
    }
}

void NAME(sink_rows)(struct sink *sink, void *to, int64_t rows, int64_t count) {
    int64_t bytes = rows * count * sink->item;
    if (sink->direct) {
        sink->to += bytes;
        return;
    }
    if (sink->contiguous) {
        sink->filled += bytes;
        if (sink->filled >= SINK_BYTES || !sink->stream) flush(sink, 0);
        return;
    }
    for (int64_t row = 0; row < rows; row++)
        scatter(sink, (char *)to + row * sink->row * sink->item, sink->buffer + row * count * sink->item, count);
}

void NAME(sink_close)(struct sink *sink) {
    if (sink->contiguous) flush(sink, 1);
    if (sink->stream) vec_stream_end();
}
