"""The command as `python -m s1crets`."""

from __future__ import annotations

from s1crets.cli import main

if __name__ == "__main__":
    main(prog_name="s1crets")
