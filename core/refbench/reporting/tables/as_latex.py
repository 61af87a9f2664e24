r"""Tables as LaTeX: ``booktabs`` and ``graphicx`` only, one ``table`` each, for ``\input`` into a paper."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from refbench.reporting.tables.model import Column, Document, Entry, Table

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    '"': "{''}",
    "`": "{`}",
    "±": r"$\pm$",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "→": r"$\to$",
    "≥": r"$\geq$",
    "×": r"$\times$",
    "²": r"$^2$",
    # Of its own, so that no rule for hyphens parts it: a missing value is one dash.
    "–": r"\textendash{}",
}
_JOINING = "-'"
"""Letters that LaTeX joins with their like before them into another sign; braces keep them apart."""
_PREAMBLE = (
    r"% \documentclass{article}",
    r"% \usepackage{booktabs,graphicx}",
    r"% \begin{document}",
    r"% \input{this file}",
    r"% \end{document}",
)


FIT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{"
"""A table wider than the line is shrunk to it; ``refbench table --metric`` and ``--domain`` make narrower ones."""


def escape(text: str) -> str:
    r"""Return text that LaTeX prints as it is, in ASCII; a letter that has no plain form becomes ``?``.

    >>> print(escape(r"50 % of a_b\n"))
    50 \% of a\_b\textbackslash{}n
    """
    line = " ".join(text.split())
    return "".join(_letter(letter, before) for before, letter in zip(f" {line}", line, strict=False))


def _letter(letter: str, before: str = "") -> str:
    if letter in _JOINING and letter == before:
        return f"{{{letter}}}"
    if letter in _ESCAPES:
        return _ESCAPES[letter]
    if letter.isascii():
        return letter if letter.isprintable() else "?"
    plain = unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
    return "".join(_ESCAPES.get(part, part) for part in plain if part.isprintable()) or "?"


def latex(document: Document) -> str:
    """Return all tables as LaTeX; the best value is bold, the second best underlined."""
    notes = [f"% {escape(note)}" for note in (document.title, *document.all_notes("Bold", "Underlined"))]
    head = ("% Compiles as the body of:", *_PREAMBLE, *notes)
    return "\n".join((*head, *(_table(table) for table in document.tables))) + "\n"


def _table(table: Table) -> str:
    layout = "".join("r" if column.is_number else "l" for column in table.columns)
    caption = " ".join(f"{text.rstrip('.')}." for text in (table.title, *table.notes))
    return "\n".join(
        (
            "",
            r"\begin{table}[htbp]",
            r"\centering\scriptsize\setlength{\tabcolsep}{3pt}",
            rf"\caption{{{escape(caption)}}}",
            rf"\label{{tab:{_label(table.name)}}}",
            FIT + rf"\begin{{tabular}}{{{layout}}}",
            r"\toprule",
            " & ".join(escape(column.heading) for column in table.columns) + r" \\",
            r"\midrule",
            *(_row([_entry(*pair) for pair in zip(table.columns, row, strict=True)]) for row in table.rows),
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table}",
        )
    )


def _row(entries: list[str]) -> str:
    # After a line's end or a rule, LaTeX would take a bracket or a star for an argument.
    start = "{}" if entries[0].startswith(("[", "*")) else ""
    return start + " & ".join(entries) + r" \\"


def _label(name: str) -> str:
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name)


def _entry(column: Column, entry: Entry) -> str:
    text = escape(entry.text)
    if column.is_number:
        text = text.replace("-", "$-$")
    command = {"best": r"\textbf", "second": r"\underline"}.get(entry.mark)
    return text if command is None else f"{command}{{{text}}}"
