"""Decoded images in files: shared by processes, kept in a cache, made anew where damaged."""

import doctest
import json
import os
import pickle
import random
import shutil
import subprocess
import sys

import pytest
import torch

from nas.data.patches import PatchStore, SharedImages, shards, shared
from nas.data.patches.shards import load_shards
from nas.data.sets import ImageSet
from tests.disks import mounted
from tests.nas.data.patches.test_store import photographs
from tests.nas.data.pictures import picture, write


@pytest.fixture
def images(tmp_path):
    return photographs(tmp_path / "images", count=4)


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """An empty folder for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def batches(store):
    return [tensor for step in range(3) for tensor in store.batch(step, 6, 8)]


def assert_same(store, images):
    """Batches of a store are those of images that were decoded into memory."""
    expected = batches(PatchStore(images, seed=0, progress=False))
    assert all(torch.equal(a, b) for a, b in zip(expected, batches(store), strict=True))


def map_shared(images, shared_images):
    return PatchStore(images, seed=0, shared=shared_images.folder, progress=False)


def test_workers_map_what_was_decoded_once_and_it_goes(images, temporary, monkeypatch):
    with SharedImages(images) as notices:
        assert notices == []
    once = SharedImages(images)
    with once:
        sent = pickle.loads(pickle.dumps(once))
        with monkeypatch.context() as patch:
            patch.setattr(ImageSet, "load", lambda *_: pytest.fail("decoded again"))
            stores = [map_shared(images, sent) for _ in range(2)]
        (folder,) = temporary.iterdir()
        sent._close()  # a worker cannot remove it
        assert folder.exists()
        for store in stores:
            assert_same(store, images)
    assert list(temporary.iterdir()) == []
    assert_same(stores[0], images)  # what is mapped stays until it is let go


def test_host_without_the_folder_decodes_by_itself(images, temporary):
    once = SharedImages(images)
    with once:
        sent = pickle.loads(pickle.dumps(once))
    assert_same(map_shared(images, sent), images)
    assert_same(PatchStore(images, seed=0, shared=temporary, progress=False), images)
    (temporary / "index.json").write_text("{}")
    assert_same(PatchStore(images, seed=0, shared=temporary, progress=False), images)


def test_error_and_interrupt_leave_no_folder(images, temporary, monkeypatch):
    bad = images.pairs[1].hr
    whole = bad.read_bytes()
    bad.write_bytes(whole[:200])
    with pytest.raises(ValueError, match=r"1\.png: cut or corrupt"), SharedImages(images):
        pass
    bad.write_bytes(whole)
    with pytest.raises(KeyboardInterrupt), SharedImages(images):
        raise KeyboardInterrupt
    load = ImageSet.load

    def interrupt(self, i):
        if i == 2:
            raise KeyboardInterrupt
        return load(self, i)

    monkeypatch.setattr(ImageSet, "load", interrupt)
    with pytest.raises(KeyboardInterrupt), SharedImages(images):
        pass
    assert list(temporary.iterdir()) == []


def test_image_that_is_skipped_is_told_and_left_out(images):
    bad = images.pairs[1].hr
    bad.write_bytes(bad.read_bytes()[:200])
    skipping = ImageSet(name="train", pairs=images.pairs, scale=4, on_error="skip")
    once = SharedImages(skipping)
    with once as notices:
        assert len(notices) == 1
        assert "skipped" in notices[0]
        store = map_shared(skipping, once)
    assert len(store) == 3
    assert_same(store, skipping)


@pytest.mark.parametrize("memory_mib", [0.0, 100.0])
def test_without_room_each_worker_decodes_or_the_way_out_is_said(images, monkeypatch, memory_mib):
    monkeypatch.setattr(shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(10, 10, 0))
    once = SharedImages(images, memory_mib=memory_mib)
    if not memory_mib:
        with pytest.raises(OSError, match=r"^data\.cache: .* name a folder with room"), once:
            pass
        return
    with once as notices:
        assert once.folder is None
        assert "each worker holds them in memory" in notices[0]
        assert_same(map_shared(images, once), images)


def test_disk_that_is_full_before_the_end_is_told_in_one_line(tmp_path, monkeypatch):
    place = tmp_path / "small"
    place.mkdir()
    with mounted(place, "size=64k"):
        monkeypatch.setattr(shared, "_check_room", lambda *_: None)
        monkeypatch.setattr("tempfile.tempdir", str(place))
        images = photographs(tmp_path / "many", count=9)
        with pytest.raises(OSError, match=r"cannot take .*no space left"), SharedImages(images):
            pass
        assert list(place.iterdir()) == []
        with pytest.raises(OSError, match=r"data\.cache=.*no space left"):
            SharedImages(images, cache=place / "cache", memory_mib=100).__enter__()
        assert list((place / "cache").iterdir()) == []


@pytest.fixture
def cached(images, tmp_path):
    """A cache with a set in it; gives the folder of the set."""
    with SharedImages(images, cache=tmp_path / "cache") as notices:
        assert notices == []
    (folder,) = (tmp_path / "cache").iterdir()
    return folder


def open_cached(images, folder):
    """Open the set in its cache; return the notices. Its batches are what memory gives."""
    once = SharedImages(images, cache=folder.parent)
    with once as notices:
        assert once.folder == folder
        assert_same(map_shared(images, once), images)
    assert list(folder.parent.iterdir()) == [folder]
    return notices


def test_cache_stays_and_is_not_decoded_again(images, cached, monkeypatch):
    load = ImageSet.load
    with monkeypatch.context() as patch:
        patch.setattr(ImageSet, "load", lambda *_: pytest.fail("decoded again"))
        with SharedImages(images, cache=cached.parent) as notices:
            assert notices == []
    assert ImageSet.load is load
    assert open_cached(images, cached) == []


def test_cache_of_other_bytes_under_the_same_names_is_another(images, cached):
    write(images.pairs[0].hr, picture(50))
    with SharedImages(images, cache=cached.parent):
        assert len(list(cached.parent.iterdir())) == 2


def edit(change):
    """Damage the index by changing what its JSON holds."""

    def damage(folder):
        index = json.loads((folder / "index.json").read_text())
        change(index)
        (folder / "index.json").write_text(json.dumps(index))

    return damage


def set_entry(key, value):
    return edit(lambda index: index["images"][1].update({key: value}))


def cut_file(folder):
    os.truncate(folder / "0000.u8", 5)


def lengthen_file(folder):
    with (folder / "0000.u8").open("ab") as file:
        file.write(b"x")


def remove_file(folder):
    (folder / "0000.u8").unlink()


def remove_index(folder):
    (folder / "index.json").unlink()


def make_folder_a_file(folder):
    shutil.rmtree(folder)
    folder.write_text("")


def link_elsewhere(folder):
    shutil.rmtree(folder)
    folder.symlink_to(folder.parent.parent / "images")


DAMAGES = {
    "cut file": cut_file, "longer file": lengthen_file, "lost file": remove_file,
    "lost index": remove_index, "a file": make_folder_a_file, "a link": link_elsewhere,
    "empty index": lambda folder: (folder / "index.json").write_text(""),
    "deep index": lambda folder: (folder / "index.json").write_text("[" * 100_000),
    "list": lambda folder: (folder / "index.json").write_text("[]"),
    "earlier version": lambda folder: (folder / "index.json").write_text('[{"name": "0"}]'),
    "later version": edit(lambda index: index.update(version=99)),
    "no images": edit(lambda index: index.update(images=[])),
    "one image less": edit(lambda index: index["images"].pop()),
    "another order": edit(lambda index: index["images"].reverse()),
    "another name": set_entry("name", "x"), "another source": set_entry("source", "x"),
    "huge offset": set_entry("offset", 10**18), "negative offset": set_entry("offset", -1),
    "true": set_entry("shard", True), "fraction": set_entry("offset", 1.5),
    "no shard": set_entry("shard", 7), "sides swapped": set_entry("hr", [3, 80, 64]),
    "no sides": set_entry("lr", []), "text": set_entry("lr", "abc"), "null": set_entry("crc", None),
    "another sum": set_entry("crc", 1),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_cache_is_made_anew_and_told(images, cached, damage):
    DAMAGES[damage](cached)
    (notice,) = open_cached(images, cached)
    assert notice.startswith(f"data.cache: {cached} was damaged (")
    assert open_cached(images, cached) == []


def test_any_changed_byte_is_found(images, cached):
    """Of pixels and of the index; a space may be lost in an index that means the same."""
    draw = random.Random(0)
    for _ in range(40):
        path = cached / draw.choice(["0000.u8", "index.json"])
        content = bytearray(path.read_bytes())
        place = draw.randrange(len(content))
        content[place] ^= 1 << draw.randrange(8)
        path.write_bytes(content)
        notices = open_cached(images, cached)
        assert notices or path.name == "index.json"


def test_store_over_a_cache_finds_damage_too(images, cached):
    content = bytearray((cached / "0000.u8").read_bytes())
    content[1000] ^= 1
    (cached / "0000.u8").write_bytes(content)
    store = PatchStore(images, seed=0, memory_mib=0.01, cache=cached.parent, progress=False)
    assert "was damaged (the pixels of 0 changed" in store.notices[0]
    assert_same(store, images)


def test_killed_writer_leaves_nothing_that_stays(images, tmp_path):
    """Half of a cache goes with the next command that writes there, and is never taken."""
    script = (
        "import os, sys, pathlib\n"
        "from nas.data.patches import shards\n"
        "from nas.system.files.owned_folder import OwnedFolder\n"
        "folder = OwnedFolder(pathlib.Path(sys.argv[1]))\n"
        "(folder.path / '0000.u8').write_bytes(b'half')\n"
        "os.kill(os.getpid(), 9)\n"
    )
    cache = tmp_path / "cache"
    cache.mkdir()
    subprocess.run([sys.executable, "-c", script, str(cache)], check=False)
    assert len(list(cache.iterdir())) == 1
    with SharedImages(images, cache=cache) as notices:
        (folder,) = cache.iterdir()
        assert load_shards(folder, images) is not None
    assert notices == []


def test_examples_run(images):
    names = {"images": images, "shared": SharedImages(images)}
    for module in (shared, shards):
        assert doctest.testmod(module, extraglobs=names).failed == 0
