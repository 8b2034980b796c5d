"""The table of all experiments as Markdown: ``replications/table.md``."""

from typing import Any

from stages.replications.overview import format_share


def format_table(rows: list[dict[str, Any]]) -> str:
    """The table for people, a section a document."""
    lines = []
    for document in dict.fromkeys(one["document"] for one in rows):
        some = [one for one in rows if one["document"] == document]
        if lines:
            lines.append("")
        lines += [f"## {document}", "", *format_section(some)]
    return "\n".join([*lines, ""])


def format_section(rows: list[dict[str, Any]]) -> list[str]:
    """The lines of one document's table."""
    lines = [
        "| experiment | parameters | published | obtained | of | images | measured on | epochs "
        "| seeds | budget | computed by | minutes | verdict | notes |",
        "|---|--:|--:|--:|---|--:|--:|--:|--:|---|---|--:|---|---|",
    ]
    return lines + [f"| {' | '.join(map(str, format_row(one)))} |" for one in rows]


def format_row(one: dict[str, Any]) -> list[Any]:
    """The cells of one experiment."""
    published = "none" if one["published"] is None else f"{one['published']:.4f}"
    last = [one["expected_minutes"], one["verdict"], one["notes"]]
    if "obtained" not in one:
        return [one["experiment"], "", published, "", one["of"], *[""] * 6, *last]
    same = (
        "✓"
        if one["parameters"] == one["parameters_published"]
        else f"(published: {one['parameters_published']:,})"
    )
    spread = "" if one["spread"] is None else f" (sd of seeds {one['spread']:.4f})"
    return [
        one["experiment"],
        f"{one['parameters']:,} {same}",
        published,
        f"{one['obtained']:.4f} ± {one['standard_error']:.4f}{spread}",
        one["of"],
        *(format_condition(one, name) for name in ("training_images", "measured_images", "epochs")),
        one["seeds"],
        one["budget"],
        one["computed_by"] or "",
        *last,
    ]


def format_condition(one: dict[str, Any], name: str) -> str:
    """A number of ours, and how it stands beside the document's: ``640 of 3,454 (19%)``. Of the
    epochs, where both had the same rule to stop, both numbers alone: ``33 (document: 35)``."""
    ours, theirs, share = one[name], one[f"{name}_published"], one[f"{name}_share"]
    if ours == theirs or theirs is None:
        return f"{ours:,}"
    if share == 1:
        return f"{ours:,} (document: {theirs:,})"
    return f"{ours:,} of {theirs:,} ({format_share(share)})"
