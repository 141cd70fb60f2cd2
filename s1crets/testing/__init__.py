"""An AWS on loopback, for tests and for the demo. Needs the extra `testing`.

`loopback_aws` starts one; the pytest fixture `s1crets_aws` (see `s1crets.testing.plugin`) hands one
to a test. It is moto, with what moto is lax about put right, and faults on demand.
"""

from __future__ import annotations

from s1crets.testing._aws import LoopbackAws, loopback_aws
from s1crets.testing._calls import Asked

__all__ = ["Asked", "LoopbackAws", "loopback_aws"]
