"""The verdicts of `make verify`, and when they depend on the platform."""

import json
from contextlib import nullcontext
from pathlib import Path

import pytest
from support.example import load_example
from support.project import ROOT, Project

from commands import verify
from commands.pipeline import sources
from commands.verify import compare_accuracies, judge
from stages.runtime import processor
from stages.runtime.errors import UserError
from stages.runtime.text import join_names

METRICS = {"net": {"test_accuracy": 0.90, "test_loss": 0.3}}
NEAR = {"net": {"test_accuracy": 0.905, "test_loss": 0.5}}
SAME, OTHER = ("avx512", "avx512_bf16"), ("avx512", "avx2")  # instructions asked for, and found


def test_a_source_that_the_clone_lacks_is_named_before_anything_runs(tmp_path: Path):
    options = load_example()
    sources.require(options, lambda path: (ROOT / path).exists())
    with pytest.raises(UserError, match="data/embedded.* not in git"):
        sources.require(options, lambda path: (tmp_path / path).exists())


def test_outside_the_project_there_is_nothing_to_verify(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="in the folder of the project"):
        verify.main()
    Project(tmp_path).run("git", "init", "--quiet")
    Path("dvc.yaml").write_text("stages: {}\n")
    Project(tmp_path).commit()
    with pytest.raises(UserError, match="in the folder of the project"):
        verify.main()


def test_a_commit_without_its_results_is_not_verified(
    finished: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(finished.folder)
    finished.path("dvc.lock").unlink()
    finished.commit()
    with pytest.raises(UserError, match="nothing to verify.*split"):
        verify.main()


def test_a_long_list_of_names_is_cut_and_says_so():
    assert join_names(range(5)) == "0, 1, 2, 3, 4"
    assert join_names(range(7)) == "0, 1, 2, 3, 4 and 2 more"


@pytest.mark.parametrize(
    ("difference", "found", "refused"),
    [
        (0.001, "avx2", None),
        (0.001, "avx512", "bits should be equal if .*mnist-dense.test_accuracy"),
        (0.5, "avx2", "mnist-dense.test_accuracy differs by 0.5"),
    ],
)
def test_the_results_of_the_run_in_the_clone_are_compared(
    finished: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    difference: float,
    found: str,
    refused: str | None,
):
    def run(*arguments: str, folder: Path, variables: dict[str, str]) -> int:
        metrics = json.loads((folder / verify.METRICS).read_text())
        metrics["mnist-dense"]["test_accuracy"] += difference
        (folder / verify.METRICS).write_text(json.dumps(metrics))
        return 0

    monkeypatch.chdir(finished.folder)
    monkeypatch.setattr(verify, "run_dvc", run)
    monkeypatch.setattr(processor, "find_instruction_set", lambda: found)
    with pytest.raises(UserError, match=refused) if refused else nullcontext():
        verify.main()
        assert "within tolerance" in capsys.readouterr().out


def test_equal_digests_are_equal_bits():
    verdict = judge({"a": "1"}, {"a": "1"}, [], compare_accuracies(METRICS, METRICS), 0.01, *SAME)
    assert verdict.startswith("equal bits")


def test_another_platform_may_differ_within_tolerance_and_models_are_named():
    committed = {"models/net/model.keras": "1", "models/dense/model.keras": "1"}
    obtained = committed | {"models/net/model.keras": "2"}
    verdict = judge(committed, obtained, [], compare_accuracies(METRICS, NEAR), 0.01, *OTHER)
    assert verdict.startswith("within tolerance") and "that differ: net." in verdict


def test_a_committed_file_that_the_run_does_not_make_is_an_error():
    no_difference = compare_accuracies(METRICS, METRICS)
    with pytest.raises(UserError, match="not re-created.*\n.*reports/metrics.json"):
        judge({"a": "1"}, {"a": "1"}, ["reports/metrics.json"], no_difference, 0.01, *SAME)
    with pytest.raises(UserError, match="not re-created.*\n.*models/net"):
        judge({"models/net": "1"}, {}, [], no_difference, 0.01, *SAME)


def test_no_platform_excuses_other_data():
    no_difference = compare_accuracies(METRICS, METRICS)
    with pytest.raises(UserError, match="the data differ"):
        judge({"data/split": "1"}, {"data/split": "2"}, [], no_difference, 0.01, *OTHER)


@pytest.mark.parametrize("obtained", [{"net": {"test_accuracy": 0.88, "test_loss": 0.3}}, {}])
def test_an_accuracy_outside_the_tolerance_or_missing_is_an_error(obtained: dict):
    with pytest.raises(UserError, match="net.test_accuracy"):
        judge({"a": "1"}, {"a": "2"}, [], compare_accuracies(METRICS, obtained), 0.01, *OTHER)


@pytest.mark.parametrize(
    ("asked", "found", "explains"),
    [
        ("avx512", "avx512", False),
        ("avx2", "avx512_bf16", False),
        ("avx512", "avx2", True),
        ("avx2", "other", True),
    ],
)
def test_only_missing_instructions_excuse_other_bits(asked, found, explains):
    accuracies = compare_accuracies(METRICS, METRICS)
    with nullcontext() if explains else pytest.raises(UserError, match="bits should be equal"):
        judge({"models/net": "1"}, {"models/net": "2"}, [], accuracies, 0.01, asked, found)


def test_a_shallow_clone_is_verified(
    finished: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
):
    clone = str(tmp_path / "clone")
    finished.run("git", "clone", "--quiet", "--depth", "1", finished.folder.as_uri(), clone)
    monkeypatch.chdir(clone)
    monkeypatch.setattr(verify, "run_dvc", lambda *_, **__: 0)
    verify.main()
    assert "equal bits" in capsys.readouterr().out
