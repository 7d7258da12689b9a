"""The table that `model.summary()` prints."""

from __future__ import annotations

HEAD = ("layer", "kind", "output shape", "parameters")


def table(model) -> str:
    """One line for each layer: its name, kind, output shape and number of parameters."""
    lines = [HEAD] + list(_lines(model.children, ""))
    widths = [max(len(line[i]) for line in lines) for i in range(4)]
    rule = "-" * (sum(widths) + 6)
    text = [_row(line, widths) for line in lines]
    text = [text[0], rule, *text[1:], rule]
    title = model.name or type(model).__name__
    frozen = model.num_params - model.trained_weights.size
    return "\n".join([f"{title}: input {_shape(model.input_shape)}", *text,
                      f"{model.num_params:,} parameters, " + f"{frozen:,} frozen, " * bool(frozen) +
                      f"{model.weights.nbytes / 1024:,.0f} KiB as {model.dtype}"])


def _lines(layers, indent: str):
    for layer in layers:
        own = sum(value.size for value in layer.params.values())
        yield (indent + (layer.name or "-"), layer.kind, _shape(layer.output_shape),
               f"{own:,}")
        yield from _lines(layer.children, indent + "  ")


def _shape(shape) -> str:
    return f"({', '.join(['N', *map(str, shape)])})"


def _row(line, widths) -> str:
    name, kind, shape, count = widths
    return (f"{line[0]:<{name}}  {line[1]:<{kind}}  {line[2]:<{shape}}  "
            f"{line[3]:>{count}}")
