"""Products of bfloat16 matrices in the tile registers of AMX, summed in float32.

A product has up to 32 rows and 32 columns; its sum runs over steps of up to 32 numbers, in pairs,
a pair being a *word* of 32 bits.  Rows are read in place, the words of one row after the other; of
the columns, a line of words of all 16 of them after the other.

A float32 comes as ``PARTS`` bfloat16 that add up to it exactly.  Of the nine products of parts the
three smallest, below 2^-24 of the whole, are left out: Henry, Tang and Heinecke, "Leveraging the
bfloat16 Artificial Intelligence Datatype For Higher-Precision Computations" (ARITH 2019).
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .llvm import BYTE, BYTES, INDEX, broadcast, element_pointer, masked_store

PARTS = 3
LINES = 16  # of a tile, each of 64 bytes
TILE_WORDS = LINES * LINES
SIDE = 2 * LINES  # rows and columns of one product
WORDS = types.CPointer(types.int32)
_ORDER = ((0, 2), (0, 1), (1, 1), (1, 0), (2, 0), (0, 0))  # parts of rows and columns that meet:
# from small to large products, and only one operand changes from one to the next
_WORD = ir.IntType(32)
_ROWS, _COLS = 4, 6  # the first tile of either operand; sums are in tiles 0 to 3


@intrinsic
def begin(typingctx, pairs):
    """Let tiles hold that many words of each row, and as many lines of columns."""
    def codegen(context, builder, sig, args):
        config = cgutils.alloca_once(builder, ir.ArrayType(BYTE, 64))
        builder.store(ir.Constant(config.type.pointee, None), config)
        start = builder.bitcast(config, BYTES)

        def put(offset, value, number):
            place = builder.gep(start, [ir.Constant(INDEX, offset)], source_etype=BYTE)
            builder.store(builder.trunc(value, number),
                          builder.bitcast(place, number.as_pointer()))

        lines, line_bytes = ir.Constant(INDEX, LINES), ir.Constant(INDEX, 64)
        put(0, ir.Constant(INDEX, 1), BYTE)  # the palette
        for tile in range(8):
            put(16 + 2 * tile, builder.mul(args[0], ir.Constant(INDEX, 4))
                if tile in (_ROWS, _ROWS + 1) else line_bytes, ir.IntType(16))
            put(48 + tile, args[0] if tile >= _COLS else lines, BYTE)
        _call(builder, "ldtilecfg", start)
        return context.get_dummy_value()

    return types.void(types.intp), codegen


@intrinsic
def end(typingctx):
    """The tiles are free, and threads change quickly again."""
    def codegen(context, builder, sig, args):
        _call(builder, "tilerelease")
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic(prefer_literal=True)
def multiply(typingctx, row_tiles, col_tiles, steps, offsets, rows, row_pitch, row_part, cols,
             sums):
    """sums[row][SIDE] = the product of that many tiles of rows (1 or 2) and of columns.

    Step k finds its rows ``offsets[k]`` words after ``rows``, ``row_pitch`` apart, and their parts
    ``row_part`` apart.  Columns of all steps, parts and tiles follow one another.
    """
    if not all(isinstance(each, types.IntegerLiteral) for each in (row_tiles, col_tiles)):
        return None
    tiles = row_tiles.literal_value, col_tiles.literal_value

    def codegen(context, builder, sig, args):
        _, _, steps, offsets, rows, row_pitch, row_part, cols, sums = args
        _clear(builder, *tiles)
        with cgutils.for_range(builder, steps) as loop:
            at_step = builder.load(element_pointer(builder, INDEX, offsets, loop.index), typ=INDEX)
            row_at = element_pointer(builder, _WORD, rows, at_step)
            step_words = ir.Constant(INDEX, PARTS * tiles[1] * TILE_WORDS)
            col_at = element_pointer(builder, _WORD, cols, builder.mul(loop.index, step_words))
            _step(builder, *tiles, row_at, row_pitch, row_part, col_at)
        _keep(builder, *tiles, sums)
        return context.get_dummy_value()

    return types.void(row_tiles, col_tiles, types.intp, types.CPointer(types.int64), WORDS,
                      types.intp, types.intp, WORDS, sums), codegen


@intrinsic
def clear_sums(typingctx):
    """The sums of two tiles of rows and two of columns are zero.

    With ``multiply_step`` and ``keep_sums`` a product step by step, other work in between.
    """
    def codegen(context, builder, sig, args):
        _clear(builder, 2, 2)
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def multiply_step(typingctx, rows, cols):
    """Add a step to them whose rows, too, are lines of words: each [part][2 tiles][line][word]."""
    def codegen(context, builder, sig, args):
        pitch, part = ir.Constant(INDEX, LINES), ir.Constant(INDEX, 2 * TILE_WORDS)
        _step(builder, 2, 2, args[0], pitch, part, args[1])
        return context.get_dummy_value()

    return types.void(WORDS, WORDS), codegen


@intrinsic
def keep_sums(typingctx, sums):
    """sums[row][SIDE]."""
    def codegen(context, builder, sig, args):
        _keep(builder, 2, 2, args[0])
        return context.get_dummy_value()

    return types.void(sums), codegen


def _pairs(row_tiles, col_tiles):
    return [(i, j) for i in range(row_tiles) for j in range(col_tiles)]


def _clear(builder, row_tiles, col_tiles):
    for i, j in _pairs(row_tiles, col_tiles):
        _call(builder, "tilezero", BYTE(2 * i + j))


def _step(builder, row_tiles, col_tiles, row_at, row_pitch, row_part, col_at):
    """The six products of one step."""
    row_bytes = builder.mul(row_pitch, ir.Constant(INDEX, 4))
    next_rows = builder.mul(row_pitch, ir.Constant(INDEX, LINES))
    held = (None, None)
    for row, col in _ORDER:
        for i in range(row_tiles if row != held[0] else 0):
            offset = builder.mul(row_part, ir.Constant(INDEX, row))
            offset = builder.add(offset, next_rows) if i else offset
            _load(builder, _ROWS + i, element_pointer(builder, _WORD, row_at, offset), row_bytes)
        for j in range(col_tiles if col != held[1] else 0):
            offset = ir.Constant(INDEX, (col * col_tiles + j) * TILE_WORDS)
            _load(builder, _COLS + j, element_pointer(builder, _WORD, col_at, offset),
                  ir.Constant(INDEX, 64))
        held = row, col
        for i, j in _pairs(row_tiles, col_tiles):
            _call(builder, "tdpbf16ps", BYTE(2 * i + j), BYTE(_ROWS + i), BYTE(_COLS + j))


def _keep(builder, row_tiles, col_tiles, sums):
    for i, j in _pairs(row_tiles, col_tiles):
        offset = ir.Constant(INDEX, LINES * (i * SIDE + j))
        place = element_pointer(builder, ir.FloatType(), sums, offset)
        _call(builder, "tilestored64", BYTE(2 * i + j), builder.bitcast(place, BYTES),
              ir.Constant(INDEX, 4 * SIDE))


def _load(builder, tile, place, pitch):
    _call(builder, "tileloadd64", BYTE(tile), builder.bitcast(place, BYTES), pitch)


def _call(builder, name, *args):
    function_type = ir.FunctionType(ir.VoidType(), [arg.type for arg in args])
    builder.call(cgutils.get_or_insert_function(builder.module, function_type,
                                                f"llvm.x86.{name}"), args)


@intrinsic
def put_words(typingctx, target, low, high, step, count):
    """The first ``count`` words (low, high), in PARTS lots ``step`` words apart.

    Parts are rounded to nearest, halves away from zero, so that the last has at most 8 bits: only
    of numbers below 2^-110 is anything lost.  Of what is not finite one part at least is NaN.
    """
    def codegen(context, builder, sig, args):
        target_at, *numbers, step, count = args
        for part in range(PARTS):
            bits = [_upper_half(builder, number, part) for number in numbers]
            words = builder.or_(builder.lshr(bits[0], _all_lanes(builder, bits[0].type, 16)),
                                bits[1])
            offset = builder.mul(step, ir.Constant(INDEX, part))
            masked_store(builder, words,
                         element_pointer(builder, _WORD, target_at, offset), 4, count)
            numbers = [builder.fsub(number, builder.bitcast(b, number.type))
                       for number, b in zip(numbers, bits, strict=True)]
        return context.get_dummy_value()

    return types.void(WORDS, low, high, types.intp, types.intp), codegen


def _upper_half(builder, number, part):
    """The bits of the bfloat16 nearest to each float, in the upper half of its word."""
    vector = ir.VectorType(ir.IntType(32), number.type.count)
    bits = builder.bitcast(number, vector)
    if part < PARTS - 1:
        bits = builder.add(bits, _all_lanes(builder, vector, 0x8000))
    return builder.and_(bits, _all_lanes(builder, vector, 0xffff0000))


def _all_lanes(builder, vector, number):
    return broadcast(builder, ir.Constant(vector.element, number), vector.count)
