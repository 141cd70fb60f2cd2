"""Validation of options: names with "did you mean", types, ranges. Which are valid, callers say."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple


class Rule(NamedTuple):
    """The valid values of an option: their types, and the range of numbers."""

    kinds: tuple[Any, ...]
    low: float = -math.inf
    high: float = math.inf
    not_empty: bool = False  # of text
    or_none: bool = False


NUMBER = (int, float)
# Ratios from which a known name is suggested: for a name with a typo, and for a part of the name.
_SIMILAR, _PART = 0.65, 0.51


def check_items(where: str, items: object, rules: Mapping[str, Rule]) -> None:
    """Reject a dict with an unknown key, or with a value that its rule does not allow.

    Raises:
        TypeError: not a dict, an unknown key, or a value of the wrong type.
        ValueError: a value out of range.
    """
    if not isinstance(items, Mapping):
        raise TypeError(f"{where} must be a dict, not {type(items).__name__}")
    for name, value in items.items():
        if name not in rules:
            raise TypeError(f"{where} has no {name!r}: {suggestion(str(name), rules)}")
        check_value(f"{where}: {name}", value, rules[name])


def check_value(name: str, value: Any, rule: Rule) -> None:
    """Reject a value that the rule does not allow; errors as of `check_items`."""
    if value is None and rule.or_none:
        return
    is_number = int in rule.kinds
    # bool is a subclass of int, but cache_size=True is a mistake.
    if (is_number and isinstance(value, bool)) or not isinstance(value, rule.kinds):
        names = [kind.__name__ for kind in rule.kinds] + ["None"] * rule.or_none
        wanted = " or ".join(names)
        raise TypeError(f"{name} must be {wanted}, not {type(value).__name__}")
    if is_number and isinstance(value, NUMBER) and not rule.low <= value <= rule.high:
        limits = (
            f"from {rule.low} to {rule.high}" if rule.high < math.inf else f"at least {rule.low}"
        )
        raise ValueError(f"{name} must be {limits}, not {value}")
    if rule.not_empty and not value:
        raise ValueError(f"{name} is empty")


def suggestion(
    name: str, known: Collection[str], elsewhere: Mapping[str, str] = MappingProxyType({})
) -> str:
    """Return a hint: what is most similar to `name`, or all known names.

    `elsewhere` has names that are known in other places, and how they are written there.
    """
    import difflib  # takes 1 ms, which valid options do not need

    similar = {}
    for one in (*known, *elsewhere):
        shorter, longer = sorted((_plain(one), _plain(name)), key=len)
        is_part = longer.startswith(shorter) or longer.endswith(shorter)  # ttl of cache_ttl
        ratio = difflib.SequenceMatcher(a=_plain(one), b=_plain(name)).ratio()
        if ratio >= (_PART if is_part else _SIMILAR):
            similar[one] = (is_part, ratio)
    if not similar:
        return f"known are {', '.join(known)}"
    # Not `get_close_matches`, which takes the last of equals in the alphabet: local_ttl for ttl.
    best = max(similar, key=similar.__getitem__)
    return f"did you mean {elsewhere.get(best, best)}?"


def _plain(name: str) -> str:
    """Return a name as compared: role_arn is RoleArn."""
    return name.replace("_", "").lower()
