"""The states of the project that a review compares: commits, experiments, or the working tree."""

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
PIPELINE = "the pipeline"  # a key of `Revision.damaged`


def strip_markup(text: str) -> str:
    """Untrusted text in one line, without characters that are markup in Markdown or HTML, or a
    mention on GitHub."""
    return escape.terminal(" ".join(re.sub(r"[`<>|@*\[\]~&$\\]", " ", str(text)).split()))


@dataclass(frozen=True)
class Revision:
    """A commit, or the working tree if `commit` is None. Whatever a revision lacks is None or
    empty; so is what is damaged, which `damaged` then names."""

    name: str  # in words
    commit: str | None

    @cached_property
    def damaged(self) -> dict[str, str]:
        """What is wrong with the damaged files that were read so far, by their paths."""
        return {}

    @cached_property
    def _reports(self) -> dict[tuple[str, str], Any]:
        return {}

    def read_text(self, path: str) -> str | None:
        """The text of a file; that of a commit comes from git."""
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

    def read_json(self, path: str) -> dict[str, Any] | None:
        text = self.read_text(path)
        if text is None:
            return None
        try:
            content = json.loads(text)
            schema = SCHEMAS.get(path, SCHEMAS[Path(path).name])
            schema.validate_python(content, strict=True)  # the content itself is used
            return content
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            self.damaged[path] = strip_markup(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
        except (ValueError, RecursionError) as error:
            self.damaged[path] = strip_markup(str(error))
        return None

    def read_table(self, path: str) -> pd.DataFrame | None:
        text = self.read_text(path)
        if text is None:
            return None
        names = {"actual": str, "predicted": str}  # class names, which may be digits
        try:
            table = pd.read_csv(io.StringIO(text), keep_default_na=False, dtype=names)
        except ValueError as error:
            self.damaged[path] = strip_markup(str(error))
            return None
        if lacking := COLUMNS[Path(path).name] - set(table):
            self.damaged[path] = f"it lacks the column {min(lacking)}"
            return None
        for name in names.keys() & set(table):
            table[name] = table[name].map(escape.from_spreadsheet)
        return table

    def read_report(self, model: str, name: str) -> Any:
        """The content of a file that evaluate wrote for a model; read only once."""
        if (model, name) not in self._reports:
            read = self.read_json if name.endswith(".json") else self.read_table
            self._reports[model, name] = read(f"reports/models/{model}/{name}")
        return self._reports[model, name]

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """The headline metrics of each model that has results."""
        return self.read_json("reports/metrics.json") or {}

    @property
    def models(self) -> list[str]:
        """The models that have results."""
        return list(self.metrics)

    @cached_property
    def selected(self) -> str | None:
        return (self.read_json("reports/selection.json") or {}).get("selected")

    @cached_property
    def lock(self) -> lockfile.Lock:
        try:
            text = self.read_text("dvc.lock")
            return lockfile.parse(text) if text else {}
        except UserError:
            self.damaged["dvc.lock"] = "it is not a DVC lock file"
            return {}

    @cached_property
    def dataset(self) -> str | None:
        return self.parameters.get("dataset")

    @cached_property
    def parameters(self) -> dict[str, Any]:
        try:
            text = self.read_text("params.yaml") or "{}"
            return dict(parse_yaml(text, Path("params.yaml")) or {})
        except (UserError, TypeError, ValueError) as error:  # the latter two: it is not a mapping
            self.damaged["params.yaml"] = strip_markup(str(error))
            return {}

    def read_options(self, current: Params) -> tuple[Review, Gate]:
        """The ``review`` and ``gate`` by which the revision is to be judged. Keys that it lacks,
        perhaps because they are newer, come from the `current` parameters. Raises `UserError`."""
        if self.commit is None:
            return current.review, current.gate
        try:
            return tuple(
                type(part).model_validate(part.model_dump() | (self.parameters.get(key) or {}))
                for key, part in (("review", current.review), ("gate", current.gate))
            )
        except (ValidationError, TypeError) as error:  # TypeError: it is not a section
            raise UserError(
                f"params.yaml of {self.name}: review or gate is not valid in this version: {error}"
            ) from None

    @cached_property
    def data(self) -> str | None:
        """The digest of the data set."""
        return lockfile.read_digests(self.lock, "split").get(f"data/raw/{self.dataset}")

    @cached_property
    def outdated(self) -> list[Outdated]:
        """The stages whose results do not belong to the revision's code and parameters, or are
        missing."""
        try:
            return outdated.find_outdated(self.commit)
        except repository.Unreadable as error:
            self.damaged[PIPELINE] = strip_markup(str(error))
            return []

    def is_stale(self, model: str) -> bool:
        """Whether the results of a model belong to other code, data or parameters than the
        revision's."""
        makers = {
            *outdated.DATA,
            "fingerprint",  # until it has run, it is unknown which trainings the code changed
            f"train@{model}",
            f"evaluate@{model}",
        }
        names = {stage.stage for stage in self.outdated if stage.stale}
        names |= {name.split("@")[0] for name in names if name.startswith("data/")}
        return PIPELINE in self.damaged or not makers.isdisjoint(names)

    @cached_property
    def tested_on(self) -> tuple[str | None, ...]:
        """Digests of the test images' array, of the data set, and of its split."""
        array = lockfile.read_digests(self.lock, "export").get("data/prepared/test.npy")
        return array, self.data, lockfile.read_digests(self.lock, "split", "outs").get("data/split")


def have_same_test_data(base: Revision, head: Revision) -> bool:
    """Whether both were tested on the same images: the same array, or the same split of the same
    data set, perhaps preprocessed differently."""
    (array, *split), (head_array, *head_split) = base.tested_on, head.tested_on
    return array == head_array is not None or (split == head_split and None not in split)


def list_damages(*revisions: Revision | None) -> list[str]:
    """A sentence for each damaged file among those that were read so far."""
    return [
        f"{path} in {revision.name} is damaged: {fault}."
        for revision in revisions
        if revision
        for path, fault in revision.damaged.items()
    ]


def list_changed_parameters(base: Revision, head: Revision) -> list[dict[str, Any]]:
    """The parameters that differ, as in ``dvc params diff``: name, old, new; a missing value is
    None."""
    with Repo() as repo:
        changes = repo.params.diff(
            a_rev=base.commit, b_rev=head.commit or "workspace", targets=PARAMETERS
        ).get("diff", {})
    return [
        {"name": name, "old": values.get("old"), "new": values.get("new")}
        for file in sorted(changes)
        for name, values in sorted(changes[file].items())
    ]


def list_missing_outputs() -> list[str]:
    """The outputs of the pipeline that DVC's cache does not hold."""
    with Repo() as repo:
        return sorted(
            str(out)
            for out in repo.index.outs
            if out.use_cache and out.hash_info and out.changed_cache()
        )
