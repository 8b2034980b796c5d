"""Whether results belong to the code, the data and the parameters beside them."""

import json
import shutil
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML
from support.project import Project, add_failing_hook
from support.reviews import MODEL, commit, review

from commands import check_lock
from commands.pipeline import changes, lockfile, outdated, repository
from commands.reviewing.history import read_working_tree
from stages.runtime.errors import UserError


def test_a_clone_without_data_finds_that_data_changed(finished: Project, tmp_path: Path):
    finished.run("git", "clone", "--quiet", finished.folder.as_uri(), str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    path = clone.path("dvc.lock")
    content = YAML(typ="safe").load(path.read_text())
    # as if it had run with another result, and no later stage
    content["stages"]["split"]["outs"][0]["md5"] = f"{'f' * 32}.dir"
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


def test_a_clone_without_data_finds_what_the_lock_file_lacks(finished: Project, tmp_path: Path):
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
        with chdir(clone.folder), pytest.raises(UserError, match=f"missing: {stage}"):
            check_lock.main()


def test_a_clone_without_data_finds_a_folder_recorded_with_two_digests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """With other test images, all stages but export ran again. The model is the same; what export
    read lies inside the folder `prepared`, which a clone lacks."""
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
    assert [entry.stage for entry in outdated.find_outdated()] == ["export"]
    assert [entry.stage for entry in outdated.find_outdated("main")] == ["export"]


def test_a_clone_at_a_revision_runs_none_of_the_users_hooks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    project = Project(tmp_path / "project")
    project.folder.mkdir()
    monkeypatch.chdir(project.folder)
    project.run("git", "init", "--quiet")
    Repo.init().close()
    project.commit()
    add_failing_hook(tmp_path, monkeypatch)
    with repository.clone_at("HEAD"):
        assert Path(".dvc/config").exists()


def test_data_tracked_by_dvc_add_are_compared_with_what_the_stage_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    project = Project(tmp_path / "project")
    project.path("photographs").mkdir(parents=True)
    monkeypatch.chdir(project.folder)
    project.run("git", "init", "--quiet", "--initial-branch=main")
    Repo.init().close()
    stage = {"cmd": "cp -r photographs made", "deps": ["photographs"], "outs": ["made"]}
    project.path("dvc.yaml").write_text(json.dumps({"stages": {"copy": stage}}))
    project.path("photographs/1.jpg").write_text("1")
    with Repo() as repo:
        repo.add("photographs")
        repo.reproduce()
    assert outdated.find_outdated() == []
    project.path("photographs/2.jpg").write_text("2")
    assert [entry.stage for entry in outdated.find_outdated()] == ["copy"]


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
    outdated_after = []
    for change in changes:
        change()
        with repository.open_repo(None) as repo, repo.lock:
            changed = [
                stage.addressing
                for stage in repo.stage.collect("dvc.yaml")
                if stage.changed(allow_missing=True)
            ]
        outdated_after.append(
            sorted(
                entry.stage
                for entry in outdated.find_outdated()
                if not entry.stage.startswith("data/")
            )
        )
        assert outdated_after[-1] == sorted(changed)
    # the edited output belongs to a stage that was out of date already
    assert len(set(map(tuple, outdated_after))) == len(changes) - 1


def test_models_and_data_of_another_commit_make_no_commit_out_of_date(
    finished: Project, monkeypatch: pytest.MonkeyPatch
):
    """They remain on the disk after `git switch`."""
    monkeypatch.chdir(finished.folder)
    for name in ("models/*/predictions.npz", "data/prepared/test.npy"):
        for path in finished.folder.glob(name):
            path.chmod(0o644)
            path.unlink()
            path.write_bytes(b"another")
    assert outdated.find_outdated() == []
    finished.path("reports/selection.json").write_text("{}")
    stages = {entry.stage for entry in outdated.find_outdated()}
    assert stages == {"compare", "report", "export"}


@pytest.mark.parametrize(
    ("now", "before", "expected"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, True),
        ({"a": 2}, {"a": 1}, False),
        ({"b": 2}, {"a": 1}, False),
        (1, changes.ABSENT, True),
        (changes.ABSENT, 1, False),
    ],
)
def test_a_new_parameter_does_not_count_as_changed(now: Any, before: Any, expected: bool):
    assert changes.is_extension(now, before) == expected


def test_recheck_is_advised_only_where_code_changed(
    finished: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(finished.folder)

    def add_network(content: Any) -> None:
        content["architectures"]["other"] = dict(content["architectures"][MODEL])
        content["models"].append("other")

    finished.edit_params(add_network)
    entries = outdated.find_outdated()
    assert {"fingerprint", "train@other"} <= {entry.stage for entry in entries}
    assert not outdated.give_recheck_hint(entries)
    with finished.path("stages/training/batches.py").open("a") as file:
        file.write("MORE = 1\n")
    assert "Not only" in outdated.give_recheck_hint(outdated.find_outdated())
    finished.edit_params(lambda content: content["models"].remove("other"))
    assert "Only" in outdated.give_recheck_hint(outdated.find_outdated())
    finished.edit_params(lambda content: content["split"].update(limit_train=20))
    assert not outdated.give_recheck_hint(outdated.find_outdated())


def test_dvcs_lock_is_free_while_the_pipeline_is_inspected(
    finished: Project, monkeypatch: pytest.MonkeyPatch
):
    """A `dvc repro` takes it between two stages."""
    monkeypatch.chdir(finished.folder)
    refused = pytest.raises(repository.Busy)
    with repository.open_repo(None) as repo, repo.lock, refused, repository.open_repo(None):
        pass


def test_results_of_other_images_are_stale(finished: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(finished.folder)
    assert not read_working_tree()[0].is_stale(MODEL)
    with finished.path("data/embedded/fashion_mnist.npz").open("ab") as file:
        file.write(b"x")
    assert read_working_tree()[0].is_stale(MODEL)


def test_a_damaged_lock_file_in_a_revision_is_named(finished: Project):
    for damage in ("", "<<<<<<< HEAD\n", "stages:\n", "schema: '2.0'\nstages: {split: 3}\n"):
        with pytest.raises(UserError):
            lockfile.parse(damage)
    finished.path("damaged.lock").write_bytes(b"\xff")
    with pytest.raises(UserError, match="damaged.lock is damaged"):
        lockfile.read(finished.path("damaged.lock"))
    lines = finished.path("dvc.lock").read_text()
    finished.path("dvc.lock").write_text("schema: '2.0'\nstages: 3\n")
    commit(finished, "damaged")
    assert "dvc.lock in damaged" in review(finished, head="damaged")
    finished.path("dvc.lock").write_text(lines)
    commit(finished, "mended")
    assert "dvc.lock in damaged" in review(finished, "damaged")


def test_a_dependency_outside_the_project_has_no_digest():
    web = {"path": "https://example.org/a.zip", "etag": "1"}
    lock = {"download": {"deps": [web, {"path": "params.yaml", "md5": "2"}]}}
    assert lockfile.read_digests(lock, "download") == {"params.yaml": "2"}
