#include "transpose.h"

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
