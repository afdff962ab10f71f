"""Models and samples of the user's own: whatever torch can train, named in the scene."""

import sys

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from studio.config.reading import parse
from studio.config.records import Record, digest
from studio.errors import RunError, SceneError
from studio.training import checkpoints
from studio.training.data import Arrays, DataSet
from studio.training.import_checkpoints import import_checkpoints
from studio.training.models import Mlp, Model, Python, Resnet, Vgg
from studio.training.objectives import CROSS_ENTROPY
from studio.training.recipe import Recipe
from studio.training.recorder import seconds_per_step, train

MODULE = """
import torch
from torch import nn


class Reader(nn.Module):
    '''Words [N, T] through an LSTM to logits [N, classes], with the embedding's weights used a second time.'''

    def __init__(self, words, width, classes):
        super().__init__()
        self.embed = nn.Embedding(words, width)
        self.read = nn.LSTM(width, width, batch_first=True)
        self.tied = nn.Linear(width, words, bias=False)
        self.tied.weight = self.embed.weight
        self.drop = nn.Dropout(0.1)
        self.classify = nn.Linear(words, classes)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        self.seen += 1
        return self.classify(self.tied(self.drop(self.read(self.embed(x))[0][:, -1])))


def reader(words=7, width=4, classes=3):
    return Reader(words, width, classes)


class Turning(nn.Module):
    '''Takes another way for each batch, with attention, a norm, and a layer that does not learn.'''

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.look = nn.MultiheadAttention(4, 2, dropout=0.1, batch_first=True)
        self.norm = nn.BatchNorm1d(4)
        self.still, self.classify = nn.Linear(4, 4).requires_grad_(False), nn.Linear(4, 3)

    def forward(self, x):
        h = self.embed(x)
        h = self.norm(self.look(h, h, h)[0].mean(1))
        return self.classify(self.still(h) if h.sum() > 0 else h)


class Volume(nn.Module):
    '''Words as a volume of 1 x 1 x 5 numbers, through a convolution in space.'''

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv3d(1, 3, (1, 1, 3)), nn.BatchNorm3d(3), nn.Flatten(), nn.Linear(9, 3))

    def forward(self, x):
        return self.layers(x.float()[:, None, None, None])


def keeps_arguments(**arguments):
    model = nn.Linear(1, 1)
    model.arguments = arguments
    return model


def nothing():
    return 3
"""


class Made(Record):
    model: Model


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A scene's folder with a module of the user's, which is forgotten afterwards."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own_nets", raising=False)
    (tmp_path / "own_nets.py").write_text(MODULE, encoding="utf-8")
    yield tmp_path
    sys.modules.pop("own_nets", None)


def model(folder, text: str) -> Python:
    return parse(f"model: {{kind: python, make: own_nets:{text}}}", Made, folder=folder).model


def words(count, seed):
    random = np.random.default_rng(seed)
    x = random.integers(0, 7, (count, 5))
    return {"x": x, "y": x[:, -1] % 3}


@pytest.fixture
def sentences(folder):
    path = folder / "data.npz"
    parts = {"train": words(40, 0), "test": words(12, 1)}
    np.savez(path, **{f"{part}_{name}": array for part, samples in parts.items() for name, array in samples.items()})
    return path


# --- models ----------------------------------------------------------------------------------------------------------


def test_arguments_are_the_numbers_words_and_lists_they_look_like(folder):
    record = model(
        folder,
        "keeps_arguments, arguments: {width: 64, rate: 5e-4, bias: true, act: no, sizes: [3, x], inner: {a: -1}}",
    )
    assert record.build((1,), 2).arguments == {
        "width": 64,
        "rate": 5e-4,
        "bias": True,
        "act": "no",
        "sizes": (3, "x"),
        "inner": {"a": -1},
    }
    assert isinstance(record.arguments["width"], int) and hash(record)


def test_a_word_that_python_reads_as_a_number_stays_a_word(folder):
    assert model(folder, "keeps_arguments, arguments: {a: nan, b: inf, c: Infinity}").arguments == {
        "a": "nan",
        "b": "inf",
        "c": "Infinity",
    }


def test_the_seed_decides_the_weights_and_the_global_generator_is_untouched(folder):
    before = torch.get_rng_state()
    record = model(folder, "reader")
    first, same, other = (record.build((5,), 3, seed).classify.weight for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, same) and not torch.equal(first, other)


def test_an_edited_function_is_another_model(folder):
    before = digest(model(folder, "reader"))
    (folder / "own_nets.py").write_text(MODULE.replace("Dropout(0.1)", "Dropout(0.2)"), encoding="utf-8")
    assert digest(model(folder, "reader")) != before
    (folder / "own_nets.py").write_text(MODULE.replace("return 3", "return 4"), encoding="utf-8")
    assert digest(model(folder, "reader")) == before  # another function's text


