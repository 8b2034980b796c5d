"""What the machine refuses is reported in words, and the run after a kill at any time ends with the
same bits.

The long version is ``benchmarks/kills.py``, with random kills of every stage.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.kills import one_round, running, state, writing
from support.project import ROOT, Project, ran

from stages import download
from stages.runtime import edited
from stages.runtime.errors import UserError

REFUSALS = {
    "disk full": (
        "Path('/dev/full').write_text('x' * 10_000)",
        "`dvc gc ",
    ),
    "no right": ("os.seteuid(os.geteuid() or 65534); Path('data').mkdir()", "permission denied"),
    "file too large": (
        "__import__('resource').setrlimit(1, (0, 0)); os.write(os.memfd_create('x'), b'x')",
        "file too large",
    ),
    "name too long": ("Path('x' * 300).write_text('x')", "file name too long"),
    "no address for a library": (
        "(_ for _ in ()).throw(ImportError('a.so: failed to map segment from shared object'))",
        "ulimit -v unlimited",
    ),
    "no temporary folder": (
        "__import__('tempfile').__setattr__('tempdir', None); "
        "__import__('tempfile').__setattr__('_candidate_tempdir_list', lambda: ['/proc']); "
        "__import__('tempfile').TemporaryFile()",
        "set TMPDIR",
    ),
    "DVC's disk full": (
        "(_ for _ in ()).throw(__import__('sqlite3').OperationalError('database or disk is full'))",
        "no space left on device",
    ),
    "no memory": ("np.ones(10**15)", "not enough memory"),
    "no memory for TensorFlow": (
        "__import__('stages.training.backend').training.backend.start(1); "
        "__import__('keras').ops.ones((10**5, 10**8))",
        "not enough memory: for a tensor with shape[100000,100000000] and type float",
    ),
    "not made": (
        "np.load('data/prepared/test.npy')",
        "data/prepared/test.npy is missing: the pipeline makes it",
    ),
}


def outcome(tmp_path, statement: str) -> str:
    """The output of a command that runs `statement` in an empty folder; it must fail."""
    tmp_path.chmod(0o555)
    code = f"import os, sys; sys.path.insert(0, {str(ROOT)!r})\nfrom pathlib import Path\n"
    code += "import numpy as np\nfrom stages.runtime import cli, guard\n"
    code += f"cli.run(lambda: {statement.replace('; ', ' or ')}, '')"
    return Project(tmp_path).run(sys.executable, "-c", code, status=1)


@pytest.mark.parametrize("statement, message", REFUSALS.values(), ids=list(REFUSALS))
def test_a_refusal_by_the_machine_is_reported_in_words(tmp_path, statement: str, message: str):
    output = outcome(tmp_path, statement)
    assert output.startswith("error: ") and message in output
    assert "Traceback" not in output


def test_a_module_whose_bytecode_a_full_disk_cut_short_can_be_imported_again(tmp_path: Path):
    (tmp_path / "big.py").write_text(f"VALUES = {[*range(5000)]}")
    project = Project(tmp_path)
    code = f"""
import resource, sys
from pathlib import Path
sys.path += [{str(ROOT)!r}]
from stages.runtime import cli
def main():
    import big
    Path("large").write_bytes(bytes(9000))
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
cli.run(main, "")
"""
    assert "error: " in project.run(sys.executable, "-c", code, status=1)
    assert "5000" in project.run(sys.executable, "-c", "import big; print(len(big.VALUES))")


def test_a_parameter_edited_while_a_stage_runs_is_not_recorded_with_its_result(finished: Project):
    """DVC reads parameters after the stage. Those that it does not depend on may change."""
    edit = """
    path = Path("params.yaml")
    text = path.read_text()
    first = "epochs: 12" not in text
    section, key = ("train", "epochs: ") if first else ("preprocess", "pad_value: ")
    head, mark, rest = text.partition(f"\\n{section}:")
    path.write_text(head + mark + rest.replace(f"  {key}", f"  {key}1", 1))
"""
    stage = finished.path("stages/preprocess.py")
    stage.write_text(stage.read_text().replace("\n\nif __name__", f"{edit}\n\nif __name__"))
    finished.dvc("repro", "preprocess")
    lock = finished.path("dvc.lock").read_text()
    output = finished.dvc("repro", "--force", "preprocess", status=255)
    assert "edited while this ran: preprocess in params.yaml" in output
    assert finished.path("dvc.lock").read_text() == lock
    # the result is made with the new values, and not taken from a cache
    stage.write_text(stage.read_text().replace(edit, ""))
    assert ran(finished.dvc("repro", "preprocess")) == ["preprocess"]


def test_a_training_whose_result_is_refused_for_an_edit_need_not_run_again(
    finished: Project, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
):
    from stages import train

    def refuse() -> None:
        raise UserError("edited")

    monkeypatch.chdir(finished.folder)
    with monkeypatch.context() as patched, pytest.raises(UserError, match="edited"):
        patched.setattr(edited, "refuse_edited", refuse)
        train.main("mnist-dense")
    assert "Epoch 1/" in capfd.readouterr().out
    train.main("mnist-dense")
    again = capfd.readouterr().out
    assert "resuming after epoch" in again and "Epoch 1/" not in again


def test_a_source_that_changed_since_its_digest_was_taken_is_refused(
    finished: Project, monkeypatch: pytest.MonkeyPatch
):
    """Such as a folder from which somebody moves photographs while the pipeline runs."""
    monkeypatch.chdir(finished.folder)
    [recorded] = Path("data/sources").glob("*.json")
    download.main(recorded.stem)
    recorded.write_text(recorded.read_text().replace('"sha256": "', '"sha256": "0'))
    with pytest.raises(UserError, match="changed"):
        download.main(recorded.stem)


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_output_to_closed_streams_is_discarded(tmp_path, closed: str):
    """No file opened later gets the number of a closed stream, and with it what is printed."""
    code = f"import os, sys; sys.path.insert(0, {str(ROOT)!r})\nfrom stages.runtime import cli\n"
    code += """def main():
    with open("written", "wb") as file:
        print("printed", flush=True)
        print("an error", file=sys.stderr, flush=True)
        os.system("echo from a process; echo an error >&2")
        assert file.fileno() > 2
