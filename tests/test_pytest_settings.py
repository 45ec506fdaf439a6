"""What pytest shows of a failure: warnings, and not what torch's loggers tell of every step."""

import subprocess
import sys
from pathlib import Path

FAILS = """
import logging


def test_fails():
    logging.getLogger("torch.__trace").setLevel(logging.DEBUG)
    logging.getLogger("torch.__trace").debug("a step")
    logging.getLogger("torch").warning("mind this")
    assert False
"""


def test_a_failure_is_not_flooded_by_debug_lines(tmp_path):
    (tmp_path / "test_fails.py").write_text(FAILS)
    settings = ["-c", Path(__file__).parents[1] / "pyproject.toml", "-n", "0", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *settings, "--rootdir", tmp_path, tmp_path / "test_fails.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "WARNING  torch" in done.stdout
    assert "DEBUG    torch.__trace" not in done.stdout
