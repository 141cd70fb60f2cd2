"""Contract of every provider, as tests.

The provider of another package runs them all:

```python
import pytest
from our_vault import Vault
from s1crets.testing.contract import ProviderContract


class TestVault(ProviderContract):
    @pytest.fixture
    def make(self):
        return Vault  # or any function that accepts `cache_args` and `deadline` and returns one

    @pytest.fixture
    def seed(self):
        return lambda values: our_server.store(values)  # a dict of names and texts
```
Needs pytest. The async tests run with anyio's plugin, which is part of anyio.
"""

from __future__ import annotations

from s1crets.testing.contract.caching import CachingContract
from s1crets.testing.contract.fixtures import Contract
from s1crets.testing.contract.reading import ReadingContract
from s1crets.testing.contract.redaction import RedactionContract
from s1crets.testing.contract.writing import WritingContract

__all__ = ["Contract", "ProviderContract"]


class ProviderContract(ReadingContract, CachingContract, WritingContract, RedactionContract):
    """All tests; a subclass provides the fixtures `make` and `seed`.

    See `Contract` for further settings.
    """
