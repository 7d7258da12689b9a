"""The state of a training in the file of its model: enough to go on bit for bit.

Beside the weights that is the optimizer's vectors, the random generators of layers, what callbacks
remember, the history, and how many epochs and batches are over.  The order of the samples and the
augmentation of each batch follow from the model's seed and those two numbers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.nn import saving


def save(run, path) -> None:
    """Write the model and the state of its training."""
    saving.save(run.model, path, training=_state(run))


def resume(run, path) -> None:
    """Go on where the file was written; a file that does not exist yet changes nothing.

    Raises
    ------
    OSError, ValueError
        As `engine.nn.load`; also if the file has no training, or one that was set up otherwise.
    """
    path = Path(path)
    if not path.exists():
        return
    saving.remove_parts(path)  # of processes that were killed while they saved
    description, arrays, state = saving.read(path)
    if state is None:
        raise ValueError(f"fit: `resume` is `{path}`, a model without its training, expected a "
                         "file that Checkpoint wrote")
    saved = {name: state[name] for name in ("steps", "batch_size")}
    saved["optimizer"] = state["optimizer"]["kind"]
    present = {"steps": run.steps, "batch_size": run.batch_size,
               "optimizer": type(run.optimizer).__name__}
    for name, value in present.items():
        if value != saved[name]:
            raise ValueError(f"fit: `{name}` is {value}, expected {saved[name]} as in `{path}`")
    saving.fill(path, dict(run.model.arrays()), arrays)
    run.model.epochs_done = description["epochs_done"]
    run.model.metadata = description["metadata"]
    run.model.seed = description["architecture"]["seed"]
    _restore(run, state, path)


def share(run) -> None:
    """Bring the model and the state of the training from rank 0 to all others."""
    model, given = run.model, None
    if run.group.rank == 0:
        given = (dict(model.arrays()), model.epochs_done, model.metadata, model.seed, run.resumed,
                 _state(run))
    arrays, *others, resumed, state = run.group.broadcast(given)
    if run.group.rank > 0:
        saving.fill("rank 0", dict(model.arrays()), arrays)
        model.epochs_done, model.metadata, model.seed = others
        _restore(run, state, "rank 0")
        run.resumed = resumed


def _state(run) -> dict:
    optimizer = run.optimizer
    return {
        "epoch": run.epoch, "step": run.step, "steps": run.steps, "batch_size": run.batch_size,
        "tally": vars(run.tally), "history": dict(run.history),
        "optimizer": {"kind": type(optimizer).__name__, "steps": optimizer.steps,
                      "lr_factor": optimizer.lr_factor, "state": optimizer.state},
        "generators": [rng.bit_generator.state for rng in _generators(run.model)],
        "callbacks": [{"kind": type(callback).__name__}
                      | {name: getattr(callback, name) for name in callback.remembered}
                      for callback in run.callbacks],
    }


def _restore(run, state: dict, path) -> None:
    """Undo `_state`."""
    optimizer, saved = run.optimizer, state["optimizer"]
    for name, vector in saved["state"].items():
        present = optimizer.state.get(name)
        if present is None or vector.shape != present.shape:
            expected = "none" if present is None else present.shape
            raise ValueError(f"fit: `resume` is `{path}` with {name} of shape {vector.shape}, "
                             f"expected {expected} (the optimizer or what is frozen differs)")
        present[...] = vector
    optimizer.steps, optimizer.lr_factor = saved["steps"], saved["lr_factor"]
    generators = list(_generators(run.model))
    for rng, value in zip(generators, state["generators"], strict=True):
        rng.bit_generator.state = value
    for callback, saved in zip(run.callbacks, state["callbacks"], strict=False):
        if saved["kind"] == type(callback).__name__:
            for name in callback.remembered:
                setattr(callback, name, saved[name])
    run.epoch, run.step, run.resumed = state["epoch"], state["step"], True
    vars(run.tally).update(state["tally"])
    run.history.update(state["history"])


def _generators(model):
    for layer in model.walk():
        if isinstance(getattr(layer, "rng", None), np.random.Generator):
            yield layer.rng
