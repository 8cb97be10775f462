"""Plugins that other packages bring, found by entry point."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any, NamedTuple

from .policy import BUILTIN_POLICIES, DenyAllPolicy, Entry, Policy, PolicyChain

log = logging.getLogger(__name__)

POLICY_GROUP = "hivemind.policy"
FALLBACK = "DenyAll"
"""What a chain that cannot be built refuses everything with."""
ALWAYS_FIRST = frozenset({"hivemind-message-type-acl-policy", "hivemind-default-session-policy"})
"""Policies every chain begins with; naming them again changes nothing."""


class NoSuchPolicy(LookupError):
    """Nothing installed is called so."""


def _policy(module: str, options: Mapping[str, Any]) -> Policy:
    builtin = BUILTIN_POLICIES.get(module)
    if builtin is not None:
        return builtin()
    found = [point for point in entry_points(group=POLICY_GROUP) if point.name == module]
    if not found:
        known = sorted({*BUILTIN_POLICIES, *(point.name for point in entry_points(group=POLICY_GROUP))})
        raise NoSuchPolicy(f"there is no policy named {module!r}; the known ones are: {', '.join(known)}")
    factory: Callable[..., Policy] = found[0].load()
    return factory(**options)


class Unusable(NamedTuple):
    """A policy that could not be made."""

    module: str
    error: Exception
    optional: bool


def load_policies(chain: Sequence[Mapping[str, Any]]) -> tuple[PolicyChain, list[Unusable]]:
    """Return the chain that server.json names, and what of it cannot be used.

    An optional policy is left out then; without any other, the chain refuses everything (fail closed).
    """
    entries: list[Entry] = []
    unusable: list[Unusable] = []
    for item in chain:
        module, optional = str(item["module"]), item.get("optional") is True
        if module in ALWAYS_FIRST:
            continue
        try:
            entries.append(Entry(module, _policy(module, item.get("config") or {}), optional))
        except Exception as error:  # noqa: BLE001 - a plugin call: whatever it raises, nothing may pass unchecked
            unusable.append(Unusable(module, error, optional))
            if not optional:
                return PolicyChain([Entry(FALLBACK, DenyAllPolicy(str(error)[:200]))]), unusable
    return PolicyChain(entries), unusable


def build_policies(chain: Sequence[Mapping[str, Any]]) -> PolicyChain:
    """Return the chain that server.json names; what cannot be used goes to the log. See `load_policies`."""
    policies, unusable = load_policies(chain)
    for module, error, _ in unusable:
        if isinstance(error, NoSuchPolicy):
            log.error("the policy %s cannot be used: %s", module, error)
        else:
            log.error("the policy %s cannot be used", module, exc_info=error)
    return policies
