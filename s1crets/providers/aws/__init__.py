"""AWS services: a class for asyncio and a blocking class for each."""

from __future__ import annotations

from typing import Unpack

from s1crets._sync import Facade, blocking, direct, in_background
from s1crets.providers.aws.options import ProviderOptions, redacted
from s1crets.providers.aws.parameter_store import AsyncParameterStore
from s1crets.providers.aws.secrets_manager import AsyncSecretsManager

__all__ = ["AsyncParameterStore", "AsyncSecretsManager", "ParameterStore", "SecretsManager"]


class ParameterStore(Facade[AsyncParameterStore]):
    """AWS Systems Manager Parameter Store, blocking. For arguments see `AsyncParameterStore`."""

    def __init__(self, **options: Unpack[ProviderOptions]) -> None:
        options = redacted(options)
        self._provider = in_background(AsyncParameterStore(**options))

    get = blocking(AsyncParameterStore.get, AsyncParameterStore.get_local, AsyncParameterStore.hit)
    get_many = blocking(AsyncParameterStore.get_many)
    get_by_path = blocking(AsyncParameterStore.get_by_path, AsyncParameterStore.get_by_path_local)
    path_exists = blocking(AsyncParameterStore.path_exists)
    create = blocking(AsyncParameterStore.create)
    put = blocking(AsyncParameterStore.put)
    update = blocking(AsyncParameterStore.update)
    delete = blocking(AsyncParameterStore.delete)
    restore = blocking(AsyncParameterStore.restore)
    history = blocking(AsyncParameterStore.history)
    describe = blocking(AsyncParameterStore.describe)
    invalidate = blocking(AsyncParameterStore.invalidate)
    peek = direct(AsyncParameterStore.peek)


class SecretsManager(Facade[AsyncSecretsManager]):
    """AWS Secrets Manager, blocking. For arguments see `AsyncSecretsManager`."""

    def __init__(self, **options: Unpack[ProviderOptions]) -> None:
        options = redacted(options)
        self._provider = in_background(AsyncSecretsManager(**options))

    get = blocking(AsyncSecretsManager.get, AsyncSecretsManager.get_local, AsyncSecretsManager.hit)
    get_many = blocking(AsyncSecretsManager.get_many)
    get_by_path = blocking(AsyncSecretsManager.get_by_path, AsyncSecretsManager.get_by_path_local)
    path_exists = blocking(AsyncSecretsManager.path_exists)
    create = blocking(AsyncSecretsManager.create)
    put = blocking(AsyncSecretsManager.put)
    update = blocking(AsyncSecretsManager.update)
    delete = blocking(AsyncSecretsManager.delete)
    restore = blocking(AsyncSecretsManager.restore)
    history = blocking(AsyncSecretsManager.history)
    describe = blocking(AsyncSecretsManager.describe)
    invalidate = blocking(AsyncSecretsManager.invalidate)
    peek = direct(AsyncSecretsManager.peek)
