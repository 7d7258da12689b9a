"""The examples and the README's code run, and show what they say."""

import importlib.util
import os
import re
from pathlib import Path

import numpy as np
import pytest

from engine import nn

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("[0-9]*.py"))


def run(number, *args):
    path, = (ROOT / "examples").glob(f"{number:02}_*.py")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main(*args)


def matrices(text):
    """The arrays that stand in printed text."""
    return [np.array([[float(number) for number in re.findall(r"-?\d+\.?\d*", row)]
                      for row in block.splitlines()])
            for block in re.findall(r"\[\[.*?\]\]", text, re.DOTALL)]


def test_every_example_is_tested_here():
    here = Path(__file__).read_text()
    for path in EXAMPLES:
        assert f"run({int(path.name[:2])}" in here, path.name
    assert len(EXAMPLES) == 11


def test_edge_filters(capsys):
    run(1)
    image, horizontal, vertical, turned = matrices(capsys.readouterr().out)
    np.testing.assert_array_equal(image, [[0] * 6] * 3 + [[255] * 6] * 3)
    np.testing.assert_array_equal(horizontal, [[0] * 4, [765] * 4, [765] * 4, [0] * 4])
    np.testing.assert_array_equal(vertical, np.zeros((4, 4)))
    np.testing.assert_array_equal(turned, horizontal.T)


