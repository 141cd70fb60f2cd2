"""The former place of `Stats`."""

from s1crets.providers.instrumentation import Stats

__all__ = ["Stats"]
