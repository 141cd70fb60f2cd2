"""What every provider promises, as tests.

Another package's provider runs them all:

```python
import pytest
from our_vault import Vault
from s1crets.testing.contract import ProviderContract


class TestVault(ProviderContract):
    @pytest.fixture
    def make(self):
        return Vault  # or anything that takes `cache_args` and `deadline` and returns one

    @pytest.fixture
    def seed(self):
        return lambda values: our_server.store(values)  # a dict of names and texts
```
Needs pytest. The async tests run with anyio's own plugin, which comes with anyio.
"""

from __future__ import annotations

from s1crets.testing._contract import Contract
from s1crets.testing._discretion import DiscretionContract
from s1crets.testing._keeping import KeepingContract
from s1crets.testing._reading import ReadingContract
from s1crets.testing._writing import WritingContract

__all__ = ["Contract", "ProviderContract"]


class ProviderContract(ReadingContract, KeepingContract, WritingContract, DiscretionContract):
    """All promises; a subclass says with the fixtures `make` and `seed` of what.

    See `Contract` for what else it may say.
    """
