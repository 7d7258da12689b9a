"""The command `engine`: train a network, use it, look at it.

What the commands need beyond the core comes with ``pip install "convengine[app]"`` and is imported
when a command needs it.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path

try:
    import click
except ImportError:
    raise SystemExit('engine: the command line needs click: '
                     'pip install "convengine[app]"') from None

import engine
from engine import datasets

# What suits each data set, where nothing else is asked for.
DEFAULTS = {"digits": {"epochs": 30, "lr": 0.004, "shift": 2},
            "mnist": {"epochs": 5, "lr": 0.002, "shift": 1},
            "fashion-mnist": {"epochs": 10, "lr": 0.002, "shift": 0}}
MODEL_FILE, CURVES_FILE = "model.safetensors", "curves.png"
groups: list = []  # that of the ranks that mpiexec has started, once it is known


def main() -> None:
    """Run the command; whatever a user can put right ends in one line, not in a traceback."""
    try:
        cli(prog_name="engine")
    except (ImportError, OSError, ValueError, MemoryError) as error:
        for group in groups:
            group.abort(f"engine: {error}")  # the others wait for this one
        raise SystemExit(f"engine: {error}") from None


@click.group()
@click.version_option(package_name="convengine")
def cli():
    """Convolutional networks on NumPy arrays."""


@cli.command()
@click.argument("model", type=click.Choice(["lenet5"]))
@click.option("--data", type=click.Choice(datasets.NAMES), default="digits", show_default=True)
@click.option("--data-dir", type=click.Path(file_okay=False, exists=True),
              help="Folder with the IDX files; else the variable ENGINE_DATA names it.")
@click.option("--epochs", type=click.IntRange(1),
              help="Passes over the images.  [default: 30, mnist 5, fashion-mnist 10]")
@click.option("--batch-size", type=click.IntRange(1), default=64, show_default=True)
@click.option("--lr", type=click.FloatRange(0, min_open=True),
              help="Learning rate at the start; it falls to 0 along a cosine.  "
                   "[default: 0.002, digits 0.004]")
@click.option("--shift", type=click.IntRange(0),
              help="Move training images at random by so many pixels.  "
                   "[default: 1, digits 2, fashion-mnist 0]")
@click.option("--dtype", type=click.Choice(["float32", "float64"]), default="float32",
              show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--threads", type=click.IntRange(1),
              help="[default: as many as there are CPUs, shared by the ranks on a machine]")
@click.option("--out", type=click.Path(file_okay=False),
              help="Folder for the results.  [default: runs/MODEL-DATA]")
@click.option("--save-every", type=click.IntRange(1), metavar="BATCHES",
              help="Save the model after every so many batches, not only after each epoch.")
@click.option("--resume", is_flag=True,
              help="Go on with the training whose model is in the folder for the results.")
def train(model, data, data_dir, batch_size, dtype, seed, threads, out, save_every, resume,
          **options):
    """Train MODEL, report on the held-out images, and save it with its curves.

    Ctrl-C ends the training after the current batch; the model is saved all the same.  Started by
    mpiexec, several processes share each batch; the result is that of one, up to rounding.
    """
    from engine import nn
    from engine.nn import parallel, plots, report
    from engine.nn._extras import need

    for module, purpose in (("safetensors", "saving a model"), ("matplotlib", "drawing curves")):
        need(module, purpose)  # better now than after the training
    group = parallel.world()
    if group.size > 1:
        groups.append(group)
        threads = threads or ("ENGINE_NUM_THREADS" not in os.environ and group.cpus())
    if threads:
        engine.set_num_threads(threads)
    say = click.echo if group.rank == 0 else lambda text: None
    images = datasets.load(data, data_dir)
    out = Path(out or f"runs/{model}-{data}")
    out.mkdir(parents=True, exist_ok=True)
    network = nn.models.MODELS[model](len(images.classes), dtype=dtype, seed=seed)
    network.metadata = {"data": data, "classes": images.classes, "box": images.box}
    epochs, lr, shift = (DEFAULTS[data][name] if options[name] is None else options[name]
                         for name in ("epochs", "lr", "shift"))
    say(f"{model}, {network.num_params:,} parameters, on {data}: {len(images.x_train):,} "
        f"images to train on, {len(images.x_test):,} held out")
    if group.size > 1:
        say(f"{group.size} ranks share each batch; {out / MODEL_FILE} is written as the training "
            "goes on: if a rank is lost, start again with --resume")

    start = time.perf_counter()
    with _stopped_by_ctrl_c(network):
        history = network.fit(images.x_train, images.y_train, epochs=epochs, batch_size=batch_size,
                              validation_data=(images.x_test, images.y_test),
                              optimizer=nn.Adam(nn.Cosine(lr)),
                              augment=nn.RandomShift(shift) if shift else None,
                              callbacks=[nn.Checkpoint(out / MODEL_FILE, every=save_every,
                                                       when_stopped=True)],
                              resume=out / MODEL_FILE if resume else None, parallel=group)
    finished = len(history.get("loss", []))
    if finished < epochs:
        say(f"stopped after {finished} of {epochs} epochs; "
            f"model saved to {out / MODEL_FILE}, --resume goes on with it")
        sys.exit(130)
    if group.rank > 0:
        return
    seconds = time.perf_counter() - start

    network.save(out / MODEL_FILE)
    plots.history(history, out / CURVES_FILE, f"{model} on {data}")
    said = network.predict(images.x_test).argmax(axis=1)
    matrix = nn.confusion_matrix(images.y_test, said, len(images.classes))
    click.echo(report.confusion_table(matrix, images.classes))
    click.echo(f"test accuracy {matrix.trace() / matrix.sum():.2%} "
               f"({matrix.trace():,} of {matrix.sum():,}), trained in {seconds:.1f} s")
    click.echo(f"model saved to {out / MODEL_FILE}, curves to {out / CURVES_FILE}")


@cli.command()
@click.argument("model")
@click.argument("images", nargs=-1, required=True, type=click.Path(dir_okay=False, exists=True))
@click.option("--weights", type=click.Path(dir_okay=False, exists=True),
              help="Trained weights, for a MODEL by name.")
@click.option("--style", type=click.Choice(["torch", "caffe", "inception"]),
              help="How photographs are scaled: as for torchvision's, for Caffe's or for "
                   "Inception's weights.  [default: as torchvision does if the weights have its "
                   "names, else caffe]")
@click.option("--labels", type=click.Path(dir_okay=False, exists=True),
              help="Lines that name the classes, as in ImageNet's synset_words.txt.")
def predict(model, images, weights, style, labels):
    """Say what each of the IMAGES shows.

    MODEL is a file that `engine train` has saved, or the name of a network for photographs, whose
    --weights are then needed.
    """
    from engine import nn

    if model in nn.models.MODELS:
        with nn.initializers.undrawn():
            network = nn.models.MODELS[model]()
        _predict_photos(network, images, weights, style, labels)
    elif Path(model).is_file():
        _predict_figures(model, images)
    else:
        raise ValueError(f"predict: `{model}` is neither a file nor one of "
                         f"{', '.join(nn.models.MODELS)}")


def _predict_figures(model, images):
    """Grey images of one figure each, by a model that `train` has saved."""
    from engine import nn
    from engine.nn.images import read_image

    network = nn.load(model)
    if network.layout != "NCHW" or network.input_shape[0] != 1:
        raise ValueError(f"predict: `{model}` takes {network.input_shape}, expected a model of "
                         "grey images (1, H, W)")
    classes = network.metadata.get("classes") or range(network.output_shape[0])
    for path in images:
        picture = read_image(path, network.input_shape[1:], network.metadata.get("box"))
        chances = network.predict(picture[None, None])[0]
        best = chances.argsort()[::-1][:3]
        click.echo(f"{path}: " + ", ".join(f"{classes[i]} {chances[i]:.1%}" for i in best))


def _predict_photos(network, images, weights, style, labels):
    """Colour photographs: the five most probable classes of each, with bars."""
    from engine.nn import photos

    if network.input_shape[0] != 3:
        raise ValueError(f"predict: {network.name} takes {network.input_shape}, expected a network "
                         "for colour photographs (3, H, W)")
    if weights is None:
        raise ValueError(f"predict: {network.name} has no `--weights`, expected a file of them")
    by_name = network.load_weights(weights) == "names"
    style = style or (photos.STYLE_OF.get(network.name, "torch") if by_name else "caffe")
    classes, names = network.output_shape[0], photos.imagenet_names(labels)
    if labels and len(names) != classes:
        raise ValueError(f"predict: `{labels}` has {len(names)} lines, expected {classes}, one for "
                         f"each class of {network.name}")
    if names is None or len(names) != classes:
        names = range(classes)
    for path in images:
        picture = photos.read_middle(path, network.input_shape[1:], share=0.875)
        chances = network.predict(photos.prepare(picture, style)[None])[0]
        click.echo(path)
        for i in chances.argsort()[::-1][:5]:
            bar = "\u2588" * round(30 * chances[i])
            click.echo(f"  {names[i]!s:<28} {chances[i]:6.1%}  {bar}".rstrip())


@cli.command()
@click.argument("model", required=False)
def summary(model):
    """Print the layers of MODEL, a known name or a saved file; without it, list the known names."""
    from engine import nn

    if model is not None and model not in nn.models.MODELS and not Path(model).is_file():
        raise ValueError(f"summary: `{model}` is neither a file nor one of "
                         f"{', '.join(nn.models.MODELS)}")
    with nn.initializers.undrawn():  # they are only counted
        if model is not None:
            make = nn.models.MODELS.get(model)
            (make() if make else nn.load(model)).summary()
            return
        for name, make in nn.models.MODELS.items():
            network = make()
            click.echo(f"{name:<24} {network.num_params:>12,} parameters, "
                       f"input {network.input_shape}")


@cli.command()
def info():
    """Print the version, the CPU, the backends and the threads in use."""
    engine.show_config()


@cli.command()
def warmup():
    """Compile all Numba kernels ahead, so that no first call has to wait."""
    start = time.perf_counter()
    from engine._warmup import warm_up
    from engine.kernels.numba_support import cache, jit

    for what in warm_up():
        click.echo(what)
    compiled = sum(each.compiled for each in jit.made)
    click.echo(f"{len(jit.made)} Numba kernels: compiled {compiled}, loaded "
               f"{len(jit.made) - compiled}, in {time.perf_counter() - start:.1f} s")
    if not all(each.kept for each in jit.made):
        raise OSError("they are not kept for other processes: none of the folders "
                      f"{', '.join(map(str, cache.folders()))} can be written; NUMBA_CACHE_DIR "
                      "names another")


@contextmanager
def _stopped_by_ctrl_c(network):
    """While the ``with`` block runs, Ctrl-C ends `fit` after the batch, a second one at once."""
    def stop(number, frame):
        signal.signal(signal.SIGINT, previous)
        network.stop_training = True

    previous = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


if __name__ == "__main__":
    main()
