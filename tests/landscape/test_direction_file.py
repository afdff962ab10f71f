"""Directions of the user's own: what a file of two vectors means, and that a hostile one is one sentence."""

import os
import pickle
import sys
import zipfile

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from safetensors.numpy import save_file

from studio.errors import RunError
from studio.landscape import tasks
from studio.landscape.centres import AtCheckpoint
from studio.landscape.directions import Directions, File, Hessian, Mixed, Random, WeightSource
from studio.storage.mapped_arrays import map_arrays
from studio.training import checkpoints
from studio.training.direction_file import read_directions
from studio.training.models import Mlp, Resnet

SECOND = AtCheckpoint(2.0)
MLP, RESNET = Mlp(depth=1, width=4).build((3,), 2), Resnet(depth=8, width=2).build((1, 8, 8), 3)


def drawn(model, seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {name: random.normal(size=tuple(w.shape)).astype(np.float32) for name, w in model.named_parameters()}


def named(delta, eta) -> dict[str, np.ndarray]:
    vectors = {"delta": delta, "eta": eta}
    return {f"{quantity}/{name}": array for quantity, vector in vectors.items() for name, array in vector.items()}


def flat(vector) -> np.ndarray:
    return np.concatenate([array.ravel() for array in vector.values()])


def of(run, *, epoch: float) -> dict[str, np.ndarray]:
    return {name: w.numpy() for name, w in checkpoints.load(run.folder, epoch).weights.items()}


def test_names_and_flat_vectors_are_the_same_directions_in_both_formats(tmp_path):
    delta, eta = drawn(RESNET, 0), drawn(RESNET, 1)
    np.savez(tmp_path / "named.npz", **named(delta, eta))
    np.savez(tmp_path / "flat.npz", delta=flat(delta), eta=flat(eta))
    save_file(named(delta, eta), tmp_path / "named.safetensors")
    save_file({"delta": flat(delta), "eta": flat(eta)}, tmp_path / "flat.safetensors")
    order = torch.nn.utils.parameters_to_vector(RESNET.parameters())
    assert np.array_equal(order.detach(), flat({n: w.detach().numpy() for n, w in RESNET.named_parameters()}))
    for name in ("named.npz", "flat.npz", "named.safetensors", "flat.safetensors"):
        for found, expected in zip(read_directions(tmp_path / name).fit(RESNET), (delta, eta), strict=True):
            assert found.keys() == expected.keys()
            assert all(np.array_equal(found[key], expected[key]) for key in expected)


def test_a_file_of_the_step_between_two_checkpoints_leads_from_one_to_the_other(mlp, tmp_path):
    first, second = (of(mlp, epoch=epoch) for epoch in (0.0, 2.0))
    delta = {name: first[name] - w for name, w in second.items()}
    np.savez(tmp_path / "line.npz", **named(delta, drawn_like(second)))
    slice_ = mlp.slice(directions=File(file=tmp_path / "line.npz"))
    arrays = map_arrays(mlp.shelf.plane(slice_.plane_digest)).arrays
    end = tasks._weight_loss(mlp.shelf, slice_, AtCheckpoint(0.0))
    expected = end.flat(checkpoints.load(mlp.folder, 0.0).weights).numpy()
    # float32 rounds the difference of two weights, and their sum
    np.testing.assert_allclose(arrays["theta"] + arrays["delta"], expected, atol=1e-6)


def drawn_like(weights) -> dict[str, np.ndarray]:
    return {name: np.random.default_rng(3).normal(size=w.shape) for name, w in weights.items()}


def test_weights_that_a_file_does_not_name_stay_fixed(mlp, tmp_path):
    name = "1.weight"
    shape = of(mlp, epoch=2.0)[name].shape
    np.savez(tmp_path / "one.npz", **{f"delta/{name}": np.ones(shape), f"eta/{name}": np.eye(*shape)})
    slice_ = mlp.slice(directions=File(file=tmp_path / "one.npz"))
    facts = map_arrays(mlp.shelf.plane(slice_.plane_digest)).facts
    assert facts["moved"] == np.prod(shape)


def test_a_file_is_rescaled_as_random_directions_are(conv, tmp_path):
    weights = {name: torch.from_numpy(w) for name, w in of(conv, epoch=2.0).items()}
    random = Random(normalize="none", ignore="nothing", seed=7).plane(
        WeightSource((SECOND,), lambda _: weights), SECOND
    )
    vectors = ({name: d.numpy() for name, d in vector.items()} for vector in (random.delta, random.eta))
    np.savez(tmp_path / "draw.npz", **named(*vectors))
    raw = conv.slice(directions=File(file=tmp_path / "draw.npz"))
    rescaled = conv.slice(directions=File(file=tmp_path / "draw.npz", normalize="filter", ignore="bias-and-norm"))
    expected = conv.slice(directions=Random(seed=7))
    planes = [map_arrays(conv.shelf.plane(s.plane_digest)).arrays for s in (raw, rescaled, expected)]
    for vector in ("delta", "eta"):
        assert not np.array_equal(planes[0][vector], planes[1][vector])
        assert np.array_equal(planes[1][vector], planes[2][vector])


def test_the_content_and_not_the_place_of_a_file_names_the_plane(mlp, tmp_path):
    delta = drawn_like(of(mlp, epoch=2.0))
    here, there = tmp_path / "here.npz", tmp_path / "there.npz"
    np.savez(here, **named(delta, delta))
    there.write_bytes(here.read_bytes())
    os.utime(there, (0, 0))
    digests = [mlp.resolve(directions=File(file=path)).plane_digest for path in (here, there)]
    assert digests[0] == digests[1] and str(tmp_path) not in mlp.resolve(directions=File(file=here)).inputs
    directions = File(file=here)
    np.savez(here, **named({name: 2 * d for name, d in delta.items()}, delta))
    assert mlp.resolve(directions=directions).plane_digest != digests[0]


def test_a_file_that_changes_before_it_is_measured_is_refused(mlp, tmp_path):
    delta, eta = drawn_like(of(mlp, epoch=2.0)), of(mlp, epoch=1.0)
    np.savez(tmp_path / "a.npz", **named(delta, eta))
    slice_ = mlp.slice(directions=File(file=tmp_path / "a.npz"))
    np.savez(tmp_path / "a.npz", **named(eta, delta))
    with pytest.raises(RunError, match="directions: the file changed while it was measured; run again"):
        tasks.make_plane(mlp.shelf, slice_)


class Trap:
    def __reduce__(self):
        return os.mkdir, ("trapped",)


def array(name: str, value) -> dict[str, np.ndarray]:
    return {"delta": np.ones(26), "eta": np.ones(26)} | {name: np.asarray(value)}


UNREADABLE = {
    "a name that is neither's": (array("theta", [1.0]), "theta [1] is neither of delta nor of eta; expected delta/"),
    "one vector": ({"delta": np.ones(26)}, "a vector is missing, or said twice; expected delta/<weight>"),
    "both forms": (array("delta/0.weight", [1.0]), "a vector is missing, or said twice"),
    "a table in place of a vector": (array("eta", np.ones((2, 13))), "eta [2, 13] is neither of delta nor of eta"),
    "NaN": (array("eta", [np.nan] * 26), "eta holds float64, inf or NaN; expected numbers that float32 holds"),
    "beyond float32": (array("eta", [1e39] * 26), "eta holds float64, inf or NaN"),
    "words": (array("eta", ["a"] * 26), "eta holds <U1, inf or NaN"),
    "complex numbers": (array("eta", [1j] * 26), "eta holds complex128"),
    "code": (array("eta", [Trap()] * 26), "Object arrays cannot be loaded when allow_pickle=False"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_file_of_something_else_is_one_sentence_and_its_code_is_not_run(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arrays, message = UNREADABLE[case]
    np.savez("bad.npz", **arrays)
    with pytest.raises(RunError) as caught:
        read_directions(tmp_path / "bad.npz")
    assert message in str(caught.value) and "\n" not in str(caught.value) and "bad.npz" in str(caught.value)
    assert not os.path.exists("trapped")


def test_what_is_no_file_of_vectors_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    (tmp_path / "folder.npz").mkdir()
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps(Trap()))
    (tmp_path / "short.safetensors").write_bytes(b"\xff" * 20)
    (tmp_path / "words.txt").write_text("delta")
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("delta.npy", b"\0" * 2**26)
    for name, message in {
        "none.npz": "cannot be read: No such file",
        "pipe.npz": "it is no regular file",
        "folder.npz": "directory",
        "pickle.npz": "not a zip file",
        "short.safetensors": "header",
        "words.txt": "cannot be read as directions in .npz, .safetensors, .h5, .hdf5: '.txt'",
        "bomb.npz": "unpack to",
    }.items():
        with pytest.raises(RunError) as caught:
            read_directions(tmp_path / name)
        assert message in str(caught.value) and str(tmp_path / name) in str(caught.value)


MISFITS = {
    "another count": (
        {"delta": np.ones(25), "eta": np.ones(26)},
        "delta is [25], the model has 4 weights of 26 numbers, 4 tensors with its buffers",
    ),
    "an unknown name": (
        {"delta/1.wieght": np.ones((4, 3)), "eta/1.weight": np.ones((4, 3))},
        "delta/1.wieght is [4, 3], the model has 4 weights of 26 numbers, 4 tensors with its buffers; "
        "did you mean '1.weight'?",
    ),
    "another shape": (
        {"delta/1.weight": np.ones((4, 3)), "eta/1.weight": np.ones((3, 4))},
        "eta/1.weight is [3, 4], the model has [4, 3]",
    ),
}


@pytest.mark.parametrize("case", MISFITS)
def test_a_file_of_another_model_is_told_with_what_was_expected(case, tmp_path):
    arrays, message = MISFITS[case]
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(RunError) as caught:
        read_directions(tmp_path / "other.npz").fit(MLP)
    assert str(caught.value) == f"{tmp_path / 'other.npz'}: {message}"


def test_a_mistake_in_a_file_is_one_of_the_scene(tmp_path):
    with pytest.raises(ValidationError, match=r"none\.npz: cannot be read: No such file"):
        TypeAdapter(Directions).validate_python(
            {"kind": "mixed", "delta": {"kind": "file", "file": "none.npz"}, "eta": "random"},
            context={"folder": tmp_path},
        )


def test_a_mixture_with_a_file_is_named_by_its_content_and_with_curvature_by_the_loss(mlp, tmp_path):
    np.savez(tmp_path / "a.npz", **named(drawn_like(of(mlp, epoch=2.0)), of(mlp, epoch=1.0)))
    mixed = Mixed(delta=Hessian(ignore="nothing"), eta=File(file=tmp_path / "a.npz"))
    inputs = mlp.resolve(directions=mixed).inputs
    assert read_directions(tmp_path / "a.npz").digest in inputs and "direction_loss" in inputs
    slice_ = mlp.slice(directions=mixed)
    arrays, facts = (getattr(map_arrays(mlp.shelf.plane(slice_.plane_digest)), part) for part in ("arrays", "facts"))
    hessian = mlp.slice(directions=Hessian(ignore="nothing"))
    assert np.array_equal(arrays["delta"], map_arrays(mlp.shelf.plane(hessian.plane_digest)).arrays["delta"])
    alone = mlp.slice(directions=File(file=tmp_path / "a.npz"))
    assert np.array_equal(arrays["eta"], map_arrays(mlp.shelf.plane(alone.plane_digest)).arrays["eta"])
    assert facts["delta_lambda_max"] > facts["delta_lambda_min"]


def test_an_h5_file_without_its_package_names_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "a.h5").write_bytes(b"\x89HDF")
    with pytest.raises(RunError, match=r'needs h5py: pip install "landscape-studio\[h5\]"; or choose'):
        read_directions(tmp_path / "a.h5")


def write_list(file, name: str, tensors) -> None:
    """As `h5_util.write_list` of Li et al. does."""
    group = file.create_group(name)
    for i, tensor in enumerate(tensors):
        group.create_dataset(str(i), data=tensor)


@pytest.mark.extras
def test_direction_files_of_li_et_al_hold_all_weights_or_all_of_the_state(tmp_path):
    import h5py

    vectors = [drawn(RESNET, 0), drawn(RESNET, 1)]
    for kind in ("weights", "states"):
        with h5py.File(tmp_path / f"{kind}.h5", "w") as file:
            for name, vector in zip(("xdirection", "ydirection"), vectors, strict=True):
                states = [vector.get(key, np.zeros(tuple(s.shape))) for key, s in RESNET.state_dict().items()]
                write_list(file, name, vector.values() if kind == "weights" else states)
        for found, expected in zip(read_directions(tmp_path / f"{kind}.h5").fit(RESNET), vectors, strict=True):
            assert found.keys() == expected.keys() and all(np.array_equal(found[n], expected[n]) for n in expected)
    with pytest.raises(
        RunError,
        match=r"delta/0 is \[2, 1, 3, 3\], the model has 4 weights of 26 numbers, 4 tensors with its buffers; one of",
    ):
        read_directions(tmp_path / "weights.h5").fit(MLP)


@pytest.mark.extras
def test_an_h5_file_reads_no_other_file_and_no_more_than_it_holds(tmp_path):
    import h5py

    (tmp_path / "secret").write_bytes(b"\0" * 80)

    def external(file):
        file.create_group("xdirection").create_dataset("0", (10,), "f8", external=[(tmp_path / "secret", 0, 80)])

    def linked(file):
        file.create_group("xdirection")["0"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/x")

    def bomb(file):
        file.create_group("xdirection").create_dataset("0", (2**33,), "f4", chunks=(2**20,), fillvalue=1)

    def words(file):
        write_list(file, "xdirection", [["a"]])

    def other(file):
        file["xdirection"] = np.ones(3)

    for make, message in {
        external: "xdirection/0 is a link, or lies in another file",
        linked: "xdirection/0 is a link, or lies in another file",
        bomb: "unpack to",
        words: "delta/0 holds object, inf or NaN",
        other: "in .h5 groups xdirection and ydirection of tensors 0, 1, ...",
    }.items():
        with h5py.File(tmp_path / "bad.h5", "w") as file:
            make(file)
            write_list(file, "ydirection", [np.ones(3)])
        with pytest.raises(RunError) as caught:
            read_directions(tmp_path / "bad.h5")
        assert message in str(caught.value), (make.__name__, str(caught.value))
    (tmp_path / "bad.h5").write_bytes((tmp_path / "bad.h5").read_bytes()[:300])
    with pytest.raises(RunError, match=r"bad\.h5: cannot be read as directions in"):
        read_directions(tmp_path / "bad.h5")
