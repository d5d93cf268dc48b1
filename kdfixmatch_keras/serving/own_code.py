"""Layers and functions of a user's own, and how another process finds them.

Keras loads them by name, once the module that defines them has been imported.
"""

import importlib
from collections.abc import Iterator
from typing import Any

import keras

# What is in these is known anyway, or cannot be imported.
_KNOWN = ("keras", "builtins", "kdfixmatch_keras", "__main__")


def references(config: Any) -> list[dict[str, str]]:
    """What a configuration needs that is neither Keras's nor this package's.

    Args:
        config: Configuration of a model, as `to_json` writes it.

    Returns:
        For each class or registered function, its `"module"` and `"name"` there, and as
        `"registered"` the name by which Keras looks for it.
    """
    found = {}
    for entry in _objects(config):
        registered = entry.get("registered_name")
        module, name = str(entry["module"]), entry["class_name"]
        if name == "function":
            # Of which a configuration does not say where they are.
            registered = entry["config"]
            own = keras.saving.get_registered_object(registered)
            if own is None:
                continue
            module, name = own.__module__, own.__name__
        if registered and module.split(".")[0] not in _KNOWN:
            found[registered] = {
                "module": module,
                "name": name,
                "registered": registered,
            }
    return list(found.values())


def imported(wanted: list[dict[str, str]]) -> tuple[dict[str, Any], list[str]]:
    """Imports the modules of references.

    Args:
        wanted: As `references` returns them.

    Returns:
        The objects by the names that Keras looks for, and for each that was not found,
        a phrase with its name and the cause.
    """
    found, missing = {}, []
    for reference in wanted:
        try:
            module = importlib.import_module(reference["module"])
            found[reference["registered"]] = getattr(module, reference["name"])
        # A module of a user's own raises whatever it does.
        except Exception as error:
            missing.append(f"{reference['name']} ({error})")
    return found, missing


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    if isinstance(config, dict):
        if isinstance(config.get("class_name"), str) and config.get("module"):
            yield config
        config = list(config.values())
    if isinstance(config, list):
        for value in config:
            yield from _objects(value)
