"""What the hub's commands share: choosing a client, tables, failures in one line."""

from __future__ import annotations

import builtins
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.hub_commands import add, hub_command, said, stored
from hivemind_core.config import ConfigError, default_path
from hivemind_core.console import Commands, table
from hivemind_core.storage import StorageError


@pytest.fixture(autouse=True)
def no_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Making RSA keys takes long, and is tested elsewhere."""
    monkeypatch.setattr("hivemind_core.hub_identity.load_identity", lambda: None)


# choosing


def test_a_client_is_named_by_its_key_or_its_id() -> None:
    add("a", name="one")
    add("b", name="two")
    assert said("make-admin", "b") == "Gave administrator powers to two"
    assert said("make-admin", "1") == "Gave administrator powers to one"


def test_a_key_comes_before_an_id() -> None:
    add("2", name="one")
    add("1", name="two")
    assert said("make-admin", "2") == "Gave administrator powers to one"


@pytest.mark.parametrize("wanted", ["3", "c", "", "-1", "²", "revoked", "9" * 5000])
def test_nobody_by_that_name_is_a_failure(wanted: str) -> None:
    add("a")
    add("b")
    ran = hub_command("make-admin", "--", wanted)
    assert (ran.code, ran.out) == (1, "")
    assert ran.error == (
        f"Invalid Node ID! No client has the id, access key or name {wanted!r}. See `hivemind-core list-clients`."
    )


def test_a_deleted_client_cannot_be_chosen() -> None:
    add("a")
    said("delete-client", "1", "--yes")
    assert hub_command("make-admin", "1").error.startswith("Invalid Node ID!")


def test_a_client_may_be_called_by_its_name() -> None:
    add("a", name="kitchen")
    add("kitchen", name="hall")
    add("c", name="den")
    assert said("make-admin", "den") == "Gave administrator powers to den"
    assert said("make-admin", "kitchen") == "Gave administrator powers to hall"


def test_a_shared_name_names_nobody() -> None:
    for key in ("a", "b"):
        add(key, name="kitchen")
    ran = hub_command("make-admin", "kitchen")
    assert (ran.code, ran.out) == (1, "")
    assert ran.error == "Invalid Node ID! Several clients are called 'kitchen'; name one by its id: 1, 2."
    assert not stored(1).is_admin


def test_a_number_is_never_a_name() -> None:
    """Else the id of a deleted client could hit another one."""
    add("a", name="7")
    assert hub_command("delete-client", "7", "--yes").code == 1
    assert stored(1).api_key == "a"


def test_without_clients_there_is_nothing_to_choose() -> None:
    assert said("make-admin") == "No clients found!"


def test_the_only_client_is_taken_and_named() -> None:
    add("a", name="kitchen")
    ran = hub_command("make-admin")
    assert (ran.code, ran.out) == (0, "Gave administrator powers to kitchen\n")
    assert ran.err == "Taking the only client there is: 'kitchen' (id 1).\n"


def test_of_several_one_is_asked_for() -> None:
    add("a", name="one", allowed_types=("speak", "mycroft.stop"))
    add("b", name="two")
    ran = hub_command("make-admin", typed="x\n9\n 2 \n")
    assert "HiveMind Clients" in ran.out
    assert "speak, mycroft.stop" in ran.out
    assert ran.out.count("Which client do you want to select? (3 = 'Exit') [1/2/3]: ") == 3
    assert ran.out.count("Please select one of the available options\n") == 2
    assert ran.out.endswith("Gave administrator powers to two\n")


def test_asked_one_may_leave() -> None:
    add("a")
    add("b")
    ran = hub_command("make-admin", typed="3\n")
    assert ran.code == 0
    assert ran.out.endswith("User exit\n")
    assert not stored(1).is_admin


def test_no_answer_at_all_aborts() -> None:
    add("a")
    add("b")
    ran = hub_command("make-admin")
    assert ran.code == 1
    assert ran.err.endswith("Aborted!\n")


def test_a_client_deleted_while_it_is_chosen_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    add("a")
    monkeypatch.setattr("hivemind_core.storage.sqlite.SQLiteStore.edit", lambda *_: None)
    assert hub_command("make-admin", "1").error == "Client 1 was deleted meanwhile."


# tables


def test_a_table_cuts_nothing_off_and_takes_no_text_for_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = io.StringIO()
    monkeypatch.setattr(sys, "stdout", printed)
    monkeypatch.setenv("COLUMNS", "20")
    table("Title", ("A", "B"), [("[red]x[/red]", "k" * 200), ("", "ü")])
    lines = printed.getvalue().splitlines()
    assert lines[0].strip() == "Title"
    assert any("[red]x[/red]" in line and "k" * 200 in line for line in lines)


# failures


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ConfigError("mend it"), 2, "Error: mend it\n"),
        (StorageError("disk full"), 1, "Error: disk full\n"),
        (PermissionError(13, "Permission denied", "/x"), 1, "Error: [Errno 13] Permission denied: '/x'\n"),
    ],
)
def test_what_can_go_wrong_is_one_line(error: Exception, code: int, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr("hivemind_core.console.open_database", fail)
    ran = hub_command("list-clients")
    assert (ran.code, ran.out, ran.err) == (code, "", text)


def test_other_errors_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("hivemind_core.console.open_database", fail)
    with pytest.raises(ZeroDivisionError):
        hub_command("list-clients")


@pytest.fixture
def missing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Make a package impossible to import."""
    name, real = str(request.param), builtins.__import__

    def refuse(module: str, *rest: Any, **named: Any) -> Any:
        if module.partition(".")[0] == name:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(module, *rest, **named)

    with monkeypatch.context() as patched:
        patched.setattr(builtins, "__import__", refuse)
        yield name


@pytest.mark.parametrize("missing", ["rich"], indirect=True)
def test_a_missing_part_is_named_with_how_to_install_it(missing: str) -> None:
    ran = hub_command("list-clients")
    assert (ran.code, ran.out) == (1, "")
    assert ran.error == f"The hub needs {missing}, which is not installed. Run: pip install 'hivemind-mesh[hub]'"


@pytest.mark.parametrize("missing", ["zxcvbn"], indirect=True)
def test_what_a_command_does_not_need_may_be_missing(missing: str) -> None:
    assert hub_command("add-client").code == 0
    assert missing in hub_command("add-client", "--password", "foo").error


def test_a_reader_that_has_gone_is_left_to_the_system() -> None:
    group = Commands("x", commands=[])
    with pytest.raises(BrokenPipeError):
        raise_from(group, BrokenPipeError())


def raise_from(group: Commands, error: Exception) -> None:
    @group.command("fail")
    def fail() -> None:
        raise error

    with group.make_context("x", ["fail"]) as context:
        group.invoke(context)


def test_a_file_named_for_all_commands_is_used(tmp_path: Path) -> None:
    chosen = tmp_path / "other.json"
    assert str(chosen) in hub_command("--config", str(chosen), "list-clients").error
    chosen.write_text("{}")
    default_path().parent.mkdir(parents=True)
    default_path().write_text("broken")
    assert hub_command("--config", str(chosen), "list-clients").code == 0
    broken = hub_command("list-clients")
    assert (broken.code, default_path().read_text()) == (2, "broken")
