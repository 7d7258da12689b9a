"""The command `engine`, as a user types it."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from published import PARAMETERS

import engine
from engine import datasets, nn

pytest.importorskip("click")
pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")
Image = pytest.importorskip("PIL.Image")
pytest.importorskip("safetensors")

ROOT = Path(engine.__file__).parent.parent
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}


def command(*args, program=("-m", "engine.cli"), **environment):
    return subprocess.run([sys.executable, *program, *map(str, args)], capture_output=True,
                          text=True, timeout=120, env=ENVIRONMENT | environment)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A short training on the digits: its folder and what it printed."""
    out = tmp_path_factory.mktemp("run") / "new" / "folder"
    done = command("train", "lenet5", "--epochs", 4, "--threads", 2, "--out", out)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def test_train_reports(trained):
    out, text = trained
    assert "lenet5, 61,706 parameters, on digits: 1,437 images to train on, 360 held out" in text
    assert re.findall(r"epoch (\d/\d) .*val_accuracy", text) == ["1/4", "2/4", "3/4", "4/4"]
    rows = re.findall(r"^ +(\d)  ([ \d.]+) +[\d.]+%$", text, re.MULTILINE)
    matrix = np.array([[int(n.replace(".", "0")) for n in row.split()] for _, row in rows])
    digits = datasets.digits()
    np.testing.assert_array_equal(matrix.sum(axis=1), np.bincount(digits.y_test))
    share, right = re.search(r"test accuracy ([\d.]+)% \((\d+) of 360\)", text).groups()
    assert int(right) == matrix.trace() and float(share) == pytest.approx(matrix.trace() / 3.6, .01)
    assert matrix.trace() >= 0.95 * 360


def test_train_leaves_the_model_and_the_curves(trained):
    out, text = trained
    assert sorted(os.listdir(out)) == ["curves.png", "model.safetensors"]
    model, digits = nn.load(out / "model.safetensors"), datasets.digits()
    right = int(re.search(r"\((\d+) of 360\)", text).group(1))
    assert model.evaluate(digits.x_test, digits.y_test)["accuracy"] == right / 360
    assert model.metadata["data"] == "digits" and model.epochs_done == 4
    curves = np.asarray(Image.open(out / "curves.png").convert("RGB"))
    assert curves.shape[0] > 300 and curves.shape[1] > 800
    assert len(np.unique(curves.reshape(-1, 3), axis=0)) > 10  # something is drawn


def test_train_is_reproducible(tmp_path, trained):
    first, again = (tmp_path / name for name in ("first", "again"))
    for out, threads in (first, 1), (again, 2):
        done = command("train", "lenet5", "--epochs", 1, "--seed", 3, "--threads", threads,
                       "--out", out)
        assert done.returncode == 0, done.stderr
    assert ((first / "model.safetensors").read_bytes()
            == (again / "model.safetensors").read_bytes())


def test_train_on_idx_files(tmp_path):
    from test_datasets import write_mnist

    write_mnist(tmp_path / "data" / "fashion-mnist", train=20, test=10)
    done = command("train", "lenet5", "--data", "fashion-mnist", "--data-dir", tmp_path / "data",
                   "--epochs", 1, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "20 images to train on, 10 held out" in done.stdout and "sneaker" in done.stdout
    assert nn.load(tmp_path / "out" / "model.safetensors").metadata["classes"][0] == "T-shirt"


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="no SIGINT to send")
def test_ctrl_c_leaves_a_model(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "engine.cli", "train", "lenet5", "--epochs", "100000",
         "--out", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=ENVIRONMENT)
    try:
        for line in process.stdout:
            if "epoch 2/100000" in line:
                break
        process.send_signal(signal.SIGINT)
        text, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130 and "Traceback" not in errors
    assert "stopped after" in text and "of 100000 epochs; model saved to" in text
    model, digits = nn.load(tmp_path / "model.safetensors"), datasets.digits()
    assert model.epochs_done >= 2
    assert model.evaluate(digits.x_test, digits.y_test)["accuracy"] > 0.7
    assert os.listdir(tmp_path) == ["model.safetensors"]


def save_digit(path, image, size=None, invert=False, margin=0):
    """A digit of the data set as an image file, enlarged, dark on light, off-centre."""
    picture = Image.fromarray((255 * (1 - image if invert else image)).astype(np.uint8))
    if size:
        picture = picture.resize((size, size), Image.Resampling.BICUBIC)
        ground = Image.new("L", (size + 3 * margin, size + margin), 255 if invert else 0)
        ground.paste(picture, (2 * margin, 0))
        picture = ground.convert("RGB")
    picture.save(path)


def test_predict_reads_images_of_any_size(trained, tmp_path):
    out, _ = trained
    digits = datasets.digits()
    chances = nn.load(out / "model.safetensors").predict(digits.x_test)
    sure = np.sort(chances.max(axis=1).argsort()[-40:])  # some the model knows well
    paths = []
    for place, i in enumerate(sure):
        path = tmp_path / f"{i}.png"
        save_digit(path, digits.x_test[i, 0], size=(None, 40, 150)[place % 3],
                   invert=place % 2 == 1, margin=30)
        paths.append(path)
    done = command("predict", out / "model.safetensors", *paths)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    said = []
    for path, line in zip(paths, lines, strict=True):
        match = re.fullmatch(r"(.*): (\d) ([\d.]+)%, \d [\d.]+%, \d [\d.]+%", line)
        assert match.group(1) == str(path)
        said.append(int(match.group(2)))
    right = np.array(said) == digits.y_test[sure]
    assert right[::3].all()  # those of the model's own size are read as they are
    assert right.mean() >= 0.9


