"""What is said about versions of Python is said in several places, and once."""

import re

import pytest

from versions import PROJECT, PYTHONS, ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_classifiers_name_each_python_from_the_oldest_that_is_required():
    first = int(PROJECT["requires-python"].removeprefix(">=3."))
    assert [f"3.{first + i}" for i in range(len(PYTHONS))] == PYTHONS != []


def test_the_tests_run_on_each_python_on_each_system():
    text = (ROOT / ".github" / "workflows" / "tests.yml").read_text("utf-8")
    (numbers,) = re.findall(r"^ +python: \[(.*)\]$", text, re.MULTILINE)
    assert re.findall(r'"([^"]+)"', numbers) == PYTHONS
    (systems,) = re.findall(r"^ +os: \[(.*)\]$", text, re.MULTILINE)
    assert systems == "ubuntu-latest, macos-latest, windows-latest"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_name_pythons_that_are_supported_and_run_what_is_run_here(path):
    text = path.read_text("utf-8")
    named = re.findall(r'python-version: "(.*)"', text)
    assert set(named) <= set(PYTHONS)
    commands = re.findall(r"run: python (\S+)", text)
    assert set(commands) <= {"dev.py", "tests/versions.py", "-m"}
