"""Sweeps between networks: the straight line and a curve from one to another, and twins that part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from studio.errors import SceneError
from studio.field import Axis, Grid
from studio.landscape.centres import AtCheckpoint, Centre, Matched, Mixture
from studio.landscape.directions import Checkpoints, Directions, Random, Through
from studio.landscape.sweeps.keyframe import (
    LISTED,
    MOST_STEPS,
    Keyframe,
    Listed,
    Runs,
    Stepped,
    at_checkpoint,
    subsample,
)
from studio.training.derived import AnyRun, CurveRun
from studio.training.recipe import Fork
from studio.training.runs import NetworkRun, Run, SurfacesRun, recipe_run


class _ToOther(Stepped):
    """A sweep from the end of the run to the end of another.

    to: the other run, of the same model. seed: or the same recipe, trained from this seed.
    """

    own_axis: ClassVar[Axis] = Axis(name="t", format=".2f")

    to: NetworkRun | None = None
    seed: int | None = Field(None, ge=0)

    def needs(self, run: Run) -> tuple[AnyRun, ...]:
        """The other run."""
        return (self.to or recipe_run(run, "trained from another seed; name the other run under `to`", seed=self.seed),)

    def _ends(self, runs: Runs) -> tuple[AtCheckpoint, AtCheckpoint]:
        """The last networks of both runs. Raises SceneError if the two models differ, or the runs do not."""
        if len({run.recipe.model for run in runs if not isinstance(run, SurfacesRun)}) > 1:
            raise SceneError("the two runs have different models, whose weights no line connects")
        if runs[0] == runs[1]:
            raise SceneError("both ends are the same run; name another one, or another seed")
        return at_checkpoint("last", runs[0]), at_checkpoint("last", runs[1], 1)

    @model_validator(mode="after")
    def _names_one_run(self) -> Self:
        if (self.to is None) == (self.seed is None):
            raise ValueError("this leads to another run: write either `seed: 1`, or the run under `to`")
        return self


class Chord(_ToOther):
    """The straight line from the end of the run to the end of another; the coordinate goes from 0 to 1.

    Running statistics are mixed like the weights: `mode: recalibrated` computes them anew.
    to: the other run, of the same model. seed: or the same recipe, trained from this seed. match: the hidden units of
    its end are put in the order that is nearest to the first one's (Ainsworth et al. 2023). steps: from end to end.
    """

    kind: Literal["chord"] = "chord"
    match: bool = False

    def unroll(self, runs: Runs, directions: Directions, grid: Grid) -> tuple[Keyframe, ...]:
        """Keyframes at even shares. Raises SceneError if the two models differ."""
        first, end = self._ends(runs)
        second = _matched(end, first, runs) if self.match else end
        shares = (round(step / self.steps, 3) for step in range(1, self.steps))
        between = {share: Mixture.between(first, second, share) for share in shares}
        centres: dict[float, Centre] = {0.0: first, **between, 1.0: second}
        return tuple(Keyframe(share, centre, directions, grid, centre) for share, centre in centres.items())


class Curve(_ToOther):
    """A curve from the end of the run to the end of another, trained so that the loss on it is low.

    One plane, through both ends and the curve's bend, is measured once: the ends stand at alpha = -1 and 1. The network
    moves along the curve, t from 0 to 1, or with the training of the curve, whose middle is then shown. Running
    statistics are mixed like the weights: `mode: recalibrated` computes them anew. Garipov et al. (2018).
    to: the other run, of the same model. seed: or the same recipe, trained from this seed. third: the seed of a third
    network, to which a second curve leads, t from 1 to 2; the plane is then that of the three. shape: `bezier`, or a
    `chain` of two straight lines. epochs: of the curve's training, otherwise by the run's recipe. along: `t` or
    `training`. steps: from end to end.
    """

    kind: Literal["curve"] = "curve"
    third: int | None = Field(None, ge=0)
    shape: Literal["bezier", "chain"] = "bezier"
    epochs: int = Field(20, ge=1, le=9999)
    along: Literal["t", "training"] = "t"
    steps: int = Field(40, ge=1, le=MOST_STEPS)

    def axis(self, runs: Runs) -> Axis:
        """The axis of the coordinates: t, or the epochs of the curve's training."""
        return super().axis(runs) if self.along == "t" else runs[-1].axis

    def needs(self, run: Run) -> tuple[AnyRun, ...]:
        """The other run, perhaps a third, and the training of each curve."""
        if isinstance(run, SurfacesRun):
            raise SceneError("a curve joins two networks; surfaces have none")
        ends = (run, *super().needs(run))
        if self.third is not None:
            ends += (recipe_run(run, "trained from a third seed; leave `third` out", seed=self.third),)
        recipe = run.recipe.model_copy(update={"epochs": self.epochs})
        pairs = ({"first": first, "second": second} for first, second in pairwise(ends))
        curves = (CurveRun.model_validate({"recipe": recipe, "shape": self.shape, **pair}) for pair in pairs)
        return (*ends[1:], *curves)

    def unroll(self, runs: Runs, directions: Directions, grid: Grid) -> tuple[Keyframe, ...]:
        """Keyframes of one plane. Raises SceneError if the two models differ, or for directions of the user's."""
        _require_own_plane(directions, "a curve is shown in the plane of its two ends and its bend")
        first, second = self._ends(runs)
        ends = (first, second, *([at_checkpoint("last", runs[2], 2)] if self.third is not None else []))
        curves = [(number, run) for number, run in enumerate(runs) if isinstance(run, CurveRun)]
        bends = [[AtCheckpoint(epoch, number) for epoch in run.instants()] for number, run in curves]
        through_bend = Checkpoints(at=(second, bends[0][-1]))
        plane = through_bend if self.third is None else Through.model_validate({"at": ends})
        centre = Mixture(ends, (1 / len(ends),) * len(ends))

        def network(leg: int, bend: AtCheckpoint, t: float) -> Mixture:
            return Mixture((ends[leg], bend, ends[leg + 1]), curves[leg][1].shares(t))

        if self.along == "training":
            markers = {at.checkpoint: network(0, at, 0.5) for at in subsample(bends[0], self.steps + 1)}
        else:
            markers = {}
            for t in (round(len(curves) * step / self.steps, 3) for step in range(self.steps + 1)):
                leg = min(int(t), len(curves) - 1)
                markers[t] = network(leg, bends[leg][-1], t - leg)
        return tuple(Keyframe(at, centre, plane, grid, marker) for at, marker in markers.items())

    @model_validator(mode="after")
    def _trains_one_curve(self) -> Self:
        if self.along == "training" and self.third is not None:
            raise ValueError("along: training shows one curve; leave `third` out")
        return self


