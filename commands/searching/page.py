"""Write the results of a search: a table of the trials, and a page that needs no internet
access."""

import warnings
from collections import Counter
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
import optuna
import pandas as pd
from markupsafe import Markup
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from optuna.trial import FrozenTrial, TrialState
from optuna.visualization import matplotlib as plots

from commands.searching import studies
from commands.searching.confirmation import Confirmation, read_test
from commands.searching.reading import FOLDER
from commands.searching.schema import Search
from stages.images.data_uri import encode_bytes
from stages.page.templates import TEMPLATES as PAGE
from stages.page.templates import make_environment
from stages.storage import files

matplotlib.use("agg")
MAX_HORIZONTAL = 5  # keys whose labels fit side by side on parallel coordinates
MIN_COMPLETE = 2  # different complete trials that a picture of the parameters needs
WORDS = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "unfinished",
}


def tabulate(name: str, search: Search, trials: list[FrozenTrial]) -> pd.DataFrame:
    """One row per trial: trial, state, the objective, epochs, the searched keys, and the experiment
    of a complete one; `note`: why it or its last training failed, or the trial that it
    equals."""
    rows = []
    for trial in trials:
        if trial.state not in WORDS or trial.params.keys() < search.space.keys():
            continue  # Optuna was still suggesting when the search was stopped
        equals = trial.user_attrs.get(studies.EQUALS)
        complete = trial.state == TrialState.COMPLETE
        rows.append(
            {
                "trial": trial.number,
                "state": WORDS[trial.state],
                search.objective: trial.value if complete else None,
                "epochs": max(trial.intermediate_values, default=None),
                **studies.read_settings(trial, search.space),
                "experiment": f"{name}-{trial.number if equals is None else equals}"
                if complete
                else None,
                "note": trial.user_attrs.get(studies.FAILED)
                or ("" if equals is None else f"equal to trial {equals}"),
            }
        )
    return pd.DataFrame(rows).astype({"epochs": "Int64"} if rows else {})


def draw(study: optuna.Study, search: Search) -> dict[str, str]:
    """Those of Optuna's plots that the study suffices for, as data URIs by heading."""
    name = search.objective.replace("_", " ")
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    drawings = {"Best so far": lambda: draw_history(study, name)}
    if any(trial.intermediate_values for trial in study.get_trials(deepcopy=False)):
        drawings["Epochs of each trial"] = lambda: draw_epochs(study, name)
    if len({str(trial.params) for trial in complete}) >= MIN_COMPLETE:
        drawings["Importance of the parameters"] = lambda: draw_importances(study)
        drawings["Parallel coordinates"] = lambda: draw_parallel_coordinates(study, name)
    pictures = {}
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that these functions are experimental
        for heading, draw_axes in drawings.items():
            axes = draw_axes()
            for location in ("left", "center"):
                axes.set_title("", loc=location)  # the page has the heading
            figure = axes.figure
            figure.set_size_inches(11, 4.5)
            buffer = BytesIO()
            figure.savefig(buffer, format="png", dpi=100, bbox_inches="tight")
            pyplot.close(figure)
            pictures[heading] = encode_bytes(buffer.getvalue(), "png")
    return pictures


def draw_history(study: optuna.Study, objective: str) -> Axes:
    """Optuna's plot, with integer ticks for trials."""
    axes = plots.plot_optimization_history(study, target_name=objective)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("trial")
    return axes


def draw_epochs(study: optuna.Study, objective: str) -> Axes:
    """Optuna's plot, without its legend, which many trials would make longer than the page, and
    with integer ticks for epochs."""
    axes = plots.plot_intermediate_values(study)
    # the loss by epoch is the training's loss function, perhaps not that of the objective
    axes.set(xlabel="epoch", ylabel=objective.replace("validation_loss", "val_loss"))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if legend := axes.get_legend():
        legend.remove()
    return axes


def draw_importances(study: optuna.Study) -> Axes:
    """Optuna's plot, without its legend, which covers the bars and names the only series."""
    axes = plots.plot_param_importances(study)
    axes.set(xlabel="importance", ylabel="")
    if legend := axes.get_legend():
        legend.remove()
    return axes


def draw_parallel_coordinates(study: optuna.Study, objective: str) -> Axes:
    """Optuna's plot, with the last parts of the keys instead of the first, and colours of which
    none is white; the labels of many keys are rotated and their values small, so that they do not
    overlap."""
    axes = plots.plot_parallel_coordinate(study, target_name=objective)
    for lines in axes.collections:  # the best trial stays the darkest
        lines.set_cmap("viridis" if lines.cmap.name.endswith("_r") else "viridis_r")
    keys = sorted({key for trial in study.get_trials(deepcopy=False) for key in trial.params})
    names = [objective, *(key.split(".")[-1] for key in keys)]
    if len(keys) <= MAX_HORIZONTAL:
        axes.set_xticklabels(names, rotation=0)
        return axes
    axes.set_xticklabels(names, rotation=30, ha="right")
    for panel in axes.figure.axes:
        panel.tick_params(axis="y", labelsize=7)
    return axes


def list_shown(table: pd.DataFrame) -> list[str]:
    """The columns that the page shows: those that are not empty, except the experiment, whose name
    follows from the number."""
    filled = (table.notna() & (table != "")).any()
    return [name for name in table.columns[filled] if name != "experiment"]


def shorten(columns: Iterable[str]) -> dict[str, str]:
    """The header of each column: the last part of its key, if that is unique."""
    last = {column: column.split(".")[-1] for column in columns}
    counts = Counter(last.values())
    return {column: name if counts[name] == 1 else column for column, name in last.items()}


def write(study: optuna.Study, search: Search, confirmed: Confirmation | None) -> Path:
    """Write trials.csv and index.html to ``searches/NAME/``. Returns the path of the page."""
    name, trials = study.study_name, study.get_trials(deepcopy=False)
    folder = FOLDER / name
    table = tabulate(name, search, trials)
    files.write_csv(table, folder / "trials.csv")
    best = studies.find_best(study)
    content: dict[str, Any] = {
        "name": name,
        "search": search,
        "style": Markup((PAGE / "page.css").read_text(encoding="utf-8")),
        "columns": shorten(list_shown(table)),
        "rows": table.astype(object).where(table.notna(), None).to_dict("records"),
        "best": best,
        "counts": table["state"].value_counts().to_dict() if len(table) else {},
        "confirmed": confirmed,
        "test": best and read_test(study, best.number),
        "looks": len(study.user_attrs.get(studies.TESTED, {})),
        "comparisons": len(study.user_attrs.get(studies.COMPARED, [])),
        "pictures": draw(study, search) if best else {},
    }
    text = make_environment(Path(__file__).parent).get_template("study.html.jinja").render(content)
    files.write_text(folder / "index.html", text)
    return folder / "index.html"
