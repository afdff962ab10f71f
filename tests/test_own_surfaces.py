"""Surfaces that the user measured: no network, no epochs, a temperature instead."""

import re

import numpy as np
import pytest

from studio.config.reading import parse
from studio.errors import SceneError
from studio.field import Grid
from studio.pipeline.measure import measure, subset_errors
from studio.pipeline.project import Project
from studio.scene.captions import captions
from studio.scene.draft import to_draft
from studio.scene.scene import Scene

SCENE = """\
title: Heat
run:
  {kind: surfaces, file: heat.npz, axis: {name: temperature, unit: " K", format: ".0f"}}
look: {base: ember, mesh: 33}
film: {size: 64x36, fps: 8}
shots:
  - shot: warm
    duration: 1s
    along: {0s: 100, 1s: 300}
titles: {title: Heat, live: "{coordinate} {temperature:.1f} {loss:.2f} {energy:.1f}"}
deliver: [{kind: sequence}]
"""
TEMPERATURES = np.array([100.0, 200.0, 300.0])


@pytest.fixture
def heat(tmp_path):
    """A made-up surface over a temperature, its scene, and nothing of its film made."""
    alpha, beta = np.linspace(-1, 1, 9), np.linspace(-2, 2, 7)
    bowl = 0.1 + beta[:, None] ** 2 + alpha**2
    loss = np.stack([bowl * 100 / temperature for temperature in TEMPERATURES])
    arrays = {"coordinate": TEMPERATURES, "alpha": alpha, "beta": beta, "loss": loss}
    np.savez(tmp_path / "heat.npz", **arrays, lambda_min=-loss, lambda_max=loss, energy=[1.0, 2.0, 3.0])
    path = tmp_path / "heat.yaml"
    path.write_text(SCENE, encoding="utf-8")
    return path


def test_brought_surfaces_film_from_end_to_end_and_nothing_names_an_epoch(heat, invoke, pictures):
    said = []
    commands = ("check", "plan", "train", "status", "compute", "film", "status", "looks", "storyboard", "still")
    commands += ("check", "tune", "clean")
    options = {"looks": ["--at", "0s"], "still": ["--at", "1f"], "check": ["--draft"], "clean": ["heat.yaml"]}
    for command in commands:
        result = invoke(command, *([] if command == "clean" else ["heat.yaml"]), *options.get(command, ()))
        assert result.status == (2 if command == "tune" else 0), (command, result.err)
        said.append(result.out + result.err)
    assert "surfaces   3 keyframes of heat.npz, nothing to train or to measure" in said[1]
    assert said[2] == "" and "loss       missing  0 of 3 slices" in said[3] and "train" not in said[3]
    assert "deliver    done" in said[6] and "loss       done     3 of 3 slices" in said[6]
    assert "brings surfaces, and no network" in said[11] and "of which no scene needs 0 B" in said[12]
    assert len(pictures(heat.parent / "out" / "heat" / "heat-frames")) == 8
    results = measure(Project.open(heat))
    said += [captions(results.scene)["loss"], str(results.dataset()), str(results.facts())]
    assert not re.search("epoch", "\n".join(said), re.IGNORECASE)


def test_what_was_brought_is_filmed_to_the_bit_with_its_own_numbers(heat):
    results = measure(Project.open(heat))
    surfaces, brought = results.surfaces(), np.load(heat.parent / "heat.npz")
    for name in ("loss", "lambda_min", "lambda_max"):
        np.testing.assert_array_equal(surfaces.fields[name].values, brought[name])
    assert surfaces.axis.label(150.0) == "temperature 150 K"
    assert surfaces.at(150.0).metrics == {"energy": 1.5} and surfaces.marker(150.0) == (0.0, 0.0)
    dataset = results.dataset()
    assert dataset["energy"].values.tolist() == [1, 2, 3] and dataset.sizes == {"keyframe": 3, "beta": 7, "alpha": 9}
    points = "surfaces of heat.npz · 9×7 points at 3 keyframes, interpolated between"  # noqa: RUF001
    assert captions(results.scene) == dict.fromkeys(("loss", "convexity"), f"{points} · range ±1 by ±2 · height √loss")


def test_the_marker_is_nowhere_if_the_origin_is_outside(heat):
    with np.load(heat.parent / "heat.npz") as file:
        np.savez(heat.parent / "heat.npz", **{**file, "alpha": file["alpha"] + 3})
    assert measure(Project.open(heat)).surfaces().marker(100.0) is None


def test_other_bytes_are_other_slices(heat):
    first = measure(Project.open(heat))
    with np.load(heat.parent / "heat.npz") as file:
        np.savez(heat.parent / "heat.npz", **{**file, "loss": 2 * file["loss"]})
    second = measure(Project.open(heat))
    assert set(first.digests.values()).isdisjoint(second.digests.values())
    assert second.surfaces().fields["loss"].finite.max() == 2 * first.surfaces().fields["loss"].finite.max()


def test_the_grid_is_the_files_and_a_draft_has_fewer_keyframes(heat, monkeypatch):
    scene = Scene.load(heat)
    assert scene.grid == Grid(range=((-1, 1), (-2, 2)), points=(9, 7)) and scene.networks == ()
    monkeypatch.setattr("studio.scene.draft.KEYFRAMES", 2)
    draft = to_draft(scene)
    assert [keyframe.coordinate for keyframe in draft.keyframes()] == [100, 300] and draft.grid == scene.grid


