import os

import pytest

from studio.config.user_files import read_regular, refusing, shown
from studio.errors import RunError


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (os.mkfifo, "it is no regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "it is no regular file"),
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: path.symlink_to(path.name), "Too many levels of symbolic links"),
        (lambda path: None, "No such file or directory"),
        (lambda path: (path.touch(), os.truncate(path, 10**11)), "its 0 bytes unpack to 100000000000"),
        (lambda path: path.write_bytes(bytes(9)), "it has 9 bytes, expected at most 8"),
    ],
)
def test_what_is_no_regular_file_of_a_bounded_size_is_refused_unread(tmp_path, make, words):
    path = tmp_path / "x\n"
    make(path)
    with pytest.raises(RunError) as caught, refusing(path, "cannot be read"):
        read_regular(path, 8 if "at most 8" in words else 2**40)
    text = str(caught.value)
    assert f"x\\n: cannot be read: {words}" in text and text.isprintable()


def test_a_message_of_many_lines_is_cut_and_one_without_words_named():
    for error, words in ((ValueError("a\nb"), "a"), (MemoryError(), "MemoryError"), (ValueError("e" * 999), "e" * 200)):
        with pytest.raises(RunError, match=f"^x: y: {words}$"), refusing("x", "y"):
            raise error
    assert shown("\ud800\x1b") == r"\ud800\x1b"
