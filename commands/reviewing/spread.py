"""``reports/seed_spread.json``: how much accuracies differ between seeds alone."""

import hashlib
import json
import statistics
from pathlib import Path
from typing import Any

from commands.pipeline import changes, lockfile
from commands.reviewing.schemas import SCHEMAS
from stages.runtime.errors import UserError
from stages.storage import files

SPREAD = Path("reports/seed_spread.json")
DAMAGED = (
    f"{SPREAD} is damaged: restore an earlier version with git, or delete it and measure it again "
    "by `make seed-spread`"
)
MEASURES = ("test_accuracy", "validation_accuracy")
DIGITS = 6
Accuracies = dict[str, dict[str, float]]  # by model and measure


def describe_provenance(lock: lockfile.Lock, dataset: str, models: list[str]) -> dict[str, str]:
    """What determines the accuracies besides the seed, from ``dvc.lock``: the data set, the
    prepared images, the code of the trainings, parameters, and pre-trained weights if any model has
    some. Raises `KeyError` if a stage is missing."""
    stages = ["split", "preprocess"]  # the stages that determine the accuracies
    stages += [f"{stage}@{model}" for stage in ("train", "evaluate") for model in models]
    inputs = {model: lockfile.read_digests(lock, f"train@{model}") for model in models}
    code = {
        path: md5
        for digests in inputs.values()
        for path, md5 in digests.items()
        if changes.is_code(path)
    }
    parameters = {stage: lockfile.read_parameters(lock, stage) for stage in stages}
    weights = {
        model: inputs[model][f"data/weights/{model}"]
        for model in models
        if parameters[f"train@{model}"][f"architectures.{model}"].get("weights")
    }
    return {
        "dataset": dataset,
        "data": lockfile.read_digests(lock, "split")[f"data/raw/{dataset}"],
        "prepared": digest({model: inputs[model]["data/prepared"] for model in models}),
        "code": digest(code),
        "parameters": digest(parameters),
        **({"weights": digest(weights)} if weights else {}),
    }


def digest(value: Any) -> str:
    """A short digest of a JSON-serialisable value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def has_provenance(
    provenance: dict[str, str],
    lock: lockfile.Lock,
    dataset: str,
    models: list[str],
    any_seed: bool = False,
) -> bool:
    """Whether the results in a lock file have this `provenance`, as `describe_provenance` returns
    it; with `any_seed`, apart from the prepared images, whose split depends on the seed."""
    ignored = {"prepared": None} if any_seed else {}
    try:
        return describe_provenance(lock, dataset, models) | ignored == provenance | ignored
    except (AttributeError, KeyError, TypeError):  # a stage is missing, or not as in this version
        return False


def read() -> dict[str, Any] | None:
    """The content of the file in the working tree; None if there is no file. Raises `UserError` if
    it is damaged."""
    if not SPREAD.exists():
        return None
    try:
        content = json.loads(SPREAD.read_text(encoding="utf-8"))
        SCHEMAS[SPREAD.name].validate_python(content, strict=True)  # the content itself is used
        return content
    except (ValueError, RecursionError):
        raise UserError(DAMAGED) from None


def carry_over(content: dict[str, Any], before: lockfile.Lock, after: lockfile.Lock) -> None:
    """Update the provenance of a spread, the `content` of the file, from the lock file `before` a
    recheck to that `after` it, if it matched: the recheck has shown that the code of a training
    still computes the same."""
    measured_on = content["measured_on"]
    where = measured_on.get("dataset"), list(content["models"])
    if before != after and has_provenance(measured_on, before, *where):
        provenance = describe_provenance(after, *where)
        files.write_json(SPREAD, content | {"measured_on": provenance})


def read_measured(provenance: dict[str, str]) -> dict[int, Accuracies]:
    """The accuracies measured before with the same `provenance`, by seed. Raises `UserError` if the
    file is damaged."""
    content = read()
    if not content:
        return {}
    try:
        if content["measured_on"] == provenance:
            return {
                seed: {
                    model: {measure: entry[measure]["values"][number] for measure in MEASURES}
                    for model, entry in content["models"].items()
                }
                for number, seed in enumerate(content["seeds"])
            }
    except (LookupError, TypeError):  # what only this command reads
        raise UserError(DAMAGED) from None
    print(f"{SPREAD} was measured with other data, code or parameters: all seeds run again")
    return {}


def summarise(values: list[float]) -> dict[str, Any]:
    """Accuracies by seed with their mean and sample standard deviation (n - 1)."""
    return {
        "mean": round(statistics.mean(values), DIGITS),
        "sd": round(statistics.stdev(values), DIGITS),
        "values": values,
    }


def write(provenance: dict[str, str], measured: dict[int, Accuracies], models: list[str]) -> None:
    seeds = sorted(measured)
    content = {"measured_on": provenance, "n": len(seeds), "seeds": seeds, "models": {}}
    for model in models:
        training = files.read_json(Path("reports/models") / model / "training.json")
        content["models"][model] = {
            "family": training["architecture"]["family"],
            "parameters": training["parameters"]["total"],
            **{
                measure: summarise([measured[seed][model][measure] for seed in seeds])
                for measure in MEASURES
            },
        }
    files.write_json(SPREAD, content)
