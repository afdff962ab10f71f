import contextlib
import gzip
import os
import pickle
import resource
import struct

import numpy as np
import pytest

from studio.errors import RunError
from studio.training.data import Published
from studio.training.formats import CIFAR10, CIFAR100, cifar, load_pickled_arrays

ROWS = 3


def images(seed, count=ROWS):
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (count, 3072)).astype(np.uint8), random.integers(0, 10, count).tolist()


def python2_pickle(value):
    """Protocol 2 as Python 2 wrote it: text and array content are byte strings, and arrays come from numpy.core."""

    def put(v):
        if isinstance(v, dict):
            return b"}(" + b"".join(put(k) + put(x) for k, x in v.items()) + b"u"
        if isinstance(v, list):
            return b"](" + b"".join(put(x) for x in v) + b"e"
        if isinstance(v, int):
            return b"J" + struct.pack("<i", v)
        if isinstance(v, bytes):
            return b"T" + struct.pack("<i", len(v)) + v
        if isinstance(v, tuple):
            return b"(" + b"".join(put(x) for x in v) + b"t"
        if isinstance(v, bool) or v is None:
            return {None: b"N", False: b"\x89"}[v]
        dtype = b"cnumpy\ndtype\n" + put((b"u1", 0, 1)) + b"R" + put((3, b"|", None, None, None, -1, -1, 0)) + b"b"
        start = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n" + put((0,)) + put(b"b") + b"tR"
        return start + b"(" + put(1) + put(v.shape) + dtype + b"\x89" + put(v.tobytes()) + b"tb"

    return b"\x80\x02" + put(value) + b"."


def write_cifar10(folder, binary):
    for number, name in enumerate([*CIFAR10.train, CIFAR10.test]):
        pixels, labels = images(number)
        if binary:
            rows = b"".join(bytes([y]) + row.tobytes() for y, row in zip(labels, pixels, strict=True))
            (folder / f"{name}.bin").write_bytes(rows)
        else:
            (folder / name).write_bytes(python2_pickle({b"batch_label": b"one", b"labels": labels, b"data": pixels}))


def test_the_published_form_of_a_pickle_is_read():
    _pixels, labels = images(0)
    assert pickle.loads(python2_pickle({b"labels": labels}), encoding="bytes") == {b"labels": labels}


@pytest.mark.parametrize("binary", [False, True], ids=["python", "binary"])
@pytest.mark.parametrize("inside", ["", "cifar-10-batches-py"])
def test_both_versions_of_cifar10_give_the_pixels_in_their_places(tmp_path, binary, inside):
    folder = tmp_path / inside
    folder.mkdir(exist_ok=True)
    write_cifar10(folder, binary)
    train, test = cifar(tmp_path, CIFAR10)
    assert train.pixels.shape == (5 * ROWS, 3, 32, 32) and test.labels.tolist() == images(5)[1]
    assert train.labels.tolist() == [label for n in range(5) for label in images(n)[1]]
    # a row is 1024 red, then green, then blue, each by lines: byte 1024 + 32 + 2 is green, line 1, column 2
    assert train.pixels[ROWS, 1, 1, 2] == images(1)[0][0, 1024 + 32 + 2]
    data = Published(kind="cifar10", folder=tmp_path).load()
    assert (data.shape, data.classes) == ((3, 32, 32), 10)
    assert Published(kind="cifar10", folder=tmp_path).layout().samples == 5 * ROWS


def test_cifar100_gives_the_fine_labels(tmp_path):
    for name in ("train", "test"):
        pixels, labels = images(0)
        rows = b"".join(bytes([19, y]) + row.tobytes() for y, row in zip(labels, pixels, strict=True))
        (tmp_path / f"{name}.bin").write_bytes(rows)
    binary, _ = cifar(tmp_path, CIFAR100)
    for name in ("train", "test"):
        batch = {b"coarse_labels": [19] * ROWS, b"fine_labels": labels, b"data": pixels}
        (tmp_path / name).write_bytes(python2_pickle(batch))
    python, _ = cifar(tmp_path, CIFAR100)
    assert binary.labels.tolist() == python.labels.tolist() == labels
    assert (
        np.array_equal(binary.pixels, python.pixels)
        and Published(kind="cifar100", folder=tmp_path).load().classes == 100
    )
    assert Published(kind="cifar100", folder=tmp_path).layout().samples == ROWS


class Malice:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path, protocol):
    mark, file = tmp_path / "ran", tmp_path / "data_batch_1"
    content = pickle.dumps({"data": Malice(mark)}, protocol)
    file.write_bytes(content)
    with pytest.raises(RunError, match="no code is run: it asks for .*mkdir"):
        load_pickled_arrays(file)
    assert not mark.exists()
    pickle.loads(content)  # the tester tested: this pickle does run, when it is let
    assert mark.exists()


