"""A torch / fbgemm / torchrec triple that does not load together ends in one sentence."""

import re
from importlib.metadata import PackageNotFoundError

import pytest

from pinfm.embeddings.sharded import versions

CPU = {"torch": "2.13.0+cpu", "fbgemm-gpu-cpu": "1.8.0", "torchrec": "1.8.0"}
CUDA = {"torch": "2.13.0", "fbgemm-gpu": "1.8.0", "torchrec": "1.8.0"}


def install(monkeypatch, packages):
    """Makes these the packages that are installed."""

    def version(name):
        if name not in packages:
            raise PackageNotFoundError(name)
        return packages[name]

    monkeypatch.setattr(versions, "version", version)


@pytest.mark.parametrize("packages", [CPU, CUDA], ids=["cpu", "cuda"])
def test_the_tested_triple_passes(monkeypatch, packages):
    install(monkeypatch, packages)
    versions.require_tested_versions()


def test_the_installed_triple_passes():
    versions.require_tested_versions()


@pytest.mark.parametrize(
    ("packages", "found"),
    [
        (CPU | {"torch": "2.12.1"}, "finds torch 2.12.1, fbgemm-gpu 1.8.0, torchrec 1.8.0;"),
        (CPU | {"fbgemm-gpu-cpu": "1.9.0"}, "finds torch 2.13.0, fbgemm-gpu 1.9.0, torchrec 1.8.0;"),
        (CUDA | {"torchrec": "1.7.0"}, "finds torch 2.13.0, fbgemm-gpu 1.8.0, torchrec 1.7.0;"),
        ({"torch": "2.13.0"}, "finds torch 2.13.0, fbgemm-gpu none, torchrec none;"),
    ],
)
def test_another_triple_is_named(monkeypatch, packages, found):
    install(monkeypatch, packages)
    wanted = "pinfm needs torch 2.13.0, fbgemm-gpu 1.8.0, torchrec 1.8.0 together, but "
    with pytest.raises(ImportError, match=re.escape(wanted + found)):
        versions.require_tested_versions()
