"""Where batches come from, and how they are augmented."""

import itertools
import threading

import numpy as np
import pytest
from test_nn_training import bars, network, train

from engine import nn
from engine.nn import data, photos


def batches(n=64, size=16):
    x, y = bars(n)
    return [(x[i:i + size], y[i:i + size]) for i in range(0, n, size)]


class Again:
    """Gives the same batches each time it is iterated, and does not say how many."""

    def __iter__(self):
        return iter(batches())


def trained(*data, **options):
    model = network(input_shape=(1, 8, 8))
    history = model.fit(*data, **{"progress": False, "optimizer": nn.Adam(0.01)} | options)
    return model.weights.tobytes(), history


def test_batches_of_iterables_train_like_arrays():
    expected = trained(*bars(64), batch_size=16, shuffle=False, epochs=2)
    assert trained(Again(), epochs=2) == expected
    assert trained(Again(), epochs=2, workers=2) == expected
    endless = itertools.cycle(batches())
    assert trained(endless, epochs=2, steps_per_epoch=4) == expected
    finite = (pair for pair in batches() * 2)
    assert trained(finite, epochs=2, steps_per_epoch=4) == expected


def test_iterables_are_evaluated_too():
    model, history = train(validation_data=Again())
    scores = model.evaluate(*bars(64))
    assert model.evaluate(Again()) == pytest.approx(scores)
    assert history["val_accuracy"][-1] == pytest.approx(scores["accuracy"])


def test_a_resumed_training_goes_on_in_the_middle_of_an_iterable(tmp_path):
    pytest.importorskip("safetensors")
    expected = trained(Again(), epochs=2)

    class Stop(nn.Callback):
        def on_batch_end(self, model, step, logs):
            model.stop_training = model.run.epoch == 1 and step == 1

    trained(Again(), epochs=2, callbacks=[Stop(), nn.Checkpoint(tmp_path / "run", every=1)])
    model = nn.load(tmp_path / "run")
    history = model.fit(Again(), epochs=2, progress=False, optimizer=nn.Adam(0.01),
                        resume=tmp_path / "run")
    assert (model.weights.tobytes(), history) == expected


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_nothing(workers):
    options = dict(epochs=2, batch_size=16, augment=[nn.RandomShift(1), nn.RandomRotate(20)])
    assert trained(*bars(100), workers=workers, **options) == trained(*bars(100), **options)


def test_augmentation_runs_in_the_workers():
    seen = set()

    def augment(x, rng):
        seen.add(threading.current_thread().name.rpartition("_")[0])
        return x

    trained(*bars(64), augment=augment, workers=2)
    assert seen == {"engine-batches"}


def test_an_error_in_a_worker_reaches_the_user():
    def augment(x, rng):
        raise RuntimeError("no such picture")

    with pytest.raises(RuntimeError, match="no such picture"):
        trained(*bars(64), augment=augment, workers=2)


def test_batches_are_prepared_a_few_ahead_and_in_order():
    prepared = []
    results = data.ahead(lambda job: prepared.append(job) or job, range(100), workers=2)
    assert [next(results) for _ in range(10)] == list(range(10))
    assert len(prepared) <= 15
    results.close()
    assert list(data.ahead(str, range(20), workers=3)) == [str(i) for i in range(20)]


@pytest.fixture
def folder(tmp_path):
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for label, name in enumerate(["blue", "red"]):
        (tmp_path / name).mkdir()
        for i in range(6):
            pixels = rng.integers(0, 100, (12, 20, 3), np.uint8)
            pixels[..., 2 - 2 * label] = 250
            image.fromarray(pixels).save(tmp_path / name / f"{i}.png")
    (tmp_path / "red" / "notes.txt").write_text("no image")
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_a_folder_of_images(folder):
    images = nn.ImageFolder(folder, (8, 8))
    assert images.classes == ["blue", "red"] and images.labels.tolist() == [0] * 6 + [1] * 6
    assert images.shape == (12, 3, 8, 8) and len(images) == 12
    x = images[np.array([0, 7])]
    assert x.shape == (2, 3, 8, 8) and x.dtype == np.float32 and 0 <= x.min() <= x.max() <= 1
    np.testing.assert_allclose(x[[0, 1], [2, 0]], 250 / 255, rtol=1e-6)
    np.testing.assert_array_equal(images[7], x[1])
    other = nn.ImageFolder(folder, 8, layout="NHWC", transform=nn.Normalize(0.5, layout="NHWC"))
    np.testing.assert_array_equal(other[:3], images[:3].transpose(0, 2, 3, 1) - np.float32(0.5))
    assert images[:0].shape == (0, 3, 8, 8)


