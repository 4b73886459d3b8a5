"""The manifests for Kubernetes against its own schemas, and what Serve makes of the configuration in them."""

from __future__ import annotations

import pytest
import yaml

from tests.test_deployment import manifests, pods

VERSIONS = ("1.30", "1.34")


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_of_kubernetes_fits_its_schemas(version: str) -> None:
    validating = pytest.importorskip("kubernetes_validate")
    known = [held for held in manifests().values() if held["apiVersion"] != "ray.io/v1"]
    as_pods = [{"apiVersion": "v1", "kind": "Pod", **pod} for pod in pods().values()]
    assert len(known) == 4
    for held in (*known, *as_pods):
        validating.validate(held, version, strict=True)
    with pytest.raises(validating.ValidationError):
        validating.validate({**known[1], "spec": {"maxUnavailable": []}}, version, strict=True)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Ray itself
def test_serve_takes_its_configuration() -> None:
    pytest.importorskip("ray")
    from ray.serve.schema import ServeDeploySchema

    said = yaml.safe_load(manifests()["RayService gate"]["spec"]["serveConfigV2"])
    made = ServeDeploySchema.model_validate(said)
    told = made.applications[0].deployments[0].model_dump(exclude_unset=True)
    assert told == said["applications"][0]["deployments"][0]
