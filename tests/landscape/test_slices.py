import pickle
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from studio.errors import RunError
from studio.field import Grid
from studio.landscape import slices
from studio.landscape.centres import AtCheckpoint, Mixture
from studio.landscape.convexity import Convexity, Spectrum
from studio.landscape.directions import Checkpoints, Hessian, Pca, Random
from studio.landscape.loss import Loss
from studio.landscape.slices import SliceResolver, axes, fields, scene_method
from studio.landscape.sweeps.keyframe import Keyframe
from studio.storage.shelf import Shelf
from studio.training import checkpoints


def test_a_slice_travels_and_is_the_same(conv):
    slice_ = conv.resolve()
    unpickled = pickle.loads(pickle.dumps(slice_))
    assert unpickled == slice_ and hash(unpickled) == hash(slice_)


def test_the_digest_names_what_the_numbers_depend_on(conv):
    first = conv.resolve()
    assert conv.resolve() == first
    changes = (
        {"epoch": 1.0},
        {"loss": Loss(subset=47, mode="train")},
        {"loss": Loss(subset=48, mode="eval")},
        {"loss": Loss(subset=48, mode="train", seed=1)},
        {"loss": Loss(subset=48, mode="train", method="loop")},
        {"grid": Grid(points=7)},
        {"directions": Random(seed=4)},
    )
    digests = {first.digest, *(conv.resolve(**change).digest for change in changes)}
    assert len(digests) == 1 + len(changes)


def test_a_plane_is_named_apart_from_the_loss_and_the_grid_over_it(conv):
    first = conv.resolve()
    assert conv.resolve(grid=Grid(points=7), loss=Loss(mode="eval")).plane_digest == first.plane_digest
    others = {conv.resolve(epoch=1.0).plane_digest, conv.resolve(directions=Random(seed=4)).plane_digest}
    assert first.plane_digest not in others and len(others) == 2


def test_a_plane_depends_on_the_checkpoints_its_directions_use(conv):
    sums = [facts["weights"] for facts in checkpoints.facts_by_epoch(conv.folder).values()]
    assert sums[2] in (inputs := conv.resolve().inputs) and sums[0] not in inputs and sums[1] not in inputs
    for directions in (Pca(), Checkpoints(at=(0, 1))):
        inputs = conv.resolve(directions=directions).inputs
        assert all(weights in inputs for weights in sums)


def test_the_digest_leaves_out_where_a_keyframe_stands_and_what_it_marks(conv):
    resolver = SliceResolver(conv.shelf, (conv.run,), ("planted",), conv.resolve().loss)
    centre = AtCheckpoint(2.0)
    keyframes = [Keyframe(at, centre, Random(), Grid(points=5), AtCheckpoint(at)) for at in (0.0, 1.0)]
    first, second = (resolver.resolve("loss", keyframe, keyframe.grid, Loss()) for keyframe in keyframes)
    assert first == second


def test_a_centre_between_two_checkpoints_is_named_by_both_and_its_share(conv):
    ends = AtCheckpoint(0.0), AtCheckpoint(2.0)
    digests = {conv.resolve(centre=Mixture.between(*ends, share)).digest for share in (0.25, 0.5)}
    digests |= {conv.resolve(centre=centre).digest for centre in (*ends, Mixture.between(ends[1], ends[0], 0.25))}
    assert len(digests) == 5


def test_directions_of_curvature_are_named_by_the_loss_they_come_from(mlp):
    hessian, few = Hessian(ignore="nothing"), Loss(subset=16, mode="train")
    drawn = mlp.resolve(directions=hessian)
    curved = mlp.resolve("convexity", directions=hessian, loss=few, direction_loss=drawn.loss, convexity=Convexity())
    assert curved.plane_digest == drawn.plane_digest != mlp.resolve(directions=hessian, loss=few).plane_digest
    assert curved.direction_samples_digest == drawn.samples_digest != curved.samples_digest


def test_a_spectrum_and_a_grid_of_curvatures_are_named_by_their_own_keys(mlp):
    def digest(quantity: str, **keys: object) -> str:
        return mlp.resolve(quantity, convexity=Convexity(points=5, spectrum=Spectrum(), **keys)).digest

    assert digest("spectrum") == digest("spectrum", tol=1e-2) != digest("convexity")
    assert digest("convexity") != digest("convexity", tol=1e-2)
    # which keyframes have one is no input of any
    assert digest("convexity") == digest("convexity", at=(0.0, 2.0))


def test_where_the_run_lies_is_no_part_of_a_slice(conv, tmp_path):
    shutil.copytree(conv.folder, Shelf(tmp_path).run("planted"))
    assert replace(conv, shelf=Shelf(tmp_path)).resolve() == conv.resolve()


def test_a_missing_checkpoint_is_said(conv):
    with pytest.raises(RunError, match="no checkpoint at 1.4"):
        conv.resolve(epoch=1.4)


def test_the_method_is_resolved_with_its_reason(conv):
    slice_ = conv.resolve()
    assert (slice_.method, slice_.reason) == scene_method(conv.run, slice_.directions, slice_.loss)
    assert conv.resolve(loss=Loss(method="loop")).method == "loop"


def test_a_gpu_measures_several_rows_of_a_perceptrons_curvature_together(mlp, conv, monkeypatch):
    def groups(run, points: int) -> list[tuple[int, int]]:
        return run.resolve("convexity", grid=Grid(points=points), convexity=Convexity(points=points)).row_groups

    assert groups(mlp, 101) == [(row, row + 1) for row in range(101)]
    monkeypatch.setattr(slices, "device_kind", lambda: "cuda")
    assert groups(mlp, 5) == [(0, 5)] and groups(conv, 5) == [(row, row + 1) for row in range(5)]
    assert groups(mlp, 101)[:2] == [(0, 2), (2, 4)] and groups(mlp, 101)[-1] == (100, 101)


def test_the_layout_has_rows_first_and_samples_last(mlp):
    slice_ = mlp.resolve(loss=Loss(subset=48, keep_samples=True))
    assert list(axes(slice_, 48)) == ["beta", "alpha", "sample"] and len(axes(slice_, 48)["sample"]) == 48
    assert fields(slice_, ["loss"])["losses"] == ("beta", "alpha", "sample") and fields(slice_, ["loss"])["loss"] == (
        "beta",
        "alpha",
    )
    spectrum = mlp.resolve("spectrum", convexity=Convexity(spectrum=Spectrum(probes=3, steps=7)))
    assert {name: len(axis) for name, axis in axes(spectrum, 48).items()} == {"probe": 3, "step": 7}
    assert set(fields(spectrum)) == {"ritz", "weight"}


def test_a_loss_has_no_convexity_record(mlp):
    with pytest.raises(ValueError, match="no convexity record"):
        _ = mlp.resolve().curvature


def test_naming_slices_needs_no_torch():
    code = (
        "import sys, studio.landscape.slices, studio.landscape.directions, studio.landscape.convexity, "
        "studio.landscape.loss, studio.landscape.sweeps; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'sklearn', 'pyvista')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
