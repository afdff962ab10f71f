"""Matching: the order of one network's hidden units that brings its weights nearest to another's.

    max over permutations P of sum over layers l of <W_l, P_l V_l P_(l-1)'>

Units may change places without changing the function, so two networks may lie far apart and mean the same. One layer
is solved at a time, exactly, as an assignment of units, until none improves (Ainsworth et al. 2023).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from studio.errors import RunError
from studio.field import Array

if TYPE_CHECKING:
    from torch import Tensor

MOST_ROUNDS = 100
"""Over all layers; each but the last improves the match, and a few dozen suffice."""


def match(
    weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor], to: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The weights and buffers with the hidden units of every layer reordered to be nearest to the weights `to`.

    The layers are a chain: tensors of two and more dimensions in the order of their names, each followed by vectors
    of its units. What belongs to the inputs and to the last layer's outputs stays. Raises RunError for no chain.
    """
    tensors = {**weights, **buffers}
    modules = {name: (_natural(name.rpartition(".")[0]), -tensor.dim()) for name, tensor in tensors.items()}
    names = [name for name in sorted(tensors, key=modules.__getitem__) if tensors[name].dim()]
    layer_of, layers = {}, list[str]()
    for name in names:
        layers += [name] if tensors[name].dim() > 1 else []
        layer_of[name] = len(layers) - 1
    pairs = ((tensors[before].shape[0], tensors[after].shape[1]) for before, after in pairwise(layers))
    if unfit := next((inputs for units, inputs in pairs if inputs % units), None):
        raise RunError(f"sweep: match: the layers are no chain: one has {unfit} inputs, which those before do not give")
    orders = [np.arange(len(tensors[name])) for name in layers]
    own = {name: tensors[name].double().numpy() for name in weights}
    other = {name: to[name].double().numpy() for name in weights}
    for _ in range(MOST_ROUNDS):
        moved = [_improve(layer, layers, layer_of, orders, own, other) for layer in range(len(layers) - 1)]
        if not any(moved):
            break
    reordered = {n: _reorder(tensors[n], layer_of[n], orders) if n in layer_of else w for n, w in tensors.items()}
    return {n: reordered[n] for n in weights}, {n: reordered[n] for n in buffers}


def _improve(
    layer: int,
    layers: Sequence[str],
    layer_of: Mapping[str, int],
    orders: list[Array],
    own: Mapping[str, Array],
    other: Mapping[str, Array],
) -> bool:
    """Gives a layer the best order while those of the others stand; whether it changed."""
    from scipy.optimize import linear_sum_assignment

    units, following = len(orders[layer]), layers[layer + 1]
    gain = np.zeros((units, units))
    for name in (name for name, at in layer_of.items() if at == layer and name in own):
        mine = _inputs(own[name], orders[layer - 1]) if name == layers[layer] and layer else own[name]
        gain += other[name].reshape(units, -1) @ mine.reshape(units, -1).T
    outgoing = other[following], own[following][orders[layer + 1]]
    theirs, mine = (w.reshape(len(w), units, -1).swapaxes(0, 1).reshape(units, -1) for w in outgoing)
    gain += theirs @ mine.T
    best = linear_sum_assignment(gain, maximize=True)[1]
    changed = gain[range(units), best].sum() > gain[range(units), orders[layer]].sum() * (1 + 1e-12) + 1e-12
    if changed:
        orders[layer] = best
    return bool(changed)


def _inputs(w: Array, order: Array) -> Array:
    """A layer's weights with its inputs in the order of the units before it, several inputs from each perhaps."""
    parts = w.reshape(len(w), len(order), -1)[:, order]
    return parts.reshape(w.shape)


def _reorder(tensor: Tensor, layer: int, orders: Sequence[Array]) -> Tensor:
    """A tensor in the order of its layer's units and of the layer's before."""
    if layer < 0:
        return tensor
    array = tensor.numpy()[orders[layer]]
    return tensor.new_tensor(_inputs(array, orders[layer - 1]) if tensor.dim() > 1 and layer else array)


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that puts module `10` behind `9`."""
    return [(int(part or 0), text) for text, part in re.findall(r"(\D*)(\d*)", name)]
