"""What each opcode of a pickle does to the machine."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from refbench.weights.pickle_limits import Unreadable, refused_call, shown
from refbench.weights.pickle_machine import DICT, LIST, SET, SLOT, TUPLE, Machine

if TYPE_CHECKING:
    from collections.abc import Callable

HIGHEST_PROTOCOL = 5
MAX_NUMBER = 256
"""Bytes or digits of one number; seeds and states of random generators have 16 at most."""


def run(machine: Machine) -> Any:  # noqa: ANN401  # whatever was pickled
    """Return the value of the pickle at which the machine stands; its file then stands behind it.

    Raises
    ------
    Unreadable
        The pickle is damaged or asks for what no checkpoint needs.
    """
    stop = ord(".")
    while (code := machine.read(1)[0]) != stop:
        step = _STEPS.get(code)
        if step is None:
            raise Unreadable(f"is no pickle: there is no opcode {code:#04x}")
        step(machine)
    return machine.pop()


_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|.)", re.DOTALL)
_SIMPLE = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}


def _unescaped(line: bytes) -> str:
    """Return the text of a quoted string of protocol 0."""
    if len(line) < 2 or line[:1] not in b"'\"" or line[-1:] != line[:1]:
        raise Unreadable("is damaged: a text in a pickle lacks its quotes")

    def plain(found: re.Match[bytes]) -> bytes:
        code = found[1]
        if code[:1] == b"x" and len(code) == 3:
            return bytes([int(code[1:], 16)])
        if re.fullmatch(rb"[0-7]{1,3}", code):
            return bytes([int(code, 8) & 255])
        return _SIMPLE.get(code, code)

    return _ESCAPE.sub(plain, line[1:-1]).decode("latin1")


def _integer(line: bytes) -> int:
    if len(line) > MAX_NUMBER or not re.fullmatch(rb"[+-]?[0-9]+L?", line):
        raise Unreadable(f"is damaged: a pickle has {shown(line[:20].decode('latin1'))} for a whole number")
    return int(line.removesuffix(b"L"))


def _index(line: bytes) -> int:
    if not re.fullmatch(rb"[0-9]{1,10}", line):
        raise Unreadable("is damaged: a pickle numbers a value by what is no number")
    return int(line)


def _real(line: bytes) -> float:
    try:
        return float(line if len(line) <= MAX_NUMBER else b"too long")
    except ValueError:
        raise Unreadable(f"is damaged: a pickle has {shown(line[:20].decode('latin1'))} for a number") from None


def _int_or_bool(m: Machine) -> None:
    line = m.line()
    m.push({b"00": False, b"01": True}[line] if line in (b"00", b"01") else _integer(line))


def _long(m: Machine, size: int) -> None:
    if not 0 <= size <= MAX_NUMBER:
        raise Unreadable(f"has a whole number of {size} bytes, which no checkpoint has; it was not read")
    m.push(int.from_bytes(m.read(size), "little", signed=True))


def _text(m: Machine, size: int) -> None:
    m.push_new(m.read(size).decode("utf-8", "surrogatepass"), TUPLE + 4 * size)


def _bytes(m: Machine, size: int) -> None:
    m.push_new(m.read(size), TUPLE + size)


def _old_text(m: Machine, size: int) -> None:
    # Python 2 wrote bytes as text: latin-1 is the encoding that loses nothing of them.
    m.push_new(m.read(size).decode("latin1"), TUPLE + 4 * size)


def _line_text(m: Machine, decode: Callable[[bytes], str]) -> None:
    line = m.line()
    m.push_new(decode(line), TUPLE + 4 * len(line))


def _protocol(m: Machine) -> None:
    if (protocol := m.number("<B")) > HIGHEST_PROTOCOL:
        raise Unreadable(f"is a pickle of protocol {protocol}; up to {HIGHEST_PROTOCOL} is read")


def _put_pair(m: Machine) -> None:
    value, key = m.pop(), m.pop()
    m.fill([key, value])


def _append(m: Machine) -> None:
    value = m.pop()
    m.extend([value])


def _tuple_of(m: Machine, count: int) -> None:
    m.push_tuple([m.pop() for _ in range(count)][::-1])


def _table(m: Machine) -> None:
    items = m.group()
    m.push_new({}, DICT)
    m.fill(items)


def _list(m: Machine) -> None:
    items = m.group()
    m.push_new(items, LIST + SLOT * len(items))


def _pop(m: Machine) -> None:
    # On an empty group this takes the mark, as Python's own reader does.
    if m.stack:
        m.stack.pop()
    else:
        m.group()


def _drop_group(m: Machine) -> None:
    m.group()


def _global(m: Machine) -> None:
    module = m.line().decode("utf-8")
    m.name(module, m.line().decode("utf-8"))


def _stack_global(m: Machine) -> None:
    name, module = m.pop(), m.pop()
    m.name(module, name)


def _reduce(m: Machine) -> None:
    args, target = m.pop(), m.pop()
    m.call(target, args)


def _new(m: Machine) -> None:
    args, target = m.pop(), m.pop()
    m.call(target, args, is_new=True)


def _new_with_names(m: Machine) -> None:
    names, args, target = m.pop(), m.pop(), m.pop()
    if not isinstance(names, dict):
        raise Unreadable("is damaged: a pickle calls with names that are no table")
    m.call(target, (*args, *names.values()) if isinstance(args, tuple) else args, is_new=True)


def _inst(m: Machine) -> None:
    _global(m)
    target = m.pop()
    m.call(target, tuple(m.group()))


def _obj(m: Machine) -> None:
    target, *args = m.group() or [None]
    m.call(target, tuple(args))


def _extension(m: Machine) -> None:
    raise refused_call("an extension code of copyreg")


def _outside_buffer(m: Machine) -> None:
    raise Unreadable("is a pickle that keeps its data in other files; it was not read")


def _frame(m: Machine) -> None:
    m.check_frame(m.number("<Q"))


def _sized(reader: Callable[[Machine, int], None], form: str) -> Callable[[Machine], None]:
    """Return the step that reads a size of a ``struct`` form and then as much."""
    return lambda m: reader(m, m.number(form))


def _constant(value: object) -> Callable[[Machine], None]:
    return lambda m: m.push(value)


_STEPS: dict[int, Callable[[Machine], None]] = {
    ord(code): step
    for code, step in {
        # Frame of the pickle.
        "\x80": _protocol,
        "\x95": _frame,
        # Stack and memo.
        "(": Machine.mark,
        "0": _pop,
        "1": _drop_group,
        "2": lambda m: m.push(m.top()),
        "p": lambda m: m.remember(_index(m.line())),
        "q": lambda m: m.remember(m.read(1)[0]),
        "r": lambda m: m.remember(m.number("<I")),
        "\x94": Machine.remember_next,
        "g": lambda m: m.recall(_index(m.line())),
        "h": lambda m: m.recall(m.read(1)[0]),
        "j": lambda m: m.recall(m.number("<I")),
        # Constants and numbers.
        "N": _constant(None),
        "\x88": _constant(True),
        "\x89": _constant(False),
        "I": _int_or_bool,
        "L": lambda m: m.push(_integer(m.line())),
        "J": lambda m: m.push(m.number("<i")),
        "K": lambda m: m.push(m.read(1)[0]),
        "M": lambda m: m.push(m.number("<H")),
        "\x8a": _sized(_long, "<B"),
        "\x8b": _sized(_long, "<i"),
        "F": lambda m: m.push(_real(m.line())),
        "G": lambda m: m.push(m.number(">d")),
        # Text and bytes.
        "S": lambda m: _line_text(m, _unescaped),
        "V": lambda m: _line_text(m, lambda line: line.decode("raw-unicode-escape")),
        "T": _sized(_old_text, "<i"),
        "U": _sized(_old_text, "<B"),
        "X": _sized(_text, "<I"),
        "\x8c": _sized(_text, "<B"),
        "\x8d": _sized(_text, "<Q"),
        "B": _sized(_bytes, "<I"),
        "C": _sized(_bytes, "<B"),
        "\x8e": _sized(_bytes, "<Q"),
        "\x96": _sized(lambda m, size: m.push_new(bytearray(m.read(size)), TUPLE + size), "<Q"),
        # Containers.
        ")": lambda m: m.push(()),
        "\x85": lambda m: _tuple_of(m, 1),
        "\x86": lambda m: _tuple_of(m, 2),
        "\x87": lambda m: _tuple_of(m, 3),
        "t": lambda m: m.push_tuple(m.group()),
        "]": lambda m: m.push_new([], LIST),
        "l": _list,
        "a": _append,
        "e": lambda m: m.extend(m.group()),
        "}": lambda m: m.push_new({}, DICT),
        "d": _table,
        "s": _put_pair,
        "u": lambda m: m.fill(m.group()),
        "\x8f": lambda m: m.push_new(set(), SET),
        "\x90": lambda m: m.unite(m.group()),
        "\x91": lambda m: m.frozen(m.group()),
        # Names, calls and states.
        "c": _global,
        "\x93": _stack_global,
        "R": _reduce,
        "\x81": _new,
        "\x92": _new_with_names,
        "i": _inst,
        "o": _obj,
        "b": Machine.build,
        "P": lambda m: m.persistent(m.line().decode("ascii")),
        "Q": lambda m: m.persistent(m.pop()),
        # Refused.
        "\x82": _extension,
        "\x83": _extension,
        "\x84": _extension,
        "\x97": _outside_buffer,
        "\x98": _outside_buffer,
    }.items()
}
"""Code of an opcode -> what it does; whatever is not here is refused."""
