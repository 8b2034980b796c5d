"""What the machine refuses is said in a sentence; and a run that was killed anywhere ends, run
again, with the same bits.

The long version is ``benchmarks/kills.py``, with random kills of every stage.
"""

import sys

import pytest
from support.kills import one_round, running, state, writing
from support.project import ROOT, Project

REFUSALS = {
    "disk full": ("Path('/dev/full').write_text('x' * 10_000)", "no space left on device"),
    "no right": ("os.seteuid(os.geteuid() or 65534); Path('data').mkdir()", "permission denied"),
    "no memory": ("np.ones(10**15)", "not enough memory"),
    "not made": (
        "np.load('data/prepared/test.npy')",
        "data/prepared/test.npy is missing: what the pipeline makes",
    ),
}


def outcome(tmp_path, statement: str) -> str:
    """What a command that executes `statement` in an empty folder writes; it must fail."""
    tmp_path.chmod(0o555)
    code = f"import os, sys; sys.path.insert(0, {str(ROOT)!r})\nfrom pathlib import Path\n"
    code += "import numpy as np\nfrom stages.runtime import cli, guard\n"
    code += f"cli.run(lambda: {statement.replace('; ', ' or ')}, '')"
    return Project(tmp_path).run(sys.executable, "-c", code, status=1)


@pytest.mark.parametrize("statement, message", REFUSALS.values(), ids=list(REFUSALS))
def test_what_the_machine_refuses_is_said_in_words(tmp_path, statement: str, message: str):
    output = outcome(tmp_path, statement)
    assert output.startswith("error: ") and message in output
    assert "Traceback" not in output


def test_a_reader_who_has_read_enough(tmp_path):
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom stages.runtime import cli\n"
    code += "cli.run(lambda: print('x\\n' * 100_000), '')"
    pipe = '"$0" -c "$1" | head -1; exit ${PIPESTATUS[0]}'
    assert Project(tmp_path).run("bash", "-c", pipe, sys.executable, code, status=141) == "x\n"


def test_a_fault_of_the_code_shows_where_it_is(tmp_path):
    assert "Traceback" in outcome(tmp_path, "open('nowhere/nothing')")


KILLS = [("preprocess", "dvc", writing), ("describe", "both", writing), ("split", "stage", running)]


def test_killed_anywhere_the_next_run_ends_with_the_same_bits(finished: Project):
    expected = state(finished)
    for what, target, due in KILLS:
        result = one_round(finished, what, target, due)
        assert result["killed"] == target and result["status"] == 0, result["log"]
        assert state(finished) == expected


def test_a_damaged_file_in_the_cache_is_found_once_the_cache_is_writable(finished: Project):
    expected = state(finished)
    for path in finished.path(".dvc/cache/files").rglob("*"):
        if (
            path.is_file()
            and path.read_bytes() == finished.path("data/prepared/train.npy").read_bytes()
        ):
            path.chmod(0o644)  # as docs/faults.md says for all of them
            path.write_bytes(path.read_bytes()[:-1] + b"?")
    finished.run("rm", "-r", "data/prepared")
    finished.dvc("repro")
    assert state(finished) == expected
