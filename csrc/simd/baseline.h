/* x86-64 baseline: SSE2, 16 registers of 16 bytes, no fused multiply-add. */
#define VEC_BYTES 16
#define TILE_ROWS_1 8
#define TILE_ROWS_2 4
#define TILE_ROWS_3 3
#define TILE_ROWS_4 2
#define TILE_VECS 2 /* widest tile that is used */
#define VEC_REGISTERS 15 /* of which at most so many are used */
