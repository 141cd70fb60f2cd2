"""Former home of `StsArgs`, which is now in `s1crets.providers.aws.options`."""

from __future__ import annotations

from s1crets.providers.aws.options import StsArgs

__all__ = ["StsArgs"]
