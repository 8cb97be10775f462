"""Under which licence each package comes."""

from __future__ import annotations

import re
from importlib import metadata

ALLOWED = frozenset(
    "0BSD Apache-2.0 BSD-2-Clause BSD-3-Clause ISC MIT MIT-0 MPL-2.0 PSF-2.0 Python-2.0 Unlicense ZPL-2.1".split()  # noqa: SIM905
)
"""By their SPDX identifiers. Whoever uses the project under the Apache licence may use these with it."""
_BY_NAME = {
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "python software foundation license": "PSF-2.0",
    "zope public license": "ZPL-2.1",
    "zpl 2.1": "ZPL-2.1",
}
"""What packages say that do not use the identifiers."""


def licences_of(name: str) -> list[str]:
    """What a package says of its licence: an expression, or names of which one counts; empty where it says nothing."""
    told = metadata.metadata(name)
    expression = told.get("License-Expression")
    if expression:
        return [str(expression)]
    named = [line.rpartition(" :: ")[2] for line in told.get_all("Classifier") or () if line.startswith("License ::")]
    return named or [line for line in [str(told.get("License") or "").strip().partition("\n")[0]] if line]


def is_allowed(licence: str) -> bool:
    """Whether one may use what comes under this: of what OR joins one has to be allowed, of what AND joins all."""
    any_of = re.split(r"\s+OR\s+", licence.replace("(", " ").replace(")", " "))
    return any(all(_known(each) in ALLOWED for each in re.split(r"\s+AND\s+", one)) for one in any_of)


def _known(name: str) -> str:
    return _BY_NAME.get(name.strip().lower(), name.strip())


def problem(name: str) -> str:
    """What is wrong with the licence of a package; empty if nothing is."""
    said = licences_of(name)
    if any(is_allowed(licence) or _by_whole_name(licence) for licence in said):
        return ""
    return f"{name} comes under {' / '.join(said) or 'no licence that it names'}, which is not one of those allowed"


def _by_whole_name(licence: str) -> bool:
    return _known(licence) in ALLOWED
