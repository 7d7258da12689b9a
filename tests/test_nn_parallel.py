"""Data-parallel training, with ranks that are threads of this process: it ends as one process does.
"""

import pickle
import threading

import numpy as np
import pytest
from test_nn import LAYERS
from test_nn_training import bars

from engine import nn
from engine.nn import parallel

pytest.importorskip("safetensors.numpy")


class Meeting:
    """Where the threads of a group meet, to leave something and see what all have left."""

    def __init__(self, size):
        self.barrier, self.left = threading.Barrier(size, timeout=60), [None] * size

    def exchange(self, rank, value):
        self.left[rank] = value
        self.barrier.wait()
        values = list(self.left)
        self.barrier.wait()
        return values


class ThreadGroup(parallel.Group):
    """A rank that is a thread: sums that have been started are done in `wait`, in their order."""

    def __init__(self, rank, size, meeting):
        super().__init__(rank, size)
        self.meeting, self.started, self.sizes = meeting, [], []

    def broadcast(self, value):
        return pickle.loads(self.meeting.exchange(self.rank, pickle.dumps(value))[0])

    def sum(self, array):
        return sum(self.meeting.exchange(self.rank, np.array(array)))

    def start(self, array):
        self.started.append(array)

    def wait(self):
        self.sizes.append([array.size for array in self.started])
        for array in self.started:
            array[...] = self.sum(array)
        self.started.clear()


def on_ranks(size, function):
    """``function(group)`` on so many ranks at the same time; what each of them returned."""
    meeting, results = Meeting(size), [None] * size

    def run(rank):
        try:
            results[rank] = function(ThreadGroup(rank, size, meeting))
        except BaseException as error:
            results[rank] = error
            meeting.barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:  # the first one's, not what it did to the others
        if isinstance(result, Exception) and not isinstance(result, threading.BrokenBarrierError):
            raise result
    return results


def network(**options):
    """All that looks at more than one sample, or draws random numbers, in rows and branches."""
    return nn.Sequential([
        nn.Conv2D(4, 3, bias=False, name="first"), nn.BatchNorm(), nn.ReLU(),
        nn.Residual([nn.Conv2D(4, 3, padding=1, bias=False), nn.BatchNorm(shift=False)],
                    activation="relu"),
        nn.Sequential([nn.MaxPool2D(2), nn.Dropout(0.3), nn.Flatten()], name="inner"),
        nn.Dense(8), nn.BatchNorm(scale=False), nn.Tanh(), nn.Dense(2), nn.Softmax(),
    ], **dict(input_shape=(1, 8, 8), dtype="float64", seed=4) | options)


def train(group=parallel.ALONE, model=None, samples=50, **options):
    """50 samples, 16 at a time: the last batch has 2, less than three ranks need."""
    model = model or network()
    history = model.fit(
        *bars(samples), parallel=group,
        **dict(progress=False, epochs=2, batch_size=16,
               optimizer=nn.Adam(nn.Cosine(0.01), clip_norm=1.0),
               augment=[nn.RandomShift(1), nn.RandomFlip()],
               validation_data=bars(21, seed=1)) | options)
    return model, history


def assert_alike(result, expected, tolerance=1e-9):
    (model, history), (expected_model, expected_history) = result, expected
    for (name, value), (_, other) in zip(model.arrays(), expected_model.arrays(), strict=True):
        np.testing.assert_allclose(value, other, rtol=tolerance, atol=tolerance, err_msg=name)
    assert history.keys() == expected_history.keys()
    for name, values in expected_history.items():
        np.testing.assert_allclose(history[name], values, rtol=tolerance, err_msg=name)


@pytest.fixture(scope="module")
def alone():
    return train()


@pytest.mark.parametrize("size", [2, 3])
def test_ranks_train_as_one_process_does(size, alone):
    results = on_ranks(size, train)
    for result in results:
        assert_alike(result, alone)
        assert result[0].weights.tobytes() == results[0][0].weights.tobytes()
        assert all(layer.group is parallel.ALONE for layer in result[0].walk())


def test_workers_and_iterables_change_nothing(alone):
    x, y = bars(50)
    plain = dict(augment=None, shuffle=False)

    def batches():
        return ((x[i:i + 16], y[i:i + 16]) for i in (*range(0, 50, 16),) * 2)

    def from_iterable(group):
        model = network()
        return model, model.fit(batches(), steps_per_epoch=4, epochs=2, optimizer=nn.SGD(0.1),
                                progress=False, parallel=group, workers=2)

    expected = train(optimizer=nn.SGD(0.1), validation_data=None, **plain)
    for result in on_ranks(2, from_iterable):
        assert_alike(result, expected)
    for result in on_ranks(2, lambda group: train(group, workers=2)):
        assert_alike(result, alone)


def test_all_start_like_rank_0():
    """Without a seed, every rank would have weights and an order of samples of its own."""
    results = on_ranks(2, lambda group: train(group, network(seed=None), epochs=1))
    (first, history), (second, other) = results
    assert first.weights.tobytes() == second.weights.tobytes() and history == other
    again = network(seed=first.seed)
    assert_alike((first, history), train(model=again, epochs=1))


