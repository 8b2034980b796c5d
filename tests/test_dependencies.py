"""dvc.yaml lists every module of ours that a stage imports, directly or not, and the parameters
that it names."""

import ast
import re
from pathlib import Path

import pytest
import yaml
from support.project import ROOT, Project, ran

from stages import params
from stages.training import code

TRAIN, REPLICATION = code.TRAIN.as_posix(), code.REPLICATION.as_posix()
FINGERPRINT = "stages/fingerprint.py"


def stages() -> dict[str, list[str]]:
    """The dependencies of each stage's module."""
    dependencies = {}
    for file in ("dvc.yaml", "data/dvc.yaml", "replications/dvc.yaml"):
        for stage in yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))["stages"].values():
            stage = stage.get("do", stage)
            # of "python -m stages.NAME …"
            module = stage["cmd"].split()[2].replace(".", "/") + ".py"
            dependencies[module] = stage.get("deps", [])
    return dependencies


def uncovered(modules: set[Path], dependencies: list[str]) -> set[Path]:
    return {
        module
        for module in modules
        if not any(module.is_relative_to(place) for place in dependencies)
        # it chooses numpy's linear algebra, which only training uses
        and (module != Path("stages/__init__.py") or FINGERPRINT in dependencies)
        and len(ast.parse((ROOT / module).read_text(encoding="utf-8")).body) > 1  # not a docstring
    }


@pytest.mark.parametrize(
    ("stage", "dependencies"),
    [(stage, deps) for stage, deps in stages().items() if stage not in (TRAIN, REPLICATION)],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_stage_depends_on_the_modules_that_it_imports(stage: str, dependencies: list[str]):
    assert uncovered(code.find_modules(Path(stage)), dependencies) == set()


# what stages read although a change of it gives no other result: whether there are logs, the
# names that are known, how weights are transferred, and the source, whose content is a dependency
WITHOUT_EFFECT = {
    "train": {"tensorboard"},
    "evaluate": {"architectures"},
    "weights": {"download"},
    "source": {"datasets"},
}


def test_each_stage_depends_on_the_parameters_that_it_reads():
    others = {}
    for file in ("dvc.yaml", "data/dvc.yaml"):
        pipeline = yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))
        for name, stage in pipeline["stages"].items():
            listed = stage.get("do", stage).get("params", [])
            text = (ROOT / f"stages/{name}.py").read_text(encoding="utf-8")
            read = re.findall(r"\b(?:options|params\.load\(\))\.(\w+(?:\.\w+)?)", text)
            # ${...}: of all entries, the stage reads its own
            parents = [entry.split(".${")[0] for entry in listed]
            others[name] = {
                key
                for key in read
                if not any(f"{key}.".startswith(f"{parent}.") for parent in parents)
            }
    assert {name: keys for name, keys in others.items() if keys} == WITHOUT_EFFECT


def test_training_depends_on_the_digests_of_its_modules():
    for stage, key in ((TRAIN, "model"), (REPLICATION, "architecture")):
        assert f"reports/code/${{item.{key}}}.json" in stages()[stage]
        assert not any(place.startswith("stages/") for place in stages()[stage])
    assert "reports/code/replications.json" in stages()[REPLICATION]
    architectures = params.load(ROOT / "params.yaml").architectures.values()
    families = {architecture.family for architecture in architectures}
    modules = {Path(f"stages/architectures/{family}.py") for family in families}
    digested = set.union(*map(code.find_modules, modules | {code.TRAIN, code.REPLICATION}))
    assert uncovered(digested, stages()[FINGERPRINT]) == set()


SOURCE = '''"""A docstring."""
import a  # a comment


def f(): "é"; x = "# no comment"  # é


def g():
    """Several lines,

    # of a docstring."""
    y = f"""{x}\x20\x20

  # part of the string {1}
"""   # behind it
    return ("a"
            # between

            "b")
'''
CODE = '''import a
def f(): ; x = "# no comment"
def g():
    y = f"""{x}\x20\x20

  # part of the string {1}
"""
    return ("a"
            "b")
'''


def test_comments_docstrings_and_blank_lines_do_not_count_as_code():
    assert code.strip(SOURCE) == CODE


def write(root: Path, modules: dict[str, str]) -> None:
    for name, source in modules.items():
        path = root / "stages" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")


def test_a_digest_changes_only_with_the_modules_that_are_imported(tmp_path: Path):
    modules = {
        "train": "import keras\nfrom stages.training import steps, record\n",
        "training/__init__": "",
        "training/steps": "A = 1\n",
        "training/record": "B = 1\n",
        "__init__": "H = 1\n",  # in the real package it chooses numpy's kernels
        "architectures/own": "from stages.architectures.shared import C\nimport stages.far.away\n",
        "architectures/shared": "from stages.training.steps import A\nC = 1\n",
        "architectures/other": "D = 1\n",
        "far/__init__": "E = 1\n",
        "far/away": "F = 1\n",
    }
    write(tmp_path, modules)
    before = code.fingerprint("own", tmp_path)
    expected = {
        "train": {"training"},
        "training/__init__": {"training"},
        "training/steps": {"training"},
        "training/record": set(),
        "__init__": {"training"},
        "architectures/own": {"family"},
        "architectures/shared": {"family"},
        "architectures/other": set(),
        "far/__init__": {"family"},
        "far/away": {"family"},
    }
    for name, changed in expected.items():
        write(tmp_path, modules | {name: modules[name] + "G = 1\n"})
        after = code.fingerprint("own", tmp_path)
        assert {key for key in after if after[key] != before[key]} == changed, name


def test_an_edit_makes_only_trainings_that_use_the_code_stale(finished: Project):
    """As real DVC reports it."""
    models = {"train@mnist-dense", "train@fashion-2blocks"}

    def stale(*edits: tuple[str, str, str]) -> set[str]:
        for path, old, new in edits:
            file = finished.path(path)
            text = file.read_text(encoding="utf-8") if file.exists() else ""
            assert old in text
            file.write_text(text.replace(old, new, 1), encoding="utf-8")
        finished.stage("fingerprint")
        trainings = {stage for stage in ran(finished.dvc("repro", "--dry")) if "train@" in stage}
        finished.run("git", "checkout", "--quiet", ".")
        return trainings

    no_training = stale(
        ("stages/architectures/new.py", "", "def network(x):\n    return x\n"),
        ("stages/training/record.py", "", "X = 1\n"),
        ("stages/training/batches.py", "import mmap\n", "# a comment\nimport mmap\n"),
        ("stages/metrics/tabulation.py", "DIGITS = 6", "DIGITS = 5"),
    )
    assert no_training == set()
    assert stale(("stages/training/batches.py", "[self.seed, epoch]", "[epoch]")) == models
    cnn = stale(("stages/architectures/cnn.py", "if pool > 1:", "if pool > 2:"))
    assert cnn == {"train@fashion-2blocks"}
