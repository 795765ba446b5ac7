"""The script `run`, as far as it can be tried without installing anything, and the locks that it installs from."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ["3.10", "3.11", "3.12", "3.13"]
LOCKS = ["constraints-build.txt", "constraints.txt", "constraints-dev.txt", "constraints-spark35.txt"]


def call(checkout, *arguments, **variables):
    kept = {name: os.environ[name] for name in ("PATH", "JAVA_HOME") if name in os.environ}
    environment = {**kept, "HOME": "/nonexistent", **variables}
    return subprocess.run([checkout / "run", *arguments], env=environment, capture_output=True, text=True, timeout=60)


@pytest.fixture
def checkout(tmp_path):
    """A folder with what `run` reads, and no environment."""
    for name in ["run", "pyproject.toml", *LOCKS]:
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


@pytest.fixture
def stamp(checkout):
    """The stamp of an environment in `checkout` that counts as set up for the demo, although it holds no package."""
    venv.create(checkout / ".venv", symlinks=True)
    content = b"".join((checkout / name).read_bytes() for name in [*sorted(LOCKS), "pyproject.toml"])
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    path = checkout / ".venv" / "goldenlake.stamp"
    path.write_text(f"{checkout} {python}\n{hashlib.sha256(content).hexdigest()} demo\n")
    return path


def locked(name):
    """The requirements of a lock."""
    text = (ROOT / name).read_text("utf-8")
    return [Requirement(line.rstrip(" \\")) for line in text.splitlines() if line[:1].isalnum()]


def versions(name, python):
    """Package and version, as one Python on Linux gets them from a lock."""
    environment = {**default_environment(), "python_version": python, "python_full_version": f"{python}.0"}
    return {
        canonicalize_name(requirement.name): str(requirement.specifier).removeprefix("==")
        for requirement in locked(name)
        if requirement.marker is None or requirement.marker.evaluate(environment)
    }


def wanted(*extras):
    """What pyproject.toml asks for, with the requirements of the extras that its extras name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    requirements = [Requirement(line) for line in project["dependencies"]]
    pending = list(extras)
    while pending:
        for requirement in map(Requirement, project["optional-dependencies"][pending.pop()]):
            if requirement.name == project["name"]:
                pending.extend(requirement.extras)
            else:
                requirements.append(requirement)
    return requirements


def test_help_names_every_command():
    answer = call(ROOT, "help")
    assert answer.returncode == 0
    assert {"demo", "tests", "setup", "help"} <= set(re.findall(r"^  (\w+)", answer.stdout, re.MULTILINE))


SLIPS = [["no-such-program"], ["setup", "everything"], ["tests", "--spark", "3.3"], ["--spark", "3.5", "no-program"]]


@pytest.mark.parametrize("arguments", SLIPS, ids=" ".join)
def test_a_slip_of_the_finger_installs_nothing(checkout, arguments):
    answer = call(checkout, *arguments)
    assert answer.returncode == 2
    assert arguments[-1] in answer.stderr
    assert not list(checkout.glob(".venv*"))


def test_a_python_of_the_wrong_version_is_named_with_its_version(checkout):
    old = checkout / "python3.9"
    old.write_text("#!/bin/sh\necho 3.9\n")
    old.chmod(0o755)
    answer = call(checkout, "demo", PYTHON=str(old))
    assert answer.returncode == 1
    for part in (f"{old}: Python 3.9", "3.10 to 3.13", "PYTHON=/path/to/"):
        assert part in answer.stderr
    assert not (checkout / ".venv").exists()


def test_an_environment_that_is_set_up_is_used_as_it_is(checkout, stamp):
    answer = call(checkout, "python", "-c", "import os, sys; print(sys.prefix, os.environ['JAVA_HOME'] > '')")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout == f"{checkout / '.venv'} True\n"