def test_arguments_that_the_function_does_not_take_are_named(folder):
    with pytest.raises(SceneError, match=r"recipe.model.arguments: own_nets:reader\(words=7.*unexpected.*'depth'"):
        model(folder, "reader, arguments: {depth: 3}").build((5,), 3)


def test_a_function_that_returns_no_module_is_refused(folder):
    with pytest.raises(SceneError, match="recipe.model.make: own_nets:nothing returns int, expected torch.nn.Module"):
        model(folder, "nothing").build((5,), 3)


def test_a_missing_function_is_a_mistake_with_its_place(folder):
    with pytest.raises(SceneError, match="^scene:1:29: model.make: no module 'elsewhere' beside the scene"):
        parse("model: {kind: python, make: elsewhere:net}", Made, folder=folder)


def test_images_are_asked_for_where_a_model_needs_them():
    assert Mlp(width=4).build((6,), 3)(torch.zeros(2, 6)).shape == (2, 3)
    for convolutional in (Resnet(), Vgg()):
        with pytest.raises(RunError, match="takes images of channels, height and width; a sample here is 6"):
            convolutional.build((6,), 3)


# --- training and importing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", ["reader", "Turning", "Volume"])
def test_a_users_model_and_samples_are_trained_killed_and_resumed_to_the_same_bytes(folder, sentences, make):
    recipe = Recipe(model=model(folder, make), data=Arrays(file=sentences), epochs=2, batch=16)
    train(recipe, folder / "whole")
    assert checkpoints.epochs(folder / "whole") == (0.0, 1.0, 2.0)
    first, last = (checkpoints.load(folder / "whole", epoch).weights for epoch in (0.0, 2.0))
    # of biases that a norm removes, the gradient is zero, or what rounding leaves of it
    stood = {name for name, weight in first.items() if weight.dim() > 1 and torch.equal(weight, last[name])}
    assert stood == ({"still.weight"} if make == "Turning" else set())

    def stop(done, total, text):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(recipe, folder / "twice", stop)
    train(recipe, folder / "twice")
    for epoch in (1.0, 2.0):
        whole, stopped = (checkpoints.load(folder / name, epoch).weights for name in ("whole", "twice"))
        assert all(torch.equal(whole[name], stopped[name]) for name in whole)


def test_dropout_draws_nothing_from_the_global_generator(folder, sentences):
    recipe = Recipe(model=model(folder, "reader"), data=Arrays(file=sentences), epochs=1, batch=16)
    before = torch.get_rng_state()
    seconds_per_step(recipe, steps=1)
    train(recipe, folder / "run")
    assert torch.equal(torch.get_rng_state(), before)


def test_checkpoints_of_a_users_model_are_imported(folder, sentences):
    record = model(folder, "reader")
    (folder / "weights").mkdir()
    trained = record.build((5,), 3, seed=8)
    torch.save(trained.state_dict(), folder / "weights" / "epoch-3.pt")
    recipe = Recipe(model=record, data=Arrays(file=sentences))
    import_checkpoints(folder / "weights", recipe, folder / "imported")
    weights = checkpoints.load(folder / "imported", 3.0).weights
    assert torch.equal(weights["classify.weight"], trained.classify.weight)
    assert "tied.weight" not in weights  # it is the weight of the embedding


def test_the_digest_of_a_run_follows_the_source_of_its_model(folder, sentences):
    data = Arrays(file=sentences)
    before = checkpoints.recipe_digest(Recipe(model=model(folder, "reader"), data=data), CROSS_ENTROPY, "data")
    assert before == checkpoints.recipe_digest(Recipe(model=model(folder, "reader"), data=data), CROSS_ENTROPY, "data")
    (folder / "own_nets.py").write_text(MODULE.replace("width=4", "width=5"), encoding="utf-8")
    assert before != checkpoints.recipe_digest(Recipe(model=model(folder, "reader"), data=data), CROSS_ENTROPY, "data")


# --- arrays ----------------------------------------------------------------------------------------------------------


def arrays(**changes):
    """A whole set of 4 and 2 samples of 3 numbers each, with some arrays replaced; None leaves one out."""
    whole = {
        "train_x": np.ones((4, 3)),
        "train_y": np.array([0, 1, 2, 1]),
        "test_x": np.ones((2, 3)),
        "test_y": np.array([4, 0]),
    } | changes
    return {name: array for name, array in whole.items() if array is not None}


def test_arrays_are_taken_as_they_are(tmp_path):
    x = np.random.default_rng(0).normal(size=(4, 2, 3)) * 100
    np.savez_compressed(tmp_path / "d.npz", **arrays(train_x=x, test_x=x[:2]))
    data = TypeAdapter(DataSet).validate_python({"kind": "arrays", "file": tmp_path / "d.npz"}).load()
    assert np.array_equal(data.train_x, x.astype(np.float32)) and data.train_x.dtype == np.float32
    assert (data.shape, data.classes) == ((2, 3), 5)
    assert data.train_y.dtype == np.int64 and data.test_y.tolist() == [4, 0]