HEAD = SCENE.replace("shots:", "{}\nshots:")
NOT_WITH = "not with run.kind: surfaces, whose file has its own grid and is measured already; take it out, or write"
REFUSALS = {
    "directions": ("directions: pca", f"6:13: directions: {NOT_WITH}"),
    "another grid": ("grid: {points: 5}", f"6:7: grid: {NOT_WITH}"),
    "a finer grid": ("detail: {range: [-0.1, 0.1]}", f"6:9: detail: {NOT_WITH}"),
    "a loss": ("loss: {subset: 3}", f"6:7: loss: {NOT_WITH}"),
    "convexity": ("convexity: {points: 3}", f"6:12: convexity: {NOT_WITH}"),
    "a zoom": ("sweep: zoom", f"6:8: sweep: {NOT_WITH}"),
    "a rotation": ("sweep: rotation", f"6:8: sweep: {NOT_WITH}"),
    "a chord": ("sweep: {kind: chord, seed: 1}", f"6:8: sweep: {NOT_WITH}"),
    "a trajectory": ("sweep: trajectory", f"6:8: sweep: {NOT_WITH}"),
}


@pytest.mark.parametrize(("line", "words"), REFUSALS.values(), ids=REFUSALS)
def test_what_needs_a_network_is_refused_where_it_stands(heat, line, words):
    with pytest.raises(SceneError) as caught:
        parse(HEAD.replace("{}\n", f"{line}\n"), Scene, folder=heat.parent)
    [mistake] = caught.value.mistakes
    assert mistake.startswith(f"scene:{words}"), mistake


CHANGES = {
    "a coordinate that the file lacks": (
        "look: ",
        "sweep: {kind: epochs, at: [100, 150]}\nlook: ",
        "4:27: sweep.at: temperature 150: the run has no checkpoint there; the nearest it has: 100, 200",
    ),
    "a trajectory": ("mesh: 33", "trajectory: {}", "4:33: look.trajectory: is of networks, and run.kind: surfaces has"),
    "a field that it lacks": (
        "mesh: 33",
        "colour: {field: plane-convexity}",
        "4:37: look.colour.field: heat.npz has no kappa_min and no kappa_max; its fields: loss, lambda_min, lambda_max",
    ),
    "a number that it lacks": ("{energy", "{train_loss", "10:29: titles.live: no number called 'train_loss'"),
    "a time outside": ("1s: 300", "1s: 301", "9:26: shots[0].along.1s: temperature 301 is outside the measured ones"),
    "a format of nothing": ('".0f"', "nothing", "3:82: run.axis.format: 'nothing' formats no number; write it like"),
    "no file": (
        "heat.npz",
        "cold.npz",
        "3:26: run.file: cold.npz: no such file; expected an .npz, .nc, .zarr, .csv or .h5 file",
    ),
    "a key of a network": ("file:", "recipe: {}, file:", "3:20: run.recipe: unknown key 'recipe'"),
    "no kind": ("kind: surfaces, ", "", "3:3: run: surfaces of your own are a kind of run: write `kind: surfaces`"),
    "another run in a chord": (
        "look: ",
        "sweep: {kind: chord, to: {kind: surfaces, file: heat.npz}}\nlook: ",
        "4:26: sweep.to: unknown kind 'surfaces'; one of recipe, folder",
    ),
}


@pytest.mark.parametrize(("old", "new", "words"), CHANGES.values(), ids=CHANGES)
def test_a_mistake_about_brought_surfaces_has_its_place(heat, monkeypatch, old, new, words):
    monkeypatch.chdir(heat.parent)
    with pytest.raises(SceneError) as caught:
        parse(SCENE.replace(old, new), Scene)
    assert caught.value.mistakes[0].startswith(f"scene:{words}"), caught.value.mistakes


def test_a_field_that_no_look_draws_is_a_mistake_of_the_file(heat):
    with np.load(heat.parent / "heat.npz") as file:
        np.savez(heat.parent / "heat.npz", **file, acuracy=file["loss"])
    with pytest.raises(SceneError, match=r"3:26: run.file: .*acuracy is no measured field; did you mean 'accuracy'\?"):
        Scene.load(heat)


def test_what_would_have_to_be_measured_is_refused(heat, invoke):
    result = invoke("still", "heat.yaml", "--at", "0s", "--points", 31)
    assert result.status == 2 and "--points 31: heat.npz is not measured here" in result.err
    with pytest.raises(SceneError, match="no network to measure or to train"):
        subset_errors(Project.open(heat))


def test_brought_surfaces_stand_beside_a_trained_landscape(heat, monkeypatch):
    monkeypatch.chdir(heat.parent)
    text = SCENE.replace("run:\n  {", "landscapes:\n  heat: {run: {").replace(
        '".0f"}}', '".0f"}}}\n  net: {run: {recipe: {epochs: 300}}, grid: {points: 5}}'
    )
    text = (
        text.replace("  - shot: warm", "  - shot: warm\n    show: [heat, net]")
        .replace(", live", ", legend")
        .replace(re.search('"{coord.*"', text)[0], "false")
    )
    scene = parse(text, Scene)
    assert [len(scene.only(name).networks) for name in scene.names] == [0, 1]
    assert scene.only("net").grid == Grid(points=5) and scene.only("heat").grid.counts == (9, 7)