def test_rgb_and_many_filters(capsys):
    run(2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("(3, 6, 6) * one filter (1, 3, 3, 3) -> (1, 4, 4)")
    assert lines[1].endswith("True")
    assert lines[2].endswith("(3, 6, 6) * ten filters (10, 3, 3, 3) -> (10, 4, 4)")
    assert "270 weights + 10 biases = 280" in lines[3]


def test_padding(capsys):
    run(3)
    text = capsys.readouterr().out
    assert "padding=0 -> 3x3" in text and "padding=1 -> 5x5" in text
    assert "by itself: True" in text
    held, seen = matrices(text)
    np.testing.assert_array_equal(held, np.outer([2, 3, 3, 3, 2], [2, 3, 3, 3, 2]))
    np.testing.assert_array_equal(seen, np.outer([1, 2, 3, 2, 1], [1, 2, 3, 2, 1]))


def test_strides(capsys):
    run(4)
    text = capsys.readouterr().out
    for stride, size in ("1", "4x5"), ("2", "2x3"), ("(1, 2)", "4x3"), ("3", "2x2"):
        assert f"stride={stride} -> {size}\n" in text
    assert "stride 1: True" in text
    image, strided = matrices(text)
    np.testing.assert_array_equal(strided, [[image[i:i + 3, j:j + 3].sum() for j in (0, 2, 4)]
                                            for i in (0, 2)])


def test_pooling(capsys):
    run(5)
    text = capsys.readouterr().out
    features, largest, smallest, mean, norm = matrices(text)
    windows = features.reshape(2, 2, 2, 2).swapaxes(1, 2)
    np.testing.assert_array_equal(largest, windows.max(axis=(2, 3)))
    np.testing.assert_array_equal(smallest, windows.min(axis=(2, 3)))
    np.testing.assert_array_equal(mean, windows.mean(axis=(2, 3)))
    np.testing.assert_allclose(norm, np.sqrt((windows**2).sum(axis=(2, 3))), atol=6e-4)
    assert "max-pooling -> one number: 7\n" in text
    assert "average-pooling -> one number: 2.625\n" in text
    assert re.findall("True|False", text) == ["False", "True", "False"]


def test_cnn_against_ann():
    pytest.importorskip("sklearn")
    results = run(6)
    ann_parameters, ann, ann_moved = results["ANN"]
    cnn_parameters, cnn, cnn_moved = results["CNN"]
    assert (ann_parameters, cnn_parameters) == (21_834, 6_090)
    assert ann >= 0.97 and cnn >= 0.98
    assert cnn_moved >= ann_moved + 0.1


def test_backward_by_hand(capsys):
    errors = run(7)
    assert "all agree" in capsys.readouterr().out
    assert {"z2", "w2", "b2", "z1", "w1", "b1", "x"} <= set(errors)
    for name, (off_measured, off_layers) in errors.items():
        assert off_measured < 1e-8, name
        assert off_layers < 1e-13, name


def test_photograph(tmp_path, capsys):
    pytest.importorskip("sklearn")
    image = pytest.importorskip("PIL.Image")
    run(8, tmp_path / "edges.png")
    assert "(427, 640, 3) -> (427, 640, 2) -> (427, 640)" in capsys.readouterr().out
    edges = np.asarray(image.open(tmp_path / "edges.png"), float)
    assert edges[:60, 220:].mean() < 10 < 60 < edges[230:300, 100:330].mean()  # sky and palace


def test_flowers_with_frozen_features(capsys):
    pytest.importorskip("PIL")
    folder = Path(os.environ.get("ENGINE_DATA", "."))
    if not (folder / "flowers_small").is_dir() or not (folder / "squeezenet").is_dir():
        pytest.skip("ENGINE_DATA names no folder with flowers_small and squeezenet")
    shares = run(10, ("frozen",))
    assert shares["frozen"] >= 0.75
    assert "200 photographs of daisy, dandelion, roses, sunflowers, tulips" in (
        capsys.readouterr().out)


def test_neocognitron(tmp_path, capsys):
    image = pytest.importorskip("PIL.Image")
    pytest.importorskip("matplotlib")
    if not (Path(os.environ.get("ENGINE_DATA", ".")) / "mnist").is_dir():
        pytest.skip("ENGINE_DATA names no folder with mnist")
    assert run(11, 1500, 1000, tmp_path / "cells.png") > 0.7
    text = capsys.readouterr().out
    assert "neocognitron: input (N, 1, 28, 28)" in text
    assert "S1: 16 of 16 planes have learned something" in text
    assert image.open(tmp_path / "cells.png").width > 100


def test_the_photograph_of_the_readme(tmp_path, monkeypatch):
    pytest.importorskip("sklearn")
    image = pytest.importorskip("PIL.Image")
    code, = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    edges = np.asarray(image.open("edges.png"), float)
    assert edges.shape == (427, 640) and edges.std() > 30


def test_the_network_of_the_readme(tmp_path, monkeypatch, capsys):
    pytest.importorskip("sklearn")
    pytest.importorskip("safetensors")
    blocks = re.findall(r"```python-console\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    code, = (re.sub("^(>>>|\\.\\.\\.) ", "", block, flags=re.MULTILINE)
             for block in blocks if "nn.Sequential" in block)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["history"]["val_accuracy"][-1] > 0.9
    assert "maxpool2d_1" in capsys.readouterr().out
    assert (tmp_path / "digits.safetensors").is_file()


def test_the_known_network_of_the_readme(tmp_path, monkeypatch):
    pytest.importorskip("safetensors")
    text = (ROOT / "README.md").read_text().partition("## Known networks")[2]
    code, = re.findall(r"```python-console\n(.*?nn\.compile.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names = {"np": np, "nn": nn}
    exec(compile(code.replace(">>> ", ""), "README.md", "exec"), names)
    assert names["matched"] == "names" and names["chances"].shape == (8, 5)


def test_the_readmes_tree_names_real_files():
    tree = re.search(r"```text\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL).group(1)
    named = [line.split()[0].rstrip("/") for line in tree.splitlines() if line.strip()]
    missing = [name for name in named if not (ROOT / name).exists()]
    assert len(named) >= 10 and not missing


def test_pretrained(capsys):
    data = os.environ.get("ENGINE_DATA")
    run(9)
    text = capsys.readouterr().out
    if not data:
        assert text == "no weights: set ENGINE_DATA to the folder that has them\n"
        pytest.skip("ENGINE_DATA names no folder with trained weights")
    right = dict(re.findall(r"(\S+\.\w+) +[\d,]+ +([\d,]+/[\d,]+)", text))
    assert right == {
        "lenet_iter_10000.caffemodel": "9,914/10,000", "webnn_lenet.bin": "9,895/10,000",
        "burn_mnist.safetensors": "9,917/10,000", "resnet20_optionA.npz": "915/1,000",
        "resnet32_optionA.npz": "928/1,000", "resnet56_optionA.npz": "926/1,000",
        "gluoncv_cifar_resnet20_v1.npz": "921/1,000", "gluoncv_cifar_resnet20_v2.npz": "935/1,000",
        "gluoncv_cifar_resnet56_v2.npz": "943/1,000", "squeezenet_v1_1_fp16.npz": "20/21",
        "squeezenet_v1_0_dc.npz": "21/21"}
    differences = re.findall(r"(\d\.\de-\d\d)$", text, re.MULTILINE)
    assert len(differences) == 9 and max(map(float, differences)) < 5e-6
