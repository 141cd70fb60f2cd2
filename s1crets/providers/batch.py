"""What comes of several names at once: values, errors, and how a caller gets them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from s1crets.errors import BatchError, S1cretsError


class Batch:
    """What was read of several names; its repr does not show it.

    Attributes:
        values: by name.
        errors: by name.
    """

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.errors: dict[str, S1cretsError] = {}

    def error(self, service: str) -> BatchError:
        """Return an error that has it all."""
        total = len(self.errors) + len(self.values)
        message = (
            f"{service}: {len(self.errors)} of {total} could not be read: .errors has one error a"
            f" name, .values what was read; one of them: {next(iter(self.errors.values()))}"
        )
        return BatchError(message, self.values, self.errors)

    def answer(self, names: Iterable[str], on_error: str, service: str) -> dict[str, Any]:
        """Return what `get_many` does: values in the order of `names`.

        Raises:
            BatchError: something went wrong, and `on_error` is "raise".
        """
        if self.errors and on_error == "raise":
            raise self.error(service)
        return {
            name: self.errors[name] if name in self.errors else self.values[name] for name in names
        }


def distinct(paths: Iterable[str], on_error: str) -> list[str]:
    """Return each name once, in the order given.

    Raises:
        TypeError: `paths` is no sequence, or one text, which is never meant as such.
        ValueError: `on_error` is neither "raise" nor "return".
    """
    if isinstance(paths, str) or not isinstance(paths, Iterable):
        message = f"paths must be several names, not {type(paths).__name__}"
        raise TypeError(message)
    if on_error not in ("raise", "return"):
        raise ValueError("errors must be 'raise' or 'return'")
    return list(dict.fromkeys(paths))
