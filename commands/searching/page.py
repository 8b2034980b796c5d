"""What is left to look at: a table of the trials, and a page that needs no internet."""

import warnings
from collections import Counter
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pandas as pd
from markupsafe import Markup
from optuna.trial import FrozenTrial, TrialState

from commands.searching import studies
from commands.searching.confirmation import Verdict
from commands.searching.reading import FOLDER
from commands.searching.schema import Search
from stages.images.data_uri import encode_bytes
from stages.page.templates import TEMPLATES as PAGE
from stages.page.templates import make_environment
from stages.storage import files

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MANY = 5  # keys, which parallel coordinates cannot name side by side
LEAST = 2  # complete trials that a picture of the parameters needs
WORDS = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
}


def tabulate(name: str, search: Search, trials: list[FrozenTrial]) -> pd.DataFrame:
    """One row a trial: trial, state, the objective, epochs, the searched keys, and the experiment
    of a complete one; `note`: why it failed, or the trial that it equals."""
    rows = []
    for one in trials:
        if one.state not in WORDS or one.params.keys() < search.space.keys():
            continue  # Optuna was still suggesting when the search was stopped
        equals = one.user_attrs.get("equals")
        complete = one.state == TrialState.COMPLETE
        rows.append(
            {
                "trial": one.number,
                "state": WORDS[one.state],
                search.objective: one.value if complete else None,
                "epochs": max(one.intermediate_values, default=None),
                **studies.read_settings(one, search.space),
                "experiment": f"{name}-{one.number if equals is None else equals}"
                if complete
                else None,
                "note": one.user_attrs.get("failed")
                or ("" if equals is None else f"equal to trial {equals}"),
            }
        )
    return pd.DataFrame(rows).astype({"epochs": "Int64"} if rows else {})


def draw(study: optuna.Study, search: Search) -> dict[str, str]:
    """Optuna's pictures of the study, as data URIs by heading; those that it can draw."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    name = search.objective.replace("_", " ")
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    drawn = {"Best so far": lambda: draw_history(study, name)}
    if any(one.intermediate_values for one in study.get_trials(deepcopy=False)):
        drawn["Epochs of each trial"] = lambda: draw_epochs(study, name)
    if len({str(one.params) for one in complete}) >= LEAST:
        drawn["Importance of the parameters"] = lambda: draw_importances(study)
        drawn["Parallel coordinates"] = lambda: draw_parallel_coordinates(study, name)
    found = {}
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that these functions may change
        for heading, plot in drawn.items():
            axes = plot()
            for place in ("left", "center"):
                axes.set_title("", loc=place)  # the heading says it
            figure = axes.figure
            figure.set_size_inches(11, 4.5)
            buffer = BytesIO()
            figure.savefig(buffer, format="png", dpi=100, bbox_inches="tight")
            pyplot.close(figure)
            found[heading] = encode_bytes(buffer.getvalue(), "png")
    return found


def draw_history(study: optuna.Study, objective: str) -> "Axes":
    """Optuna's picture, with whole numbers of trials."""
    from matplotlib.ticker import MaxNLocator
    from optuna.visualization.matplotlib import plot_optimization_history

    axes = plot_optimization_history(study, target_name=objective)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return axes


def draw_epochs(study: optuna.Study, objective: str) -> "Axes":
    """Optuna's picture, without its legend, which many trials make longer than the page, and with
    whole numbers of epochs."""
    from matplotlib.ticker import MaxNLocator
    from optuna.visualization.matplotlib import plot_intermediate_values

    axes = plot_intermediate_values(study)
    # the loss of an epoch is the one that is trained on, which may be another than the objective's
    axes.set(xlabel="epoch", ylabel=objective.replace("validation_loss", "val_loss"))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if legend := axes.get_legend():
        legend.remove()
    return axes


def draw_importances(study: optuna.Study) -> "Axes":
    """Optuna's picture, without its legend, which covers the bars and names the only series."""
    from optuna.visualization.matplotlib import plot_param_importances

    axes = plot_param_importances(study)
    axes.set(xlabel="importance", ylabel="")
    if legend := axes.get_legend():
        legend.remove()
    return axes


def draw_parallel_coordinates(study: optuna.Study, objective: str) -> "Axes":
    """Optuna's picture, with the last parts of the keys, where Optuna shows the first ones; many
    keys stand aslant, and their values small, or they would cover each other."""
    from optuna.visualization.matplotlib import plot_parallel_coordinate

    axes = plot_parallel_coordinate(study, target_name=objective)
    keys = sorted({key for one in study.get_trials(deepcopy=False) for key in one.params})
    names = [objective, *(key.split(".")[-1] for key in keys)]
    if len(keys) <= MANY:
        axes.set_xticklabels(names, rotation=0)
        return axes
    axes.set_xticklabels(names, rotation=30, ha="right")
    for one in axes.figure.axes:
        one.tick_params(axis="y", labelsize=7)
    return axes


def list_shown(table: pd.DataFrame) -> list[str]:
    """The columns that the page shows: those that say anything, without the experiment, which is
    called by the number."""
    telling = (table.notna() & (table != "")).any()
    return [name for name in table.columns[telling] if name != "experiment"]


def shorten(columns: Iterable[str]) -> dict[str, str]:
    """What stands above each column: of a key its last part, where no other column has that."""
    last = {column: column.split(".")[-1] for column in columns}
    counts = Counter(last.values())
    return {column: name if counts[name] == 1 else column for column, name in last.items()}


def write(
    name: str,
    search: Search,
    study: optuna.Study,
    verdict: Verdict | None = None,
    test: dict[str, float] | None = None,
) -> Path:
    """Write trials.csv and index.html into ``searches/NAME/``. Returns the page's path."""
    folder, trials = FOLDER / name, study.get_trials(deepcopy=False)
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
        "verdict": verdict,
        "test": test,
        "looks": len(study.user_attrs.get("test", {})),
        "comparisons": len(study.user_attrs.get("comparisons", [])),
        "pictures": draw(study, search) if best else {},
    }
    text = make_environment(Path(__file__).parent).get_template("study.html.jinja").render(content)
    files.write_text(folder / "index.html", text)
    return folder / "index.html"