cli.run(main, "")"""
    output = Project(tmp_path).run("bash", "-c", f'"$0" -c "$1" {closed}', sys.executable, code)
    assert "Traceback" not in output and (tmp_path / "written").read_bytes() == b""


@pytest.mark.parametrize("module", ["stages.split", "commands.predicting.pictures"])
def test_nothing_but_tensorflow_starts_threads(module: str):
    """OpenBLAS's threads, if short of memory (``ulimit -v``), wait for each other for minutes."""
    code = f"import {module}, os; print(len(os.listdir('/proc/self/task')))"
    count = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "8"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert int(count) == 1


DAMAGED = {
    "zeros": lambda path: path.write_bytes(bytes(5000)),
    "text": lambda path: path.write_text("not an archive"),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "without state": lambda path: np.savez(path, variable0=np.zeros(3)),
    "other arrays": lambda path: rewrite(path, variable0=np.zeros(3)),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


def rewrite(path, **changes: np.ndarray) -> None:
    with np.load(path) as file:
        content = dict(file) | changes
    np.savez(path, **content)


def trained_on(path, epochs: int):
    """The weights of a tiny network after `epochs` epochs in all, and how many of these came from
    the checkpoint `path`."""
    import keras

    from stages.training.checkpoint import Checkpoint, EarlyStopping, Past

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    optimizer = keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    model.compile(optimizer, "mse")
    stopping = EarlyStopping("loss", None, "always")
    checkpoint = Checkpoint(path, "the same", model, optimizer, stopping, Past(), epochs)
    done = len(checkpoint.history) if checkpoint.restore() else 0
    model.fit(
        np.ones((4, 2)), np.ones((4, 1)), initial_epoch=done, epochs=epochs, verbose=0,
        shuffle=False, callbacks=[stopping, checkpoint],
    )  # fmt: skip
    return model.get_weights(), done


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=list(DAMAGED))
def test_a_damaged_checkpoint_is_reported_and_counts_as_none(tmp_path, capsys, damage):
    expected, _ = trained_on(tmp_path / "whole.npz", 3)
    path = tmp_path / "checkpoint.npz"
    trained_on(path, 1)
    assert trained_on(path, 2)[1] == 1 and capsys.readouterr().out == ""
    damage(path)
    weights, done = trained_on(path, 3)
    assert done == 0 and "checkpoint.npz is damaged" in capsys.readouterr().out
    for obtained, wanted in zip(weights, expected):
        np.testing.assert_array_equal(obtained, wanted)


@pytest.mark.parametrize("refusal", [MemoryError, PermissionError])
def test_a_checkpoint_that_the_system_does_not_let_read_is_kept(
    tmp_path, monkeypatch: pytest.MonkeyPatch, refusal: type[Exception]
):
    path = tmp_path / "checkpoint.npz"
    trained_on(path, 1)
    content = path.read_bytes()

    def refuse(*_: object, **__: object) -> None:
        raise refusal

    with monkeypatch.context() as refusing, pytest.raises(refusal):
        refusing.setattr(np, "load", refuse)
        trained_on(path, 2)
    assert path.read_bytes() == content


def test_a_reader_who_stops_early_ends_the_command_quietly(tmp_path):
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom stages.runtime import cli\n"
    code += "cli.run(lambda: print('x\\n' * 100_000), '')"
    pipe = '"$0" -c "$1" | head -1; exit ${PIPESTATUS[0]}'
    assert Project(tmp_path).run("bash", "-c", pipe, sys.executable, code, status=141) == "x\n"


def test_a_fault_of_the_code_shows_its_traceback(tmp_path):
    assert "Traceback" in outcome(tmp_path, "open('nowhere/nothing')")


KILLS = [("preprocess", "dvc", writing), ("describe", "both", writing), ("split", "stage", running)]


def test_the_run_after_a_kill_ends_with_the_same_bits(finished: Project):
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
            path.chmod(0o644)  # as docs/faults.md says to do with all files
            path.write_bytes(path.read_bytes()[:-1] + b"?")
    finished.run("rm", "-r", "data/prepared")
    finished.dvc("repro")
    assert state(finished) == expected
