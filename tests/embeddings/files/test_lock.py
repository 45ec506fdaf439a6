"""Without a lock, nobody knows whether what stands beside is a killed command's or a live one's."""

import errno
import fcntl

import pytest

from pinfm.embeddings.files.new_folder import new_folder
from pinfm.train.run_folder.lock import only_run


@pytest.fixture
def without_locks(monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.fixture
def others(tmp_path):
    """What another command writes into."""
    for name in (".data.abcdefgh.tmp", "run/checkpoints/unfinished-step-00000001"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


def test_leftovers_go_where_the_lock_is_held(others):
    with new_folder(others / "data"), only_run(others / "run"):
        assert not (others / ".data.abcdefgh.tmp").exists()
        assert not list(others.glob("run/checkpoints/*"))


def test_what_others_write_stays_where_there_are_no_locks(others, without_locks):
    with pytest.warns(UserWarning, match="this file system has no locks"), new_folder(others / "data"):
        assert (others / ".data.abcdefgh.tmp").exists()
    with pytest.warns(UserWarning, match="this file system has no locks"), only_run(others / "run"):
        assert list(others.glob("run/checkpoints/*"))
