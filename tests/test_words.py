"""The code speaks the words of the field: retired words stand in no name, message, help text or guide."""

import io
import re
import subprocess
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RETIRED = {
    "picture": "image", "photograph": "image", "truth": "reference", "judge": "discriminator",
    "likeness": "similarity", "unlike": "dissimilarity", "twin": "counterpart, to_torch", "levelled": "nadir",
    "pointing": "rpc_bias", "keeper": "Checkpointer", "follower": "ViewOptimiser",
}  # fmt: skip
"""Parts of names, in singular, with what the field says instead."""
AS_NOUNS = {"share": "fraction"}
"""Retired where they are a name or its last part: as verbs they stay."""
ALLOWED = {
    "mask_ground_truth",  # a key of the official ResDepth configuration
    "_repair_truth_values", "test_truth_values_are_none_or_one",  # true or false
}  # fmt: skip
PHRASES = {
    r"\bpictures?\b": "image", r"\bphotographs?\b": "image", r"\bground truth\b": "reference",
    r"\bgone on from\b|\bgoes on from\b": "resumed from", r"\bstarted anew\b": "starting from scratch",
    r"\blies? nowhere\b": "has no geotransform", r"\bran away\b": "diverged",
    r"\bcomes to the reference's grid\b": "is resampled to the reference grid",
    r"\blay the initial\b": "co-register the initial DSM", r"\btiles in flight\b": "tiles processed at once",
    r"\bfurther looks? at\b": "quality check on", r"\bnoise cannot part\b": "difference is not significant",
    r"\bnothing tells how far\b": "cannot determine a depth range", r"\bgiants\b": "values above 1e30",
    r"\bkeep the reader busy\b": "maliciously nested",
}  # fmt: skip
OFFICIAL = re.compile(r"official|checkpoint", re.IGNORECASE)
"""A line that speaks of foreign files may use their words."""
GUIDES = ("README.md", "CONTRIBUTING.md", "docs/start", "docs/howto", "docs/concepts", "docs/methods", "configs")


def listed(*folders, suffixes=(".py",)):
    named = subprocess.run(["git", "ls-files", "-z", *folders], capture_output=True, text=True, cwd=ROOT, check=True)
    return [ROOT / name for name in named.stdout.split("\0") if name.endswith(suffixes) and (ROOT / name).is_file()]


def tokens(path):
    return list(tokenize.generate_tokens(io.StringIO(path.read_text()).readline))


def parts(name):
    """The words of a name in singular: ``HeldPoints`` and ``held_points`` have the same."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().split("_")
    return [word.removesuffix("s") for word in words if word]


def retired_in(name):
    if name in ALLOWED:
        return None
    words = parts(name)
    return next((word for word in words if word in RETIRED), None) or (
        words[-1] if words and words[-1] in AS_NOUNS else None
    )


@pytest.mark.parametrize("folder", ["core", "plugins", "tests", "benchmarks", "docs"])
def test_no_name_has_a_retired_word(folder):
    wrong = {}
    for path in listed(folder):
        names = {token.string for token in tokens(path) if token.type == tokenize.NAME} | {path.stem}
        wrong |= {f"{path.relative_to(ROOT)}: {name}": word for name in names if (word := retired_in(name))}
    assert not wrong


def test_no_message_help_or_docstring_has_a_retired_phrase():
    wrong = []
    for path in listed("core", "plugins"):
        for token in tokens(path):
            if token.type not in (tokenize.STRING, tokenize.COMMENT) or OFFICIAL.search(token.string):
                continue
            wrong += [f"{path.relative_to(ROOT)}:{token.start[0]}: say {ours}" for ours in said(token.string)]
    assert not wrong


def test_no_guide_has_a_retired_phrase():
    wrong = []
    for path in listed(*GUIDES, suffixes=(".md", ".yaml", ".yml")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if not OFFICIAL.search(line):
                wrong += [f"{path.relative_to(ROOT)}:{number}: say {ours}" for ours in said(line)]
    assert not wrong


def said(text):
    return [ours for phrase, ours in PHRASES.items() if re.search(phrase, text)]


def test_the_check_sees_retired_words():
    assert retired_in("picture_size") == retired_in("DepthPictures") == "picture"
    assert retired_in("near_share") == "share" and retired_in("share_blocks") is None
    assert retired_in("mask_ground_truth") is None and said("It was started anew.") == ["starting from scratch"]
