"""What MkDocs asks for while it builds the site: figures, drawn by the code they illustrate."""

import importlib.util
import io
import tempfile
from pathlib import Path

import matplotlib
import numpy as np
from mkdocs.structure.files import File

import engine
from engine import nn

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

ROOT = Path(__file__).parent.parent
NETWORKS = {"lenet5": {}, "alexnet": {"classes": 10}, "vgg16": {"input_size": 32},
            "googlenet": {}, "resnet18": {}, "inception_v3": {}}


def on_files(files, config):
    """Add the figures, and the page that is kept with the benchmarks."""
    for name, draw in FIGURES.items():
        files.append(File.generated(config, f"figures/{name}.png", content=draw()))
    for name, options in NETWORKS.items():
        files.append(File.generated(config, f"figures/{name}.svg", content=network(name, options)))
    text = (ROOT / "bench" / "README.md").read_text()
    files.append(File.generated(config, "bench.md", content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    """On the site, that page is beside the one that refers to it."""
    return markdown.replace("../bench/README.md", "bench.md")


def example(number):
    path, = (ROOT / "examples").glob(f"{number:02}_*.py")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def matrices(**arrays):
    """Arrays side by side as pictures, with their numbers."""
    figure, axes = plt.subplots(1, len(arrays), figsize=(2.4 * len(arrays), 2.6))
    for axis, (name, array) in zip(axes, arrays.items(), strict=True):
        axis.imshow(array, cmap="Blues", vmin=array.min() - 1, vmax=2 * array.max() + 1)
        for (i, j), value in np.ndenumerate(array):
            axis.text(j, i, f"{value:g}", ha="center", va="center", fontsize=8)
        axis.set(title=name.replace("_", " "), xticks=[], yticks=[])
    return saved(figure, "png")


def saved(figure, kind):
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, bbox_inches="tight", dpi=100)
    plt.close(figure)
    return buffer.getvalue()


def edges():
    image = np.zeros((6, 6), int)
    image[3:] = 255
    kernel = example(1).HORIZONTAL
    return matrices(image=image, filter=kernel, answer=engine.conv2d(image, kernel))


def photograph():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "edges.png"
        example(8).main(path)
        return path.read_bytes()


def padding():
    ones, kernel = np.ones((5, 5), int), np.ones((3, 3), int)
    return matrices(without=engine.conv2d(ones, kernel),
                    padding_of_1=engine.conv2d(ones, kernel, padding=1))


def strides():
    image, kernel = np.arange(42).reshape(6, 7), np.ones((3, 3), int)
    return matrices(image=image, stride_1=engine.conv2d(image, kernel),
                    stride_2=engine.conv2d(image, kernel, stride=2))


def pooling():
    x = np.array([[3., 1., 1., 3.], [2., 5., 0., 2.], [1., 4., 2., 1.], [4., 7., 2., 4.]])
    return matrices(features=x, largest=engine.max_pool2d(x, 2), mean=engine.avg_pool2d(x, 2))


def backward():
    by_hand = example(7)
    d = by_hand.backward(by_hand.forward(by_hand.inputs()))
    return matrices(**{f"dL/d{name}": d[name].round(2) for name in ("p", "z1", "w1", "x")})


FIGURES = {"edges": edges, "photograph": photograph, "padding": padding, "strides": strides,
           "pooling": pooling, "backward": backward}


def network(name, options):
    """Height and channels of what every layer makes, on the way through a network."""
    shapes = [layer.output_shape for layer in nn.models.MODELS[name](seed=0, **options).layers]
    spatial = [shape for shape in shapes if len(shape) == 3]
    figure, (above, below) = plt.subplots(2, sharex=True, figsize=(7, 3))
    above.step(range(len(spatial)), [shape[1] for shape in spatial], where="mid")
    above.set(ylabel="height", title=name)
    below.bar(range(len(spatial)), [shape[0] for shape in spatial])
    below.set(ylabel="channels", xlabel="layer")
    return saved(figure, "svg")
