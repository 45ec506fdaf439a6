"""`./run COMMAND`: the environment is made once, by what pip is set to, and the command runs in it.

uv is a script here that notes how it was called; with the real one `.ci/run` runs README's commands.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
UV = """#!/bin/sh
echo "$* | links=$UV_FIND_LINKS index=${UV_INDEX:-} $UV_INDEX_STRATEGY backend=${UV_TORCH_BACKEND:-}" >>"$NOTES"
case "$*" in
    venv*) mkdir -p .venv/bin && ln -s /bin/true .venv/bin/python ;;
    *--dry-run*) exit "$TORCH_INDEX" ;;
esac
"""
PLAIN = "pip install --python .venv --editable .[cpu] --group dev"
TRIED = f"{PLAIN} --quiet --dry-run --torch-backend cpu"


@pytest.fixture
def clone(tmp_path):
    """A folder with the script, a project, and uv on its PATH."""
    for name in ("run", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "uv").write_text(UV)
    (tmp_path / "bin" / "uv").chmod(0o755)
    (tmp_path / "elsewhere").mkdir()
    return tmp_path


def run(clone, *words, torch_index=1, **settings):
    """Starts it from another folder: what it printed, how uv was called, and its status."""
    notes = clone / "notes"
    notes.write_text("")
    path = f"{clone / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin"
    # The setting is needed by the script of uv alone.
    env = {"PATH": path, "NOTES": str(notes), "TORCH_INDEX": str(torch_index), "UV_INDEX_STRATEGY": "", **settings}
    done = subprocess.run(
        [clone / "run", *words], cwd=clone / "elsewhere", env=env, capture_output=True, text=True, check=False
    )
    return done, notes.read_text().splitlines()


def test_the_environment_is_made_once_for_a_project(clone):
    done, calls = run(clone, "sh", "-c", "pwd; echo $VIRTUAL_ENV; command -v python; exit 7")
    here = str(clone / "elsewhere")
    assert done.stdout.split() == [here, str(clone / ".venv"), str(clone / ".venv" / "bin" / "python")]
    assert done.returncode == 7
    assert [call.split(" | ")[0] for call in calls] == ["venv --quiet .venv", TRIED, PLAIN]
    assert run(clone, "true")[1] == []
    with (clone / "pyproject.toml").open("a") as project:
        project.write("# another dependency\n")
    assert [call.split(" | ")[0] for call in run(clone, "true")[1]] == [TRIED, PLAIN]


def test_the_cpu_build_is_taken_from_where_it_is(clone):
    _, calls = run(clone, "true", torch_index=0)
    assert calls[-1] == f"{PLAIN} | links= index=  backend=cpu"
    (clone / ".venv" / "made_from").unlink()
    _, calls = run(clone, "true", torch_index=0, UV_TORCH_BACKEND="cu130")
    assert calls == [f"{PLAIN} | links= index=  backend=cu130"]
    (clone / ".venv" / "made_from").unlink()
    _, calls = run(clone, "true", PIP_FIND_LINKS="/a  /b")
    assert calls[-1] == f"{PLAIN} | links=/a,/b index=  backend="
    (clone / ".venv" / "made_from").unlink()
    _, calls = run(clone, "true", torch_index=0, PIP_EXTRA_INDEX_URL="file:///simple")
    assert calls == [f"{PLAIN} | links= index=file:///simple unsafe-best-match backend="]


def test_an_installation_that_fails_is_tried_again(clone):
    (clone / "bin" / "uv").write_text(UV + 'case "$*" in *dev) exit 3 ;; esac\n')
    assert run(clone, "true")[0].returncode == 3
    assert not (clone / ".venv" / "made_from").exists()


@pytest.mark.skipif(shutil.which("uv", path="/usr/bin:/bin") is not None, reason="uv is the system's")
def test_without_uv_and_pip_one_sentence_says_so(clone):
    (clone / "bin" / "uv").write_text("#!/bin/sh\nexit 1\n")
    (clone / "bin" / "uv").rename(clone / "bin" / "python3")
    done, _ = run(clone, "true")
    assert done.returncode == 1
    assert done.stderr == "run: python3 has no pip that works; install it (python3-pip on Debian and Ubuntu), or uv\n"
