"""What the verbs share that call a plugin's readers and writers of official files."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from refbench.contracts.errors import InputError
from refbench.contracts.official import NotOfferedError
from refbench.registry.registry import load_registry
from refbench.registry.requirements import check_packages

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from refbench.contracts.official import OfficialFiles


@contextmanager
def official_files(method: str) -> Iterator[OfficialFiles]:
    """Give a method's readers and writers of official files; what it does not offer becomes a sentence.

    Raises
    ------
    UnknownNameError
        There is no such method.
    MissingExtraError
        A package of the method is missing.
    InputError
        The method offers no such thing.
    """
    record = load_registry().methods.get(method)
    if record.official is not None:
        check_packages(record)
    try:
        yield record.official_files()
    except NotOfferedError as error:
        others = ", ".join(other.name for other in load_registry().methods if other.official) or "none"
        raise InputError(f"{method} has {error}; methods with official files: {others}.") from error


def check_official_options(what: str, given: Iterable[str], known: Mapping[str, str]) -> None:
    """Refuse an option that a reader or writer does not know; ``what`` names it.

    Raises
    ------
    InputError
        The first unknown one; the message lists the valid ones.
    """
    for option in given:
        if option not in known:
            valid = "; ".join(f"{name}: {text}" for name, text in known.items()) or "none"
            raise InputError(f"{what} takes no option {option}; valid ones: {valid}.")
