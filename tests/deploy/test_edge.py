"""The files of the edge deployment: readable, without secrets, and in step with the settings and paths of the server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped,unused-ignore]

from loopwright.app.settings import PREFIX, Settings

EDGE = Path(__file__).parents[2] / "deploy" / "edge"


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((EDGE / name).read_text()))


def deployment() -> dict[str, Any]:
    (found,) = [each for each in documents("k3s.yaml") if each["kind"] == "Deployment"]
    return found


def test_the_manifest_has_what_a_node_needs_and_its_names_fit_together() -> None:
    kinds = {each["kind"]: each for each in documents("k3s.yaml")}
    assert set(kinds) == {"PersistentVolumeClaim", "Deployment", "Service"}
    pod = deployment()["spec"]["template"]
    assert kinds["Service"]["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    claim = pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"]
    assert claim == kinds["PersistentVolumeClaim"]["metadata"]["name"]


def test_one_process_owns_the_data_directory() -> None:
    spec = deployment()["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")


def test_probes_ask_routes_that_there_are_and_the_container_may_do_little() -> None:
    (container,) = deployment()["spec"]["template"]["spec"]["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"
    assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert deployment()["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"]


@pytest.mark.parametrize("name", ["k3s.yaml", "compose.yaml", "Dockerfile"])
def test_no_file_holds_a_secret_and_every_setting_is_one(name: str) -> None:
    text = (EDGE / name).read_text()
    assert not re.search(r"(?i)(password|secret|token|lw_)\s*[:=]\s*(?!false)\S", text)
    settings = {field.upper() for field in Settings.model_fields}
    named = set(re.findall(rf"{PREFIX}([A-Z_]+)", text))
    assert named <= settings


def test_the_composition_builds_the_container_that_is_beside_it() -> None:
    (compose,) = documents("compose.yaml")
    service = compose["services"]["loopwright"]
    root = (EDGE / service["build"]["context"]).resolve()
    assert (root / service["build"]["dockerfile"]).samefile(EDGE / "Dockerfile")
    # On every interface of the container, and of the host on its own address alone.
    assert service["ports"] == ["127.0.0.1:8400:8400"]
