"""Products on a GPU: FFMA of 8x8 tiles, and tensor cores by inline PTX."""

from __future__ import annotations

from llvmlite import ir
from numba.cuda import cgutils, types

from .lowering_lanes import F32, I32, called, elementwise, lanes_of
from .lowering_memory import apart, pointer_to
from .lowering_numbers import plus


def outer8(depth, pitch_a, half_a, pitch_b, half_b):
    vector = ir.VectorType(F32, 4)

    def emit(builder, signature, values):
        tile, memory_a, memory_b, at_a, at_b = values
        tile = lanes_of(builder, tile, signature.args[0])
        kind_a, kind_b = signature.args[3:]

        start_a = pointer_to(builder, memory_a, at_a, kind_a, vector, 4)
        start_b = pointer_to(builder, memory_b, at_b, kind_b, vector, 4)

        def eight(start, first, half):
            lanes = []
            for more in (first, first + half):
                four = builder.load(apart(builder, start, more // 4), align=16, typ=vector)
                lanes += [builder.extract_element(four, ir.Constant(I32, i)) for i in range(4)]
            return lanes

        for k in range(depth):
            a = eight(start_a, k * pitch_a, half_a)
            b = eight(start_b, k * pitch_b, half_b)
            tile = [called(builder, "llvm.fma.f32", [a[i // 8], b[i % 8], tile[i]])
                    for i in range(64)]
        return cgutils.pack_array(builder, tile)

    return lambda tile, *_: tile, emit


def row_products(dtype, taps, step, apart):
    def emit(builder, signature, values):
        sums, row, factors = (lanes_of(builder, value, kind)
                              for value, kind in zip(values, signature.args, strict=True))
        for tap in range(taps):
            for i in range(4):
                sums[i] = plus(builder, dtype, row[tap * apart + i * step], factors[tap], sums[i])
        return cgutils.pack_array(builder, sums)

    return lambda sums, row, factors: sums, emit


def round_tf32():
    def emit(builder, kinds, values):
        asm = ir.InlineAsm(ir.FunctionType(I32, [F32]), "cvt.rna.tf32.f32 $0, $1;", "=r,f",
                           side_effect=False)
        return builder.bitcast(builder.call(asm, values), F32)

    return elementwise(lambda a: types.float32, emit)


def pack(kind):
    code = {"bf16": "cvt.rn.bf16x2.f32 $0, $2, $1;", "fp16": "cvt.rn.f16x2.f32 $0, $2, $1;"}[kind]

    def emit(builder, kinds, values):
        asm = ir.InlineAsm(ir.FunctionType(I32, [F32, F32]), code, "=r,f,f", side_effect=False)
        return builder.call(asm, values)

    return elementwise(lambda low, high: types.uint32, emit)


_SHAPE = {"tf32": "m16n8k8.row.col.f32.tf32.tf32.f32", "bf16": "m16n8k16.row.col.f32.bf16.bf16.f32",
          "fp16": "m16n8k16.row.col.f32.f16.f16.f32"}


def mma(kind):
    def emit(builder, signature, values):
        tile, a, b = (lanes_of(builder, value, kind_)
                      for value, kind_ in zip(values, signature.args, strict=True))
        if kind == "fp32x3":
            (a, a_rest), (b, b_rest) = _split(builder, a), _split(builder, b)
            for left, right in ((a_rest, b), (a, b_rest), (a, b)):
                tile = _products(builder, "tf32", tile, left, right)
        else:
            a, b = _words(builder, a), _words(builder, b)
            tile = _products(builder, kind, tile, a, b)
        return cgutils.pack_array(builder, tile)

    return lambda tile, a, b: tile, emit


def _words(builder, lanes):
    return [lane if lane.type == I32 else builder.bitcast(lane, I32) for lane in lanes]


def _split(builder, lanes):
    """Big parts, rounded to what tensor cores multiply, and rests, for them to cut off."""
    half, mask = ir.Constant(I32, 0x1000), ir.Constant(I32, 0xFFFFE000)
    big, rest = [], []
    for lane in lanes:
        bits = builder.and_(builder.add(builder.bitcast(lane, I32), half), mask)
        left = builder.fsub(lane, builder.bitcast(bits, F32))
        big.append(bits)
        rest.append(builder.add(builder.bitcast(left, I32), half))
    return big, rest


def _products(builder, kind, tile, a, b):
    """Four times four mma instructions."""
    four = ir.LiteralStructType([F32] * 4)
    function = ir.FunctionType(four, [I32] * 6 + [F32] * 4)
    asm = ir.InlineAsm(function, f"mma.sync.aligned.{_SHAPE[kind]} {{$0,$1,$2,$3}}, "
                       "{$4,$5,$6,$7}, {$8,$9}, {$10,$11,$12,$13};",
                       "=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f", side_effect=False)
    tile = list(tile)
    for m in range(4):
        for n in range(4):
            places = [(2 * m + r // 2) * 8 + 2 * n + r % 2 for r in range(4)]
            # fragments come as (word + 4, row + 8); mma wants rows first
            left = [a[4 * m + place] for place in (0, 1, 2, 3)]
            result = builder.call(asm, [*left, b[2 * n], b[2 * n + 1],
                                        *(tile[place] for place in places)])
            for r, place in enumerate(places):
                tile[place] = builder.extract_value(result, r)
    return tile
