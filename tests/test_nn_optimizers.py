"""Optimizers and schedules of engine.nn: by hand, and step by step against torch.optim."""

import numpy as np
import pytest

from engine import nn

# ours, torch's class and arguments
PAIRS = {
    "sgd": (nn.SGD, "SGD", {}),
    "momentum": (nn.SGD, "SGD", {"momentum": 0.9}),
    "nesterov": (nn.SGD, "SGD", {"momentum": 0.9, "nesterov": True}),
    "sgd decay": (nn.SGD, "SGD", {"momentum": 0.5, "nesterov": True, "weight_decay": 0.1}),
    "adam": (nn.Adam, "Adam", {"eps": 1e-3}),
    "adam decay": (nn.Adam, "Adam", {"eps": 1e-8, "weight_decay": 0.1}),
    "adamw": (nn.AdamW, "AdamW", {"eps": 1e-8}),
    "adamw decay": (nn.AdamW, "AdamW", {"eps": 1e-8, "weight_decay": 0.5}),
    "rmsprop": (nn.RMSprop, "RMSprop", {"eps": 1e-8}),
    "rmsprop all": (nn.RMSprop, "RMSprop", {"eps": 1e-3, "momentum": 0.9, "centered": True,
                                            "weight_decay": 0.1}),
}

@pytest.mark.parametrize("clip", [None, "clip_norm", "clip_value"])
@pytest.mark.parametrize("name", PAIRS)
def test_every_step_is_that_of_torch(name, clip):
    torch = pytest.importorskip("torch")
    ours, kind, options = PAIRS[name]
    rng = np.random.default_rng(5)
    weights = rng.standard_normal(20_000)  # more than one piece
    theirs = torch.nn.Parameter(torch.tensor(weights))
    optimizer = getattr(torch.optim, kind)([theirs], lr=0.01, **options)
    mine = ours(0.01, **options, **({clip: 0.5} if clip else {}))
    if kind == "RMSprop":
        optimizer.param_groups[0]["alpha"] = mine.rho
    for step in range(6):
        gradient = rng.standard_normal(weights.size) * [1e-3, 1, 1e-2][step % 3]
        theirs.grad = torch.tensor(gradient)
        if clip == "clip_norm":
            length = torch.linalg.vector_norm(theirs.grad)
            theirs.grad *= min(1, 0.5 / length)
        elif clip:
            torch.nn.utils.clip_grad_value_([theirs], 0.5)
        optimizer.step()
        given = gradient.copy()
        mine.step(weights, gradient)
        np.testing.assert_array_equal(gradient, given)  # only read
        np.testing.assert_allclose(weights, theirs.detach().numpy(), rtol=1e-10, atol=1e-13)


def test_sgd_by_hand():
    w, g = np.array([1.0, -2.0]), np.array([0.5, 4.0])
    sgd = nn.SGD(0.1, momentum=0.9)
    sgd.step(w, g)
    np.testing.assert_allclose(w, [0.95, -2.4])
    sgd.step(w, g)  # velocity 0.9 * g + g
    np.testing.assert_allclose(w, [0.95 - 0.1 * 0.95, -2.4 - 0.1 * 7.6])


def test_an_optimizer_starts_afresh_on_another_model():
    adam, first, second = nn.Adam(0.1), np.ones(3), np.ones(3)
    adam.step(first, np.ones(3))
    adam.step(first, np.ones(3))
    adam.step(second, np.full(3, -1.0))
    np.testing.assert_allclose(second, 1.1, rtol=1e-6)


def test_schedules():
    cosine = nn.Cosine(0.2, end=0.1)
    np.testing.assert_allclose([cosine(p) for p in (0, 0.5, 1)], [0.2, 0.15, 0.1])
    step = nn.StepDecay(1.0, factor=0.5, at=(0.25, 0.5))
    assert [step(p) for p in (0, 0.24, 0.25, 0.5, 1)] == [1, 1, 0.5, 0.25, 0.25]
    w = np.zeros(1)
    nn.SGD(nn.StepDecay(1.0, at=(0.5,))).step(w, np.ones(1), progress=0.6)
    np.testing.assert_allclose(w, -0.1)
    line = nn.Polynomial(1.0, end=0.2)
    np.testing.assert_allclose([line(p) for p in (0, 0.25, 1)], [1, 0.8, 0.2])
    assert nn.Polynomial(1.0, power=2)(0.5) == 0.25
    fall = nn.Exponential(1.0, 0.01)
    np.testing.assert_allclose([fall(p) for p in (0, 0.5, 1)], [1, 0.1, 0.01])
    warm = nn.Warmup(nn.Polynomial(1.0), share=0.2)
    np.testing.assert_allclose([warm(p) for p in (0, 0.1, 0.2, 0.6, 1)], [0, 0.5, 1, 0.5, 0])
