"""Failures of the storage are told from bugs, and those of reading are not told as a lack of room."""

import errno
import os

import duckdb
import pytest

from pinfm.embeddings.files.failed import storage_failure


def test_a_full_disk_is_told_with_its_file():
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "scores")
    told = "scores can't be written (No space left on device); make room there, or give another path."
    assert storage_failure(full) == told


def test_a_device_that_fails_may_have_been_read():
    failed = OSError(errno.EIO, os.strerror(errno.EIO), "log.csv")
    told = "log.csv can't be read or written (Input/output error); see to its disk, or give another path."
    assert storage_failure(failed) == told


def test_the_words_count_where_a_library_quotes_the_system():
    words = f"could not write: {os.strerror(errno.ENOSPC)}"
    assert "a file can't be written" in storage_failure(duckdb.IOException(words))
    assert "a file can't be written" in storage_failure(OSError(words))
    wrapped = RuntimeError("the writer failed")
    wrapped.__cause__ = OSError(words)
    assert "a file can't be written" in storage_failure(wrapped)


@pytest.mark.parametrize("kind", [ValueError, KeyError, RuntimeError])
def test_the_words_alone_are_no_failure(kind):
    assert storage_failure(kind(f"no item is called {os.strerror(errno.ENOSPC)}")) is None