def test_predict_messages(trained, tmp_path):
    model = trained[0] / "model.safetensors"
    text = tmp_path / "text.png"
    text.write_text("no image")
    done = command("predict", model, text)
    assert done.returncode == 1
    assert done.stderr.startswith("engine: cannot identify image file")
    assert len(done.stderr.splitlines()) == 1
    done = command("predict", text, text)
    assert done.returncode == 1 and "is not a whole safetensors file" in done.stderr
    assert command("predict", model).returncode == 2
    assert command("predict", model, tmp_path / "none.png").returncode == 2


def test_summary_of_a_name_and_of_a_file(trained):
    by_name = command("summary", "lenet5")
    by_file = command("summary", trained[0] / "model.safetensors")
    assert by_name.returncode == by_file.returncode == 0
    assert by_name.stdout == by_file.stdout and "61,706 parameters" in by_name.stdout
    rows = re.findall(r"^(\w+) +([\d,]+) parameters, input \(.+\)$", command("summary").stdout,
                      re.MULTILINE)
    assert [name for name, _ in rows] == list(nn.models.MODELS)
    counts = {name: int(count.replace(",", "")) for name, count in rows}
    assert {name: counts[name] for name in PARAMETERS} == PARAMETERS
    wrong = command("summary", "lenet6")
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("engine: summary: `lenet6` is neither a file nor one of lenet5,")


def test_info_shows_the_configuration():
    done = command("info")
    assert done.returncode == 0, done.stderr
    assert "numpy" in done.stdout.lower() and "threads" in done.stdout.lower()


def test_missing_data_is_one_line(tmp_path):
    done = command("train", "lenet5", "--data", "mnist", "--out", tmp_path / "out", ENGINE_DATA="")
    assert done.returncode == 1 and done.stderr.startswith("engine: mnist: no folder given")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("missing, needs", [
    ("click", "the command line needs click"),
    ("safetensors", "saving a model needs safetensors"),
    ("matplotlib", "drawing curves needs matplotlib"),
    ("sklearn", "the digits data set needs sklearn"),
])
def test_missing_extras_are_one_line(tmp_path, missing, needs):
    code = (f"import sys; sys.modules['{missing}'] = None\n"
            "from engine.cli import main\n"
            f"sys.argv = ['engine', 'train', 'lenet5', '--out', {str(tmp_path)!r}]\n"
            "main()")
    done = command(program=("-c", code))
    assert done.returncode == 1
    assert done.stderr == f'engine: {needs}: pip install "convengine[app]"\n'
    assert os.listdir(tmp_path) == []


def test_engine_itself_needs_no_extra():
    code = ("import sys, engine, engine.nn, engine.datasets\n"
            "extras = {'click', 'rich', 'matplotlib', 'PIL', 'safetensors', 'sklearn', 'numba'}\n"
            "print(sorted(extras & set(sys.modules)))")
    assert command(program=("-c", code)).stdout == "[]\n"


def test_predict_photographs():
    data = os.environ.get("ENGINE_DATA")
    if not data:
        pytest.skip("ENGINE_DATA names no folder with photographs and weights")
    photos, weights = Path(data) / "photos", Path(data) / "squeezenet"
    done = command("predict", "squeezenet1_1", photos / "macaw.jpg", photos / "pizza.jpg",
                   "--weights", weights / "squeezenet_v1_1_fp16.npz")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 12
    assert re.fullmatch(r"  macaw +\d\d\.\d%  \u2588+", lines[1])
    assert re.fullmatch(r"  pizza +\d\d\.\d%  \u2588+", lines[7])
    shares = [float(re.search(r"([\d.]+)%", line).group(1)) for line in lines[1:6]]
    assert shares == sorted(shares, reverse=True) and 50 < sum(shares) <= 100.2


def test_predict_photographs_needs_weights(tmp_path):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "black.png")
    done = command("predict", "squeezenet1_1", tmp_path / "black.png")
    assert done.stderr == ("engine: predict: squeezenet1_1 has no `--weights`, "
                           "expected a file of them\n")


def test_predict_photographs_refuses_what_does_not_fit(tmp_path):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "black.png")
    small = nn.models.MODELS["resnet20"](seed=0)
    small.save(tmp_path / "resnet20.safetensors")
    weights = "--weights", tmp_path / "resnet20.safetensors"
    done = command("predict", "resnet20", tmp_path / "black.png", *weights)
    assert done.returncode == 0, done.stderr  # ten classes are not ImageNet's
    assert re.fullmatch(r"  \d +[\d.]+%.*", done.stdout.splitlines()[1])
    (tmp_path / "names.txt").write_text("n01 tench\nn02 goldfish\n")
    done = command("predict", "resnet20", tmp_path / "black.png", *weights,
                   "--labels", tmp_path / "names.txt")
    assert "names.txt` has 2 lines, expected 10, one for each class of resnet20" in done.stderr
    done = command("predict", "lenet5", tmp_path / "black.png", *weights)
    assert done.stderr == ("engine: predict: lenet5 takes (1, 28, 28), expected a network for "
                           "colour photographs (3, H, W)\n")


def test_photographs_are_scaled_as_the_weights_expect():
    from engine.nn import photos

    pixels = np.full((2, 2, 3), (255, 0, 51), np.uint8)
    channels = {style: photos.prepare(pixels, style)[:, 0, 0] for style in photos.STYLES}
    np.testing.assert_allclose(channels["caffe"], [51 - 104, -117, 255 - 123])
    np.testing.assert_allclose(channels["inception"], [1, -1, -0.6], rtol=1e-6)
    np.testing.assert_allclose(channels["torch"], [(1 - 0.485) / 0.229, -0.456 / 0.224,
                                                   (0.2 - 0.406) / 0.225], rtol=1e-6)