class Spawn(Listed):
    """Two copies of the network part at epoch k and train on with other noise, to the end (Frankle et al. 2020).

    The plane lies through both ends, at alpha = -1 and 1, and the network at which they parted; the coordinate is k.
    at: the epochs k, which are checkpoints of the run before its last. seed: of the second copy's noise. match: its
    hidden units are put in the order that is nearest to the first copy's, which changes no function (Ainsworth et al.
    2023); for networks of layers in a chain.
    """

    kind: Literal["spawn"] = "spawn"
    at: Annotated[tuple[float, ...], *LISTED] = (0.0,)
    seed: int = Field(1, ge=0)
    match: bool = False

    def needs(self, run: Run) -> tuple[AnyRun, ...]:
        """The second copy, once for every epoch."""
        forks = (Fork(at=epoch, seed=self.seed) for epoch in self.at)
        return tuple(recipe_run(run, "trained on with other noise; take another sweep", fork=fork) for fork in forks)

    def unroll(self, runs: Runs, directions: Directions, grid: Grid) -> tuple[Keyframe, ...]:
        """A keyframe for every epoch. Raises SceneError if the run lacks a checkpoint there."""
        _require_own_plane(directions, "twins are shown in the plane of their ends and the network they were")
        end = at_checkpoint("last", runs[0])
        keyframes = []
        for number, epoch in enumerate(self.at, 1):
            parting, twin = at_checkpoint(epoch, runs[0]), AtCheckpoint(end.checkpoint, number)
            if parting == end:
                raise SceneError(f"twins that part at the run's last checkpoint, {epoch:g}, are the same; write less")
            other = _matched(twin, end, runs) if self.match else twin
            centre = Mixture.between(end, other, 0.5)
            keyframes.append(Keyframe(epoch, centre, Checkpoints(at=(other, parting)), grid, end))
        return tuple(keyframes)

    def scored(self, runs: Runs, keyframes: Sequence[Keyframe]) -> Mapping[float, AtCheckpoint]:
        """Those of the second copies' ends."""
        return {k.coordinate: AtCheckpoint(runs[0].instants()[-1], n) for n, k in enumerate(keyframes, 1)}


def _matched(of: AtCheckpoint, to: AtCheckpoint, runs: Runs) -> Matched:
    """One network in the other's order. Raises SceneError if its layers are known not to be a chain."""
    model = None if isinstance(runs[0], SurfacesRun) else runs[0].recipe.model
    if getattr(model, "kind", "") == "resnet" or getattr(model, "skip", False):
        raise SceneError("match: is for layers in a chain, and this model has shortcuts or blocks; leave it out")
    return Matched(of, to)


def _require_own_plane(directions: Directions, reason: str) -> None:
    """Raises SceneError for any directions but the ones that a scene has which names none."""
    if directions != Random():
        raise SceneError(f"{reason}; take `directions` out")
