"""Plugins that other packages bring, found by entry point."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any

from .policy import BUILTIN_POLICIES, DenyAllPolicy, Entry, Policy, PolicyChain

log = logging.getLogger(__name__)

POLICY_GROUP = "hivemind.policy"
ALWAYS_FIRST = frozenset({"hivemind-message-type-acl-policy", "hivemind-default-session-policy"})
"""Policies every chain begins with; naming them again changes nothing."""


def _policy(module: str, options: Mapping[str, Any]) -> Policy:
    builtin = BUILTIN_POLICIES.get(module)
    if builtin is not None:
        return builtin()
    found = [point for point in entry_points(group=POLICY_GROUP) if point.name == module]
    if not found:
        known = sorted({*BUILTIN_POLICIES, *(point.name for point in entry_points(group=POLICY_GROUP))})
        raise LookupError(f"there is no policy named {module!r}; the known ones are: {', '.join(known)}")
    factory: Callable[..., Policy] = found[0].load()
    return factory(**options)


def build_policies(chain: Sequence[Mapping[str, Any]]) -> PolicyChain:
    """Return the chain that server.json names; one that cannot be built refuses everything (fail closed)."""
    entries: list[Entry] = []
    for item in chain:
        module, optional = str(item["module"]), item.get("optional") is True
        if module in ALWAYS_FIRST:
            continue
        try:
            entries.append(Entry(module, _policy(module, item.get("config") or {}), optional))
        except Exception as error:  # a plugin call: whatever it raises, nothing may pass unchecked
            log.exception("the policy %s cannot be used", module)
            if not optional:
                reason = f"The hub's policy chain could not be built: {error}"[:200]
                return PolicyChain([Entry("DenyAll", DenyAllPolicy(reason))])
    return PolicyChain(entries)
