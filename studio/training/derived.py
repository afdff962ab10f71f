"""Runs that begin where others end: a curve that joins two networks, and a pruned network that is trained again.

The folders of the runs that they begin from lie beside their own. No scene names them: sweeps need them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from studio.config.records import digest
from studio.errors import SceneError
from studio.training import checkpoints
from studio.training.objectives import Objective
from studio.training.recipe import MOVE_ALL
from studio.training.runs import FolderRun, OfNetwork, RecipeRun

if TYPE_CHECKING:
    from torch import Tensor, nn

    from studio.training.batches import X
    from studio.training.checkpoints import Checkpoint
    from studio.training.evaluate import BatchLoss
    from studio.training.recorder import Progress

Origin = RecipeRun | FolderRun
Per = Literal["network", "layer"]


class _Derived(OfNetwork):
    """What both have beside a recipe: all weights move."""

    parameters: ClassVar = MOVE_ALL

    def _of(self, origin: Origin, folder: Path, epoch: float | None = None) -> Checkpoint:
        """A checkpoint of the run that this one begins from; by default its last."""
        beside = folder.parent / origin.digest(self.recipe.data.load().digest)
        return checkpoints.load(beside, origin.instants()[-1] if epoch is None else epoch)


class CurveRun(_Derived):
    """The training of a curve between two networks, on which the loss is low (Garipov et al. 2018).

    The checkpoints are theta of the bend. At every step the loss is that of one point of the curve, t drawn evenly.
    first, second: the runs whose last networks are the ends. shape: a quadratic `bezier` (1-t)^2 w1 + 2t(1-t) theta +
    t^2 w2, or a `chain` of two straight lines.
    """

    kind: Literal["curve"] = "curve"
    first: Origin
    second: Origin
    shape: Literal["bezier", "chain"] = "bezier"

    @property
    def objective(self) -> Objective:
        """The first run's."""
        return self.first.objective.trained

    def digest(self, data_digest: str) -> str:
        """The run's digest. data_digest: of the recipe's data."""
        ends = [end.digest(data_digest) for end in (self.first, self.second)]
        return digest("curve", 1, ends, self.recipe.determinants, self.shape)

    def make(self, folder: Path, progress: Progress) -> None:
        """Trains the curve into a run folder. Raises SceneError if the ends' weights have other shapes."""
        import torch

        from studio.training import evaluate, recorder

        first, second = (self._of(end, folder).weights for end in (self.first, self.second))
        if {name: w.shape for name, w in first.items()} != {name: w.shape for name, w in second.items()}:
            raise SceneError("sweep: the weights of the two networks have other names or shapes: no curve joins them")

        def start(model: nn.Module) -> None:
            for name, weight in model.named_parameters():
                weight.data.copy_((first[name] + second[name]) / 2)

        def loss(batch_loss: BatchLoss) -> BatchLoss:
            def loss_on_curve(model: nn.Module, x: X, y: Tensor | None) -> Tensor:
                """At one point of the curve, differentiable in the bend: the model's weights."""
                a, b, c = self.shares(float(torch.rand(())))
                bend = dict(model.named_parameters())
                mixed = {name: a * first[name].to(w) + b * w + c * second[name].to(w) for name, w in bend.items()}
                return evaluate.loss_at(mixed, batch_loss, model, x, y)

            return loss_on_curve

        setup = recorder.Setup(self.digest(self.recipe.data.load().digest), start, loss)
        recorder.train(self.recipe, folder, progress, self.objective, setup)

    def shares(self, t: float) -> tuple[float, float, float]:
        """Shares of the first end, the bend and the second end in the curve's point at t, 0 to 1."""
        if self.shape == "bezier":
            return (1 - t) ** 2, 2 * t * (1 - t), t**2
        return max(0.0, 1 - 2 * t), 1 - abs(1 - 2 * t), max(0.0, 2 * t - 1)


class PrunedRun(_Derived):
    """A pruned network, trained again by its recipe from an epoch on; what was pruned stays zero.

    of: the run whose last weights are ranked. start: the epoch from which training goes on; with 0 this is a lottery
    ticket (Frankle & Carbin 2019). weights: those of that epoch (`rewound`) or the last ones (`kept`).
    """

    kind: Literal["pruned"] = "pruned"
    of: Origin
    sparsity: float
    per: Per = "network"
    start: float = 0.0
    weights: Literal["rewound", "kept"] = "rewound"

    @property
    def objective(self) -> Objective:
        """The objective of the run that is pruned."""
        return self.of.objective.trained

    def instants(self) -> tuple[float, ...]:
        """The epochs of the checkpoints, ascending from the first."""
        return tuple(epoch for epoch in self.recipe.instants if epoch >= self.start)

    def digest(self, data_digest: str) -> str:
        """The run's digest. data_digest: of the recipe's data."""
        keys = self.model_dump(mode="json", include={"sparsity", "per", "start", "weights"})
        return digest("pruned", 1, self.of.digest(data_digest), self.recipe.determinants, keys)

    def make(self, folder: Path, progress: Progress) -> None:
        """Trains into a run folder; continues where an earlier call stopped. Raises as `recorder.train` does."""
        from studio.training import recorder

        last = self._of(self.of, folder).weights
        kept = kept_by_magnitude(last, self.sparsity, self.per)
        first = last if self.weights == "kept" else self._of(self.of, folder, self.start).weights

        def start(model: nn.Module) -> None:
            for name, weight in model.named_parameters():
                mask = kept[name].to(weight)
                weight.data.copy_(first[name] * kept[name])
                # momentum, decay and moments of what is zero, with gradients of zero, are zero
                weight.register_hook(mask.mul)  # type: ignore[no-untyped-call]  # torch leaves it untyped

        setup = recorder.Setup(self.digest(self.recipe.data.load().digest), start, first_epoch=self.start)
        recorder.train(self.recipe, folder, progress, self.objective, setup)


AnyRun = RecipeRun | FolderRun | CurveRun | PrunedRun
"""What has checkpoints of a network."""


def kept_by_magnitude(weights: Mapping[str, Tensor], sparsity: float, per: Per) -> dict[str, Tensor]:
    """Masks, 1 or 0, of the weights that stay when a share of the smallest is taken out, by name.

    Tensors of one dimension stay. Of equal magnitudes those that come first by name and place are taken.
    """
    import torch

    ranked = {name: weights[name] for name in sorted(weights) if weights[name].dim() > 1}
    groups = [[name] for name in ranked] if per == "layer" else [list(ranked)]
    kept = {name: torch.ones_like(w) for name, w in weights.items()}
    for names in groups:
        sizes = torch.cat([ranked[name].abs().flatten() for name in names])
        mask = torch.ones_like(sizes)
        mask[sizes.argsort(stable=True)[: round(sparsity * len(sizes))]] = 0
        parts = torch.split(mask, [ranked[name].numel() for name in names])
        kept |= {name: part.view_as(ranked[name]) for name, part in zip(names, parts, strict=True)}
    return kept