def test_the_middle_of_a_photograph_is_taken(tmp_path):
    image = pytest.importorskip("PIL.Image")
    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[:, 2:6] = 255
    image.fromarray(pixels).save(tmp_path / "wide.png")
    np.testing.assert_array_equal(photos.read_middle(tmp_path / "wide.png", (4, 4)), 255)
    pixels[1:3, 3:5] = 90
    image.fromarray(pixels).save(tmp_path / "wide.png")
    half = photos.read_middle(tmp_path / "wide.png", (2, 2), share=0.5)
    np.testing.assert_array_equal(half, np.full((2, 2, 3), 90))


def test_photographs_are_turned_upright(tmp_path):
    image = pytest.importorskip("PIL.Image")
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[0] = 255  # the top, which is on the right of the picture
    tag = image.Exif()
    tag[0x0112] = 6  # orientation: turned clockwise
    image.fromarray(pixels).save(tmp_path / "turned.png", exif=tag)
    upright = photos.read_middle(tmp_path / "turned.png", (4, 4))
    np.testing.assert_array_equal(upright, np.rot90(pixels, -1))


def test_training_on_a_folder(folder):
    images = nn.ImageFolder(folder, 8, transform=nn.Normalize([0.5, 0.5, 0.5], [0.2, 0.2, 0.2]))
    model = nn.Sequential([nn.Conv2D(4, 3, activation="relu"), nn.GlobalAvgPool2D(), nn.Flatten(),
                           nn.Dense(2), nn.Softmax()], seed=0)
    history = model.fit(images, epochs=8, batch_size=4, validation_data=images, workers=2,
                        optimizer=nn.Adam(0.05), progress=False)
    assert history["val_accuracy"][-1] == 1
    assert (model.predict(images).argmax(axis=1) == images.labels).all()
    arrays = images[:]
    assert model.evaluate(images) == model.evaluate(arrays, images.labels)


LAYOUTS = pytest.mark.parametrize("layout", ["NCHW", "NHWC"])


def augmented(augmentation, x, layout, seed=0):
    to_layout = (0, 1, 2, 3) if layout == "NCHW" else (0, 2, 3, 1)
    y = augmentation(x.transpose(to_layout), np.random.default_rng(seed))
    return y.transpose(np.argsort(to_layout))


@LAYOUTS
def test_flips(layout):
    x = np.random.default_rng(0).random((200, 2, 5, 4), np.float32)
    both = nn.RandomFlip(horizontal=True, vertical=True, layout=layout)
    y = augmented(both, x, layout)
    kinds = [x, x[..., ::-1], x[..., ::-1, :], x[..., ::-1, ::-1]]
    found = [sum((image == kind[i]).all() for i, image in enumerate(y)) for kind in kinds]
    assert sum(found) == 200 and min(found) > 30
    only = augmented(nn.RandomFlip(layout=layout), x, layout)
    assert all((image == x[i]).all() or (image == x[i, :, :, ::-1]).all()
               for i, image in enumerate(only))


@LAYOUTS
def test_crops_are_pieces(layout):
    x = np.arange(300 * 2 * 36, dtype=np.float32).reshape(300, 2, 6, 6) + 1
    y = augmented(nn.RandomCrop((3, 4), padding=1, layout=layout), x, layout)
    assert y.shape == (300, 2, 3, 4)
    bordered = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    corners = set()
    for old, new in zip(bordered, y, strict=True):
        here = [(i, j) for i in range(6) for j in range(5)
                if (old[:, i:i + 3, j:j + 4] == new).all()]
        assert len(here) == 1
        corners.update(here)
    assert corners == {(i, j) for i in range(6) for j in range(5)}


