"""The Optuna study behind a search: its storage, what it is bound to, and its trials."""

import contextlib
import json
import warnings
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from commands.searching.schema import Search, Values
from stages.runtime.errors import UserError

BOUND = ("model", "objective", "seeds", "space")  # keys of a search that its trials depend on
Settings = dict[str, Any]  # values by dotted key of params.yaml


def open_study(
    name: str, search: Search, bound_to: dict[str, Any], seed: int, database: Path
) -> optuna.Study:
    """The study `name` in `database`, a new one if there is none. `bound_to` is what the trials'
    results depend on. Raises `UserError` where the study began with something else."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    database.parent.mkdir(parents=True, exist_ok=True)
    settings = {
        "storage": f"sqlite:///{database}",
        "study_name": name,
        "direction": "maximize" if search.maximizes else "minimize",
        "load_if_exists": True,
    }
    study = optuna.create_study(**settings)
    bound_to = json.loads(json.dumps(bound_to | search.model_dump(include=set(BOUND))))
    trials = len(study.get_trials(deepcopy=False))
    if not trials:  # it may have been of another objective, and so of another direction
        delete_study(name, database)
        study = optuna.create_study(**settings)
        study.set_user_attr("bound_to", bound_to)
    check_bound(name, study.user_attrs["bound_to"], bound_to)
    # a sampler with the same seed would begin with the same trials again
    study.sampler, study.pruner = make_sampler(search, (seed + trials) % 2**32), make_pruner(search)
    return study


def check_bound(name: str, began_with: dict[str, Any], now: dict[str, Any]) -> None:
    if changed := list_changes(began_with, now):
        raise UserError(
            f"the study {name} began with another {', another '.join(changed)}: old and new trials "
            "would not compare. Bring that back, or copy the file to another name for a study of "
            "its own, or delete the old study by --anew"
        )


def list_changes(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """The dotted keys whose values differ."""
    changed = []
    for key in {**old, **new}:
        one, other = old.get(key), new.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            changed += list_changes(one, other, f"{prefix}{key}.")
        elif one != other:
            changed.append(prefix + key)
    return changed


def make_sampler(search: Search, seed: int) -> optuna.samplers.BaseSampler:
    """Raises TypeError or ValueError where Optuna refuses the arguments."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        kind = getattr(optuna.samplers, search.sampler)
        return kind(**search.sampler_arguments, seed=seed)


def make_pruner(search: Search) -> optuna.pruners.BasePruner:
    """As `make_sampler`."""
    return getattr(optuna.pruners, search.pruner)(**search.pruner_arguments)


def delete_study(name: str, database: Path) -> None:
    """Delete a study; one that there is not is no mistake."""
    if database.exists():
        with contextlib.suppress(KeyError):
            optuna.delete_study(study_name=name, storage=f"sqlite:///{database}")


def label(value: Any) -> Any:
    """A value as Optuna takes it as a choice: a list or map as text."""
    return json.dumps(value) if isinstance(value, list | dict) else value


def suggest(trial: Trial, space: dict[str, Values]) -> Settings:
    """What Optuna suggests for a new trial, or suggested for one that it knows."""
    settings = {}
    for key, values in space.items():
        if values.choice is not None:
            by_label = {label(one): one for one in values.choice}
            settings[key] = by_label[trial.suggest_categorical(key, list(by_label))]
        elif values.is_whole:
            step = values.step or 1
            settings[key] = trial.suggest_int(
                key, values.low, values.high, step=step, log=values.log
            )
        else:
            value = trial.suggest_float(
                key, values.low, values.high, step=values.step, log=values.log
            )
            settings[key] = values.settle(value)
    return settings


def read_settings(trial: FrozenTrial, space: dict[str, Values]) -> Settings:
    """The settings of a trial that Optuna knows."""
    settings = {}
    for key, values in space.items():
        by_label = {label(one): one for one in values.choice or ()}
        value = trial.params[key]
        settings[key] = by_label[value] if by_label else values.settle(value)
    return settings


def express(settings: Settings, space: dict[str, Values]) -> dict[str, Any] | None:
    """`settings` as Optuna stores them; None where one lies outside the space."""
    for key, values in space.items():
        if not values.holds(settings[key]):
            return None
    return {key: label(settings[key]) for key in space}


def identify_trial(trial: FrozenTrial, space: dict[str, Values]) -> str:
    """A text that is equal for trials of equal values."""
    return identify({key: space[key].settle(value) for key, value in trial.params.items()})


def identify(settings: Settings) -> str:
    """A text that is equal for equal settings."""
    return json.dumps(settings, sort_keys=True)


def tell(
    study: optuna.Study, trial: Trial | FrozenTrial, value: float | None, state: TrialState
) -> None:
    """Finish a trial. BruteForceSampler, when it has tried all, asks `Study.optimize` to stop, and
    there is none here: it fails, after the result is stored."""
    with contextlib.suppress(RuntimeError):
        study.tell(trial.number, value, state)
    if study.get_trials(deepcopy=False)[trial.number].state != state:
        raise RuntimeError(f"Optuna did not take the result of trial {trial.number}")


def find_best(study: optuna.Study) -> FrozenTrial | None:
    """The best complete trial, the first of equals; None where there is none."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    sign = -1 if study.direction == optuna.study.StudyDirection.MAXIMIZE else 1
    return min(complete, key=lambda one: (sign * one.value, one.number), default=None)
