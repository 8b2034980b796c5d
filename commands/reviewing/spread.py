"""``reports/seed_spread.json``: how much accuracies differ between seeds alone."""

import statistics
from pathlib import Path
from typing import Any

from commands.reviewing import lock
from stages.storage import files

SPREAD = Path("reports/seed_spread.json")
MEASURES = ("test_accuracy", "validation_accuracy")
DECIDING = ("split", "preprocess", "train", "evaluate")  # the stages that decide what is measured
DIGITS = 6
Accuracies = dict[str, dict[str, float]]  # by model and measure


def measured_on(content: lock.Lock, dataset: str, models: list[str]) -> dict[str, str]:
    """What decides the accuracies beside the seed, from the stages of ``dvc.lock``."""
    stages = [*DECIDING[:2], *(f"{stage}@{model}" for stage in DECIDING[2:] for model in models)]
    code = {
        path: md5
        for stage in stages
        for path, md5 in lock.digests(content, stage).items()
        if lock.is_code(path)
    }
    return {
        "dataset": dataset,
        "data": lock.digests(content, "split")[f"data/raw/{dataset}"],
        "code": lock.digest(code),
        "parameters": lock.digest({stage: lock.parameters(content, stage) for stage in stages}),
    }


def known(place: dict[str, str]) -> dict[int, Accuracies]:
    """What was measured already on the same data with the same code and parameters, by seed."""
    if not SPREAD.exists():
        return {}
    content = files.read_json(SPREAD)
    if content["measured_on"] != place:
        print(f"{SPREAD} was measured with other data, code or parameters: every seed runs again")
        return {}
    return {
        seed: {
            model: {measure: one[measure]["values"][number] for measure in MEASURES}
            for model, one in content["models"].items()
        }
        for number, seed in enumerate(content["seeds"])
    }


def summary(values: list[float]) -> dict[str, Any]:
    """Accuracies by seed with their mean and their standard deviation (of the sample: n - 1)."""
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return {
        "mean": round(statistics.mean(values), DIGITS),
        "sd": deviation and round(deviation, DIGITS),
        "values": values,
    }


def write(place: dict[str, str], measured: dict[int, Accuracies], models: list[str]) -> None:
    seeds = sorted(measured)
    content = {"measured_on": place, "n": len(seeds), "seeds": seeds, "models": {}}
    for model in models:
        training = files.read_json(Path("reports/models") / model / "training.json")
        content["models"][model] = {
            "family": training["architecture"]["family"],
            "parameters": training["parameters"]["total"],
            **{
                measure: summary([measured[seed][model][measure] for seed in seeds])
                for measure in MEASURES
            },
        }
    files.write_json(SPREAD, content)
