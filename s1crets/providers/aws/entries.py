"""Former home of `Entry`, which is now `s1crets.providers.metadata.SecretMetadata`."""

from __future__ import annotations

from s1crets.providers.metadata import SecretMetadata as Entry

__all__ = ["Entry"]
