"""Transfer learning: what SqueezeNet learned from a million photographs, used on two hundred.

Five kinds of flowers, 40 photographs of each; 160 to learn from and 40 to test on, five times over.

frozen      only a new last layer is trained, on what the network makes of the photographs
fine-tuned  then the last blocks too, at a small rate, on changing pieces of the photographs
scratch     the same network, from random weights, with the same photographs

Needs the environment variable ENGINE_DATA: the folder that holds flowers_small and squeezenet.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np

from engine import nn
from engine.nn import photos

SIZE, MARGIN = 224, 16  # photographs are read with a margin for random crops
MEAN = photos.CAFFE_MEAN[::-1] / 255  # red, green, blue: what the weights expect
SCALE = np.float32(64)  # random weights expect numbers of about one


def main(methods=("frozen", "fine-tuned", "scratch"), folds=5):
    data = Path(os.environ["ENGINE_DATA"])
    photographs = nn.ImageFolder(data / "flowers_small", SIZE + 2 * MARGIN,
                                 transform=nn.Normalize(MEAN, 1 / 255))
    x, y = photographs[:][:, ::-1], photographs.labels  # blue first
    print(f"{len(x)} photographs of {', '.join(photographs.classes)}")
    right = {method: [] for method in methods}
    seconds = dict.fromkeys(methods, 0.0)
    features = pooled(pretrained(data), x)
    for fold in range(folds):
        test = np.arange(len(x)) % 5 == fold  # the classes are in blocks: 8 of each
        for method in methods:
            start = time.perf_counter()
            if method == "scratch":
                model = from_scratch(x[~test], y[~test], seed=fold)
            else:
                model = frozen(pretrained(data), features[:, ~test], y[~test], seed=fold)
            if method == "fine-tuned":
                fine_tune(model, x[~test], y[~test])
            unseen = x[test] / SCALE if method == "scratch" else x[test]
            right[method].append(np.mean(predict(model, unseen) == y[test]))
            seconds[method] += time.perf_counter() - start
    for method in methods:
        each = " ".join(f"{share:6.1%}" for share in right[method])
        print(f"{method:<10}  {np.mean(right[method]):6.1%}   folds {each}   "
              f"{seconds[method]:4.0f} s", flush=True)
    return {method: float(np.mean(shares)) for method, shares in right.items()}


def pretrained(data):
    model = nn.models.squeezenet1_1(seed=0)
    model.load_weights(data / "squeezenet" / "squeezenet_v1_1_fp16.npz")
    return model


def changes():
    return [nn.RandomCrop(SIZE), nn.RandomFlip()]


def middle(x):
    return x[:, :, MARGIN:-MARGIN, MARGIN:-MARGIN]


def pooled(model, x):
    """The mean of each of the 512 last feature maps, for every photograph and its mirror image."""
    body = model.layers[0]
    return np.stack([np.concatenate([body.forward(np.ascontiguousarray(batch)).mean(axis=(2, 3))
                                     for batch in np.array_split(view, 10)])
                     for view in (middle(x), middle(x)[..., ::-1])])


def frozen(model, features, y, seed):
    """The model with a new head: a dense layer on the means is a 1x1 convolution before them."""
    views, photographs, channels = features.shape
    rows = features.reshape(-1, channels)
    mean, std = rows.mean(axis=0), rows.std(axis=0) + 1e-3
    dense = nn.Sequential([nn.Dense(5), nn.Softmax()], input_shape=(channels,), seed=seed)
    dense.fit((rows - mean) / std, np.tile(y, views), epochs=60, batch_size=32, progress=False,
              optimizer=nn.AdamW(nn.Cosine(0.002), weight_decay=1.0))
    head = model.replace_head(5)
    weight, bias = dense.layers[0].params["weight"] / std, dense.layers[0].params["bias"]
    head.params["weight"][...] = weight[:, :, None, None]
    head.params["bias"][...] = bias - weight @ mean
    return model


def fine_tune(model, x, y):
    """Train the last four blocks and the head too.

    Targets of 0.84 and 0.04 instead of 1 and 0 (label smoothing, Szegedy et al. 2016, section 7)
    keep it from being too sure of the few photographs.  In the end three quarters of the way are
    gone: between the old weights and the new ones lie better ones (Wortsman et al. 2022).
    """
    before = model.weights.copy()
    model.freeze("features.7")
    model.fit(x, np.eye(5)[y] * 0.8 + 0.04, epochs=8, batch_size=32, augment=changes(),
              optimizer=nn.AdamW(nn.Cosine(5e-4)), workers=1, progress=False)
    model.weights[:] = before + 0.75 * (model.weights - before)


def from_scratch(x, y, seed):
    model = nn.models.squeezenet1_1(5, seed=seed)
    model.fit(x / SCALE, y, epochs=30, batch_size=16, augment=changes(), workers=1, progress=False,
              optimizer=nn.Adam(nn.Warmup(nn.Cosine(1e-3)), clip_norm=1.0))
    return model


def predict(model, x):
    """The class that a photograph and its mirror image are most likely of."""
    views = middle(x), middle(x)[..., ::-1]
    return sum(model.predict(view, batch_size=20) for view in views).argmax(axis=1)


if __name__ == "__main__":
    main(*([sys.argv[1:]] if sys.argv[1:] else []))
