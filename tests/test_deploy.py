"""What the containers promise: read from the files themselves, no container engine needed."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest
import yaml

ROOT = Path(__file__).parents[1]
COMPOSE = ROOT / "docker-compose.yml"
GPU = ROOT / "deploy" / "docker" / "docker-compose.gpu.yml"
DOCKERFILE = ROOT / "deploy" / "docker" / "Dockerfile"
SERVICES = ("valkey", "trainer", "inferer")
OURS = ("trainer", "inferer")

Node = Mapping[str, object]


def load(path: Path) -> Node:
    return cast("Node", yaml.safe_load(path.read_text(encoding="utf-8")))


def at(node: Node, *keys: str) -> Node:
    """The mapping below `keys`."""
    for key in keys:
        node = cast("Node", node[key])
    return node


def strings(node: Node, key: str) -> Sequence[str]:
    return cast("Sequence[str]", node.get(key, []))


def service(name: str) -> Node:
    return at(load(COMPOSE), "services", name)


def stages() -> dict[str, str]:
    """The Dockerfile's text by stage."""
    parts = re.split(
        r"^FROM (\S+) AS (\S+)\n", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    return {parts[i + 1]: f"FROM {parts[i]}\n{parts[i + 2]}" for i in range(1, len(parts), 3)}


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_confined(name: str) -> None:
    node = service(name)

    assert node["read_only"] is True
    assert node["cap_drop"] == ["ALL"]
    assert node["security_opt"] == ["no-new-privileges:true"]
    assert isinstance(node["pids_limit"], int)
    assert re.fullmatch(r"\d+[gm]", str(node["mem_limit"]))
    (tmp,) = strings(node, "tmpfs")
    assert tmp.startswith("/tmp:")  # noqa: S108 - the container's own
    assert {"noexec", "nosuid", "nodev"} <= set(tmp.split(":")[1].split(","))
    assert "privileged" not in node


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_on_this_machine_alone(name: str) -> None:
    published = strings(service(name), "ports")

    assert all(port.startswith("127.0.0.1:") for port in published)
    assert bool(published) == (name != "valkey")


def test_the_queue_is_out_of_reach_from_outside() -> None:
    networks = at(load(COMPOSE), "networks")

    assert at(networks, "queue")["internal"] is True
    assert service("valkey")["networks"] == ["queue"]
    for name in OURS:
        assert service(name)["networks"] == ["queue", "edge"]


def test_the_queue_forgets_nothing() -> None:
    command = " ".join(strings(service("valkey"), "command"))

    assert "--appendonly yes" in command
    assert "--appendfsync always" in command
    assert "--maxmemory-policy noeviction" in command
    assert strings(service("valkey"), "volumes") == ["queue:/data"]
    assert service("valkey")["user"] == "999"


def test_the_inferer_cannot_write_to_the_store() -> None:
    assert strings(service("trainer"), "volumes") == ["store:/store"]
    assert strings(service("inferer"), "volumes") == ["store:/store:ro"]


@pytest.mark.parametrize("name", OURS)
def test_our_images_do_not_run_as_root(name: str) -> None:
    text = stages()

    assert text[name].startswith("FROM runtime\n")
    assert "USER 10001:10001" in text["runtime"]
    assert "USER" not in text[name]
    assert "user" not in service(name)
    assert at(service(name), "build")["target"] == name


@pytest.mark.parametrize(
    ("name", "probe"),
    [
        ("trainer", '"127.0.0.1:50051", "twofold.v1.TrainingService"]'),
        ("inferer", '"127.0.0.1:8001"]'),
    ],
)
def test_health_is_asked_over_grpc(name: str, probe: str) -> None:
    (check,) = re.findall(r"HEALTHCHECK .*\\\n\s+CMD (.*)", stages()[name])

    assert "twofold.cluster.health" in check
    assert check.endswith(probe)
    assert f'"-m", "{name}"]' in stages()[name]


@pytest.mark.parametrize("name", OURS)
def test_an_image_holds_only_what_its_service_needs(name: str) -> None:
    text = DOCKERFILE.read_text(encoding="utf-8")

    assert f'".[{name}]"' in stages()[f"{name}-build"]
    assert f"COPY --from={name}-build" in stages()[name]
    assert "://" not in text
    assert "torch==2." in stages()["torch"]


def test_the_images_torch_is_the_tested_one() -> None:
    pinned = re.search(r"^torch==\S+", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE)

    assert pinned is not None
    assert f"ARG TORCH={pinned.group()}\n" in DOCKERFILE.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", OURS)
def test_services_wait_for_the_queue_and_come_back(name: str) -> None:
    node = service(name)

    assert at(node, "depends_on", "valkey")["condition"] == "service_healthy"
    assert node["restart"] == "unless-stopped"
    assert "healthcheck" in service("valkey")


@pytest.mark.parametrize("name", OURS)
def test_the_gpu_file_only_adds_a_gpu(name: str) -> None:
    node = at(load(GPU), "services", name)
    reserved = at(node, "deploy", "resources", "reservations")["devices"]

    assert reserved == [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]
    assert not {"ports", "networks", "read_only", "cap_drop", "user", "security_opt"} & set(node)