def test_the_lane_of_spark_35_has_an_environment_of_its_own(checkout, stamp):
    """Its Python and Java are older than the newest that Spark 4 takes. This Java does nothing but say its version."""
    other = stamp.parent.rename(checkout / ".venv-spark35") / stamp.name
    other.write_text(other.read_text().replace(" demo\n", " spark35\n"))
    java = checkout / "jdk" / "bin" / "java"
    java.parent.mkdir(parents=True)

    def ask(version):
        java.write_text(
            f"#!/bin/sh\nprintf ' java.version = {version}\\n java.home = /a/jdk\\n jdk.incubator.vector\\n'\n"
        )
        java.chmod(0o755)
        ask_for = ("--spark", "3.5", "python", "-c", "import os, sys; print(sys.prefix, os.environ['JAVA_HOME'])")
        return call(checkout, *ask_for, JAVA_HOME=str(checkout / "jdk"))

    answer = ask("17.0.9")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout == f"{checkout / '.venv-spark35'} /a/jdk\n"
    assert "/a/jdk" not in ask("21.0.1").stdout


def test_spark_35_takes_no_python_313(checkout):
    new = checkout / "python3"
    new.write_text("#!/bin/sh\necho 3.13\n")
    new.chmod(0o755)
    answer = call(checkout, "tests", "--spark", "3.5", PYTHON=str(new))
    assert answer.returncode == 1
    for part in (f"{new}: Python 3.13", "3.10 to 3.12"):
        assert part in answer.stderr


def test_a_changed_lock_is_installed_and_a_failure_leaves_no_stamp(checkout, stamp):
    with (checkout / "constraints.txt").open("a") as lock:
        lock.write("# changed\n")
    answer = call(checkout, "python", "-c", "")  # the environment has no pip to install with
    assert answer.returncode == 1
    assert "No module named pip" in answer.stderr
    assert not stamp.exists()


def test_an_environment_that_was_moved_is_made_anew(checkout, stamp):
    python = checkout / "python"  # of the right version, but makes nothing
    python.write_text(f"#!/bin/sh\necho {sys.version_info.major}.{sys.version_info.minor}\n")
    python.chmod(0o755)
    unmoved = call(checkout, "python", "-c", "", PYTHON=str(python))
    assert (unmoved.returncode, unmoved.stderr) == (0, "")
    elsewhere = checkout.rename(checkout.with_name("elsewhere"))
    moved = call(elsewhere, "python", "-c", "", PYTHON=str(elsewhere / python.name))
    assert moved.returncode == 1
    assert "new environment" in moved.stderr


def test_ci_runs_the_test_command_of_the_readme():
    command = (ROOT / ".ci" / "run").read_text("utf-8").splitlines()[-1].removeprefix("exec ")
    assert command == "./run tests"
    assert f"`{command}`" in (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(
    ("lock", "extra"),
    [("constraints.txt", "local"), ("constraints-dev.txt", "dev"), ("constraints-spark35.txt", "dev35")],
)
def test_a_lock_satisfies_pyproject(lock, extra, python):
    found = versions(lock, python)
    for requirement in wanted(extra):
        version = found.get(canonicalize_name(requirement.name))
        assert version is not None, f"{lock} has no {requirement.name}; renew it: make lock"
        assert version in requirement.specifier, f"{lock} has {version}, wanted {requirement}; renew it: make lock"


@pytest.mark.parametrize("python", PYTHONS)
def test_the_locks_agree_on_every_version(python):
    everything = versions("constraints-dev.txt", python)
    assert versions("constraints.txt", python).items() <= everything.items()
    build = versions("constraints-build.txt", python)
    assert {name: build[name] for name in build.keys() & everything.keys()}.items() <= everything.items()


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_hashes_and_no_address(name):
    text = (ROOT / name).read_text("utf-8")
    packages = re.findall(r"^[\w.-]+==.*\\\n(?: +--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+", text, re.MULTILINE)
    assert len(packages) == len(locked(name)) > 0
    assert "://" not in text
    assert not re.search(r"^-", text, re.MULTILINE)
