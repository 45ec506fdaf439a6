"""One list of exit statuses."""

import subprocess
import sys
from pathlib import Path

from pinfm.train import launch

SCRIPT = """
import sys
from pinfm.train.launch import statuses
assert "torch" not in sys.modules
print(statuses.DONE, statuses.MISTAKE, statuses.ALONE, statuses.INTERRUPTED, statuses.TERMINATED)
"""


def test_statuses_are_read_without_torch():
    printed = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True).stdout
    assert printed == "0 2 75 130 143\n"


def test_no_other_module_has_a_list_of_its_own():
    train = Path(launch.__file__).parents[1]
    wrote = [path.name for path in train.rglob("*.py") if "128 + signal." in path.read_text()]
    assert wrote == ["statuses.py"]
