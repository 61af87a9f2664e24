"""What a job's result depends on, as one hash: resuming a sweep runs only what is missing or has another key."""

from __future__ import annotations

import functools
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refbench import version
from refbench.contracts.errors import InputError, SkippedError, UnknownNameError
from refbench.engine.inputs.config import load_config
from refbench.engine.inputs.weights import find_weights
from refbench.files.config_keys import keys_at
from refbench.files.hashing import hash_file, hash_inputs, hash_tree, hash_values
from refbench.registry.records import resolve
from refbench.registry.registry import load_registry
from refbench.registry.requirements import check_packages

if TYPE_CHECKING:
    from refbench.contracts.scene import Scene
    from refbench.engine.sweeps.suite import MethodEntry
    from refbench.registry.records import MethodRecord

ASK_S = 120.0
_NAMED = re.compile(r"(?:from|import) refbench\.([a-z_]+)|\"refbench\.([a-z_]+)[a-z_.]*:")


def job_key(parts: dict[str, Any]) -> str:
    """Return the SHA-256 of what a result depends on."""
    return hash_values(parts)


@functools.cache
def core_code() -> str:
    """Return the SHA-256 of the core's code that a job runs."""
    folder = Path(version.__file__).parent
    return hash_values({wing: _code_under(folder / wing) for wing in core_wings()})


@functools.cache
def core_wings() -> tuple[str, ...]:
    """Return the wings of the core whose code a job runs: the engine and all that it names, directly or not.

    Targets count as imports do: records point at functions by ``"refbench.wing.module:name"``.
    """
    folder = Path(version.__file__).parent
    reached, waiting = set[str](), ["engine"]
    while waiting:
        wing = waiting.pop()
        if wing not in reached and (folder / wing / "__init__.py").is_file():
            reached.add(wing)
            texts = (path.read_text() for path in (folder / wing).rglob("*.py"))
            waiting += {name for text in texts for names in _NAMED.findall(text) for name in names if name}
    return tuple(sorted(reached))


def _code_under(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): hash_file(path) for path in sorted(folder.rglob("*.py"))}


def method_code(record: MethodRecord) -> str:
    """Return the SHA-256 of a method's code: all modules of its package, or its file; nothing of it is imported.

    Raises
    ------
    SkippedError
        Its module cannot be found.
    """
    module = record.target.partition(":")[0]
    spec = importlib.util.find_spec(module.partition(".")[0])
    if spec is None or (spec.origin is None and not spec.submodule_search_locations):
        raise SkippedError(f"{record.name}: its module {module} cannot be found.")
    if spec.submodule_search_locations:
        return hash_values({str(i): _code_under(Path(p)) for i, p in enumerate(spec.submodule_search_locations)})
    return hash_file(Path(str(spec.origin)))


def scene_key(scene: Scene) -> str:
    """Return the SHA-256 of a scene's files, its ``scene.yaml`` and cameras among them."""
    texts: dict[str, str] = {}
    if scene.folder is not None and scene.folder.is_dir():
        texts = {path.relative_to(scene.folder).as_posix(): hash_file(path) for path in scene.folder.rglob("*.yaml")}
    return hash_values({"inputs": hash_inputs(scene), "texts": texts})


def method_facts(entry: MethodEntry, steps: int | None = None) -> dict[str, Any]:
    """Return what this interpreter knows of a method, of JSON types.

    Returns
    -------
    dict
        ``skipped``: why it cannot run here, or None. Else ``code``, ``config`` (all values), ``weights`` (hashes),
        ``version`` of refbench and ``core`` for the key; ``overrides`` for the request; ``stochastic``.

    Raises
    ------
    InputError
        A configuration with mistakes, or weights that are not there.
    """
    registry = load_registry()
    try:
        record = registry.methods.get(entry.method)
        check_packages(record)
        code = method_code(record)
    except (UnknownNameError, SkippedError) as error:
        return {"skipped": str(error)}
    overrides = dict(entry.overrides)
    if steps is not None and record.config is not None and "steps" in keys_at(resolve(record.config), ()):
        overrides.setdefault("steps", steps)
    config = load_config(record, entry.config, overrides)
    weights = find_weights(record, entry.weights, config.values.get("weights"))
    if weights is None and record.needs_weights:
        return {
            "skipped": f"{record.name} has no weights here; bring some with: "
            f"refbench import-weights --method {record.name} SOURCE --out FOLDER."
        }
    return {
        "skipped": None,
        "code": code,
        "config": config.values,
        "weights": {} if weights is None else hash_tree(weights),
        "version": version.__version__,
        "core": core_code(),
        "overrides": overrides,
        "stochastic": record.stochastic,
    }


def facts_from(entry: MethodEntry, steps: int | None = None) -> dict[str, Any]:
    """Return ``method_facts`` as the entry's own interpreter tells them, or this one where it names none.

    Raises
    ------
    InputError
        As ``method_facts``.
    """
    if entry.env is None:
        return method_facts(entry, steps)
    asked = json.dumps(
        {
            "method": entry.method,
            "config": entry.config,
            "overrides": entry.overrides,
            "weights": entry.weights,
            "steps": steps,
        }
    )
    try:
        run = subprocess.run(
            [entry.env, "-m", __name__, asked], capture_output=True, text=True, timeout=ASK_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"skipped": f"The interpreter {entry.env} cannot be used: {error}."}
    if run.returncode != 0:
        last = (run.stderr.strip().splitlines() or ["no message"])[-1]
        return {"skipped": f"The interpreter {entry.env} cannot run refbench: {last}"}
    facts: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    if "input_error" in facts:
        raise InputError(facts["input_error"])
    return facts


def main() -> None:
    """Answer another interpreter: the entry comes as JSON in the first argument, the facts go to stdout."""
    from refbench.engine.sweeps.suite import MethodEntry

    asked = json.loads(sys.argv[1])
    steps = asked.pop("steps")
    try:
        facts = method_facts(MethodEntry(**asked), steps)
    except InputError as error:
        facts = {"input_error": str(error)}
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
