"""What is started again, how often, and what is left of it; the group is a small program."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pinfm.train.launch.supervisor import main

# Writes down that it was started and ends with the next of its statuses; below 0 by that signal.
GROUP = """
import os, signal, subprocess, sys, time
folder, statuses = sys.argv[1], [int(status) for status in sys.argv[2:]]
starts = os.path.join(folder, "starts")
with open(starts, "a") as file:
    file.write(f"{os.getpid()}\\n")
status = statuses[min(len(open(starts).read().split()), len(statuses)) - 1]
if status < 0:
    os.kill(os.getpid(), -status)
sys.exit(status)
"""
SUPERVISED = """
import sys
from pinfm.train.launch.supervisor import Supervisor
sys.exit(Supervisor([sys.executable, *sys.argv[3:]], int(sys.argv[1]), first_pause=float(sys.argv[2])).run())
"""


def start(folder: Path, group: str, max_restarts: int, *arguments: object) -> subprocess.Popen[str]:
    program = folder / "group.py"
    program.write_text(group)
    words = [sys.executable, "-c", SUPERVISED, max_restarts, 0.01, program, folder, *arguments]
    return subprocess.Popen([str(word) for word in words], stderr=subprocess.PIPE, text=True)


def ended(supervised: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = supervised.communicate(timeout=60)
    return supervised.returncode, said


def starts(folder: Path) -> list[int]:
    file = folder / "starts"
    return [int(pid) for pid in file.read_text().split()] if file.exists() else []


def wait_for_starts(folder: Path, count: int) -> None:
    end = time.monotonic() + 60
    while len(starts(folder)) < count:
        assert time.monotonic() < end
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be asked for its status does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_group_starts_again_until_it_succeeds(tmp_path):
    status, said = ended(start(tmp_path, GROUP, 5, 1, -signal.SIGKILL, 7, 0))
    assert (status, len(starts(tmp_path))) == (0, 4)
    pauses = re.findall(r"start again in ([0-9.]+) s \(failure (\d) of 5 allowed\)", said)
    assert pauses == [("0.01", "1"), ("0.02", "2"), ("0.04", "3")]


@pytest.mark.parametrize(("status", "told"), [(1, 1), (-signal.SIGSEGV, 128 + signal.SIGSEGV)])
def test_it_gives_up_in_one_sentence(tmp_path, status, told):
    ending, said = ended(start(tmp_path, GROUP, 2, status))
    assert (ending, len(starts(tmp_path))) == (told, 3)
    assert said.splitlines()[-1] == "pinfm: given up after 2 restarts; a new start goes on with --resume."


@pytest.mark.parametrize("status", [0, 2, 143, 130])
def test_success_a_mistake_and_an_end_that_was_asked_for_are_final(tmp_path, status):
    assert ended(start(tmp_path, GROUP, 3, status)) == (status, "")
    assert len(starts(tmp_path)) == 1


def test_without_restarts_nothing_is_said(tmp_path):
    assert ended(start(tmp_path, GROUP, 0, 1)) == (1, "")


def test_machines_that_did_not_meet_are_no_failure(tmp_path):
    status, said = ended(start(tmp_path, GROUP, 1, 75, 75, 75, 1, 0))
    assert (status, len(starts(tmp_path))) == (0, 5)
    assert said.count("failure 0 of 1 allowed") == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_passed_on_once_and_ends_it(tmp_path, number):
    group = """
import signal, sys, time
def end(number, _):
    with open(sys.argv[1] + "/asked", "a") as file:
        file.write("x")
    time.sleep(0.3)
    sys.exit(128 + number)
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGINT, end)
open(sys.argv[1] + "/starts", "a").write("1 ")
time.sleep(60)
"""
    supervised = start(tmp_path, group, 3)
    wait_for_starts(tmp_path, 1)
    supervised.send_signal(number)
    time.sleep(0.1)
    supervised.send_signal(number)
    assert ended(supervised) == (128 + number, "")
    assert (tmp_path / "asked").read_text() == "x"


def test_a_signal_ends_a_pause(tmp_path):
    program = tmp_path / "group.py"
    program.write_text(GROUP)
    words = [sys.executable, "-c", SUPERVISED, "3", "60", program, tmp_path, "1"]
    supervised = subprocess.Popen([str(word) for word in words], stderr=subprocess.PIPE, text=True)
    assert supervised.stderr is not None
    assert "start again in 60 s" in supervised.stderr.readline()
    supervised.terminate()
    assert ended(supervised)[0] == 143
    assert len(starts(tmp_path)) == 1


def test_what_a_killed_group_leaves_is_gone_before_the_next_starts(tmp_path):
    group = """
import os, signal, subprocess, sys
worker = subprocess.Popen(["sleep", "60"], start_new_session=True)
with open(sys.argv[1] + "/starts", "a") as file:
    file.write(f"{worker.pid} ")
pids = open(sys.argv[1] + "/starts").read().split()
if len(pids) == 1:
    os.kill(os.getpid(), signal.SIGKILL)
worker.kill()
sys.exit(os.path.exists(f"/proc/{pids[0]}") and 9)
"""
    assert ended(start(tmp_path, group, 1))[0] == 0
    first, second = starts(tmp_path)
    assert first != second
    assert not is_alive(first)


def test_a_group_ends_with_its_supervisor(tmp_path):
    group = """
import os, sys, time
from pinfm.train.launch.processes import end_with_parent
end_with_parent()
open(sys.argv[1] + "/starts", "a").write(f"{os.getpid()} ")
time.sleep(60)
"""
    supervised = start(tmp_path, group, 3)
    wait_for_starts(tmp_path, 1)
    supervised.kill()
    ended(supervised)
    end = time.monotonic() + 30
    while is_alive(starts(tmp_path)[0]):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_fewer_than_no_restarts_are_refused(capsys):
    assert main(["--max-restarts", "-1", "--", "-m", "anything"]) == 2
    assert capsys.readouterr().err == "pinfm: --max-restarts (-1) must be at least 0.\n"
