"""Whose an error is that names no file: standard output's, or the machine's."""

import errno
import os
import sys

import pytest

from nas.cli.door import main

TABLE = "psnr_db,runtime_ms,params,flops\n26.95,5,1e5,9e9\n"


@pytest.fixture
def rank(tmp_path, monkeypatch, capsys):
    """Rank a table while a part of the command raises an error; return status and message."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.csv").write_text(TABLE)

    def rank(error):
        def fail(*_):
            raise error

        monkeypatch.setattr("nas.commands.rank.read", fail)
        status = main(["rank", "table=r.csv"])
        return status, capsys.readouterr().err

    return rank


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EIO, errno.EINVAL, errno.EPIPE, errno.EPERM]
)
def test_error_without_a_file_is_the_machines_and_not_standard_outputs(rank, number):
    status, told = rank(OSError(number, os.strerror(number)))
    assert (status, told) == (1, f"nas rank: {os.strerror(number).lower()}\n")


def test_error_of_a_file_that_was_given_is_wrong_use(rank):
    assert rank(FileNotFoundError(errno.ENOENT, "No such file", "r.csv")) == (
        2, "nas rank: table=r.csv: no such file\n",
    )  # fmt: skip


def test_error_of_a_library_that_is_none_of_the_systems_is_wrong_use(rank):
    assert rank(OSError("cannot identify image file")) == (
        2, "nas rank: cannot identify image file\n",
    )  # fmt: skip


def test_standard_output_that_cannot_be_written_names_itself(tmp_path, monkeypatch, capsys):
    class Full:
        def write(self, text):
            raise OSError(errno.ENOSPC, "No space left on device")

        def flush(self):
            pass

        def fileno(self):
            raise ValueError

    full = Full()
    monkeypatch.setattr("sys.stdout", full)
    assert main(["--version"]) == 1
    assert sys.stdout is full  # as it was
    assert capsys.readouterr().err == "nas: standard output: no space left on device\n"
