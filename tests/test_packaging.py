"""What pyproject lists is what the tree holds: a package that is not listed would be missing from the wheel."""

import os
import re
import subprocess
import tomllib
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

from pinfm.embeddings.sharded.versions import TESTED
from pinfm.train.loader.dataset_requests import dataset_requests

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PYPROJECT["tool"]["setuptools"]
FOLDERS = set(SETUPTOOLS["package-dir"].values())
PACKAGES = sorted(path.parent for folder in FOLDERS for path in (ROOT / folder).rglob("__init__.py"))


def package_name(folder: Path) -> str:
    """The name under which a folder is imported."""
    return ".".join(("pinfm", *folder.relative_to(ROOT).parts))


def test_the_packages_listed_are_the_packages_there():
    assert sorted(SETUPTOOLS["packages"]) == sorted(map(package_name, PACKAGES))


def test_each_folder_is_installed_under_its_own_name():
    assert SETUPTOOLS["package-dir"] == {f"pinfm.{folder}": folder for folder in FOLDERS}


def test_each_folder_with_code_is_a_package():
    folders = {path.parent for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")}
    assert folders == set(PACKAGES)


@pytest.mark.parametrize("folder", PACKAGES, ids=package_name)
def test_each_package_is_typed(folder):
    assert (folder / "py.typed").is_file()


def test_each_data_file_is_in_the_wheel():
    taken = SETUPTOOLS["package-data"]
    for folder in PACKAGES:
        patterns = [*taken["*"], *taken.get(package_name(folder), []), "*.py"]
        for path in (entry for entry in folder.iterdir() if entry.is_file()):
            assert any(path.match(pattern) for pattern in patterns), f"{path} is in no package-data pattern"


def test_each_license_is_there():
    for name in PYPROJECT["project"]["license-files"]:
        assert (ROOT / name).stat().st_size > 500, name


def test_versions_agree():
    project = PYPROJECT["project"]
    assert version("pinfm") == project["version"]
    assert f"\n## [{project['version']}]" in (ROOT / "CHANGELOG.md").read_text()
    pins = dict(name.split("==") for name in project["dependencies"] if "==" in name)
    for extra, package in (("cpu", "fbgemm-gpu-cpu"), ("cuda", "fbgemm-gpu")):
        assert project["optional-dependencies"][extra] == [f"{package}=={TESTED['fbgemm-gpu']}"]
    assert pins["torch"] == TESTED["torch"]
    assert pins["torchrec"] == TESTED["torchrec"]
    assert [entry["version"] for entry in PYPROJECT["tool"]["uv"]["dependency-metadata"]] == [TESTED["torchrec"]]


def test_constraints_are_exact_and_do_not_repeat_the_pins():
    constraints = PYPROJECT["tool"]["uv"]["constraint-dependencies"]
    assert constraints == sorted(constraints)
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line) for line in constraints)
    assert not {line.split("==")[0] for line in constraints} & {"torch", "torchrec", "torchx", "fbgemm-gpu", "pinfm"}


def test_each_verb_is_a_verb():
    verbs = PYPROJECT["project"]["entry-points"]["pinfm.verbs"]
    assert {point.name: point.value for point in entry_points(group="pinfm.verbs")} == verbs
    for point in entry_points(group="pinfm.verbs"):
        verb = point.load()
        assert isinstance(verb.SUMMARY, str)
        assert callable(verb.configure)
        assert callable(verb.run)


def test_scoring_finds_the_reader_of_datasets():
    (reader,) = entry_points(group="pinfm.requests", name="dataset")
    assert reader.load() is dataset_requests


def test_torchx_finds_the_components():
    (components,) = entry_points(group="torchx.components", name="pinfm")
    assert components.load().__file__ == str(ROOT / "torchx_specs" / "components.py")


def test_ci_tries_the_wheel_and_the_readme():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    for stage in ("README.md", "make check", "--wheel", "top-level", "pinfm prepare kuairand"):
        assert stage in script.read_text(), stage


def test_no_file_name_has_a_space():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    names = listed.stdout.split("\0")
    assert "pyproject.toml" in names
    assert [name for name in names if re.search(r"\s", name)] == []
