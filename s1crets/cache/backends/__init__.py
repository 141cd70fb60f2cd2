"""aiocache caches as the storage of tiers.

Its base classes are imported without aiocache's `__init__`, which imports every client that is
installed. With redis-py, and so OpenTelemetry, that takes 0.2 s of CPU: too much for processes that
have no cache server. The `__init__` runs as soon as anything else of the package is used, as with
every module that `importlib.util.LazyLoader` imports.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import LazyLoader, find_spec, module_from_spec


def import_base() -> None:
    """Import the modules of aiocache that backends are made of, unless it is imported already."""
    spec = None if "aiocache" in sys.modules else find_spec("aiocache")
    if spec is None or spec.loader is None:
        return
    package = sys.modules["aiocache"] = module_from_spec(spec)
    for module in ("serializers", "base", "backends.memory"):  # each needs those before
        import_module(f"aiocache.{module}")
    LazyLoader(spec.loader).exec_module(package)


import_base()  # before the modules here import parts of aiocache
