"""Public docstrings say of arrays what no signature does: shape, and unit or frame; and cite only what is here."""

import ast
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
BAR = 0.8
ARRAYS = re.compile(r"NDArray|ndarray|Tensor")
SHAPE = re.compile(
    r"\[(?!-?[01](?:\.0)?, ?[01](?:\.0)?\])[^\]\n]{1,60}\]"  # [rows, cols], but not the interval [0, 1]
    r"|\bshapes?\b|\bscalars?\b|same (?:grid|size|shape)|\bone (?:value|number)\b|\ba number\b"
    r"|\bon \w+ (?:\w+ )?grid\b",
    re.IGNORECASE,
)
UNIT = re.compile(
    r"\b(?:met(?:re|er)s?|m|px|pixels?|radians?|rad|degrees?|m²|dB|seconds?|levels?|float(?:16|32|64)?|u?int(?:8|16|32|64)"
    r"|bool|true where|units?|normalised|heights?|depths?|CRS|NDC|clip|colours?|sRGB|ratio|fraction|probabilit\w+"
    r"|logits?|counts?|numbers? of|indices|index|scores?|weights?|features?|gradients?|loss(?:es)?|frame|axes"
    r"|unit vector|corner coordinates)\b|%|\[0, 1\]|\[-1, 1\]|in \[0",
    re.IGNORECASE,
)
REFERS = re.compile(r"See ``[\w.]+``\.")
"""A method that keeps the words of its protocol is not asked again."""
CITED = re.compile(r"\bdocs/[\w/]+\.md\b")


def sources():
    listed = subprocess.run(
        ["git", "ls-files", "-z", "core", "plugins"], capture_output=True, text=True, cwd=ROOT, check=True
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name.endswith(".py") and (ROOT / name).is_file()]


def with_arrays(body):
    """Yield the public functions and methods whose signature has an array."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            # A method without words of its own keeps those of its base; ruff asks for them elsewhere.
            yield from (method for method in with_arrays(node.body) if ast.get_docstring(method))
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not node.name.startswith("_"):
            given = node.args
            notes = [a.annotation for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)] + [node.returns]
            overload = any("overload" in ast.unparse(decorator) for decorator in node.decorator_list)
            if not overload and ARRAYS.search(" ".join(ast.unparse(note) for note in notes if note is not None)):
                yield node


def says_it(text):
    return bool(SHAPE.search(text) and UNIT.search(text))


def test_four_of_five_docstrings_with_arrays_give_shape_and_unit():
    silent, asked = [], 0
    for path in sources():
        if path.name.startswith("kernels"):  # numba kernels say it where they begin
            continue
        for node in with_arrays(ast.parse(path.read_text()).body):
            text = ast.get_docstring(node) or ""
            if REFERS.fullmatch(text.strip()):
                continue
            asked += 1
            if not says_it(text):
                silent.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert asked > 400
    assert 1 - len(silent) / asked >= BAR, "\n".join(silent)


def test_the_check_tells_shape_and_unit_from_their_lack():
    assert says_it("Return heights [rows, cols] in metres.") and says_it("A scalar loss.")
    assert not says_it("Return what is there, in [0, 1].") and not says_it("Return [n, 3].")


def test_cited_documents_are_here():
    wrong = []
    for path in sources():
        text = path.read_text()
        wrong += [f"{path.relative_to(ROOT)}: {name}" for name in CITED.findall(text) if not (ROOT / name).is_file()]
        if re.search(r"\b(?:the|its) spec(?:ification)?\b", text, re.IGNORECASE):
            wrong.append(f"{path.relative_to(ROOT)}: cites a specification that is not in the repository")
    assert not wrong
