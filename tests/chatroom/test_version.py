from __future__ import annotations

import hivemind_chatroom
from hivemind_chatroom import version


def test_the_released_names_agree() -> None:
    parts = (version.VERSION_MAJOR, version.VERSION_MINOR, version.VERSION_BUILD)
    assert version.__version__.split("a")[0] == ".".join(map(str, parts))
    assert version.VERSION_ALPHA == 0
    assert version.VERSION_MAJOR == 2
    assert hivemind_chatroom.__version__ == version.__version__
