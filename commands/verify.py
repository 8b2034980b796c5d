"""Rerun the pipeline of the last commit, and report whether its results are re-created.

Clones the last commit into a temporary folder, without DVC's cache, and runs ``dvc repro`` there
from scratch. The verdict is one of

    equal bits        every output equals the committed one: by its digest in dvc.lock, or as the
                      file in git
    within tolerance  this processor lacks the instruction set that the committed results ask for
                      (``train.instruction_set``), which explains differing bits; the data are
                      equal, and accuracies differ by at most ``verify.accuracy_tolerance``
    not re-created    anything else; the exit status is 1

If bits differ, it names the models and files. Takes as long as a ``dvc repro`` from scratch.
"""

import math
import tempfile
from pathlib import Path

import pandas as pd

from commands.pipeline import lockfile, sources
from commands.pipeline.outdated import find_outdated
from commands.pipeline.process import run_dvc
from commands.pipeline.repository import make_clone
from stages import params
from stages.runtime import cli, git, processor
from stages.runtime.errors import UserError
from stages.runtime.text import join_names
from stages.storage import files

METRICS = Path("reports/metrics.json")
LOCKS = ("dvc.lock", "data/dvc.lock")


def read_digests(folder: Path) -> dict[str, str]:
    """The digest of every output, by its path, from the lock files in `folder`."""
    contents = (lockfile.read(folder / name) for name in LOCKS)
    return {
        path: md5
        for content in contents
        for stage in content
        for path, md5 in lockfile.read_digests(content, stage, "outs").items()
    }


def compare_accuracies(
    committed: dict[str, dict[str, float]], obtained: dict[str, dict[str, float]]
) -> dict[str, float]:
    """The absolute difference of each accuracy, by its name; infinite where one of the two is
    missing."""
    before, now = (
        pd.json_normalize(metrics).iloc[0].filter(regex="accuracy$").astype(float)
        for metrics in (committed, obtained)
    )
    return (before - now).abs().fillna(math.inf).to_dict()


def main() -> None:
    cli.exit_on_signals()
    cli.require_project()
    revision = git.run("rev-parse", "HEAD")
    if outdated := find_outdated(revision):
        raise UserError(
            "there is nothing to verify: the last commit's results do not belong to its code and "
            f"parameters, or some are missing: {join_names(outdated)}. Run `dvc repro`, and commit"
        )
    if git.list_changed():
        print(
            "The working tree has uncommitted changes: only the last commit is verified, without "
            "them.",
            flush=True,
        )
    with tempfile.TemporaryDirectory(prefix="verify-", ignore_cleanup_errors=True) as temporary:
        clone = Path(temporary) / "clone"
        make_clone(clone, revision)
        options = params.load(clone / "params.yaml")
        sources.require(options, lambda path: (clone / path).exists())
        committed, committed_metrics = read_digests(clone), files.read_json(clone / METRICS)
        variables = {"DVC_SITE_CACHE_DIR": str(Path(temporary) / "site")}
        if status := run_dvc("repro", "--force", folder=clone, variables=variables):
            raise UserError(f"`dvc repro` failed in the clone with exit status {status}")
        obtained, obtained_metrics = read_digests(clone), files.read_json(clone / METRICS)
        in_git = git.list_changed(folder=clone)
        # a lock file keeps stages that the pipeline no longer has: these did not run, so their
        # outputs do not exist
        committed = {path: digest for path, digest in committed.items() if (clone / path).exists()}
    print(f"\n{revision}:")
    print(
        judge(
            committed,
            obtained,
            in_git,
            compare_accuracies(committed_metrics, obtained_metrics),
            options.verify.accuracy_tolerance,
            options.train.instruction_set,
            processor.find_instruction_set(),
        )
    )


def judge(
    committed: dict[str, str],
    obtained: dict[str, str],
    in_git: list[str],
    accuracy: dict[str, float],
    tolerance: float,
    asked: str,
    found: str,
) -> str:
    """The verdict in words. `in_git`: the files in git that the new run changed; `accuracy`: the
    differences; `asked`: the instruction set of the committed results; `found`: of this processor.
    Raises `UserError` if the results were not re-created."""
    changed = sorted(
        {path for path, digest in committed.items() if obtained.get(path) != digest} | set(in_git)
    )
    if not changed:
        return f"equal bits: all {len(committed)} outputs and the files in git are the same"
    models = sorted({path.split("/")[1] for path in changed if path.startswith("models/")})
    differing = f"Models that differ: {', '.join(models) or 'none'}. Files that differ:\n" + (
        "\n".join(f"  {path}" for path in changed)
    )
    worst = max(accuracy, key=accuracy.get)
    if accuracy[worst] > tolerance:
        why = f"{worst} differs by {accuracy[worst]:.4f}, more than {tolerance}"
    elif any(path.startswith("data/") for path in changed):
        why = "the data differ"
    elif processor.has(found, asked):
        why = (
            f"this processor has the instruction set that train.instruction_set asks for "
            f"({asked}): the bits should be equal if TensorFlow computed the committed results on "
            f"such a processor as well; {worst} differs by {accuracy[worst]:.4f}"
        )
    else:
        return (
            f"within tolerance: accuracies differ by at most {accuracy[worst]:.4f} ({worst}); "
            f"{tolerance} is allowed. This processor has the instruction set {found}, but the "
            f"committed results ask for {asked}: other kernels, which round differently. "
            "With train.instruction_set=avx2 the bits are the same on both, if this is an x86-64 "
            f"processor. {differing}"
        )
    raise UserError(f"not re-created: {why}. {differing}")


if __name__ == "__main__":
    cli.run(main, __doc__)
