"""The review and the gate, on real histories of the small project; the statistics of the verdicts,
by simulation."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from contextlib import chdir, nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from browser import CHROMIUM, LOOKS, open_page
from dvc.repo import Repo
from ruamel.yaml import YAML
from support.project import ROOT, Project, copy, ran

from commands import check_lock, seed_spread
from commands import gate as gate_command
from commands import review as review_command
from commands.pipeline import lockfile
from commands.reviewing import comparing, gate, noise
from commands.reviewing.history import find_base, read_working_tree
from commands.reviewing.models import count_confusion_change
from commands.reviewing.revisions import Revision
from stages import params
from stages.runtime.errors import UserError

MODEL = "mnist-dense"


def review(
    project: Project, base: str = "main", head: str | None = None, refused: bool = False
) -> str:
    """What review.md says; in this process, which has imported DVC and pandas already. `refused`:
    it must end with an error."""
    with chdir(project.folder), pytest.raises(UserError) if refused else nullcontext():
        review_command.main(base, head, repro=False)
    return project.path("review.md").read_text(encoding="utf-8")


def closed_gate(project: Project, capsys: pytest.CaptureFixture, base: str = "main") -> str:
    """What the gate prints, in this process; it must be closed."""
    capsys.readouterr()
    with chdir(project.folder), pytest.raises(SystemExit, match="the gate is closed"):
        gate_command.main(base)
    return capsys.readouterr().out


def commit(project: Project, branch: str) -> None:
    project.run("git", "checkout", "--quiet", "-B", branch)
    project.commit()


@pytest.fixture(scope="module")
def history(finished_template: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """`main` trains two networks for two epochs, the branch `longer` one of them for forty;
    `shorter` begins there and goes back. `longer` holds the spread over two seeds; the measurement
    has left an experiment with the other seed."""
    project = copy(finished_template, tmp_path_factory.mktemp("history"))
    project.edit_params(lambda content: content.update(models=[MODEL]))
    project.edit_params(
        lambda content: content["train"].update(
            epochs=40,
            early_stopping={"monitor": "val_accuracy", "patience": None, "restore_best": "always"},
        )
    )
    project.dvc("repro")
    commit(project, "longer")
    project.command("seed_spread", "--seeds", "2")
    assert project.changes() == ["?? reports/seed_spread.json"]
    commit(project, "longer")
    project.run("git", "checkout", "--quiet", "-B", "shorter")
    project.run("git", "checkout", "main", "--", ".")
    commit(project, "shorter")
    project.run("git", "checkout", "--quiet", "longer")
    return project


@pytest.fixture(scope="module")
def better(history: Project) -> str:
    """The review of the working tree, at `longer`, against `main`, as people start it; review.html
    lies in the project."""
    assert "Traceback" not in history.command("review", "--base", "main")
    return history.path("review.md").read_text(encoding="utf-8")


def test_the_spread_over_seeds(history: Project):
    content = json.loads(history.path("reports/seed_spread.json").read_text())
    measured = content["models"][MODEL]["test_accuracy"]
    own = json.loads(history.path("reports/metrics.json").read_text())[MODEL]["test_accuracy"]
    assert (
        content["n"] == 2
        and content["seeds"] == [1337, 1338]
        and own == measured["values"][0] != measured["values"][1]
    )
    assert measured["sd"] == pytest.approx(
        abs(np.subtract(*measured["values"])) / np.sqrt(2), abs=1e-6
    )
    assert (
        ran(history.command("seed_spread", "--seeds", "2")) == []
    )  # what stands there is not measured again
    assert history.changes() == []


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_browser_draws_the_page_without_a_network(history: Project, better: str):
    page = history.path("review.html").as_uri() + "#all"
    drawn = "document.querySelectorAll('.chart:not([data-drawn])').length === 0"
    with open_page(page, 390, drawn) as browser:
        assert browser.locator(".chart canvas").count() == 4
        assert browser.evaluate(LOOKS) == []


def test_a_change_that_helps_and_one_that_hurts(history: Project, better: str):
    assert f"- {MODEL}: **better**" in better and "| `train.epochs` | `2` | `40` |" in better
    assert "- fashion-2blocks: **not comparable: " in better
    text = review(history, "longer", "shorter")
    assert f"- {MODEL}: **worse**" in text


def test_an_experiment_can_be_reviewed(history: Project):
    """That of the other seed: the spread is measured from these two runs, so that their difference
    lies within it."""
    experiment = history.run(
        "git", "for-each-ref", "--format=%(refname:lstrip=4)", "refs/exps"
    ).strip()
    history.run(
        "git", "update-ref", "refs/exps/exec/EXEC_APPLY", "HEAD"
    )  # as `dvc exp apply` leaves it
    text = review(history, "longer~1", experiment)
    assert (
        f"- {MODEL}: **no difference larger than chance**" in text
        and "| `seed` | `1337` | `1338` |" in text
    )


def test_the_gate(history: Project, capsys: pytest.CaptureFixture):
    history.edit_params(lambda content: content["gate"].update(calibration_error=1.0))
    try:
        output = history.command("gate", "--base", "main")
        assert output.count("passed") == 3 and "make seed-spread" not in output
        history.run(
            "git",
            "checkout",
            "--quiet",
            "shorter",
            "--",
            "reports",
            "params.yaml",
            "dvc.lock",
            "data/dvc.lock",
        )
        history.dvc("checkout", "--allow-missing")
        spread = history.path(
            "reports/seed_spread.json"
        )  # a change's own yardstick, which nobody judges by
        spread.write_text(spread.read_text().replace('"sd": 0', '"sd": 7'))
        history.edit_params(lambda content: content["gate"].update(calibration_error=1.0))
        output = closed_gate(history, capsys, "longer")
        assert (
            "FAILED: selected model" in output
            and output.count("FAILED") == 1
            and "judged by that of longer" in output
        )
        spread.write_text("{")
        assert "reports/seed_spread.json is damaged" in closed_gate(history, capsys, "longer")
        history.run(
            "git", "checkout", "--quiet", "longer", "--", "params.yaml"
        )  # the results of forty epochs are no longer there
        output = closed_gate(history, capsys, "longer")
        assert (
            "FAILED: dvc.lock" in output
            and "not checked: selected model" in output
            and "not checked: calibration" in output
        )
    finally:
        history.run("git", "checkout", "--quiet", "longer", "--", ".")
        history.dvc("checkout", "--allow-missing")


def test_results_missing_from_git_are_named_and_close_the_gate(finished: Project, tmp_path: Path):
    finished.run(
        "git", "clone", "--quiet", finished.folder.as_uri(), str(tmp_path / "clone")
    )  # without models, without cache
    clone = Project(tmp_path / "clone")
    clone.command("check_lock")
    selected = json.loads(clone.path("reports/selection.json").read_text())["selected"]
    missing = [f"reports/models/{selected}/predictions.csv", "reports/comparison.md"]
    for path in missing:
        clone.path(path).unlink()
    output = clone.command("check_lock", status=1)
    assert all(path in output for path in missing)
    output = clone.command("gate", status=1)
    assert "FAILED: dvc.lock" in output and "FAILED: selected model" in output


def test_other_data_is_found_where_no_data_lie(finished: Project, tmp_path: Path):
    finished.run("git", "clone", "--quiet", finished.folder.as_uri(), str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    path = clone.path("dvc.lock")
    content = YAML(typ="safe").load(path.read_text())
    content["stages"]["split"]["outs"][0]["md5"] = (
        f"{'f' * 32}.dir"  # as if it had run with another result, and nothing behind it
    )
    path.write_text(json.dumps(content))  # which is YAML too
    with chdir(clone.folder), pytest.raises(UserError, match=r"missing: preprocess\. `dvc repro`"):
        check_lock.main()


FOLDER_AND_FILES = """
stages:
  preprocess:
    cmd: mkdir prepared && cp numbers prepared/train && head -n ${limit} numbers > prepared/test
    deps: [numbers]
    params: [limit]
    outs: [prepared]
  train:
    cmd: cp prepared/train model
    deps: [prepared]
    outs: [model]
  evaluate:
    cmd: cat model prepared/test > metrics
    deps: [model, prepared/test]
    outs: [metrics]
  export:
    cmd: cat prepared/test model > exported
    deps: [prepared/test, model]
    outs: [exported]
