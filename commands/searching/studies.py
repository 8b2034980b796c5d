"""The Optuna study behind a search: its storage, its fixed conditions, and its trials."""

import contextlib
import json
import warnings
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from commands.searching.schema import Search, Values
from stages.runtime.errors import UserError
from stages.runtime.text import first_line

BOUND = ("model", "objective", "seeds", "space")  # keys of a search on which its trials depend
SAVED = "experiments"  # the attribute of a study that lists the commits of its experiments
TESTED = "test"  # the one with the test results that were looked at, by the number of the trial
COMPARED = "comparisons"  # the one that lists the comparisons of its best trial with the base
CONFIRMED = "confirmed"  # the one with the objectives of these comparisons, by training
FAILED = "failed"  # the attribute of a trial that says why it or its last training failed
EQUALS = "equals"  # the one with the number of the first trial that has the same values
Settings = dict[str, Any]  # values by dotted key of params.yaml


def bind(search: Search, common: dict[str, Any]) -> dict[str, Any]:
    """What the results of a study's trials depend on, as JSON stores it: keys of `search`, and what
    the trials have in `common`."""
    return json.loads(json.dumps(common | search.model_dump(include=set(BOUND))))


def find_study(name: str, database: Path) -> optuna.Study | None:
    """The study `name` in `database`, if it has trials; else None. Raises `UserError` if the
    database cannot be read."""
    if not database.exists():
        return None
    try:
        study = optuna.load_study(study_name=name, storage=f"sqlite:///{database}")
        return study if study.get_trials(deepcopy=False) else None
    except KeyError:
        return None
    except Exception as error:  # of SQLAlchemy or Optuna, or what a damaged value leads to
        why = first_line(error.__cause__ or error)
        raise UserError(
            f"{database}: the studies of all searches in this folder are here, but Optuna cannot "
            f"read them: {why}. If the file is damaged, move it away: complete trials remain as "
            "experiments, but studies begin anew"
        ) from None


def open_study(
    name: str, search: Search, bound_to: dict[str, Any], seed: int, database: Path
) -> optuna.Study:
    """The study `name` in `database`; a new one, with its trials `bound_to` these conditions, if it
    has none yet."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = find_study(name, database)
    if study is None:
        delete_study(name, database)  # the objective, and with it the direction, may have changed
        database.parent.mkdir(parents=True, exist_ok=True)
        study = optuna.create_study(
            storage=f"sqlite:///{database}",
            study_name=name,
            direction="maximize" if search.maximizes else "minimize",
        )
        study.set_user_attr("bound_to", bound_to)
        study.set_user_attr(SAVED, [])
    trials = len(study.get_trials(deepcopy=False))
    # a sampler with the same seed would begin with the same trials again
    study.sampler, study.pruner = make_sampler(search, (seed + trials) % 2**32), make_pruner(search)
    return study


def check_bound(study: optuna.Study, bound_to: dict[str, Any]) -> None:
    """Raise `UserError` if what the results of the study's trials depend on has changed since it
    began."""
    if changed := list_changed_keys(study.user_attrs["bound_to"], bound_to):
        raise UserError(
            f"the study {study.study_name} began with another {', another '.join(changed)}: old "
            "and new trials would not be comparable. Restore that, or copy the file to another "
            "name for a separate study, or delete the old study with --anew"
        )


def list_changed_keys(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """The dotted keys whose values differ."""
    changed = []
    for key in {**old, **new}:
        before, now = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(now, dict):
            changed += list_changed_keys(before, now, f"{prefix}{key}.")
        elif before != now:
            changed.append(prefix + key)
    return changed


def make_sampler(search: Search, seed: int) -> optuna.samplers.BaseSampler:
    """The sampler of a search. Raises TypeError or ValueError if Optuna rejects the arguments."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        kind = getattr(optuna.samplers, search.sampler)
        return kind(**search.sampler_arguments, seed=seed)


def make_pruner(search: Search) -> optuna.pruners.BasePruner:
    """The pruner of a search. Raises like `make_sampler`."""
    return getattr(optuna.pruners, search.pruner)(**search.pruner_arguments)


def delete_study(name: str, database: Path) -> None:
    """Delete a study, if it exists."""
    if database.exists():
        with contextlib.suppress(KeyError):
            optuna.delete_study(study_name=name, storage=f"sqlite:///{database}")


def list_saved(study: optuna.Study | None) -> list[str]:
    """The commits of the experiments that a study has saved; none without a study."""
    return study.user_attrs.get(SAVED, []) if study else []


def record_saved(study: optuna.Study, commit: str) -> None:
    study.set_user_attr(SAVED, [*list_saved(study), commit])


def encode_choice(value: Any) -> Any:
    """A value as a categorical choice for Optuna: a list or map as JSON text."""
    return json.dumps(value) if isinstance(value, list | dict) else value


def suggest(trial: Trial, space: dict[str, Values]) -> Settings:
    """Optuna's suggestions for a new trial, or its former ones for an existing trial."""
    for key, values in space.items():
        if values.choice is not None:
            trial.suggest_categorical(key, [encode_choice(value) for value in values.choice])
        elif values.is_whole:
            step = values.step or 1
            trial.suggest_int(key, values.low, values.high, step=step, log=values.log)
        else:
            trial.suggest_float(key, values.low, values.high, step=values.step, log=values.log)
    return read_settings(trial, space)


def read_settings(trial: Trial | FrozenTrial, space: dict[str, Values]) -> Settings:
    """The settings of a trial that has them all."""
    settings = {}
    for key, values in space.items():
        choices = {encode_choice(value): value for value in values.choice or ()}
        value = trial.params[key]
        settings[key] = choices[value] if choices else values.snap(value)
    return settings


def encode(settings: Settings, space: dict[str, Values]) -> dict[str, Any] | None:
    """`settings` as Optuna stores them; None if one is outside the space."""
    for key, values in space.items():
        if not values.contains(settings[key]):
            return None
    return {key: encode_choice(settings[key]) for key in space}


def identify_trial(trial: FrozenTrial, space: dict[str, Values]) -> str:
    """An id that is equal for trials with equal values."""
    return identify({key: space[key].snap(value) for key, value in trial.params.items()})


def identify(settings: Settings) -> str:
    """An id that is equal for equal settings."""
    return json.dumps(settings, sort_keys=True)


def tell(
    study: optuna.Study, trial: Trial | FrozenTrial, value: float | None, state: TrialState
) -> None:
    """Tell Optuna the outcome of a trial. Raises RuntimeError if it is not stored.

    A BruteForceSampler that has tried everything stops `Study.optimize`; without that running, it
    raises RuntimeError, but only after the result is stored."""
    with contextlib.suppress(RuntimeError):
        study.tell(trial.number, value, state)
    if study.get_trials(deepcopy=False)[trial.number].state != state:
        raise RuntimeError(f"Optuna did not store the result of trial {trial.number}")


def list_unfinished(study: optuna.Study) -> list[FrozenTrial]:
    """The trials under way; in a study that no search works on, those that the next start
    resumes: the search was stopped, or their training failed."""
    return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


def find_best(study: optuna.Study) -> FrozenTrial | None:
    """The best complete trial, the first in case of ties; None if there is none."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    sign = -1 if study.direction == optuna.study.StudyDirection.MAXIMIZE else 1
    return min(complete, key=lambda trial: (sign * trial.value, trial.number), default=None)
