"""Images are what they were: digests of bytes, and what sets make of them."""

import dataclasses
import json
import os
import time

import numpy as np
import pytest

from nas.data import digests
from nas.data.digests import digest_file, digest_files
from nas.data.folders.layouts import open_folder
from nas.data.pixels.images import ImageError
from nas.data.roles import open_roles
from nas.data.sets import FINGERPRINT_VERSION, ImageSet
from nas.measure.quality import labels
from tests.nas.data.pictures import config, picture, write, write_pairs


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "_known", {})


def open_set(folder, **changes):
    pairs = open_folder(folder, role="val", scale=4).pairs
    return ImageSet(name="val", pairs=pairs, scale=4, **changes)


def swap(one, other):
    """Exchange two files and keep their times, as a copy with `cp -p` does."""
    first, second = one.read_bytes(), other.read_bytes()
    times = [(path.stat().st_atime_ns, path.stat().st_mtime_ns) for path in (one, other)]
    one.write_bytes(second)
    other.write_bytes(first)
    for path, both in zip((one, other), times, strict=True):
        os.utime(path, ns=both)


def write_bitmaps(folder, count=2):
    """Files of one size: BMP is not compressed."""
    return [write(folder / f"{i}.bmp", picture(i)) for i in range(count)]


def settle(monkeypatch):
    """Let files that were just written count as long unchanged."""
    monkeypatch.setattr(digests, "_SETTLED_NS", -1)


@pytest.mark.parametrize("is_settled", [False, True])
def test_swapped_images_of_one_size_are_other_images(tmp_path, monkeypatch, is_settled):
    if is_settled:
        settle(monkeypatch)
    one, other = write_bitmaps(tmp_path / "set")
    assert one.stat().st_size == other.stat().st_size
    before = open_set(tmp_path / "set").fingerprint
    assert before.startswith(FINGERPRINT_VERSION)
    time.sleep(0.02)  # a tick of the file system's clock
    swap(one, other)
    assert open_set(tmp_path / "set").fingerprint != before
    swap(one, other)
    assert open_set(tmp_path / "set").fingerprint == before


def test_lr_files_count_too(tmp_path):
    write_pairs(tmp_path / "HR", None, ["a", "b"])
    for name, seed in (("a", 0), ("b", 1)):
        write(tmp_path / "LR" / f"{name}x4.bmp", picture(seed, 16, 20))
    before = open_set(tmp_path).fingerprint
    swap(tmp_path / "LR/ax4.bmp", tmp_path / "LR/bx4.bmp")
    assert open_set(tmp_path).fingerprint != before


def test_an_image_that_changes_after_it_was_opened_is_refused_by_name(tmp_path):
    one, other = write_bitmaps(tmp_path / "set")
    opened = open_set(tmp_path / "set").with_digests(progress=False)
    before = opened.load(0)[1]
    swap(one, other)
    with pytest.raises(ImageError, match=r"0\.bmp: its bytes changed after it was opened"):
        opened.load(0)
    swap(one, other)
    np.testing.assert_array_equal(opened.load(0)[1], before)
    one.unlink()
    with pytest.raises(ImageError, match=r"0\.bmp: cannot be read"):
        opened.load(0)


def test_roles_are_opened_with_digests(tmp_path):
    write_pairs(tmp_path / "train", None, ["a", "b"], first_seed=5)
    (val,) = write_bitmaps(tmp_path / "val", count=1)
    roles = open_roles(
        config(train=tmp_path / "train", val=tmp_path / "val"), scale=4, progress=False
    )
    assert [len(roles.need(role).digests) for role in ("train", "val")] == [2, 1]
    val.write_bytes(val.read_bytes()[:-1] + b"x")
    with pytest.raises(ImageError, match="bytes changed"):
        roles.need("val").load(0)
    assert roles.fingerprints["val"] == roles.need("val").fingerprint  # what was opened