def test_frozen_layers_stay_as_they_are():
    def freeze(group=parallel.ALONE):
        model = network()
        model.freeze("first")
        return train(group, model)

    expected = freeze()
    for result in on_ranks(2, freeze):
        assert_alike(result, expected)
        assert (result[0].layers[0].params["weight"] == network().layers[0].params["weight"]).all()


@pytest.mark.parametrize("name", LAYERS)
def test_a_rank_may_have_no_samples(name):
    make, shape = LAYERS[name]
    model = nn.Sequential([make()], input_shape=shape, seed=0)
    model.gradients[...] = 1
    group = ThreadGroup(0, 3, Meeting(1))
    group.begin(2)  # which ranks 1 and 2 have
    for layer in model.walk():
        layer.group = group
    group.buckets = parallel.Buckets(model, group)
    y = model.forward(np.zeros((0, *shape), np.float32), training=True)
    assert model.backward(y).shape == (0, *shape)
    assert not model.gradients.any()


def test_gradients_are_summed_while_the_backward_pass_goes_on(monkeypatch):
    monkeypatch.setattr(parallel, "BUCKET", 1000)
    events = []

    class Watched(ThreadGroup):
        def start(self, array):
            events.append(array.size)
            super().start(array)

    class First(nn.ReLU):
        def backward(self, dy, need_dx=True):
            events.append("first")
            return super().backward(dy, need_dx)

    model = nn.Sequential([
        nn.Conv2D(4, 3), First(), nn.Sequential([nn.Conv2D(8, 3), nn.Flatten()]), nn.Dense(30),
        nn.Dense(2), nn.Softmax()], input_shape=(1, 8, 8), dtype="float64", seed=0)
    group = Watched(0, 2, Meeting(1))  # the other one is not there
    train(group, model, samples=16, epochs=1, validation_data=None, augment=None)
    # the sums of the tally; the dense layers; the second convolution; the first one, too small to
    # be sent before the end
    assert events == [3, 62 + 30 * 129, 8 * 37, "first", 4 * 10]


def test_random_numbers_are_those_of_the_whole_batch():
    rows = slice(3, 5)

    def draws(rng, n):
        return [rng.random((n, 2)), rng.random((n, 1), np.float32), rng.normal(1, 2, n),
                rng.integers(-2, 2, (n, 3), endpoint=True), rng.uniform(size=(n,)),
                rng.choice(5, n), rng.standard_normal((n, 1)), rng.poisson(3.0, size=n)]

    own = draws(parallel.RowGenerator([1, 2], 8, rows), 2)
    for here, whole in zip(own, draws(np.random.default_rng([1, 2]), 8), strict=True):
        np.testing.assert_array_equal(here, whole[rows])
        assert here.dtype == whole.dtype
    shared, whole = parallel.RowGenerator(7, 8, rows), np.random.default_rng(7)
    assert shared.random() == whole.random()
    assert (shared.normal(size=3) == whole.normal(size=3)).all()


class StopAt(nn.Callback):
    def __init__(self, place, rank):
        self.place, self.rank = place, rank

    def on_batch_end(self, model, step, logs):
        if (model.run.epoch, step, model.group.rank) == (*self.place, self.rank):
            model.stop_training = True


@pytest.mark.parametrize("before, after", [(2, 3), (1, 2), (3, 1)])
def test_a_stopped_training_goes_on_with_other_ranks(before, after, tmp_path):
    def part(group, *callbacks):
        watchers = [nn.ReduceOnPlateau("loss", factor=0.5, patience=1, min_delta=0.1),
                    nn.CSVLogger(tmp_path / f"{before}.csv"),
                    nn.Checkpoint(tmp_path / "run", when_stopped=True), *callbacks]
        return train(group, network(seed=4 if callbacks else None), epochs=3,
                     callbacks=watchers, resume=tmp_path / "run")

    expected = train(epochs=3, callbacks=[
        nn.ReduceOnPlateau("loss", factor=0.5, patience=1, min_delta=0.1),
        nn.CSVLogger(tmp_path / "whole.csv")])
    on_ranks(before, lambda group: part(group, StopAt((1, 2), before - 1)))
    assert nn.load(tmp_path / "run").epochs_done == 1
    for result in on_ranks(after, part):
        assert_alike(result, expected)
    rows = [(tmp_path / f"{name}.csv").read_text().splitlines() for name in (before, "whole")]
    assert [row.split(",")[0] for row in rows[0]] == [row.split(",")[0] for row in rows[1]]


def test_one_rank_prints_and_writes(tmp_path, capsys):
    pytest.importorskip("rich")
    written = []

    class Written(nn.Callback):
        writes = True

        def on_epoch_end(self, model, epoch, logs):
            written.append(model.group.rank)
            model.run.save(tmp_path / "model")

    on_ranks(3, lambda group: train(group, callbacks=[Written()], progress=group.rank != 0))
    assert written == [0, 0] and capsys.readouterr().out == ""
    on_ranks(2, lambda group: train(group, progress=True))
    assert capsys.readouterr().out.count("epoch 2/2") == 1