def test_training_on_crops():
    x, y = bars(64)
    large = np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)))
    model = network(input_shape=(1, 8, 8))
    model.fit(large, y, augment=nn.RandomCrop(8), progress=False)
    with pytest.raises(ValueError, match=r"fit: a batch has shape \(32, 1, 9, 9\), expected "
                                         r"\(N, 1, 8, 8\)"):
        model.fit(large, y, augment=nn.RandomCrop(9), progress=False)


@LAYOUTS
def test_rotation(layout):
    x = np.random.default_rng(0).random((3, 2, 7, 7))

    class Quarter:
        """A generator that always turns to the limit."""

        def uniform(self, low, high, size):
            return np.full(size, high)

    to_layout = (0, 1, 2, 3) if layout == "NCHW" else (0, 2, 3, 1)
    y = nn.RandomRotate(90, layout=layout)(x.transpose(to_layout), Quarter())
    np.testing.assert_allclose(y.transpose(np.argsort(to_layout)), np.rot90(x, axes=(2, 3)),
                               atol=1e-12)
    ramp = np.broadcast_to(np.arange(7.0), (1, 1, 7, 7))
    larger = nn.RandomRotate(0, zoom=(2, 2))(ramp, np.random.default_rng(0))
    np.testing.assert_allclose(larger[0, 0, 3], 3 + (np.arange(7) - 3) / 2)
    small = nn.RandomRotate(10)(np.ones((2, 1, 8, 6), np.float32), np.random.default_rng(0))
    assert small.dtype == np.float32 and small.shape == (2, 1, 8, 6)
    np.testing.assert_allclose(small, 1, rtol=1e-6)


def test_normalize():
    x = np.random.default_rng(0).random((4, 3, 5, 5), np.float32)
    mean, std = [0.1, 0.2, 0.3], [1, 2, 4]
    y = nn.Normalize(mean, std)(x)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y[:, 2], (x[:, 2] - 0.3) / 4, rtol=1e-6, atol=1e-7)
    other = nn.Normalize(mean, std, layout="NHWC")(x.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(other.transpose(0, 3, 1, 2), y)
    assert nn.Normalize(0, 255)(np.full((1, 1, 2, 2), 255, np.uint8)).dtype == np.float32


X, Y = bars(8)
MESSAGES = {
    "y of batches": (lambda: trained(Again(), Y), TypeError,
                     "fit: `y` is given, expected None (x gives batches of both)"),
    "no y": (lambda: trained(X), TypeError, "fit: `y` is None, expected the targets of x"),
    "steps of arrays": (lambda: trained(X, Y, steps_per_epoch=2), ValueError,
                        "fit: `steps_per_epoch` is 2, expected None"),
    "no pairs": (lambda: trained(itertools.repeat(3), steps_per_epoch=2), TypeError,
                 "fit: `x` gave a int, expected pairs (x, y) of a batch"),
    "shape": (lambda: trained(iter([(X[:, 0], Y)])), ValueError,
              "fit: `x` has shape (8, 8, 8), expected (N, 1, 8, 8)"),
    "used up": (lambda: trained(iter(batches()), epochs=2), ValueError,
                "fit: `x` gave no batches in epoch 2, expected some"),
    "ended": (lambda: trained(iter(batches()), steps_per_epoch=9), ValueError,
              "fit: `x` ended after 4 batches of an epoch, expected 9"),
    "workers": (lambda: trained(X, Y, workers=-1), ValueError,
                "fit: `workers` is -1, expected at least 0"),
    "crop": (lambda: nn.RandomCrop(9)(X, np.random.default_rng(0)), ValueError,
             "RandomCrop: `size` is (9, 9), expected at most (8, 8)"),
    "rows": (lambda: nn.RandomFlip()(X[:, 0], None), ValueError,
             "RandomFlip: `x` has shape (8, 8, 8), expected 4 axes"),
    "std": (lambda: nn.Normalize(0, [1, 0]), ValueError,
            "Normalize: `std` is [1.0, 0.0], expected one number above 0"),
    "channels": (lambda: nn.Normalize([1, 2])(X), ValueError,
                 "Normalize: `mean` has 2 entries, expected 1 or 1 (channels of x)"),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_messages(name):
    call, kind, message = MESSAGES[name]
    with pytest.raises(kind) as raised:
        call()
    assert message in str(raised.value)


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match="has no images in folders, expected one folder for each"):
        nn.ImageFolder(tmp_path, 8)
