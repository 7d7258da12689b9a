/* Transposing a matrix between two places. */
#ifndef ENGINE_TRANSPOSE_H
#define ENGINE_TRANSPOSE_H

#include "vec.h"

/* to[j*to_pitch + i] = from[i*from_pitch + j] for i < rows, j < cols */
void NAME(transpose)(int64_t rows, int64_t cols, const elem *from, int64_t from_pitch, elem *to, int64_t to_pitch);

/* The same in whole vectors: rows are rounded up to a multiple of LANES, and what lies past the last is zero. */
void NAME(transpose_whole)(int64_t rows, int64_t cols, const elem *from, int64_t from_pitch, elem *to, int64_t to_pitch);

#endif
