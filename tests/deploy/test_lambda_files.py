"""What `deploy/lambda` and `deploy/cloud-run` say, without AWS, Google or an engine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import lock_parts
from retinue.settings import ROOT
from tests.deploy.image import build, link_packages
from tests.docs.test_env_example import NAMES, READ_BY_THE_SDK
from workers.lambda_worker import CLOSING, DRAIN

pytestmark = pytest.mark.xdist_group("heavy")
TEMPLATE = ROOT / "deploy/lambda/template.yaml"


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's short forms, as `!Ref Secret`, as their arguments."""


def _short_form(loader: _Loader, tag: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    assert isinstance(node, yaml.MappingNode)
    return loader.construct_mapping(node, deep=True)


_Loader.add_multi_constructor("!", _short_form)


def the_function() -> dict[str, Any]:
    """The properties of the function."""
    found: dict[str, Any] = yaml.load(TEMPLATE.read_text(encoding="utf-8"), _Loader)["Resources"]["Function"]
    return found


def test_an_invocation_polls_for_longer_than_it_drains() -> None:
    """So most of what is paid for is spent on work."""
    assert the_function()["Properties"]["Timeout"] > 2 * (DRAIN + CLOSING).total_seconds()


def test_the_variables_of_a_function_are_known() -> None:
    variables = the_function()["Properties"]["Environment"]["Variables"]
    names = [name for name in variables if not name.startswith("Fn::")]
    assert [name for name in names if name not in NAMES and not name.startswith(READ_BY_THE_SDK)] == []


def test_the_template_builds_the_image_of_this_folder() -> None:
    metadata = the_function()["Metadata"]
    context = (TEMPLATE.parent / metadata["DockerContext"]).resolve()
    assert context == ROOT
    assert (context / metadata["Dockerfile"]).is_file()


def test_the_image_of_a_function_finds_all_it_needs_in_itself(tmp_path: Path) -> None:
    """What its build runs, on the files and packages of the capability's image and its own."""
    text = (ROOT / "deploy/lambda/Dockerfile").read_text(encoding="utf-8")
    [check] = re.findall(r'^RUN \["python", "-P", "-c", "(.*)"\]$', text, re.MULTILINE)
    image = build("capability", tmp_path / "calendar", PART="calendar")
    link_packages(lock_parts.LOCKS / "lambda.lock", tmp_path / "lambda")
    path = f"{image.environment()['PYTHONPATH']}:{tmp_path / 'lambda'}"
    done = image.run(["python", "-P", "-c", check], RETINUE_CAPABILITY="calendar", PYTHONPATH=path)
    assert (done.returncode, done.stderr) == (0, "")
