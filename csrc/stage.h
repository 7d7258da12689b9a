/* Copying a window of a source plane set into zero-padded scratch memory, where tiles can read without bounds checks. */
#ifndef ENGINE_STAGE_H
#define ENGINE_STAGE_H

#include "vec.h"

/* A window of `channels` planes of sh x sw: row r is the source's h0 + r*step_h, column q its w0 + q*step_w; what lies
   outside is zero. */
struct window {
    int64_t channels, sh, sw, h0, w0, rows, cols, step_h, step_w;
    int64_t stride_c, stride_h, stride_w; /* of the source */
    int64_t pitch_c, pitch_h, pitch_w;    /* of the copy: pitch_w is 1 (planes) or at least `channels` (channels last) */
};

void NAME(stage)(const struct window *w, const elem *source, elem *copy);

/* All step_h*step_w sub-planes of a window that starts at (h0, w0): row r, column q of the source from there go to
   sub-plane (r % step_h)*step_w + q % step_w.  rows, cols and the pitches are those of a sub-plane, one follows another. */
void NAME(stage_phases)(struct window *w, int64_t h0, int64_t w0, const elem *source, elem *copy);

#endif
