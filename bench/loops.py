"""Native loops that saturate the FMA units or the memory bus, built with Numba's LLVM.

They are written as LLVM text because a measured peak must not depend on what an optimiser makes of
a loop, and because llvmlite is there wherever the engine is, a C compiler is not.
"""

from __future__ import annotations

import ctypes
from functools import cache

import llvmlite.binding as llvm

ACCUMULATORS = 12  # hides the latency of two FMA units, and fits 16 registers
UNROLL = 8  # vectors per turn of the memory loops
CHAIN = 64  # dependent operations per turn of the clock loop

_FLOAT = {"float32": ("float", "f32", 4), "float64": ("double", "f64", 8)}


@cache
def vector_bytes() -> int:
    features = llvm.get_host_cpu_features()
    return 64 if features.get("avx512f") else 32 if features.get("avx2") else 16


@cache
def has_bf16_dot() -> bool:
    """Whether the CPU multiplies pairs of bfloat16 (and this LLVM spells it as we do)."""
    return bool(llvm.get_host_cpu_features().get("avx512bf16")) and llvm.llvm_version_info >= (18,)


def flops_per_turn(dtype: str) -> int:
    """Operations in one turn of ``fma(dtype)``: two per lane, four for pairs of bfloat16."""
    if dtype == "bfloat16":
        return ACCUMULATORS * 16 * 4
    return ACCUMULATORS * vector_bytes() // _FLOAT[dtype][2] * 2


@cache
def fma(dtype: str):
    """f(turns, data): ACCUMULATORS independent chains of fused multiply-adds."""
    if dtype == "bfloat16":
        vec, factor = "<16 x float>", "<32 x bfloat>"
        step = "llvm.x86.avx512bf16.dpbf16ps.512"
        declared = f"declare {vec} @{step}({vec}, {factor}, {factor})"
        call = f"call {vec} @{step}({vec} %a{{i}}, {factor} %u, {factor} %u)"
    else:
        scalar, suffix, size = _FLOAT[dtype]
        lanes = vector_bytes() // size
        vec = factor = f"<{lanes} x {scalar}>"
        step = f"llvm.fma.v{lanes}{suffix}"
        declared = f"declare {vec} @{step}({vec}, {vec}, {vec})"
        call = f"call {vec} @{step}({vec} %u, {vec} %u, {vec} %a{{i}})"
    return _function(
        "i64 %end, ptr %data", step=1, declared=declared,
        before=[f"%u = load {factor}, ptr %data, align 64"],
        phis=_accumulators(vec),
        body=[f"%b{i} = {call.format(i=i)}" for i in range(ACCUMULATORS)],
        after=[f"store volatile {vec} %b{i}, ptr %data, align 64" for i in range(ACCUMULATORS)])


@cache
def chain():
    """f(turns, data): CHAIN operations of one cycle each, every one waiting for the last."""
    return _function(
        "i64 %end, ptr %data", step=1,
        before=["%k = load volatile i64, ptr %data"],
        phis=[f"%x0 = phi i64 [%k, %entry], [%x{CHAIN}, %loop]"],
        body=[f"%x{i + 1} = {('add', 'xor')[i % 2]} i64 %x{i}, %k" for i in range(CHAIN)],
        after=[f"store volatile i64 %x{CHAIN}, ptr %data"])


@cache
def memory(kind: str):
    """f(nbytes, source, target) that reads, writes or copies; stores bypass the caches."""
    vec = f"<{vector_bytes() // 8} x i64>"
    every = range(UNROLL)
    body = [f"%at{i} = add i64 %i, {i * vector_bytes()}" for i in every]
    phis, after = [], []
    # Not zeros: Zen 4 writes lines of zeros at thrice the bandwidth of any other.
    before = [f"%some = load {vec}, ptr %source, align 64"]
    if kind in ("read", "copy"):
        body += [f"%p{i} = getelementptr i8, ptr %source, i64 %at{i}" for i in every]
        body += [f"%v{i} = load {vec}, ptr %p{i}, align 64" for i in every]
    if kind == "read":
        phis = _accumulators(vec, UNROLL)
        body += [f"%b{i} = xor {vec} %a{i}, %v{i}" for i in every]
        after = [f"store volatile {vec} %b{i}, ptr %target, align 64" for i in every]
    else:
        value = "%v{i}" if kind == "copy" else "%some"
        body += [f"%q{i} = getelementptr i8, ptr %target, i64 %at{i}" for i in every]
        body += [f"store {vec} {value.format(i=i)}, ptr %q{i}, align 64, !nontemporal !0"
                 for i in every]
    return _function("i64 %end, ptr %source, ptr %target", step=UNROLL * vector_bytes(),
                     before=before, phis=phis, body=body, after=after)


def _accumulators(vec: str, count: int = ACCUMULATORS) -> list[str]:
    return [f"%a{i} = phi {vec} [zeroinitializer, %entry], [%b{i}, %loop]" for i in range(count)]


def _function(arguments: str, *, step: int, phis: list[str], body: list[str], after: list[str],
              before: list[str] = (), declared: str = ""):
    """A compiled loop over %i = 0, step, ... below %end, callable without the interpreter lock."""
    text = [declared, f"define void @f({arguments}) {{", "entry:", *before, "br label %loop",
            "loop:", "%i = phi i64 [0, %entry], [%next, %loop]", *phis, *body,
            f"%next = add i64 %i, {step}", "%more = icmp slt i64 %next, %end",
            "br i1 %more, label %loop, label %done",
            "done:", *after, "ret void", "}", "!0 = !{i32 1}"]
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly("\n".join(text))
    module.verify()
    target = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3)
    compiler = llvm.create_mcjit_compiler(module, target)
    compiler.finalize_object()
    pointers = [ctypes.c_void_p] * arguments.count("ptr ")
    function = ctypes.CFUNCTYPE(None, ctypes.c_int64, *pointers)(
        compiler.get_function_address("f"))
    function.code = compiler  # lives as long as its caller
    return function
