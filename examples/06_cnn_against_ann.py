"""A convolutional network against one of dense layers only, on the handwritten digits.

A dense layer has a weight for every pair of input and output; a convolution shares one small
filter over the whole image.  So the convolutional network has a fraction of the parameters, and it
loses less when the digits are moved by one pixel.
"""

import numpy as np

from engine import datasets, nn


def ann():
    return nn.Sequential([
        nn.Flatten(),
        nn.Dense(128, activation="relu"),
        nn.Dense(64, activation="relu"),
        nn.Dense(10),
        nn.Softmax(),
    ], seed=0, name="ANN")


def cnn():
    return nn.Sequential([
        nn.Conv2D(16, 3, padding=1, activation="relu"),
        nn.MaxPool2D(2),
        nn.Conv2D(32, 3, padding=1, activation="relu"),
        nn.MaxPool2D(2),
        nn.Flatten(),
        nn.Dense(10),
        nn.Softmax(),
    ], seed=0, name="CNN")


def main(epochs=20):
    digits = datasets.digits()
    # the 8x8 originals with a border of one pixel: 10x10
    x_train, x_test = (np.pad(x[:, :, 2:-2:3, 2:-2:3], ((0, 0), (0, 0), (1, 1), (1, 1)))
                       for x in (digits.x_train, digits.x_test))
    results = {}
    print("network  parameters  accuracy  digits moved by one pixel")
    for model in ann(), cnn():
        model.fit(x_train, digits.y_train, epochs=epochs, batch_size=32,
                  optimizer=nn.Adam(nn.Cosine(0.004)), progress=False)
        accuracy = model.evaluate(x_test, digits.y_test)["accuracy"]
        moved = np.mean([model.evaluate(np.roll(x_test, step, axis=axis), digits.y_test)["accuracy"]
                         for axis in (2, 3) for step in (-1, 1)])
        print(f"{model.name}      {model.num_params:10,}  {accuracy:8.1%}  {moved:8.1%}")
        results[model.name] = model.num_params, accuracy, moved
    return results


if __name__ == "__main__":
    main()
