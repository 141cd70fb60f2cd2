"""Backends: where cache entries are stored. All of them are aiocache caches."""
