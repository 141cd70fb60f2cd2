"""The AWS services: one row for each, with everything that the shared code needs to know of it.

botocore's models of them are loaded once per process; `load_models` blocks.
"""

from __future__ import annotations

import atexit
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple


class Service(NamedTuple):
    """An AWS service."""

    name: str  # botocore's
    title: str  # in error messages
    iam_prefix: str  # of its IAM actions
    batch_size: int = 1  # names per batch request; 1 if there is no batch operation
    # The quota of each operation that shares it with others; every other operation has its own.
    quotas: Mapping[str, str] = {}
    models: tuple[str, ...] = ()  # of botocore's data, besides the service's model and endpoints


PARAMETER_STORE = Service(
    name="ssm",
    title="Parameter Store",
    iam_prefix="ssm",
    batch_size=10,
    quotas=dict.fromkeys(("GetParameter", "GetParameters", "GetParametersByPath"), "Get"),
    models=("paginators-1",),
)
SECRETS_MANAGER = Service(
    name="secretsmanager",
    title="Secrets Manager",
    iam_prefix="secretsmanager",
    batch_size=20,
    models=("paginators-1",),
)
STS = Service(name="sts", title="STS", iam_prefix="sts")

# botocore's data loaders by their search paths: parsing the models takes 150 ms of CPU time.
_loaders: dict[tuple[str, ...], Any] = {}
# Python searches all objects for garbage several times when it exits; these are half of them.
atexit.register(_loaders.clear)


def shared_loader(session: Any) -> Any:
    """Return the data loader that all sessions with the same search paths share."""
    from botocore.loaders import create_loader

    paths = create_loader(session.get_config_variable("data_path")).search_paths
    loader = _loader_class()(paths, include_default_search_paths=False)
    return _loaders.setdefault(tuple(paths), loader)


def has_own_loader(session: Any) -> bool:
    """Return whether a session's data loader is not botocore's, or finds other data."""
    from botocore.loaders import Loader

    own = session.get_component("data_loader")
    return type(own) is not Loader or own.search_paths != shared_loader(session).search_paths


@cache
def _loader_class() -> Any:
    from botocore.loaders import Loader

    class _Loader(Loader):  # type: ignore[misc]  # botocore has no type hints
        """botocore's loader, without the search for all services before it loads one."""

        def list_available_services(self, type_name: str) -> Collection[str]:
            return _ServiceNames(super().list_available_services, self.list_api_versions, type_name)

    return _Loader


class _ServiceNames(Collection[str]):
    """The services that have a type of data. Looking into the folders of all takes 8 ms of CPU."""

    def __init__(self, list_all: Any, list_versions: Any, type_name: str) -> None:
        self._list_all, self._list_versions = list_all, list_versions
        self._type_name = type_name

    def __contains__(self, service: object) -> bool:
        from botocore.exceptions import DataNotFoundError

        try:
            return bool(self._list_versions(service, self._type_name))
        except DataNotFoundError:
            return False

    def __iter__(self) -> Iterator[str]:
        return iter(self._list_all(self._type_name))

    def __len__(self) -> int:
        return len(self._list_all(self._type_name))


def load_models(session: Any, service: Service) -> None:
    """Load the data that clients of a service read, with the arguments that the loader caches."""
    loader = session.get_component("data_loader")
    for name in ("endpoints", "partitions", "_retry", "sdk-default-configuration"):
        loader.load_data_with_path(name)
    for kind in ("service-2", "endpoint-rule-set-1"):
        loader.load_service_model(service.name, kind, api_version=None)
    version = loader.determine_latest_version(service.name, "service-2")
    for kind in service.models:
        loader.load_service_model(service.name, kind, version)
