"""Tasks and connections that a test has left on an event loop."""

from __future__ import annotations

import asyncio
from typing import Any


def left_on(loop: Any) -> list[Any]:
    """Return the tasks and the connections of a loop, without those of its own."""
    try:
        tasks = asyncio.all_tasks(loop)
        connections = list(getattr(loop, "_transports", {}).values())  # uvloop keeps no list
    except RuntimeError:  # it is another thread's, and at work
        return ["more to do"]
    own = ("_Portal._main", "TestRunner.")
    return [
        *(task for task in tasks if not any(name in repr(task) for name in own)),
        *(one for one in connections if not one.is_closing()),
    ]