@pytest.mark.parametrize(
    "asks",
    [
        b"cnumpy.core.multiarray\nfromfile\n.",
        b"cos\nsystem\n.",
        b"cnumpy\nload\n.",
        b"\x80\x04\x8c\x05numpy\x8c\x11ndarray.__class__\x93.",
    ],
    ids=repr,
)
def test_other_names_even_of_numpy_are_refused(tmp_path, asks):
    (tmp_path / "x").write_bytes(asks)
    with pytest.raises(RunError, match="no code is run: it asks for"):
        load_pickled_arrays(tmp_path / "x")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x02}",
        python2_pickle({b"labels": [1]}),
        python2_pickle([1]),
        python2_pickle({b"labels": [1], b"data": np.zeros((1, 7), np.uint8)}),
    ],
    ids=["empty", "truncated", "no data", "a list", "short rows"],
)
def test_a_broken_batch_is_named(tmp_path, content):
    write_cifar10(tmp_path, binary=False)
    (tmp_path / "data_batch_2").write_bytes(content)
    with pytest.raises(RunError, match="data_batch_2"):
        cifar(tmp_path, CIFAR10)


def test_a_truncated_binary_batch_is_named(tmp_path):
    write_cifar10(tmp_path, binary=True)
    (tmp_path / "test_batch.bin").write_bytes(b"x" * 3072)
    with pytest.raises(RunError, match="test_batch.bin: 3072 bytes are not whole rows of 3073"):
        cifar(tmp_path, CIFAR10)


def test_an_empty_folder_names_the_files_it_should_hold(tmp_path):
    with pytest.raises(RunError, match=f"{tmp_path}: expected the files data_batch_1.*test_batch"):
        Published(kind="cifar10", folder=tmp_path).load()
    with pytest.raises(RunError, match=f"{tmp_path}: train-images-idx3-ubyte is missing"):
        Published(kind="mnist", folder=tmp_path).load()


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}i", *array.shape) + array.tobytes()


def write_mnist(folder, packed, joint="-"):
    random = np.random.default_rng(0)
    for part, count in (("train", 6), ("t10k", 4)):
        pixels = random.integers(0, 256, (count, 28, 28)).astype(np.uint8)
        for name, array in (
            (f"{part}-images{joint}idx3-ubyte", pixels),
            (f"{part}-labels{joint}idx1-ubyte", np.arange(count).astype(np.uint8)),
        ):
            path = folder / (name + ".gz" * packed)
            path.write_bytes(gzip.compress(idx(array)) if packed else idx(array))


@pytest.mark.parametrize(("packed", "joint"), [(True, "-"), (False, "-"), (False, ".")])
def test_mnist_files_are_read_gzipped_or_not(tmp_path, packed, joint):
    write_mnist(tmp_path, packed, joint)
    data = Published(kind="mnist", folder=tmp_path).load()
    assert data.train_x.shape == (6, 1, 28, 28) and data.test_y.tolist() == [0, 1, 2, 3]
    assert Published(kind="mnist", folder=tmp_path).layout().samples == 6


@pytest.mark.parametrize("content", [b"", idx(np.zeros((2, 3), np.uint8)), idx(np.zeros(4, np.uint8))[:-1]])
def test_a_broken_idx_file_is_named(tmp_path, content):
    write_mnist(tmp_path, packed=False)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(content)
    with pytest.raises(RunError, match="t10k-labels-idx1-ubyte: is not a whole idx file"):
        Published(kind="mnist", folder=tmp_path).load()


def test_a_gzip_cut_short_is_named(tmp_path):
    write_mnist(tmp_path, packed=True)
    path = tmp_path / "train-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(RunError, match="train-labels-idx1-ubyte.gz: cannot be unpacked"):
        Published(kind="mnist", folder=tmp_path).load()


def test_a_corrupt_gzip_is_named(tmp_path):
    write_mnist(tmp_path, packed=True)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[20:40] = b"\xff" * 20
    path.write_bytes(bytes(content))
    with pytest.raises(RunError, match="train-images-idx3-ubyte.gz: cannot be unpacked"):
        Published(kind="mnist", folder=tmp_path).layout()


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.arange(5), "6 images and 5 labels; expected some images, a label for each"),
        (np.full(6, 10), "labels from 10 to 10; expected 0 to 9"),
    ],
)
def test_labels_that_do_not_fit_their_images_are_named(tmp_path, labels, words):
    write_mnist(tmp_path, packed=False)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(labels.astype(np.uint8)))
    with pytest.raises(RunError, match=f"train-labels-idx1-ubyte: {words}"):
        Published(kind="mnist", folder=tmp_path).layout()


