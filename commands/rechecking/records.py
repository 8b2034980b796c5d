"""What records say of the results of a training: which backend and devices computed them, and that
a recheck has carried them over."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from commands.rechecking import budget
from commands.rechecking.stale import Training
from stages.replications.options import TRAINED
from stages.runtime.errors import UserError
from stages.storage import files
from stages.training import backend


def locate_run_record(training: Training) -> Path:
    """The path of a training's run record; that of a replication holds one for each seed."""
    if training.pipeline == budget.ROOT:
        return Path("models") / training.key / "run.json"
    return Path("replications/runs") / f"{training.key}.json"


def note_carried_over(training: Training, revision: str, steps: int) -> None:
    """Add to the run record, which DVC does not track, where the results come from. Raises
    `UserError` if it is damaged."""
    note = {
        "from": revision,
        "steps_equal": steps,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    path = locate_run_record(training)
    content = read_record(path)
    if training.pipeline == budget.ROOT:
        files.write_json(path, content | {"carried_over": note})
    elif path.exists():
        records = {seed: record | {"carried_over": note} for seed, record in content.items()}
        files.write_json(path, records)


def find_other_platform(training: Training) -> str | None:
    """Why a comparison on this machine's CPU with the present backend may prove nothing about the
    results of a training; None if all records of them name that platform. Raises `UserError` if a
    record is damaged."""
    platforms = list_platforms(training)
    if not platforms:
        return (
            "no record here says which backend and device computed its results; "
            f"{locate_descriptions(training)[0]} would"
        )
    if any(devices != "cpu" for _, devices in platforms):
        return "its results were computed on a GPU, which does not give the same bits twice"
    present = backend.choose_backend()
    if others := sorted({used for used, _ in platforms} - {present}):
        return (
            f"its results were computed with {others[0]}, but this comparison would use {present}: "
            f"set KERAS_BACKEND={others[0]}"
        )
    return None


def list_platforms(training: Training) -> set[tuple[str, str]]:
    """The backends and kinds of device, such as ``("tensorflow", "cpu")``, that computed the
    results of a training according to any record of them. The run record of a model exists only
    where it was trained; the descriptions come with the results, but older ones lack this. Raises
    `UserError` if a record is damaged."""
    named = {read_record(path).get("computed_by") for path in locate_descriptions(training)}
    platforms = {name.partition(" on ")[::2] for name in named - {None}}
    path = locate_run_record(training)
    content = read_record(path)
    try:
        for record in [content] if training.pipeline == budget.ROOT else content.values():
            devices = record.get("hardware", {}).get("devices", ["cpu:0"])  # old ones list none
            kinds = {name.partition(":")[0] for name in devices}
            used = {*record.get("versions", {})} & {*backend.BACKENDS}
            platforms |= {(name, kind) for name in used for kind in kinds}
    except (AttributeError, TypeError):
        raise UserError(f"{path} is damaged: move it away") from None
    return platforms


def read_record(path: Path) -> dict[str, Any]:
    """The content of a JSON file; empty if there is none. Raises `UserError` if it is damaged."""
    content = files.read_json(path) if path.exists() else {}
    if not isinstance(content, dict):
        raise UserError(f"{path} is damaged: move it away")
    return content


def locate_descriptions(training: Training) -> list[Path]:
    """The paths of the descriptions of a training's results that DVC or git tracks."""
    if training.pipeline == budget.ROOT:
        return [
            Path("models") / training.key / "training.json",
            Path("reports/models") / training.key / "training.json",
        ]
    trained = TRAINED / training.key
    return [
        Path("replications/results") / training.key / "result.json",
        *sorted(trained.glob("*/training.json")),
    ]
