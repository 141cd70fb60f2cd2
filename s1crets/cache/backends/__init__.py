"""aiocache caches as the storage of tiers."""

from s1crets.cache.backends._aiocache import import_base

import_base()  # before the modules here import parts of aiocache
