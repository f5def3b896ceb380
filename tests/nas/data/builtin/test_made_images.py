"""Images that are made once: written whole, once, also where two processes want them."""

import multiprocessing
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nas.data.builtin.made_images import keep_images
from nas.data.pixels.images import ImageError, read_image

IMAGE = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "esr-nas" / "images"


def keep(makers):
    return keep_images("x", makers, label="making", progress=False)


def make_slowly(log):
    def make():
        with log.open("a") as file:
            file.write("made\n")
        time.sleep(0.3)
        return IMAGE

    return dict.fromkeys("ab", make)


def keep_in_process(log):
    keep(make_slowly(log))


def test_what_is_there_is_not_made_again(cache):
    first = keep({"a": lambda: IMAGE})
    assert first == [cache / "x" / "a.bmp"]
    np.testing.assert_array_equal(read_image(first[0]), IMAGE)

    def forbidden():
        raise AssertionError("made again")

    assert keep({"a": forbidden, "b": lambda: IMAGE}) == [
        cache / "x" / "a.bmp",
        cache / "x" / "b.bmp",
    ]


@pytest.mark.parametrize("change", ["cut", "empty", "exchanged", "damaged"])
def test_a_file_that_is_not_as_it_was_written_is_made_again(change):
    (file,) = keep({"a": lambda: IMAGE})
    content = file.read_bytes()
    if change == "exchanged":
        Image.fromarray(IMAGE[:4]).save(file, format="BMP")
    elif change == "damaged":
        file.write_bytes(content[:-9] + bytes(9))
    else:
        file.write_bytes(content[: 100 if change == "cut" else 0])
    assert file.read_bytes() != content
    keep({"a": lambda: IMAGE})
    assert file.read_bytes() == content


def test_what_was_made_before_a_failure_is_kept():
    def fail():
        raise ImageError(Path("b.png"), "unreadable")

    with pytest.raises(ImageError):
        keep({"a": lambda: IMAGE, "b": fail})

    def forbidden():
        raise AssertionError("made again")

    keep({"a": forbidden, "b": lambda: IMAGE})


def test_two_processes_make_each_image_once(tmp_path):
    log = tmp_path / "log"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=keep_in_process, args=(log,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert log.read_text().count("made") == 2


def test_a_maker_that_fails_leaves_no_file(cache):
    def fail():
        raise ImageError(cache, "unreadable")

    with pytest.raises(ImageError, match="unreadable"):
        keep({"a": fail})
    assert not list(cache.glob("x/*a*"))


def test_a_cache_that_cannot_be_written_is_one_line_with_a_way_out(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ValueError, match=r"^.*/images/x cannot be written .* XDG_CACHE_HOME$"):
        keep({"a": lambda: IMAGE})
