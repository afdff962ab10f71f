"""What a trained network must do better than, measured beside each of its checkpoints: its margin, above 0 if it does.

    bigram_margin = test loss of a table of pairs of characters - test loss            of a text
    energy_margin = 1 - E / E_95                                                       of a generator

E is the energy distance (Szekely & Rizzo 2013) between generated and held-out samples, and E_95 that which 95 % of the
random splits of both together stay below: beyond it a two-sample test tells them apart.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from studio.training.evaluate import Samples
from studio.training.objectives import Objective, margin_name
from studio.training.recipe import Recipe

SMOOTHING = 0.1
"""Added to the count of every pair of characters."""
SPLITS, LEVEL = 199, 0.95
"""Random splits of a test, and the share of them that it is compared with."""
MOST_SAMPLES = 500
"""Of each side of a test: its distances are of all pairs."""


def margins(
    recipe: Recipe, objective: Objective, model: nn.Module, samples: Samples, test_loss: float
) -> dict[str, float]:
    """The margin of a model in eval mode, by the name in `objectives.margin_name`; {} for one without a baseline."""
    match name := margin_name(recipe.data, objective):
        case "bigram_margin":
            return {name: bigram_loss(samples) - test_loss}
        case "energy_margin":
            *_, z, x = samples
            assert isinstance(z, Tensor) and x is not None
            with torch.no_grad():
                return {name: energy_margin(model(z[:MOST_SAMPLES]).flatten(1), x[:MOST_SAMPLES].flatten(1))}
    return {}


def bigram_loss(samples: Samples) -> float:
    """The test loss, in nats, of the share of each next character after each character in what is trained on."""
    x, y, test_x, test_y = samples
    assert isinstance(x, Tensor) and isinstance(test_x, Tensor) and y is not None and test_y is not None
    tokens = 1 + int(max(part.max() for part in (x, y, test_x, test_y)))
    counts = torch.bincount((x * tokens + y).flatten(), minlength=tokens**2).view(tokens, tokens).double() + SMOOTHING
    shares = counts / counts.sum(1, keepdim=True)
    return float(-shares[test_x, test_y].log().mean())


def energy_margin(first: Tensor, second: Tensor) -> float:
    """1 - E / E_95 of two lots of as many samples [N, D]; the splits are the same at every call."""
    both = torch.cat([first, second]).cpu().double()
    distances = torch.cdist(both, both, compute_mode="donot_use_mm_for_euclid_dist")
    sides = np.repeat([1.0, -1.0], len(first))
    shuffled = [np.random.default_rng(seed).permutation(sides) for seed in range(SPLITS)]
    splits = torch.from_numpy(np.stack([sides, *shuffled]))
    energies = -((splits @ distances) * splits).sum(1)
    return float(1 - energies[0] / energies[1:].quantile(LEVEL))
