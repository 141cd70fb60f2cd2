"""The version, which pyproject.toml reads here too."""

__version__ = "1.0.0.dev0"
