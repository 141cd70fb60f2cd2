"""An AWS on loopback, for tests and for the demo. Needs the extra `testing`."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

from s1crets.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def loopback_aws(region: str = "eu-west-1") -> Iterator[dict[str, str]]:
    """Run moto's server on a free port of loopback. What is stored lives as long as the process.

    Yields:
        The environment that points every AWS client at it: `AWS_ENDPOINT_URL`, credentials that
        are no secrets, and the region.
    """
    try:
        from moto.server import ThreadedMotoServer
    except ImportError as error:
        message = "an AWS on loopback needs the extra `testing`: pip install 's1crets[testing]'"
        raise ConfigurationError(message) from error

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        _, port = server.get_host_and_port()
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "fake-access-key",
            "AWS_SECRET_ACCESS_KEY": "fake-secret-key",
            "AWS_DEFAULT_REGION": region,
        }
    finally:
        server.stop()
