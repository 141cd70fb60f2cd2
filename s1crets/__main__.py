"""The command: `s1crets`, or `python -m s1crets`."""

from __future__ import annotations

import atexit
import gc
import signal
import sys


def main() -> None:
    """Run the command. Ctrl-C ends it without a traceback, also while it is being imported."""
    gc.set_threshold(100_000)  # imports make many objects and no garbage
    atexit.register(_collect_garbage_once)
    try:
        from s1crets.cli import main as command

        command(prog_name="s1crets")
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # what is left is Python's own exit


def _collect_garbage_once() -> None:
    """Close the files of garbage. Python's exit would search all objects for it several times."""
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    main()
