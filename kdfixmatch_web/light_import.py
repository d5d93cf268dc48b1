"""Reading images and labels in a process that does without Keras."""

import importlib.util
import sys
from types import ModuleType
from typing import Any

_PACKAGE = "kdfixmatch_keras"


def import_without_keras(package: str = _PACKAGE) -> None:
    """Lets modules of a package be imported without what the package itself imports.

    `kdfixmatch_keras.sources` needs no Keras, but Python runs the `__init__` of the
    package before it, which imports all of it and takes seconds. That is put off until
    something asks the package for a name of its own. Where it has been imported, this
    does nothing.

    Args:
        package: Name of an installed package.
    """
    if package in sys.modules:
        return
    spec = importlib.util.find_spec(package)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    module = importlib.util.module_from_spec(spec)
    # `importlib.util.LazyLoader` would run it for the path of its submodules.
    module.__class__ = _PutOff
    sys.modules[package] = module


class _PutOff(ModuleType):
    """A package whose `__init__` runs when a name is asked for that it lacks."""

    def __getattr__(self, name: str) -> Any:
        # What `import` itself asks for, and a package may lack.
        if name.startswith("__"):
            raise AttributeError(name)
        self.__class__ = ModuleType  # type: ignore[assignment]  # a plain one again
        spec = self.__spec__
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module(self)
        return getattr(self, name)
