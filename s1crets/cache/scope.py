"""Scope: the identity that the entries of a cache outside the process belong to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose entries are meant, so that nobody gets the values of another identity.

    Attributes:
        place: service, region and endpoint: the same secrets for everybody who may read them.
            Invalidations apply to all entries of a place, also of other identities.
        owner: account, role or namespace: the identity that may read them.
        is_lasting: whether the owner is the same after its credentials are renewed, so that it may
            be remembered on disk.
    """

    place: str
    owner: str
    is_lasting: bool = True
