"""Tables on a Markdown page."""

from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in which bars in cells are escaped, and columns of numbers and blanks are aligned to the right."""
    columns = zip(*rows, strict=True)
    rules = ["---:" if all(not cell or cell[0] in "+-0123456789" for cell in column) else "---" for column in columns]
    lines = [head, rules, *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
