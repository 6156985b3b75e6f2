"""Plain aligned tables, for terminals and logs alike."""

from __future__ import annotations

from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[object]], indent: str = "") -> str:
    """Columns as wide as their longest entry, two spaces apart; None is a dash."""
    texts = [
        [str(h) for h in header],
        *[["–" if cell is None or cell == "" else str(cell) for cell in row] for row in rows],
    ]
    widths = [max(len(row[i]) for row in texts) for i in range(len(header))]
    lines = (indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in texts)
    return "\n".join(line.rstrip() for line in lines)


def pairs(rows: Sequence[tuple[str, object]], indent: str = "") -> str:
    """Names and values in two columns; what is None or empty is left out."""
    kept = [(name, str(value)) for name, value in rows if value is not None and value != ""]
    width = max((len(name) for name, _ in kept), default=0)
    return "\n".join(f"{indent}{name.ljust(width)}  {value}" for name, value in kept)


def markdown(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """The same as a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join("" if cell is None else str(cell).replace("|", "\\|") for cell in line) + " |"
        for line in lines
    )
