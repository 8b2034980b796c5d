"""The run record: what cannot be re-created. It is kept apart from results, which carry no time,
host or version."""

import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import keras

from stages.runtime import git
from stages.training import backend


def describe_run(fit_seconds: float, seconds: float, epochs: int) -> dict[str, Any]:
    """When and where this process trained, with which versions, and how long it took: `fit_seconds`
    for all epochs, of earlier sittings too, and `seconds` with what followed them."""
    return {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": {
            "fit": round(fit_seconds, 2),
            "an_epoch": round(fit_seconds / epochs, 2),
            "all": round(seconds, 2),
        },
        "revision": read_revision(),
        "versions": {
            "python": platform.python_version(),
            "keras": keras.version(),
            **{name: sys.modules[name].__version__ for name in (keras.config.backend(), "numpy")},
        },
        "hardware": {
            "platform": platform.platform(),
            "processor": read_processor(),
            "cores": os.cpu_count(),
            **backend.describe_platform(),
        },
    }


def read_revision() -> str | None:
    """The commit of the working tree, with ``-dirty`` behind it when files differ; None outside
    git."""
    return git.ask("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def read_processor() -> str:
    """The processor's name as Linux tells it, else as Python does."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )
