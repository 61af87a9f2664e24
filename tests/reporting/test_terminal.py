import io

import pytest
from rich.table import Table
from rich.text import Text

from refbench.reporting.tables.as_csv import safe
from refbench.reporting.terminal import plain
from refbench.reporting.terminal_console import console


@pytest.mark.parametrize("acting", ["\x1b]0;title\x07", "\x9b31m", "a\rb", "\x08\x08", "\u202egnp.exe", "\x00", "\x7f"])
def test_text_of_others_does_not_act_on_the_terminal(acting):
    shown = plain(f"scene {acting} end")
    assert shown.startswith("scene ") and shown.endswith(" end")
    assert all(letter.isprintable() for letter in shown) and plain(shown) == shown


def test_letters_lines_and_tabs_stay():
    assert plain("Zürich 東京 – 5 m²\n\tok") == "Zürich 東京 – 5 m²\n\tok"


def test_a_console_prints_markup_and_sequences_of_others_as_text():
    out = io.StringIO()
    screen = console(file=out, force_terminal=True, width=200)
    table = Table(title=Text("on [red]\x1b[2J"))
    table.add_column("view")
    table.add_row(Text("\x1b[31m[/x]"))
    screen.print(table)
    screen.print("pip install 'refbench[resdepth]' :smile: [/no]")
    text = out.getvalue()
    assert "refbench[resdepth]' :smile: [/no]" in text and "[red]" in text
    assert "\x1b[2J" not in text and "\x1b[31m" not in text


@pytest.mark.parametrize("text", ["=1+1", "+1", "-x", "@SUM(A1)", " =1", "\t=1", "\r\n=cmd", "＝1+1"])
def test_csv_entries_are_no_formulas(text):
    entry = safe(text)
    assert entry.startswith("'") and entry.isprintable()


def test_a_line_end_does_not_part_a_csv_entry():
    assert safe("a\r=1\nb\u2028c\vd") == "a =1 b c d" and safe("name") == "name"
