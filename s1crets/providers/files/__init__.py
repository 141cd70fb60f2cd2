"""Secrets that are files, as Docker, Kubernetes and systemd mount them into containers."""

from s1crets.providers.files.provider import AsyncFiles, Files

__all__ = ["AsyncFiles", "Files"]
