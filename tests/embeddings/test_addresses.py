"""An address of an object store is no local path, whatever has become of its slashes."""

from pathlib import Path

import pytest

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.files.addresses import require_local


@pytest.mark.parametrize("path", ["s3://bucket/log", Path("s3://bucket/log")])
def test_an_address_is_told_as_it_was_written(path):
    with pytest.raises(UserError, match=r"^s3://bucket/log is no local path; only local files and folders are read an"):
        require_local(path)


@pytest.mark.parametrize("path", ["log", "/data/a:b/log", "C:/data/log", Path("dt=2026-01-01T00:00/log")])
def test_a_local_path_is_none(path):
    require_local(path)
