"""CUDA kernels without a GPU: a kernel of every template is compiled and keeps to its budget."""

import collections
import functools
import re
from importlib import metadata

import pytest
import variants

from engine.kernels.cuda_support import (
    catalog,
    depthwise,
    direct,
    elementwise,
    gemm,
    gemm_weight,
    reduction,
    sums,
)
from engine.kernels.cuda_support import pooling as pools
from engine.kernels.cuda_support.toolchain import compiler, cubins, driver

PACKAGES = ("numba-cuda", "nvidia-nvvm", "nvidia-cuda-nvcc", "nvidia-cuda-nvrtc",
            "nvidia-cuda-nvdisasm")


def _absent():
    for name in PACKAGES:
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            yield name


ABSENT = list(_absent())
pytestmark = pytest.mark.skipif(bool(ABSENT), reason=f"not installed: {', '.join(ABSENT)}")

# kernel: registers at most, bytes of shared memory, FFMA and HMMA in the machine code (None: any)
BUDGETS = [
    (gemm.gather_gemm("float32", "fp32", 128, 128, "nchw", "relu"), 128, 17408, 512, 0),
    (gemm.gather_gemm("float32", "fp32", 64, 64, "nhwc", None), 168, 9216, 512, 0),
    (gemm.gather_gemm("float32", "fp32x3", 128, 128, "nchw", None), 200, 34816, 0, 96),
    (gemm.gather_gemm("float16", "fp16", 128, 128, "nhwc", None), 200, 34816, 0, 32),
    (gemm_weight.gather_gemm_weight("float32", "fp32", 128, 128, "nchw"), 168, 17408, 512, 0),
    (gemm_weight.gather_gemm_weight("float32", "tf32", 128, 128, "nhwc"), 168, 17408, 0, 16),
    (gemm.pack_weights("float32", "bf16"), 32, 0, 0, 0),
    (sums.add_up("float32"), 32, 0, 0, 0),
    (sums.bias_gradient("float32"), 40, 1024, None, 0),
    (direct.gather("float32", "nchw", None), 64, 0, None, 0),
    (depthwise.depthwise("float32", "nchw", None, 3, 1, 1), 64, 0, None, 0),
    (direct.gather_weight("float64"), 64, 1024, None, 0),
    (pools.extreme("max", "float32", "nchw"), 64, 0, 0, 0),
    (pools.extreme_backward("float32", "nhwc"), 64, 0, None, 0),
    (pools.mean("lp", "bfloat16", "bfloat16", "nchw", 0), 64, 0, None, 0),
    (pools.mean_backward("float32", "nchw"), 64, 0, None, 0),
    (pools.norm_backward("float32", "nhwc", 0), 64, 0, None, 0),
    (elementwise.elementwise("add", ("float32", "float32"), "float32", "float32", True), 32, 0, 0,
     0),
    (elementwise.elementwise("where", ("bool", "float64", None), "float64", "float16", False), 72,
     0, None, 0),
    (reduction.reduction("add", "float16", "float32", "float32"), 40, 1024, None, 0),
]


compiled = functools.cache(compiler.compiled)  # for several tests


@pytest.mark.parametrize("target", ["sm_80", "sm_90a"])
@pytest.mark.parametrize("budget", BUDGETS, ids=lambda budget: budget[0].name)
def test_budget(budget, target):
    kernel, registers, shared, ffma, hmma = budget
    made = compiled(kernel, target)
    used = compiler.usage(made.report)
    assert (used.spilled, used.stack) == (0, 0)
    assert 0 < used.registers <= registers
    assert used.shared == shared
    count = collections.Counter(name.split(".")[0] for name in compiler.instructions(made.cubin))
    assert ffma in (None, count["FFMA"])
    assert count["HMMA"] == hmma
    assert not count["LDL"] and not count["STL"]  # no local memory
    variants.compiled[target] += 1


# kernel: of the instructions in its main loop at least how many percent multiply, and its loads of
# shared memory
LOOPS = [
    (gemm.gather_gemm("float32", "fp32", 128, 128, "nchw", "relu"), 80, {"LDS.128": 32}),
    (gemm_weight.gather_gemm_weight("float32", "fp32", 128, 128, "nchw"), 75, {"LDS.128": 32}),
    (gemm.gather_gemm("float32", "fp32x3", 128, 128, "nchw", None), 19, {"LDS": 48}),
    (gemm.gather_gemm("float16", "fp16", 128, 128, "nhwc", None), 9, {"LDS": 48}),
]


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop[0].name)
def test_main_loop(loop):
    """On Hopper: what does not multiply takes the place of what does."""
    kernel, percent, loads = loop
    count = compiler.main_loop(compiled(kernel, "sm_90a").cubin)
    assert 100 * compiler.products(count) >= percent * count.total()
    assert {name: number for name, number in count.items() if name.startswith("LDS")} == loads


def test_machine_code_is_kept(tmp_path, monkeypatch):
    """On disk, for the sources that it was made from."""
    monkeypatch.setenv("ENGINE_CUDA_CACHE", str(tmp_path))
    kernel = sums.add_up("float16")
    first = cubins.binary(kernel, "sm_80")
    (file,) = tmp_path.iterdir()
    monkeypatch.setattr(compiler, "compiled", None)  # not made again
    assert cubins.binary(kernel, "sm_80") == first
    monkeypatch.setattr(cubins, "_sources", lambda: "others")
    with pytest.raises(TypeError, match="not callable"):
        cubins.binary(kernel, "sm_80")
    assert first.entry.encode() in file.read_bytes()


def test_every_template_is_in_the_table():
    """And every kernel of the catalog has a name of its own."""
    names = [kernel.name for kernel in catalog.kernels()]
    assert len(names) == len(set(names)) > 100

    def template(kernel):
        return kernel.function.__qualname__

    assert {template(kernel) for kernel in catalog.kernels()} == {
        template(budget[0]) for budget in BUDGETS}


def test_parameters_are_those_of_the_source():
    """In the machine's order and width: launches depend on it."""
    kernel = pools.norm_backward("float32", "nchw", 0)
    entry = compiler.to_ptx(kernel, "sm_80").partition(".visible .entry")[2].partition(")")[0]
    width = {"ADDRESS": "u64", "I64": "u64", "I32": "u32", "F64": "f64"}
    assert re.findall(r"\.param \.(\w+)", entry) == [width[each] for each in kernel.parameters]


def test_arguments_are_packed_as_c_does():
    """Each at a multiple of its size."""
    kernel = gemm.gather_gemm("float32", "fp32", 128, 128, "nchw", None)
    layout, offsets = driver.packing(kernel)
    sizes = [{"ADDRESS": 8, "I64": 8, "I32": 4, "F64": 8}[each] for each in kernel.parameters]
    assert all(offset % size == 0 for offset, size in zip(offsets, sizes, strict=True))
    values = list(range(1, len(sizes) + 1))
    packed = layout.pack(*values)
    assert values == [int.from_bytes(packed[offset : offset + size], "little")
                      for offset, size in zip(offsets, sizes, strict=True)]
