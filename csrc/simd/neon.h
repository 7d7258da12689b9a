/* AArch64: 32 registers of 16 bytes. */
#define VEC_BYTES 16
#define TILE_ROWS_1 14
#define TILE_ROWS_2 12
#define TILE_ROWS_3 8
#define TILE_ROWS_4 6
#define TILE_VECS 4
#define VEC_REGISTERS 29 /* of which at most so many are used */