def test_made_images_have_one_fingerprint_everywhere(tmp_path):
    """Another processor may round a pixel otherwise; what was decoded is told apart all the same."""
    write_bitmaps(tmp_path / "here")
    write_bitmaps(tmp_path / "there")
    write(tmp_path / "there/1.bmp", picture(1) ^ 1)
    both = []
    for folder in ("here", "there"):
        images = open_set(tmp_path / folder)
        pairs = [dataclasses.replace(pair, made=f"recipe-1/{pair.name}") for pair in images.pairs]
        both.append(dataclasses.replace(images, pairs=tuple(pairs)))
    here, there = both
    assert here.fingerprint == there.fingerprint
    assert here.content_key != there.content_key
    other = [dataclasses.replace(pair, made=f"recipe-2/{pair.name}") for pair in here.pairs]
    assert dataclasses.replace(here, pairs=tuple(other)).fingerprint != here.fingerprint


def test_a_file_is_read_once_while_it_stays_the_same(tmp_path, monkeypatch):
    settle(monkeypatch)
    (path, _) = write_bitmaps(tmp_path)
    first = digest_file(path)
    monkeypatch.setattr(digests.hashlib, "file_digest", lambda *_: pytest.fail("read again"))
    assert digest_file(path) == first


def test_a_file_that_has_just_changed_is_read_again(tmp_path):
    path = tmp_path / "file"
    for content in (b"one", b"two", b"six"):  # within one tick of the clock
        path.write_bytes(content)
        os.utime(path, ns=(0, 0))
        digest = digest_file(path)
        assert digest == digests.hashlib.blake2b(content, digest_size=16).hexdigest()


@pytest.fixture
def large(tmp_path, monkeypatch):
    """A folder whose digests are kept, and the file that keeps them."""
    settle(monkeypatch)
    monkeypatch.setattr(digests, "_KEPT_BYTES", 1)
    paths = write_bitmaps(tmp_path / "large", count=3)
    found = digest_files(paths, label="x", progress=False)
    (cache,) = (tmp_path / "cache/esr-nas/digests").iterdir()
    digests._known.clear()
    return paths, found, cache


def test_digests_of_large_folders_are_kept_for_the_next_command(large, monkeypatch):
    paths, found, cache = large
    assert cache.stat().st_mode & 0o777 == 0o600 or cache.parent.stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(digests.hashlib, "file_digest", lambda *_: pytest.fail("read again"))
    assert digest_files(paths, label="x", progress=False) == found


def test_kept_digests_of_a_file_that_changed_are_not_believed(large):
    paths, found, _ = large
    swap(paths[0], paths[1])
    again = digest_files(paths, label="x", progress=False)
    assert [again[paths[1]], again[paths[0]], again[paths[2]]] == list(found.values())


def test_damaged_cache_of_digests_is_not_believed(large):
    paths, found, cache = large
    text = cache.read_text()
    some = next(iter(found.values()))
    other = ("0" if some[0] != "0" else "1") + some[1:]
    for damaged in (text.replace(some, other), text[:-9], "", "[]", "[" * 100_000, "null", "\0"):
        cache.write_text(damaged)
        digests._known.clear()
        assert digest_files(paths, label="x", progress=False) == found
        assert json.loads(cache.read_text())["files"]


def test_cache_that_cannot_be_written_is_done_without(large):
    paths, found, cache = large
    cache.unlink()
    cache.parent.chmod(0o777)  # others may write it: it is not believed, and not written
    assert digest_files(paths, label="x", progress=False) == found
    assert list(cache.parent.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="names are no bytes there")
def test_names_that_are_no_text_are_escaped(tmp_path, capsys):
    from nas.commands.data import run

    for role in ("train", "val"):
        folder = tmp_path / role
        (path,) = write_bitmaps(folder, count=1)
        os.rename(path, os.fsencode(folder) + b"/caf\xe9_" + role.encode() + b".bmp")
        write(folder / "other.bmp", picture(len(role)))
        with open(os.fsencode(folder) + b"/bad\xff.png", "w") as file:
            file.write("text")
    write(tmp_path / "val" / "caf.bmp", picture(20))
    given = config(train=tmp_path / "train", val=tmp_path / "val", on_error="skip")
    roles = open_roles(given, scale=4, progress=False)
    val = roles.need("val")
    text = json.dumps([labels(val), val.fingerprint, roles.notices], ensure_ascii=False)
    assert "caf\\\\xe9_val" in text
    assert "bad\\\\xff.png: not an image" in text
    text.encode()
    assert run(data=given, scale=4, sample=None, out=str(tmp_path / "sheet.png")) == 0
    assert "bad\\xff.png" in capsys.readouterr().out