"""


def test_what_the_lock_file_does_not_know_is_found_where_no_data_lie(
    finished: Project, tmp_path: Path
):
    finished.run("git", "clone", "--quiet", finished.folder.as_uri(), str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    path = clone.path("dvc.yaml")
    text = path.read_text()
    known = "    - data/prepared/test_labels.npy\n    - models/"
    for line, more, stage in (
        (known, "    - data/prepared/train_labels.npy\n", "evaluate@"),  # a dependency
        ("    - data/split\n  preprocess:", "    - data/more\n", "split"),  # an output
    ):
        assert line in text
        path.write_text(text.replace(line, more + line))
        assert f"missing: {stage}" in clone.command("check_lock", status=1)


def test_a_file_inside_a_directory_with_two_digests_is_found_where_no_data_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Other test images, and all but export run again: the model is the same; what export read
    lies inside the folder `prepared`, which a clone does not have."""
    project = Project(tmp_path / "project")
    project.folder.mkdir()
    monkeypatch.chdir(project.folder)
    project.run("git", "init", "--quiet", "--initial-branch=main")
    project.path("dvc.yaml").write_text(FOLDER_AND_FILES)
    project.path("numbers").write_text("1\n2\n3\n")
    Repo.init().close()
    for limit, target in ((1, None), (2, "evaluate")):
        project.path("params.yaml").write_text(f"limit: {limit}\n")
        with Repo() as repo:
            run = [stage.name for stage in repo.reproduce(target)]
        project.commit()
    assert run == ["preprocess", "train", "evaluate"]
    project.run("git", "clone", "--quiet", project.folder.as_uri(), str(tmp_path / "clone"))
    with chdir(tmp_path / "clone"), pytest.raises(UserError, match="out of date.*export"):
        check_lock.main()
    shutil.rmtree("prepared")  # without the data, but with DVC's cache
    assert [one.stage for one in lockfile.outdated()] == ["export"]
    assert [one.stage for one in lockfile.outdated("main")] == ["export"]


