"""What closes the gate."""

import json
import re
from contextlib import chdir
from pathlib import Path

import pandas as pd
import pytest
from dvc.repo import Repo
from support.project import Project
from support.reviews import MODEL, accept, closed_gate, commit, review

from commands import check_lock
from commands import gate as gate_command
from commands.pipeline import repository
from commands.reviewing import gate, history
from commands.reviewing.revisions import Revision
from stages import params


def test_results_missing_from_git_are_named_and_close_the_gate(
    finished: Project, tmp_path: Path, capsys: pytest.CaptureFixture
):
    # without models, without cache
    finished.run("git", "clone", "--quiet", finished.folder.as_uri(), str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    with chdir(clone.folder):
        check_lock.main()
    selected = clone.find_selected()
    missing = [f"reports/models/{selected}/predictions.csv", "reports/comparison.md"]
    for path in missing:
        clone.path(path).unlink()
    output = clone.command("check_lock", status=1)
    assert all(path in output for path in missing)
    output = closed_gate(clone, capsys)
    assert "FAILED: dvc.lock" in output and "FAILED: selected model" in output


def test_main_without_changes_has_no_base_to_check(
    finished: Project, capsys: pytest.CaptureFixture
):
    output = closed_gate(finished, capsys)  # by the calibration
    assert "not checked: base: This revision is part of `main`" in output


def test_what_others_merged_is_not_the_change_of_a_branch_of_an_older_clone(
    finished: Project, tmp_path: Path, capsys: pytest.CaptureFixture
):
    finished.run("git", "clone", "--quiet", finished.folder.as_uri(), str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    finished.edit_params(lambda content: content["gate"].update(selected_fall=7.0))
    finished.commit()
    clone.run("git", "fetch", "--quiet")
    clone.run("git", "switch", "--quiet", "--create", "change", "origin/main")
    clone.path("README.md").touch()
    clone.commit()
    output = closed_gate(clone, capsys)  # by the calibration
    assert "changes what it is judged by" not in output
    assert re.search(r"`main` of this clone is older than `origin/main`", output)

    def find(base: str, head: str | None = None) -> tuple[str, str]:
        commit = head and clone.run("git", "rev-parse", head).strip()
        found = history.find_base(base, Revision("the head", commit), dirty=False)
        return (found.revision.commit if found.revision else found.why), found.note

    theirs, first = clone.run("git", "rev-parse", "origin/main", "main").split()
    with chdir(clone.folder):
        assert find("origin/main") == (theirs, "")
        assert find("HEAD~2") == (first, "")  # not that of origin/HEAD
        why, _ = find("main", "origin/main")
        assert "part of `origin/main`" in why
        # the other way round: `main` has more than the other clone
        clone.run("git", "branch", "--force", "main", "change")
        clone.path("more.md").touch()
        clone.commit()
        assert find("main") == (clone.run("git", "rev-parse", "main").strip(), "")


def test_a_calibration_error_beyond_the_bound_closes_the_gate(
    finished: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(finished.folder)
    head = Revision("the working tree", None)
    error = head.read_report(head.selected, "metrics.json")["test"]["expected_calibration_error"]
    below, above = (gate.check_calibration(head, error + margin) for margin in (-1e-6, 1e-6))
    assert not below.passed and above.passed


def test_an_equal_accuracy_passes_the_gate_where_there_is_no_noise(
    finished: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(finished.folder)
    base, head = (
        Revision("main", finished.run("git", "rev-parse", "main").strip()),
        Revision("the working tree", None),
    )
    path = finished.path(f"reports/models/{head.selected}/predictions.csv")
    table = pd.read_csv(path)
    wrong = table.index[table["actual"] != table["predicted"]][0]
    other = set(table["actual"]) - set(table.loc[wrong, ["actual", "predicted"]])
    table.loc[wrong, "predicted"] = min(other)  # wrong in another way
    table.to_csv(path, index=False)
    accept(f"evaluate@{head.selected}")
    content = {
        "n": 5,
        "measured_on": {"data": head.data},
        "models": {head.selected: {"test_accuracy": {"sd": 0.0}}},
    }
    check = gate.check_selected(base, head, 2.0, content)
    assert check.passed is True and "equal" in check.words


def test_the_gate_closes_if_8_bit_accuracy_falls_beyond_the_bound(
    finished: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.chdir(finished.folder)
    path = finished.path("reports/export.json")

    def check(allowed_fall: float | None = 0.01) -> gate.Check:
        return gate.check_int8(Revision("the working tree", None), allowed_fall)

    assert check().passed is None and "was exported" in check().words
    for accuracy, passed in ((0.86, True), (0.85, True), (0.8499, False)):
        path.write_text(json.dumps({"int8": {"test": {"float32": 0.86, "int8": accuracy}}}))
        accept("export")
        assert check().passed is passed
    assert check(None).passed is None
    revision = Revision("the working tree", None)
    path.write_text('{"int8": {"test": {"float32": 0.86, "int8": "0.85"}}}')
    assert (
        gate.check_int8(revision, 0.01).passed is None and "reports/export.json" in revision.damaged
    )
    path.write_text('{"int8": {"test": {"float32": 0.86, "int8": 0.8499}}}')
    assert "FAILED: int8: test accuracy of" in closed_gate(finished, capsys)
    finished.edit_params(lambda content: content["export"].update(int8_fall=0.02))
    assert check().passed is None and "of other code" in check().words
    finished.edit_params(lambda content: content["export"].update(int8_fall=None))
    assert check().passed is False
    finished.edit_params(lambda content: content["train"].update(batch_size=10))
    assert check().passed is None  # the exported network belongs to an older training


def test_a_revision_is_judged_by_its_own_bounds_and_by_todays_where_it_has_none(
    finished: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(finished.folder)
    finished.edit_params(lambda content: content["gate"].update(selected_fall=7.0))
    finished.edit_params(lambda content: content["gate"].pop("int8_fall"))
    commit(finished, "older")
    finished.run("git", "checkout", "--quiet", "main")
    older = Revision("older", finished.run("git", "rev-parse", "older").strip())
    current = params.load()
    _, bounds = older.read_options(current)
    assert bounds.selected_fall == 7.0 and bounds.int8_fall == current.gate.int8_fall


def test_replications_that_get_worse_or_vanish_fail_and_outdated_ones_are_not_judged(
    finished: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(finished.folder)
    table = finished.path("replications/table.csv")
    table.write_text("experiment,verdict\nmnist-dense,within noise\nmnist-convnet,above\n")
    for name in ("table.md", "published_and_obtained.png", "losses.png"):
        finished.path(f"replications/{name}").touch()
    for name in ("curves", "results"):
        finished.path(f"replications/{name}").mkdir()
        finished.path(f"replications/{name}/a").touch()
    accept("replications/dvc.yaml:table")
    finished.commit()
    base = Revision("main", finished.run("git", "rev-parse", "main").strip())

    def check() -> gate.Check:
        return gate.check_replications(base, Revision("the working tree", None), True)

    assert check().passed is True
    parameters = finished.path("replications/params.yaml")
    text = parameters.read_text()
    parameters.write_text(text.replace("minutes: ", "minutes: 1", 1))
    assert check().passed is None
    parameters.write_text(text)
    assert check().passed is True
    with finished.path("stages/replications/table.py").open("a") as code:
        code.write("# newer than the table\n")
    assert check().passed is None
    table.write_text(table.read_text().replace("within noise", "above"))
    assert check().passed is not False
    table.write_text(table.read_text().replace("dense,above", "dense,below"))
    assert check().passed is False and "mnist-dense (below)" in check().words
    table.write_text("experiment,verdict\nmnist-dense,above\n")
    assert check().passed is False and "mnist-convnet (gone)" in check().words


@pytest.mark.parametrize("wanted", [True, False])
def test_only_a_check_that_is_made_reads_the_table_which_may_be_damaged(
    wanted: bool, finished: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(finished.folder)
    finished.path("replications/table.csv").write_text("not a table\n")
    head = Revision("the working tree", None)
    gate.check_replications(None, head, wanted)
    assert gate.check_lock(head, ()).passed is not wanted


def test_the_gate_reports_that_dvc_is_busy_while_it_runs(
    finished: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(finished.folder)
    with Repo() as repo, repo.lock, pytest.raises(repository.Busy):
        gate_command.main("main")


def test_damaged_results_are_named_and_close_the_gate(
    finished: Project, capsys: pytest.CaptureFixture
):
    other = next(
        path.name for path in finished.path("reports/models").iterdir() if path.name != MODEL
    )
    damage = {
        "reports/seed_spread.json": '{"n": 5}',
        f"reports/models/{MODEL}/predictions.csv": "<<<<<<< HEAD\nactual,predicted\n",
        f"reports/models/{MODEL}/curves.csv": "",
        f"reports/models/{other}/training.json": "{",
        "replications/table.csv": "not a table\n",
    }
    for path, text in damage.items():
        finished.path(path).write_text(text)
    text = review(finished)
    assert all(f"{path} in the working tree" in text for path in damage)
    output = closed_gate(finished, capsys)
    assert "FAILED: dvc.lock" in output and "is damaged" in output
    finished.path("reports/metrics.json").write_text("[")
    commit(finished, "damaged")
    finished.run("git", "checkout", "--quiet", "main", "--", ".")
    commit(finished, "mended")
    text = review(finished, "damaged")
    assert "reports/metrics.json in damaged" in text and f"| {MODEL} | – → 0." in text
