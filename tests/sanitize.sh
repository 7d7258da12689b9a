#!/usr/bin/env bash
# Builds engine's C library with AddressSanitizer and UndefinedBehaviorSanitizer into a folder of its own
# and runs the tests of the C kernels on it.   Usage: tests/sanitize.sh [PYTHON]   (GCC only)
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(command -v "${1:-python}")
cc=${CC:-cc}

site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
"$python" -m pip install --quiet --no-deps --target "$site" -C cmake.define.ENGINE_SANITIZE=ON .

# Python itself is not instrumented, so the runtimes have to be there first; libstdc++ because the
# runtime looks for its exceptions when it starts.
runtimes=()
for library in libasan.so libubsan.so libstdc++.so.6; do
    runtimes+=("$("$cc" -print-file-name=$library)")
done

export PYTHONPATH=$site
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
# `pytest`, as `python -m pytest` would import the engine of this folder, which has no C library;
# without capture, or the report of a sanitizer that aborts would be lost
sanitized() { LD_PRELOAD="${runtimes[*]}" "${python%/*}/pytest" -q --capture=no -p no:cacheprovider -n auto "$@"; }

(cd / && LD_PRELOAD="${runtimes[*]}" "$python" - "$site") <<'PYTHON'
import sys
from engine import _library
assert _library.lib is not None, "the C library was not built"
assert _library.__file__.startswith(sys.argv[1]), f"{_library.__file__} is another engine"
PYTHON
sanitized --hypothesis-profile=quick -k "c/" tests/test_conv2d.py tests/test_pool2d.py
sanitized --hypothesis-profile=quick -k "[c]" tests/test_concurrency.py
