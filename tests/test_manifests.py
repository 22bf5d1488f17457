"""The manifests of docs/cluster.md have the documented fields, and run commands that there are.

The fields are those of Ray's cluster launcher and of KubeRay's RayJob (ray.io/v1), as their own
reference pages list them, November 2026; of Kubernetes' pods those that are used here.
"""

import importlib.util
import json
import re
import shlex
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import typer
import yaml

from dataaudit.cli import app
from dataaudit.config import AuditConfig

GUIDE = (Path(__file__).parents[1] / "docs" / "cluster.md").read_text(encoding="utf-8")
BLOCKS = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)]
LAUNCHER = next(block for block in BLOCKS if "cluster_name" in block)
JOB = next(block for block in BLOCKS if block.get("kind") == "RayJob")

TEXT, COUNT, TRUTH = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "boolean"}
TEXTS = {"type": "array", "items": TEXT}
NAMED_TEXTS = {"type": "object", "additionalProperties": TEXT}
ANYTHING: dict[str, Any] = {}


def fields(required: str = "", **properties: Any) -> dict[str, Any]:
    """Return the schema of an object with these fields and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


NODE_TYPE = fields(
    "node_config resources",
    node_config={"type": "object"},
    resources={"type": "object", "additionalProperties": COUNT},
    min_workers=COUNT,
    max_workers=COUNT,
    worker_setup_commands=TEXTS,
    docker={"type": "object"},
    labels=NAMED_TEXTS,
)
LAUNCHER_SCHEMA = fields(
    "cluster_name provider",
    cluster_name=TEXT,
    max_workers=COUNT,
    upscaling_speed={"type": "number"},
    idle_timeout_minutes={"type": "number"},
    docker={"type": "object"},
    provider={"type": "object", "required": ["type"], "properties": {"type": TEXT, "region": TEXT}},
    auth=fields("", ssh_user=TEXT, ssh_private_key=TEXT, ssh_proxy_command=TEXT),
    available_node_types={"type": "object", "additionalProperties": NODE_TYPE},
    head_node_type=TEXT,
    file_mounts=NAMED_TEXTS,
    cluster_synced_files=TEXTS,
    rsync_exclude=TEXTS,
    rsync_filter=TEXTS,
    initialization_commands=TEXTS,
    setup_commands=TEXTS,
    head_setup_commands=TEXTS,
    worker_setup_commands=TEXTS,
    head_start_ray_commands=TEXTS,
    worker_start_ray_commands=TEXTS,
)
AMOUNTS = fields("", cpu=TEXT, memory=TEXT)
POD = fields(
    "spec",
    metadata={"type": "object"},
    spec=fields(
        "containers",
        containers={
            "type": "array",
            "minItems": 1,
            "items": fields(
                "name image",
                name={"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"},
                image=TEXT,
                resources=fields("", requests=AMOUNTS, limits=AMOUNTS),
                volumeMounts={
                    "type": "array",
                    "items": fields("name mountPath", name=TEXT, mountPath=TEXT),
                },
            ),
        },
        volumes={
            "type": "array",
            "items": fields(
                "name",
                name=TEXT,
                persistentVolumeClaim=fields("claimName", claimName=TEXT, readOnly=TRUTH),
            ),
        },
    ),
)
HEAD = fields(
    "template",
    template=POD,
    headService=ANYTHING,
    enableIngress=TRUTH,
    rayStartParams=NAMED_TEXTS,
    serviceType=TEXT,
)
WORKERS = fields(
    "groupName template",
    suspend=TRUTH,
    groupName=TEXT,
    replicas=COUNT,
    minReplicas=COUNT,
    maxReplicas=COUNT,
    idleTimeoutSeconds=COUNT,
    rayStartParams=NAMED_TEXTS,
    template=POD,
    scaleStrategy=ANYTHING,
    numOfHosts=COUNT,
)
CLUSTER = fields(
    "headGroupSpec",
    suspend=TRUTH,
    managedBy=TEXT,
    autoscalerOptions=ANYTHING,
    headServiceAnnotations=NAMED_TEXTS,
    enableInTreeAutoscaling=TRUTH,
    gcsFaultToleranceOptions=ANYTHING,
    headGroupSpec=HEAD,
    rayVersion=TEXT,
    workerGroupSpecs={"type": "array", "items": WORKERS},
)
JOB_SCHEMA = fields(
    "apiVersion kind metadata spec",
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=fields("name", name=TEXT, namespace=TEXT, labels=NAMED_TEXTS),
    spec=fields(
        "entrypoint rayClusterSpec",
        activeDeadlineSeconds=COUNT,
        backoffLimit=COUNT,
        rayClusterSpec=CLUSTER,
        submitterPodTemplate=POD,
        metadata=NAMED_TEXTS,
        clusterSelector=NAMED_TEXTS,
        submitterConfig=ANYTHING,
        managedBy=TEXT,
        deletionStrategy=ANYTHING,
        entrypoint=TEXT,
        runtimeEnvYAML=TEXT,
        jobId=TEXT,
        submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode"]},
        entrypointResources=TEXT,
        entrypointNumCpus={"type": "number"},
        entrypointNumGpus={"type": "number"},
        ttlSecondsAfterFinished=COUNT,
        shutdownAfterJobFinishes=TRUTH,
        suspend=TRUTH,
    ),
)


def test_the_manifests_have_the_documented_fields() -> None:
    jsonschema_rs.validate(LAUNCHER_SCHEMA, LAUNCHER)
    jsonschema_rs.validate(JOB_SCHEMA, JOB)
    misspelt = json.loads(json.dumps(JOB).replace("groupName", "groupname"))
    with pytest.raises(jsonschema_rs.ValidationError):
        jsonschema_rs.validate(JOB_SCHEMA, misspelt)
    assert LAUNCHER["head_node_type"] in LAUNCHER["available_node_types"]


@pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="Ray is not installed")
def test_rays_own_schema_takes_the_cluster_file() -> None:
    found = importlib.util.find_spec("ray")
    assert found is not None
    assert found.origin is not None
    schema = Path(found.origin).parent / "autoscaler" / "ray-schema.json"
    jsonschema_rs.validate(json.loads(schema.read_text(encoding="utf-8")), LAUNCHER)


def test_head_and_workers_see_the_same_folder_and_run_one_image() -> None:
    spec = JOB["spec"]["rayClusterSpec"]
    pods = [
        group["template"]["spec"] for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"])
    ]
    assert len({json.dumps(pod["volumes"]) for pod in pods}) == 1
    containers = [container for pod in pods for container in pod["containers"]]
    assert len({container["image"] for container in containers}) == 1
    assert len({json.dumps(container["volumeMounts"]) for container in containers}) == 1
    where = containers[0]["volumeMounts"][0]["mountPath"]
    assert f"--out {where}/" in JOB["spec"]["entrypoint"]
    # The image of the guide has the Ray that the manifest says.
    assert f"rayproject/ray:{spec['rayVersion']}-" in GUIDE


def test_the_commands_exist() -> None:
    commands = typer.main.get_command(app)
    ours = [JOB["spec"]["entrypoint"]]
    ours += re.findall(r"(?:^    |['&] *)(dataaudit [^'&\n]+)", GUIDE, re.MULTILINE)
    assert len(ours) == 3
    for line in ours:
        _, name, *rest = shlex.split(line)
        command = commands.commands[name]  # type: ignore[attr-defined]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= known


@pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="Ray is not installed")
def test_the_commands_of_ray_exist() -> None:
    from ray.scripts.scripts import cli

    used = set(re.findall(r"(?:^    |`)ray ([a-z-]+)", GUIDE, re.MULTILINE))
    assert {"up", "exec", "down", "rsync-up"} <= used
    # Click has several names for some.
    assert {name.replace("-", "_") for name in used} <= {
        name.replace("-", "_") for name in cli.commands
    }


def test_the_line_for_the_engine_is_one_that_an_audit_takes() -> None:
    lines = re.findall(r"`engine: (\{.*?\})`", GUIDE)
    assert lines
    for line in lines:
        AuditConfig.model_fields["engine"].annotation.model_validate(yaml.safe_load(line))
