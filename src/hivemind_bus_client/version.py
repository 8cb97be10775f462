"""The version, one place for the whole distribution."""

__version__ = "0.1.0"

VERSION = __version__
VERSION_MAJOR, VERSION_MINOR, VERSION_BUILD = (int(part) for part in VERSION.split("."))
VERSION_ALPHA = 0
