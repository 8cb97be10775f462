"""Every documented set of compose files, as the real Compose and podman-compose read it: whole, guarded, hardened."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from helpers.containers import COMMANDS, DOCUMENTED, PODMAN, ROOT, Clone, composed, dclint, mounts, rendered, tools

DEPLOY = ROOT / "deploy"
DOCUMENTED_SERVICES = {
    "hivemind_cli",
    "hivemind_listener",
    "ovos_cli",
    "ovos_core",
    "ovos_messagebus",
    "ovos_skill_alerts",
    "ovos_skill_date_time",
    "ovos_skill_fallback_unknown",
    "ovos_skill_hello_world",
    "ovos_skill_personal",
    "ovos_skill_volume",
    "ovos_skill_weather",
    "ovos_skill_wikipedia",
}
HARDWARE = {"ovos_audio", "ovos_listener", "ovos_phal", "ovos_phal_admin"}
ALL_PROFILES = "sound,phal,chatroom,redis"
REQUIRED = ("HIVEMIND_CONFIG_FOLDER", "HIVEMIND_SHARE_FOLDER")
REQUIRED_BY_OVOS = ("OVOS_CONFIG_FOLDER", "OVOS_SHARE_FOLDER", "TMP_FOLDER")
ORDER_RULES = ("services-alphabetical-order", "service-keys-order", "top-level-properties-order")
MEANT = ("no-unbound-port-interfaces", "service-dependencies-alphabetical-order", "service-ports-alphabetical-order")
HIGH_MEANT = {
    # The socket of the sound server, the message bus of the system: what the profiles sound and phal are for.
    "linux": {"CL-0013"},
    "raspberrypi": {"CL-0013"},
    # A network shared with the host is what compose.host.yml is for.
    "beside": {"CL-0008"},
}
"""What the security check calls HIGH and is the purpose of the file."""

pytestmark = pytest.mark.timeout(400)


def services(clone: Clone, platform: str, **environ: str) -> dict[str, Any]:
    found: dict[str, Any] = rendered(clone, COMMANDS[platform][0], **environ)["services"]
    return found


@pytest.fixture(params=COMMANDS)
def platform(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def clones(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Clone]:
    """A clone for each example, that nobody changes."""
    made = {example: Clone.make(tmp_path_factory.mktemp("clone"), example) for _, example in COMMANDS.values()}
    return {platform: made[example] for platform, (_, example) in COMMANDS.items()}


@pytest.fixture
def clone(platform: str, clones: dict[str, Clone]) -> Clone:
    return clones[platform]


@pytest.fixture
def linux(tmp_path: Path) -> Clone:
    return Clone.make(tmp_path)


@pytest.mark.parametrize("profiles", ["", ALL_PROFILES], ids=["plain", "everything"])
def test_the_schema_is_kept(platform: str, clone: Clone, tmp_path: Path, profiles: str) -> None:
    argv = composed(COMMANDS[platform][0].removesuffix("up --detach"), [tools() / "docker-compose"])
    done = clone.run([*argv, "config"], COMPOSE_PROFILES=profiles)
    assert (done.returncode, done.stderr) == (0, "")
    file = tmp_path / "rendered.yml"
    file.write_text(done.stdout, "utf-8")
    skipped = [part for rule in (*ORDER_RULES, *MEANT) for part in ("--disable-rule", rule)]
    linted = clone.run([dclint(), file, "--max-warnings", "0", *skipped])
    assert linted.returncode == 0, linted.stdout + linted.stderr


@pytest.mark.parametrize("profiles", ["", ALL_PROFILES], ids=["plain", "everything"])
def test_the_security_check_finds_nothing_high(platform: str, clone: Clone, tmp_path: Path, profiles: str) -> None:
    file = tmp_path / "rendered.json"
    file.write_text(json.dumps(rendered(clone, COMMANDS[platform][0], COMPOSE_PROFILES=profiles)), "utf-8")
    done = clone.run([tools() / "compose-lint", "--format", "json", file])
    found = {finding["rule_id"] for finding in _findings(done.stdout) if finding["severity"].lower() == "high"}
    meant = HIGH_MEANT.get(platform, set()) if profiles or platform == "beside" else set()
    assert found <= meant, done.stdout


def _findings(text: str) -> list[dict[str, Any]]:
    document = json.loads(text)
    found: list[dict[str, Any]] = document if isinstance(document, list) else document["findings"]
    return found


def test_podman_compose_reads_the_same_files(platform: str, clone: Clone) -> None:
    done = clone.run([*composed(COMMANDS[platform][0].removesuffix("up --detach"), [tools() / PODMAN]), "config"])
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr, done.stderr
    for service in rendered(clone, COMMANDS[platform][0])["services"]:
        assert f"\n  {service}:" in done.stdout


@pytest.mark.parametrize("platform", DOCUMENTED)
def test_the_documented_containers_are_there(platform: str, clone: Clone) -> None:
    plain, whole = (
        services(clone, platform, COMPOSE_PROFILES=""),
        services(clone, platform, COMPOSE_PROFILES="sound,phal"),
    )
    assert set(plain) == DOCUMENTED_SERVICES
    assert set(whole) == DOCUMENTED_SERVICES | HARDWARE
    for name, service in whole.items():
        assert (service["container_name"], service["hostname"]) == (name, name)
        assert service["image"].startswith("localhost/"), "nothing that somebody else could publish"
    assert set(services(clone, platform)) == set(whole if platform == "raspberrypi" else plain)


def test_the_commands_are_the_documented_ones(linux: Clone) -> None:
    found = services(linux, "linux")
    assert found["hivemind_cli"].get("command") is None
    assert 'CMD ["sleep", "infinity"]' in (DEPLOY / "hub" / "Containerfile").read_text("utf-8")
    assert 'CMD ["hivemind-core", "listen"]' in (DEPLOY / "hub" / "Containerfile").read_text("utf-8")
    assert found["ovos_cli"]["command"] == ["sleep", "infinity"]
    assert found["ovos_skill_date_time"]["command"][0] == "ovos-skill-launcher"


def test_all_state_of_the_hub_is_kept_and_shared(platform: str, clone: Clone) -> None:
    found = services(clone, platform)
    home = "/home/hivemind"
    kept = {
        f"{home}/.config/hivemind": f"{clone.home}/hivemind/config",
        f"{home}/.config/hivemind-core": f"{clone.home}/hivemind/config/hivemind-core",
        f"{home}/.local/share/hivemind": f"{clone.home}/hivemind/share",
        f"{home}/.local/share/hivemind-core": f"{clone.home}/hivemind/share/hivemind-core",
    }
    assert mounts(found["hivemind_listener"]) == mounts(found["hivemind_cli"]) == kept
    assert {Path(folder) for folder in kept.values()} <= {
        made for folder in clone.folders() for made in (folder, *folder.parents)
    }


def test_what_is_documented_can_be_chosen(tmp_path: Path) -> None:
    clone = Clone.make(
        tmp_path, HIVEMIND_USER="bee", OVOS_USER="parrot", VERSION="7", TZ="Europe/Lisbon", PULL_POLICY="never"
    )
    found = services(clone, "linux", HIVEMIND_CONFIG_FOLDER="/srv/config", OVOS_SHARE_FOLDER="/srv/share")
    hub, core = found["hivemind_listener"], found["ovos_core"]
    assert mounts(hub)["/home/bee/.config/hivemind"] == "/srv/config"
    assert mounts(core)["/home/parrot/.local/share/mycroft"] == "/srv/share"
    for service in (hub, core):
        assert service["image"].endswith(":7")
        assert service["environment"]["TZ"] == "Europe/Lisbon"
        assert service["pull_policy"] == "never"
    assert hub["build"]["args"]["HIVEMIND_USER"] == "bee"
    assert core["build"]["args"]["OVOS_USER"] == "parrot"


@pytest.mark.parametrize("variable", [*REQUIRED, *REQUIRED_BY_OVOS])
@pytest.mark.parametrize("composer", ["docker-compose", PODMAN])
def test_a_folder_that_is_not_named_is_an_error_that_says_what_to_do(
    linux: Clone, variable: str, composer: str
) -> None:
    text = (linux.deploy / ".env").read_text("utf-8")
    (linux.deploy / ".env").write_text(re.sub(rf"(?m)^{variable}=.*$", "", text), "utf-8")
    argv = composed(DOCUMENTED["linux"][0].removesuffix("up --detach"), [tools() / composer])
    done = linux.run([*argv, "config"] if composer != PODMAN else [*argv, "up", "--detach"], PATH=os.defpath)
    assert done.returncode != 0
    assert variable in done.stderr
    assert "Copy .env.example to .env" in done.stderr
    if variable in REQUIRED:
        alone = linux.run([tools() / "docker-compose", "--file", "compose.yml", "config"])
        assert alone.returncode != 0
        assert variable in alone.stderr


def test_the_hub_alone_asks_for_nothing_of_openvoiceos(linux: Clone) -> None:
    text = (linux.deploy / ".env").read_text("utf-8")
    (linux.deploy / ".env").write_text("\n".join(line for line in text.splitlines() if line[:5] == "HIVEM"), "utf-8")
    assert set(services(linux, "alone")) == {"hivemind_listener", "hivemind_cli"}


def test_only_the_hub_can_be_reached_from_outside(platform: str, clone: Clone) -> None:
    found = services(clone, platform, COMPOSE_PROFILES=ALL_PROFILES)
    published = {
        (name, port.get("host_ip", ""), port["published"], port["target"])
        for name, service in found.items()
        for port in service.get("ports", [])
    }
    hub = set() if platform == "beside" else {("hivemind_listener", "", "5678", 5678)}
    chatroom = {("hivemind_chatroom", "127.0.0.1", "8985", 8985)} if "hivemind_chatroom" in found else set()
    assert published == hub | chatroom
    shared = {name for name, service in found.items() if service.get("network_mode") == "host"}
    assert shared == ({"hivemind_listener"} if platform == "beside" else set())


def test_the_built_in_assistant_never_stands_in_for_openvoiceos(platform: str, clone: Clone) -> None:
    environment = services(clone, platform)["hivemind_listener"]["environment"]
    beside_ovos = platform in DOCUMENTED or platform == "beside"
    assert environment["HIVEMIND_AGENT"] == ("hivemind-ovos-agent-plugin" if beside_ovos else "auto")
    if beside_ovos:
        assert environment["HIVEMIND_OVOS_HOST"] == ("127.0.0.1" if platform == "beside" else "ovos_messagebus")


def test_every_service_is_hardened(platform: str, clone: Clone) -> None:
    for name, service in services(clone, platform, COMPOSE_PROFILES=ALL_PROFILES).items():
        assert service["init"] is True, name
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["restart"] == "unless-stopped", name
        assert int(service["mem_limit"]) <= 1 << 30, name
        assert not service.get("privileged"), name
        assert service["logging"]["options"]["max-size"] == "10m", name


def test_what_depends_waits_until_it_is_healthy(platform: str, clone: Clone) -> None:
    found = services(clone, platform, COMPOSE_PROFILES=ALL_PROFILES)
    for name, service in found.items():
        for needed, how in service.get("depends_on", {}).items():
            if (name, needed) != ("hivemind_listener", "ovos_core"):  # it answers without one, too
                assert how["condition"] == "service_healthy", name
                assert "healthcheck" in found[needed], needed
    assert found["hivemind_listener"]["healthcheck"]["test"] == ["CMD", "hivemind-core", "healthcheck"]


def test_hardware_is_given_only_where_the_platform_has_it(clones: dict[str, Clone]) -> None:
    given = {}
    for platform in DOCUMENTED:
        found = services(clones[platform], platform, COMPOSE_PROFILES="sound,phal")
        given[platform] = {device["source"] for name in HARDWARE for device in found[name].get("devices", [])}
        assert not [name for name in found if name not in HARDWARE and found[name].get("devices")]
    assert given["linux"] == {"/dev/snd"}
    assert given["raspberrypi"] == {"/dev/snd", "/dev/gpiomem", "/dev/i2c-1", "/dev/spidev0.0"}
    assert given["macos"] == given["windows"] == set()


def test_the_container_files_are_clean(linux: Clone) -> None:
    files = sorted((linux.deploy).glob("*/Containerfile"))
    assert len(files) == 2
    done = linux.run([tools() / "hadolint", *files])
    assert (done.returncode, done.stdout) == (0, "")


def test_images_are_built_from_the_clone_as_nobody_special(platform: str, clone: Clone) -> None:
    for name, service in services(clone, platform, COMPOSE_PROFILES=ALL_PROFILES).items():
        if name == "hivemind_redis":
            continue
        build = service["build"]
        assert Path(build["context"]) == clone.path
        assert (clone.path / build["dockerfile"]).is_file()
        assert build["args"]["BASE_IMAGE"].startswith("python:")
        extra = build["args"].get("EXTRA", "core")
        assert (clone.deploy / "ovos" / "requirements" / f"{extra}.txt").is_file()
        assert service.get("user", "") == ("0:0" if name == "ovos_phal_admin" else "")


def test_pins_agree_with_what_the_tests_run() -> None:
    """One version of a package in all sets, and that of the tests with OpenVoiceOS where they have it."""
    lock = _pins(ROOT / "tests" / "ovos" / "lock-core-stable.txt")
    sets = {path.stem: _pins(path) for path in (DEPLOY / "ovos" / "requirements").glob("*.txt")}
    assert set(sets["core"]) <= set(lock)
    seen = dict(lock)
    for name, pins in sets.items():
        for package, version in pins.items():
            assert seen.setdefault(package, version) == version, (name, package)
            assert name == "core" or package not in sets["core"], f"{package} is in the shared layer already"


def _pins(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text("utf-8").splitlines() if line.strip()]
    pairs = [line.split("==") for line in lines]
    assert all(len(pair) == 2 for pair in pairs), path
    return {name.lower(): version for name, version in pairs}
