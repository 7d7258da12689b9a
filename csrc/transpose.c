#include "transpose.h"
#include "arena.h"

static void transpose_scalar(int64_t i0, int64_t i1, int64_t j0, int64_t j1, const elem *from, int64_t from_pitch, elem *to,
                             int64_t to_pitch) {
    for (int64_t j = j0; j < j1; j++)
        for (int64_t i = i0; i < i1; i++) to[j * to_pitch + i] = from[i * from_pitch + j];
}

void NAME(transpose)(int64_t rows, int64_t cols, const elem *from, int64_t from_pitch, elem *to, int64_t to_pitch) {
    int64_t i = 0, whole_cols = cols / LANES * LANES;
    for (; i + LANES <= rows; i += LANES) {
        for (int64_t j = 0; j < whole_cols; j += LANES) {
            vec row[LANES];
            for (int64_t l = 0; l < LANES; l++) row[l] = vec_load(from + (i + l) * from_pitch + j);
            vec_transpose(row);
            for (int64_t l = 0; l < LANES; l++) vec_store(to + (j + l) * to_pitch + i, row[l]);
        }
        /* the columns left over: whole vectors may be read as long as a later row lies behind them */
        int64_t read = (i + LANES - 1) * from_pitch + whole_cols + LANES, size = (rows - 1) * from_pitch + cols;
        if (whole_cols < cols && from_pitch > 0 && read <= size) {
            vec row[LANES];
            for (int64_t l = 0; l < LANES; l++) row[l] = vec_load(from + (i + l) * from_pitch + whole_cols);
            vec_transpose(row);
            for (int64_t l = 0; l < cols - whole_cols; l++) vec_store(to + (whole_cols + l) * to_pitch + i, row[l]);
        } else {
            transpose_scalar(i, i + LANES, whole_cols, cols, from, from_pitch, to, to_pitch);
        }
    }
    transpose_scalar(i, rows, 0, cols, from, from_pitch, to, to_pitch);
}

/* LANES columns of `rows` rows, of which `cols` exist, the others are zero */
INLINE void load_square(int64_t rows, int64_t cols, const elem *from, int64_t pitch, vec row[LANES]) {
    for (int64_t l = 0; l < LANES; l++)
        row[l] = l >= rows ? (vec){0} : cols < LANES ? vec_load_first(from + l * pitch, cols) : vec_load(from + l * pitch);
}

void NAME(transpose_whole)(int64_t rows, int64_t cols, const elem *from, int64_t from_pitch, elem *to, int64_t to_pitch) {
    for (int64_t i = 0; i < rows; i += LANES)
        for (int64_t j = 0; j < cols; j += LANES) {
            /* the last square overlaps the one before it */
            int64_t first = j + LANES <= cols ? j : max64(0, cols - LANES);
            const elem *at = from + i * from_pitch + first;
            vec row[LANES];
            if (i + LANES <= rows && cols >= LANES) {
#pragma GCC unroll 16
                for (int64_t l = 0; l < LANES; l++) row[l] = vec_load(at + l * from_pitch);
            } else {
                load_square(rows - i, cols, at, from_pitch, row);
            }
            vec_transpose(row);
            if (cols >= LANES) {
#pragma GCC unroll 16
                for (int64_t l = 0; l < LANES; l++) vec_store(to + (first + l) * to_pitch + i, row[l]);
            } else {
                for (int64_t l = 0; l < cols; l++) vec_store(to + (first + l) * to_pitch + i, row[l]);
            }
        }
}