def test_whole_numbers_stay_whole(sentences):
    data = Arrays(file=sentences).load()
    assert Arrays(file=sentences).layout().samples == len(data.train_y) == 40
    assert data.train_x.dtype == np.int64 and data.train_x.max() == 6


def test_a_file_of_arrays_is_relative_to_the_scene(folder, sentences):
    class Of(Record):
        data: DataSet

    assert parse("data: {kind: arrays, file: data.npz}", Of, folder=folder).data.load().classes == 3


def test_targets_may_be_any_numbers_or_none(tmp_path):
    def load(**changes):
        np.savez(tmp_path / "d.npz", **arrays(**changes))
        return Arrays(file=tmp_path / "d.npz").load()

    real = load(train_y=np.full((4, 2), -0.5), test_y=np.full((2, 2), 1.5))
    assert real.train_y.dtype == np.float32 and real.layout == (4, (3,), False, (2,), (-0.5, 1.5), 0)
    negative = load(train_y=np.array([0, -3, 1, 1]))
    assert negative.train_y.dtype == np.int64 and negative.layout[3:] == ((), (-3, 4), 0)
    assert load(train_y=np.array([True, False, True, True]), test_y=np.array([True, False])).layout.classes == 2
    none = load(train_y=None, test_y=None)
    assert none.train_y is none.test_y is None and none.layout == (4, (3,), False, None, (0, 0), 0)
    assert len({data.digest for data in (real, negative, none)}) == 3


def test_whole_numbers_of_pictures_become_real(tmp_path):
    x = np.arange(4 * 3 * 2 * 2, dtype=np.uint8).reshape(4, 3, 2, 2)
    np.savez(tmp_path / "d.npz", **arrays(train_x=x, test_x=x[:2]))
    data = Arrays(file=tmp_path / "d.npz").load()
    assert data.train_x.dtype == np.float32 and np.array_equal(data.train_x, x) and not data.layout.is_whole


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"test_y": None, "more": np.ones(1)},
            "test_y missing; expected train_x and test_x, and .* found train_x, train_y, test_x, more",
        ),
        ({"train_x": np.ones(4)}, r"train_x is float64 \[4\], expected numbers \[N, ...\]"),
        ({"train_x": np.full((4, 3), "a")}, "train_x is <U1"),
        ({"train_x": np.full((4, 3), np.nan)}, "train_x holds inf or NaN"),
        ({"train_y": np.full(4, "a")}, r"train_y is <U1 \[4\], expected numbers"),
        ({"train_y": np.array([0, 1])}, r"train_y is int64 \[2\], expected a row for each of the 4 samples"),
        ({"train_y": np.array([0, np.inf, 1, 1])}, "train_y holds inf or NaN"),
        ({"train_x": np.ones((0, 3)), "train_y": np.ones(0, int)}, r"train_x is float64 \[0, 3\]"),
        ({"train_y": np.ones(4)}, r"a sample of train_y is float32 \[\], and one of test_y int64 \[\]"),
        ({"test_x": np.ones((2, 4))}, r"a sample of train_x is float32 \[3\], and one of test_x float32 \[4\]"),
        ({"test_x": np.ones((2, 3), int)}, r".*one of test_x int64 \[3\]"),
        ({"train_x": np.float64(1)}, r"train_x is float64 \[\], expected numbers"),
        ({"train_x": np.full((4, 3), 1e300)}, r"train_x holds inf or NaN, or a number beyond 3.4e\+38"),
        ({"train_y": np.full(4, 2**63, np.uint64)}, r"train_y holds .* a number beyond 9.2e\+18"),
        ({"train_x": np.zeros((4, 3), "f4, i8")}, r"train_x is \[\('f0'"),
    ],
    ids=str,
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, changes, expected):
    np.savez(tmp_path / "d.npz", **arrays(**changes))
    with pytest.raises(RunError, match=f"d.npz: {expected}"):
        Arrays(file=tmp_path / "d.npz").load()


class Malice:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return open, (str(self.mark), "w")


def test_code_in_an_array_is_refused_and_not_run(tmp_path):
    np.savez(tmp_path / "d.npz", **arrays(train_x=np.array([Malice(tmp_path / "ran")], object)))
    with pytest.raises(RunError, match="cannot be read as an .npz file of plain arrays"):
        Arrays(file=tmp_path / "d.npz").load()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:200]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("train_x: 1"),
        lambda path: (np.save(path.with_suffix(".npy"), np.ones(3)), path.with_suffix(".npy").rename(path)),
    ],
    ids=["missing", "truncated", "empty", "text", "npy"],
)
def test_a_file_that_holds_no_arrays_is_refused(tmp_path, damage):
    path = tmp_path / "d.npz"
    np.savez(path, **arrays())
    damage(path)
    with pytest.raises(RunError, match="d.npz: cannot be read as an .npz file"):
        Arrays(file=path).load()
