"""Packages whose names are imported when they are asked for."""

import subprocess
import sys

import pytest

import pinfm.inference
import pinfm.model
from pinfm.embeddings.on_demand import names_on_demand


@pytest.mark.parametrize("package", [pinfm.model, pinfm.inference])
def test_all_names_are_there(package):
    for name in package.__all__:
        assert getattr(package, name).__name__ == name


def test_other_names_are_not():
    with pytest.raises(AttributeError, match=r"^module 'pinfm\.model' has no attribute 'Tower'$"):
        pinfm.model.Tower  # noqa: B018 - looked up for what it raises
    with pytest.raises(ImportError, match="cannot import name 'Tower'"):
        from pinfm.model import Tower  # noqa: F401
    with pytest.raises(AttributeError, match="module 'shop' has no attribute 'name'"):
        names_on_demand("shop", {})("name")


def test_a_package_alone_imports_no_torch():
    script = "import pinfm.model.config, pinfm.inference, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
