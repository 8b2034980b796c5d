"""Two states of the project that are to be compared: commits, experiments, or the working tree."""

import io
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from dvc.repo import Repo
from pydantic import ValidationError

from commands.pipeline import lockfile, outdated, repository
from commands.pipeline.outdated import Outdated
from commands.reviewing.schemas import COLUMNS, SCHEMAS
from stages.params.reading import parse_yaml
from stages.params.schema import Gate, Params, Review
from stages.runtime import escape, git
from stages.runtime.errors import UserError

PARAMETERS = ["params.yaml", "replications/params.yaml"]
PIPELINE = "the pipeline"  # among what is damaged


def strip_markup(text: str) -> str:
    """A text from outside in one line, without the characters that Markdown or HTML takes for
    markup, or GitHub for a mention."""
    return escape.terminal(" ".join(re.sub(r"[`<>|@*\[\]~&$\\]", " ", str(text)).split()))


@dataclass(frozen=True)
class Revision:
    """A commit, or the working tree where `commit` is None. What a revision does not hold is None,
    or empty; so is what is damaged, and `damaged` then names it."""

    name: str  # in words
    commit: str | None

    @cached_property
    def damaged(self) -> dict[str, str]:
        """What is wrong with the files that were read until now and cannot be understood, by their
        paths."""
        return {}

    @cached_property
    def _reports(self) -> dict[tuple[str, str], Any]:
        return {}

    def text(self, path: str) -> str | None:
        """The text of a file, which git has where this is a commit."""
        try:
            if self.commit:
                content = git.read_file(self.commit, path)
            else:
                content = Path(path).read_bytes()
            return None if content is None else content.decode()
        except OSError:
            return None
        except UnicodeDecodeError as error:
            self.damaged[path] = strip_markup(str(error))
            return None

    def json(self, path: str) -> dict[str, Any] | None:
        text = self.text(path)
        if text is None:
            return None
        try:
            content = json.loads(text)
            SCHEMAS.get(path, SCHEMAS[path.rsplit("/")[-1]]).validate_python(content)
            return content
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            self.damaged[path] = strip_markup(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
        except (ValueError, RecursionError) as error:
            self.damaged[path] = strip_markup(str(error))
        return None

    def table(self, path: str) -> pd.DataFrame | None:
        text = self.text(path)
        if text is None:
            return None
        names = {"actual": str, "predicted": str}  # of classes: digits are names too
        try:
            table = pd.read_csv(io.StringIO(text), keep_default_na=False, dtype=names)
        except ValueError as error:
            self.damaged[path] = strip_markup(str(error))
            return None
        if lacking := COLUMNS[path.rsplit("/")[-1]] - set(table):
            self.damaged[path] = f"it lacks the column {min(lacking)}"
            return None
        for name in names.keys() & set(table):
            table[name] = table[name].map(escape.from_spreadsheet)
        return table

    def report(self, model: str, name: str) -> Any:
        """One of the files that evaluate wrote of a model, read once."""
        if (model, name) not in self._reports:
            read = self.json if name.endswith(".json") else self.table
            self._reports[model, name] = read(f"reports/models/{model}/{name}")
        return self._reports[model, name]

    @cached_property
    def models(self) -> list[str]:
        """The models that have results."""
        return list(self.json("reports/metrics.json") or {})

    @cached_property
    def selected(self) -> str | None:
        return (self.json("reports/selection.json") or {}).get("selected")

    @cached_property
    def lock(self) -> lockfile.Lock:
        try:
            text = self.text("dvc.lock")
            return lockfile.parse(text) if text else {}
        except UserError:
            self.damaged["dvc.lock"] = "it is no lock file of DVC's"
            return {}

    @cached_property
    def dataset(self) -> str | None:
        return self.parameters.get("dataset")

    @cached_property
    def parameters(self) -> dict[str, Any]:
        try:
            return dict(parse_yaml(self.text("params.yaml") or "{}", Path("params.yaml")) or {})
        except (UserError, TypeError, ValueError) as error:  # the latter two: it is no mapping
            self.damaged["params.yaml"] = strip_markup(str(error))
            return {}

    def options(self, current: Params) -> tuple[Review, Gate]:
        """How the revision wants to be judged: its ``review`` and ``gate``, those of the `current`
        parameters where it has none, or lacks a key that is newer than it."""
        if self.commit is None:
            return current.review, current.gate
        try:
            return tuple(
                type(part).model_validate(part.model_dump() | (self.parameters.get(key) or {}))
                for key, part in (("review", current.review), ("gate", current.gate))
            )
        except (ValidationError, TypeError) as error:  # TypeError: it is no section
            raise UserError(
                f"params.yaml of {self.name}: review or gate is not as this version wants it: "
                f"{error}"
            ) from None

    @cached_property
    def data(self) -> str | None:
        """The digest of the data set."""
        return lockfile.read_digests(self.lock, "split").get(f"data/raw/{self.dataset}")

    @cached_property
    def outdated(self) -> list[Outdated]:
        """The stages whose results are not those of the revision's code and parameters, or are
        missing."""
        try:
            return outdated.find_outdated(self.commit)
        except repository.Busy:
            raise
        except UserError as error:
            self.damaged[PIPELINE] = strip_markup(str(error))
            return []

    def stale(self, model: str) -> bool:
        """Whether the results of a model are those of other code, data or parameters than the
        revision's."""
        makers = {
            *outdated.DATA,
            "fingerprint",  # until it has run, nobody knows which trainings the code changed
            f"train@{model}",
            f"evaluate@{model}",
        }
        names = {one.stage for one in self.outdated if one.stale}
        names |= {name.split("@")[0] for name in names if name.startswith("data/")}
        return PIPELINE in self.damaged or not makers.isdisjoint(names)

    @cached_property
    def tested_on(self) -> tuple[str | None, ...]:
        """Digests of the test images: of the array; of the data set and of its split."""
        array = lockfile.read_digests(self.lock, "export").get("data/prepared/test.npy")
        return array, self.data, lockfile.read_digests(self.lock, "split", "outs").get("data/split")


def same_test_data(one: Revision, other: Revision) -> bool:
    """Whether both were tested on the same images: the same array, or the same data set split in
    the same way and prepared in another."""
    (array, *split), (other_array, *other_split) = one.tested_on, other.tested_on
    return array == other_array is not None or (split == other_split and None not in split)


def list_changed_parameters(base: Revision, head: Revision) -> list[dict[str, Any]]:
    """The parameters that differ, as ``dvc params diff`` finds them: name, old, new; None where
    there is none."""
    with Repo() as repo:
        found = repo.params.diff(
            a_rev=base.commit, b_rev=head.commit or "workspace", targets=PARAMETERS
        ).get("diff", {})
    return [
        {"name": name, "old": values.get("old"), "new": values.get("new")}
        for file in sorted(found)
        for name, values in sorted(found[file].items())
    ]


def list_missing_outputs() -> list[str]:
    """The outputs of the pipeline that DVC's cache does not hold."""
    with Repo() as repo:
        return sorted(
            str(out)
            for out in repo.index.outs
            if out.use_cache and out.hash_info and out.changed_cache()
        )
