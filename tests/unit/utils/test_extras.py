"""Which extra brings a missing module."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from crnet.cli.demo import Demo
from crnet.utils.extras import MODULE_EXTRAS, install_command

PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"
PACKAGE_OF_MODULE = {
    "cv2": "opencv-python-headless",
    "prometheus_client": "prometheus_client",
    "sklearn": "scikit-learn",
}


@pytest.mark.parametrize("module", MODULE_EXTRAS)
def test_the_extra_of_a_module_names_its_package(module: str) -> None:
    extras = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    package = PACKAGE_OF_MODULE.get(module, module.replace("_", "-"))
    requirements = extras[MODULE_EXTRAS[module]]
    assert any(requirement.startswith((f"{package}>=", f"{package}==", f"{package}[")) for requirement in requirements)


def test_the_extras_of_a_command_are_installed_at_once() -> None:
    assert install_command("torch") == 'pip install "crnet[train]"'
    assert install_command("cv2.dnn", Demo.extras) == 'pip install "crnet[report,simulate,train]"'


def test_a_module_that_no_extra_brings_is_installed_by_its_name() -> None:
    assert install_command("some_package.part") == "pip install some-package"
