"""``python -m hivemind_core`` is ``hivemind-core``."""

from .scripts import hmcore_cmds

hmcore_cmds(prog_name="hivemind-core")
