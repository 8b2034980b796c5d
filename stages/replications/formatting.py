"""The table of all experiments as Markdown: ``replications/table.md``."""

from typing import Any


def format_table(rows: list[dict[str, Any]]) -> str:
    """The table as Markdown, with a section per document."""
    lines = []
    for document in dict.fromkeys(row["document"] for row in rows):
        section = [row for row in rows if row["document"] == document]
        lines += [f"## {document}", "", *format_section(section), ""]
    return "\n".join(lines)


def format_section(rows: list[dict[str, Any]]) -> list[str]:
    """The lines of one document's table."""
    lines = [
        "| experiment | parameters | published | obtained | of | images | measured on | epochs "
        "| seeds | budget | computed by | minutes | verdict | notes |",
        "|---|--:|--:|--:|---|--:|--:|--:|--:|---|---|--:|---|---|",
    ]
    return lines + [f"| {' | '.join(map(str, format_row(row)))} |" for row in rows]


def format_row(row: dict[str, Any]) -> list[Any]:
    """The cells of one experiment."""
    published = "none" if row["published"] is None else f"{row['published']:.4f}"
    last = [row["expected_minutes"], row["verdict"], row["notes"]]
    if "obtained" not in row:
        return [row["experiment"], "", published, "", row["of"], *[""] * 6, *last]
    same = (
        "✓"
        if row["parameters"] == row["parameters_published"]
        else f"(published: {row['parameters_published']:,})"
    )
    spread = "" if row["spread"] is None else f" (sd of seeds {row['spread']:.4f})"
    return [
        row["experiment"],
        f"{row['parameters']:,} {same}",
        published,
        f"{row['obtained']:.4f} ± {row['standard_error']:.4f}{spread}",
        row["of"],
        *(format_condition(row, name) for name in ("training_images", "measured_images", "epochs")),
        row["seeds"],
        row["budget"],
        row["computed_by"] or "",
        *last,
    ]


def format_condition(row: dict[str, Any], name: str) -> str:
    """A number of ours beside the document's: ``640 of 3,454 (19%)``. For epochs, if both had the
    same stopping rule, without the share: ``33 (document: 35)``."""
    ours, theirs, share = row[name], row[f"{name}_published"], row[f"{name}_share"]
    if ours == theirs or theirs is None:
        return f"{ours:,}"
    if share == 1:
        return f"{ours:,} (document: {theirs:,})"
    return f"{ours:,} of {theirs:,} ({format_share(share)})"


def format_share(share: float) -> str:
    """A share in per cent; below one, ``<1%`` instead of 0 %."""
    return f"{share:.0%}" if share >= 0.01 else "<1%"
