"""A web chatroom: one satellite for many browsers."""

from .version import __version__

__all__ = ["__version__"]