def test_a_set_without_images_is_named(tmp_path):
    write_mnist(tmp_path, packed=False)
    for name, axes in (("images-idx3", (0, 28, 28)), ("labels-idx1", (0,))):
        (tmp_path / f"t10k-{name}-ubyte").write_bytes(idx(np.zeros(axes, np.uint8)))
    with pytest.raises(RunError, match="t10k-labels-idx1-ubyte: 0 images and 0 labels"):
        Published(kind="mnist", folder=tmp_path).layout()


@pytest.mark.parametrize("binary", [False, True], ids=["python", "binary"])
@pytest.mark.parametrize("label", [10, 255])
def test_a_label_that_cifar10_lacks_is_named(tmp_path, binary, label):
    write_cifar10(tmp_path, binary)
    pixels, _ = images(0, 2)
    if binary:
        content = b"".join(bytes([y]) + row.tobytes() for y, row in zip((label, 3), pixels, strict=True))
        (tmp_path / "data_batch_3.bin").write_bytes(content)
    else:
        (tmp_path / "data_batch_3").write_bytes(python2_pickle({b"labels": [label, 3], b"data": pixels}))
    with pytest.raises(RunError, match=rf"data_batch_3\S*: labels from 3 to {label}; expected 0 to 9"):
        Published(kind="cifar10", folder=tmp_path).layout()


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        ({b"data": np.zeros((1, 3072)), b"labels": [1]}, "found data of float64 and labels of int64"),
        ({b"data": np.zeros((1, 3072), np.uint8), b"labels": [1.5]}, "found data of uint8 and labels of float64"),
        ({b"data": np.zeros((1, 3072), np.uint8), b"labels": [2**70]}, "labels of object"),
        ({b"data": np.zeros((1, 3072), object), b"labels": [1]}, "is not a CIFAR batch"),
        ({b"data": np.zeros((1, 3072), np.uint8), b"labels": 7}, "1 images and 1 labels"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("protocol", [2, 4])  # as Python 3 writes for Python 2, and for itself
def test_a_batch_of_other_numbers_is_named(tmp_path, batch, words, protocol):
    write_cifar10(tmp_path, binary=False)
    (tmp_path / "data_batch_2").write_bytes(pickle.dumps(batch, protocol))
    with pytest.raises(RunError, match=f"data_batch_2: .*{words}"):
        cifar(tmp_path, CIFAR10)


@pytest.mark.parametrize("protocol", [2, 4])
def test_arrays_that_python_3_pickled_are_read(tmp_path, protocol):
    write_cifar10(tmp_path, binary=False)
    pixels, labels = images(7)
    labels = np.array(labels, ">i2")
    (tmp_path / "test_batch").write_bytes(
        pickle.dumps({b"data": np.asfortranarray(pixels), b"labels": labels}, protocol)
    )
    test = cifar(tmp_path, CIFAR10)[1]
    assert np.array_equal(test.pixels.reshape(ROWS, -1), pixels) and test.labels.tolist() == labels.tolist()


@pytest.mark.parametrize(
    "asks",
    [
        b"cnumpy\nndarray\n(J\0\0\0\x7f\x85cnumpy\ndtype\nX\1\0\0\0O\x85RtR.",  # two thousand million objects
        b"]r\xff\xff\xff\x7f.",  # a memory of two thousand million entries
    ],
)
def test_a_pickle_that_asks_for_memory_gets_none(tmp_path, asks):
    (tmp_path / "x").write_bytes(b"\x80\x04" + asks)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with contextlib.suppress(RunError):
        load_pickled_arrays(tmp_path / "x")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10**5  # kB


def test_a_gzip_that_unpacks_to_more_than_it_can_hold_is_refused(tmp_path):
    write_mnist(tmp_path, packed=True)
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(np.zeros((4, 4000, 4000), np.uint8))))
    with pytest.raises(RunError, match="t10k-images-idx3-ubyte.gz: cannot be unpacked: .* expected at most 100 times"):
        Published(kind="mnist", folder=tmp_path).layout()


def test_images_to_test_on_of_another_size_are_named(tmp_path):
    write_mnist(tmp_path, packed=False)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(np.zeros((4, 7, 9), np.uint8)))
    with pytest.raises(RunError, match="t10k-images-idx3-ubyte: images of 7x9 pixels, and those to train on of 28x28"):
        Published(kind="mnist", folder=tmp_path).layout()