def test_a_stage_is_out_of_date_when_dvc_says_so(
    finished: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(finished.folder)
    command = finished.path("dvc.yaml").read_text().replace("-m stages.split", "-m  stages.split")
    changes = [
        lambda: None,
        lambda: finished.edit_params(lambda content: content["train"].update(epochs=3)),
        lambda: finished.edit_params(lambda content: content["split"].pop("limit_test")),
        lambda: finished.path("stages/evaluate.py").write_text("# other code"),
        lambda: finished.path("reports/selection.json").write_text("{}"),
        lambda: finished.path("dvc.yaml").write_text(command),
    ]
    seen = []
    for change in changes:
        change()
        with lockfile.opened(None) as repo:
            dvcs = [
                stage.addressing
                for stage in repo.stage.collect("dvc.yaml")
                if stage.changed(allow_missing=True)
            ]
        seen.append(
            sorted(one.stage for one in lockfile.outdated() if not one.stage.startswith("data/"))
        )
        assert seen[-1] == sorted(dvcs)
    assert (
        len(set(map(tuple, seen))) == len(changes) - 1
    )  # the edited output belongs to a stage that was out of date already


def test_the_gate_where_there_is_no_noise(finished: Project, monkeypatch: pytest.MonkeyPatch):
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
    finished.dvc("commit", "--force", f"evaluate@{head.selected}")  # as if the stage had made it
    content = {
        "n": 5,
        "measured_on": {"data": head.data},
        "models": {head.selected: {"test_accuracy": {"sd": 0.0}}},
    }
    assert gate.selected_check(base, head, 2.0, content).passed is True


def test_the_gate_on_8_bit_integers(finished: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(finished.folder)
    path = finished.path("reports/export.json")

    def check(most: float | None = 0.01) -> gate.Check:
        return gate.int8_check(Revision("the working tree", None), most)

    assert check().passed is None and "was exported" in check().words
    for accuracy, passed in ((0.86, True), (0.85, True), (0.8499, False)):
        path.write_text(json.dumps({"int8": {"test": {"float32": 0.86, "int8": accuracy}}}))
        finished.dvc("commit", "--force", "export")  # as if the stage had made it
        assert check().passed is passed
    assert check(None).passed is None
    assert "FAILED: int8: test accuracy of" in finished.command("gate", status=1)
    finished.edit_params(lambda content: content["export"].update(int8_fall=0.02))
    assert check().passed is None and "of other code" in check().words


def test_a_revision_is_judged_by_its_own_gate_and_by_keys_that_are_newer_than_it(
    finished: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(finished.folder)
    finished.edit_params(lambda content: content["gate"].update(selected_fall=7.0))
    finished.edit_params(lambda content: content["gate"].pop("int8_fall"))
    commit(finished, "older")
    finished.run("git", "checkout", "--quiet", "main")
    older = Revision("older", finished.run("git", "rev-parse", "older").strip())
    current = params.load()
    _, bounds = older.options(current)
    assert bounds.selected_fall == 7.0 and bounds.int8_fall == current.gate.int8_fall


def test_the_gate_on_the_replications(finished: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(finished.folder)
    table = finished.path("replications/table.csv")
    table.write_text("experiment,verdict\nmnist-dense,within noise\nmnist-convnet,not run yet\n")
    for name in ("table.md", "published_and_obtained.png", "losses.png"):
        finished.path(f"replications/{name}").touch()
    for name in ("curves", "results"):
        finished.path(f"replications/{name}").mkdir()
        finished.path(f"replications/{name}/a").touch()
    finished.dvc("commit", "--force", "replications/dvc.yaml:table")  # as if the stage had run
    finished.commit()
    base = Revision("main", finished.run("git", "rev-parse", "main").strip())

    def check() -> gate.Check:
        return gate.replications_check(base, Revision("the working tree", None), True)

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
    table.write_text(table.read_text().replace("within noise", "below"))
    assert check().passed is False and "mnist-dense (below)" in check().words


def test_the_spread_is_not_measured_on_a_data_set_that_its_folder_would_lack(
    finished: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(finished.folder)
    for source in ("data/embedded/fashion_mnist.npz", str(finished.path("mine.npz"))):
        seed_spread.check_source(source)
    finished.path("mine.npz").touch()
    finished.edit_params(
        lambda content: content["datasets"]["fashion_mnist_sample"].update(source="mine.npz")
    )
    assert "'mine.npz'" in finished.command("seed_spread", status=1)
    finished.path("mine.npz.dvc").touch()
    finished.run("git", "add", "mine.npz.dvc")
    seed_spread.check_source("mine.npz")
    with pytest.raises(UserError):
        seed_spread.check_source("../mine.npz")


def test_classes_named_by_digits(finished: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(finished.folder)
    path = finished.path(f"reports/models/{MODEL}/predictions.csv")
    classes = json.loads(finished.path(f"reports/models/{MODEL}/training.json").read_text())[
        "class_names"
    ]
    pd.read_csv(path).replace({name: f"{number}" for number, name in enumerate(classes)}).to_csv(
        path, index=False
    )
    tree = Revision("the working tree", None)
    cells = count_confusion_change(tree, tree, MODEL)
    assert set(cells["actual"]) == set("0123456789") and set(cells["predicted"]) <= set(
        "0123456789"
    )


def test_results_of_other_images_are_stale(finished: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(finished.folder)
    assert not read_working_tree()[0].stale(MODEL)
    with finished.path("data/embedded/fashion_mnist.npz").open("ab") as file:
        file.write(b"x")
    assert read_working_tree()[0].stale(MODEL)


def test_while_dvc_runs_nothing_is_called_damaged(
    finished: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(finished.folder)
    with Repo() as repo, repo.lock, pytest.raises(lockfile.Busy):
        gate_command.main("main")


def test_a_damaged_lock_in_a_revision(finished: Project):
    for damage in ("", "<<<<<<< HEAD\n", "stages:\n", "schema: '2.0'\nstages: {split: 3}\n"):
        with pytest.raises(UserError):
            lockfile.parse(damage)
    lines = finished.path("dvc.lock").read_text()
    finished.path("dvc.lock").write_text("schema: '2.0'\nstages: 3\n")
    commit(finished, "damaged")
    assert "dvc.lock in damaged" in review(finished, head="damaged")
    finished.path("dvc.lock").write_text(lines)
    commit(finished, "mended")
    assert "dvc.lock in damaged" in review(finished, "damaged")


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


HOSTILE = "x`</code><!-- @someone ![i](http://e/i.png) | **better** ```\n# Gate"


def acting(text: str) -> list[str]:
    """What of `HOSTILE` is in a text of Markdown outside code, where it would act."""
    visible = re.sub(r"(`+)[^`].*?\1", "", text)
    return [one for one in ("@", "<!--", "![", "**better**", "\n# Gate") if one in visible]


def test_what_a_pull_request_writes_is_text_in_the_review(finished: Project):
    """Keys of parameters and of results, and names of models: they would forge verdicts."""
    finished.edit_params(
        lambda content: content["train"].update(
            schedule="ExponentialDecay",
            schedule_arguments={
                "initial_learning_rate": 0.01,
                "decay_steps": 100,
                "decay_rate": 0.9,
                HOSTILE: 1,
            },
        )
    )
    finished.path(HOSTILE.replace("/", "_")).touch()
    text = review(finished)
    assert "train.schedule_arguments" in text
    assert not acting(text)
    metrics = finished.path("reports/metrics.json")
    content = json.loads(metrics.read_text())
    metrics.write_text(json.dumps(content | {HOSTILE: content[MODEL]}))
    finished.path("reports/selection.json").write_text(json.dumps({"selected": HOSTILE}))
    text = review(finished)
    assert "reports/metrics.json in the working tree" in text and "is damaged" in text
    assert not acting(text)
    metrics.write_text(json.dumps(content | {MODEL: {"test_accuracy": "**1.0**"}}))
    assert "reports/metrics.json in the working tree" in review(finished)


def test_a_base_that_is_not_here_is_an_error(finished: Project):
    finished.path("README.md").touch()
    output = finished.command("review", "--base", "nosuch", status=1)
    assert "error: There is no revision `nosuch` here" in output
    assert "no revision `nosuch`" in finished.path("review.md").read_text()


GH = """#!/bin/sh
# the GitHub CLI, as far as .ci/comment uses it: one open pull request, without a comment
case "$*" in
  *pulls*) echo 7 ;;
  *body=@*)
    for one in "$@"; do case "$one" in body=@*) cat "${one#body=@}" > posted ;; esac; done ;;
esac
"""


@pytest.fixture
def comment(tmp_path: Path) -> Callable[[str], str]:
    """What .ci/comment posts of a file."""
    (tmp_path / "gh").write_text(GH)
    (tmp_path / "gh").chmod(0o755)
    given = {"GH_REPO": "o/r", "HEAD": "o:b", "SHA": "0" * 40, "RUN": "https://example.org/run"}
    given |= {"PATH": f"{tmp_path}:{os.environ['PATH']}"}

    def post(file: str) -> str:
        command = [str(ROOT / ".ci/comment"), file]
        subprocess.run(command, cwd=tmp_path, env=os.environ | given, check=True)
        return (tmp_path / "posted").read_text(encoding="utf-8")

    return post


def test_a_comment_says_who_wrote_it_and_has_no_effect(tmp_path: Path, comment):
    text = "## Review\n\n![i](https://e/i.png) [l](https://e) <img src=x> @one www.e.org #1 GH-2\n"
    (tmp_path / "review.md").write_bytes(
        text.encode()
        + "\x9b2J\u202ename\u2066é\n".encode()
        + b"\xff\x1b[2J\0\n```\n<!--\n"
        + b"\xc3\xa9" * 40_000
    )
    marker, line, *rest = comment("review.md").split("\n")
    assert marker == "<!-- review -->" and line.startswith("Written by the pull request’s code")
    posted = "\n".join(rest)
    assert posted.replace("\u200b", "").strip().startswith(text.strip())
    for acting in ("](", "<i", "<!", "@o", "://", "www.", "#1", "GH-2", "\x1b", "\x9b", "\u202e"):
        assert acting not in posted
    assert "2Jnameé" in posted
    assert len((tmp_path / "posted").read_bytes()) < 65_536


@pytest.mark.parametrize(
    "text",
    [b"x" + b"\xc3\xa9" * 40_000, "⚠️ → ✅\n".encode() * 3000, b"@@@ x\n" * 6000],
    ids=["a character cut in two", "of three bytes", "that grows"],
)
def test_the_comment_of_a_long_review_is_cut(tmp_path: Path, comment, text: bytes):
    (tmp_path / "review.md").write_bytes(text)
    posted = comment("review.md").replace("\u200b", "")
    beginning = posted.split("\n\n", 1)[1].rstrip("\n")
    assert len(beginning) > 10_000 and text.decode().startswith(beginning)
    assert len((tmp_path / "posted").read_bytes()) < 65_536


def test_a_comment_is_no_other_file_of_the_machine(tmp_path: Path, comment):
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "review.md").symlink_to("secret")
    posted = comment("review.md")
    assert "secret" not in posted and "broke off" in posted


def test_make_passes_a_branch_as_it_is_called(tmp_path: Path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "requirements.txt").touch()
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/installed").touch()
    (tmp_path / ".venv/bin/python").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / ".venv/bin/python").chmod(0o755)
    for base in ("it's", "$(shell touch made)", "a `touch made` $x b"):
        for given in ([f"BASE={base}"], []):
            output = subprocess.run(
                ["make", "--silent", "gate", *given],
                cwd=tmp_path, env=os.environ | {"BASE": base}, check=True,
                capture_output=True, text=True,
            ).stdout  # fmt: skip
            assert output.splitlines()[-1] == base
    for target in ("recheck", "replicate"):
        names = ["a", "b;", "$(shell touch made)", "*", "it's"]
        output = subprocess.run(
            ["make", "--silent", target, f"NAMES={' '.join(names)}", "PIPELINE=it's $x"],
            cwd=tmp_path, check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        given = [*" ".join(names).split(), *(["--pipeline", "it's $x"] * (target == "recheck"))]
        assert output.splitlines()[2:] == given
    assert not (tmp_path / "made").exists()


def other_classes(project: Project) -> None:
    path = project.path(f"reports/models/{MODEL}/training.json")
    path.write_text(path.read_text().replace('"Bag"', '"Box"'))


def other_images(project: Project) -> None:
    path = project.path("dvc.lock")
    lines = path.read_text().splitlines(keepends=True)
    for number, line in enumerate(lines):
        if "path: data/prepared/test.npy" in line or line.strip() == "- path: data/split":
            lines[number + 2] = f"{lines[number + 2].split(':')[0]}: {'f' * 32}\n"
    path.write_text("".join(lines))


def no_predictions(project: Project) -> None:
    project.path(f"reports/models/{MODEL}/predictions.csv").unlink()


def no_model(project: Project) -> None:
    path = project.path("reports/metrics.json")
    path.write_text(
        json.dumps(
            {name: one for name, one in json.loads(path.read_text()).items() if name != MODEL}
        )
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda project: None, "the same predictions"),
        (other_classes, "not comparable: other classes"),
        (other_images, "not comparable: different test data"),
        (no_predictions, "not comparable: the working tree has no predictions of mnist-dense"),
        (no_model, "not comparable: the working tree has no results of mnist-dense"),
    ],
)
def test_what_cannot_be_compared(
    finished: Project, monkeypatch: pytest.MonkeyPatch, change, said: str
):
    monkeypatch.chdir(finished.folder)
    change(finished)
    base, head = (
        Revision("main", finished.run("git", "rev-parse", "main").strip()),
        Revision("the working tree", None),
    )
    assert str(comparing.difference(base, head, MODEL, MODEL, None)) == said


def test_another_selected_model_is_judged_without_a_measured_spread(
    finished: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(finished.folder)
    base, head = (
        Revision("main", finished.run("git", "rev-parse", "main").strip()),
        Revision("the working tree", None),
    )
    assert comparing.compare_selected(base, head, None, 0.1) == ""
    other = next(name for name in head.models if name != base.selected)
    finished.path("reports/selection.json").write_text(json.dumps({"selected": other}))
    text = review(finished)
    (said,) = re.findall(rf"Another model is selected: `{other}` now, `{base.selected}`.*", text)
    assert "the noise is 0." in said and said.endswith((f"{noise.CHANCE}.", f"{noise.WORSE}."))
    assert "was not measured on this data set" in text


def test_a_dirty_tree_with_a_lock_out_of_date(finished: Project):
    finished.edit_params(lambda content: content["train"].update(epochs=3))
    finished.edit_params(lambda content: content["gate"].update(selected_fall=9.0))
    finished.path("stages/new.py").touch()
    text = review(finished)
    for said in (
        "dvc.lock is out of date",
        f"train@{MODEL}",
        "not committed: ",
        "stages/new.py",
        "judged by: `gate.selected_fall`",
        "**not judged: the results in the working tree",
    ):
        assert said in text
    finished.path("reports/metrics.json").unlink()
    assert "There are no results" in review(finished)
    finished.edit_params(lambda content: content["train"].update(epochs=0))
    assert "train.epochs" in review(finished, refused=True)


def test_clones_without_history_without_cache_without_base(
    finished: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
):
    finished.run("git", "checkout", "--quiet", "-b", "change")
    finished.path("README.md").write_text("a change\n")
    finished.commit()
    finished.run(
        "git", "clone", "--quiet", "--depth", "1", finished.folder.as_uri(), str(tmp_path / "clone")
    )
    text = review(Project(tmp_path / "clone"), refused=True)
    assert (
        "git fetch --unshallow" in text
        and "DVC's cache does not hold" in text
        and "dvc.lock is out of date" not in text
    )

    monkeypatch.chdir(finished.folder)

    def found(base: str) -> tuple[str, bool]:
        tree, changed = read_working_tree()
        one = find_base(base, tree, bool(changed))
        return one.why, one.lost

    assert found("main") == ("", False)
    why, lost = found("change")
    assert "nothing to compare" in why and not lost
    why, lost = found("elsewhere")
    assert "There is no revision `elsewhere`" in why and lost
    finished.run("git", "checkout", "--quiet", "--orphan", "first")
    finished.commit()
    why, lost = found("first")
    assert "first commit" in why and not lost
    why, lost = found("main")
    assert "no commit in common" in why and lost
    assert "FAILED: base" in closed_gate(finished, capsys, "elsewhere")


def predictions(right: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"actual": "a", "predicted": np.where(right, "a", "b")})


def test_the_noise_by_hand():
    old, new = np.ones(100, dtype=bool), np.ones(100, dtype=bool)
    old[:10], new[10:13] = False, False  # ten only new, three only old
    spread = noise.Spread(0.01, 8, "net")
    found = noise.difference(predictions(old), predictions(new), (spread, spread))
    assert found.difference == pytest.approx(0.07) and (found.only_old, found.only_new) == (3, 10)
    of_test_set = (13 - 49 / 100) / 100**2
    assert found.noise == pytest.approx(np.sqrt(2 * 0.01**2 + of_test_set))
    assert found.freedom == pytest.approx(found.noise**4 / ((2 * 0.01**2) ** 2 / 8))


def test_an_assumed_spread_follows_the_standard_error():
    right = np.arange(998) < 499
    spread = noise.assume_spread(predictions(right))
    assert spread.sd == pytest.approx(1.5 * np.sqrt(0.25 / 998)) and spread.of is None
    assert noise.assume_spread(predictions(np.ones(100, dtype=bool))).sd > 0


def test_a_model_without_a_spread_takes_its_nearest_siblings():
    models = {
        "dense": {"family": "dense", "parameters": 1000, "test_accuracy": {"sd": 0.001}},
        "small": {"family": "cnn", "parameters": 100, "test_accuracy": {"sd": 0.002}},
        "large": {"family": "cnn", "parameters": 10000, "test_accuracy": {"sd": 0.003}},
    }
    training = {"architecture": {"family": "cnn"}, "parameters": {"total": 900}}
    spread = noise.spread_of("new", training, {"n": 5, "models": models})
    assert spread.of == "small" and spread.freedom == 8
    assert spread.sd**2 == pytest.approx((0.002**2 + (0.001**2 + 0.002**2 + 0.003**2) / 3) / 2)
    assert noise.spread_of("large", training, {"n": 5, "models": models}).of == "large"


def simulated(
    changed: float, trained: int, generator: np.random.Generator, unequal: float = 1
) -> list[str]:
    """The verdicts of a review of `trained` models that truly differ by `changed` times the noise.
    Five seeds measured the spread of six models, of which the first has `unequal` times the spread
    of the others. They classify 4,000 images; 8 % of them only one of both networks classifies
    right."""
    sds, of_test_set = [0.005 * unequal] + [0.005] * 5, 0.08 / 4000
    measured = {
        str(number): {"test_accuracy": {"sd": generator.normal(0, sd, 5).std(ddof=1)}}
        for number, sd in enumerate(sds)
    }
    differences = []
    for model, sd in list(zip(measured, sds))[:trained]:
        spread = noise.spread_of(model, {}, {"n": 5, "models": measured})
        variance = 2 * spread.sd**2 + of_test_set
        true = generator.normal(changed * np.sqrt(2 * sd**2 + of_test_set), np.sqrt(2) * sd)
        differences.append(
            noise.Difference(
                true,
                0,
                0,
                4000,
                np.sqrt(variance),
                variance**2 / ((2 * spread.sd**2) ** 2 / spread.freedom),
            )
        )
    return [words for words, _ in noise.verdicts(differences, 0.1)]


def false_alarms(trained: int, generator: np.random.Generator, unequal: float = 1) -> float:
    """The share of reviews that find a difference where there is none."""
    verdicts = [simulated(0, trained, generator, unequal) for _ in range(1000)]
    return float(np.mean([set(one) != {noise.CHANCE} for one in verdicts]))


@pytest.mark.parametrize("trained", [1, 6])
def test_false_alarms_are_rare_and_a_change_of_three_times_the_noise_is_found(trained: int):
    generator = np.random.default_rng(0)
    assert false_alarms(trained, generator) <= 0.1
    found = [simulated(3, trained, generator) for _ in range(1000)]
    assert np.mean([words == noise.BETTER for one in found for words in one]) >= 0.9


@pytest.mark.parametrize(("trained", "most"), [(1, 0.2), (6, 0.1)])
def test_false_alarms_of_a_model_with_twice_the_spread_of_the_others_have_a_bound(
    trained: int, most: float
):
    assert false_alarms(trained, np.random.default_rng(0), unequal=2) <= most
