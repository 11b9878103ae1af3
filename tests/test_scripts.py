"""The two commands of the README: set-up in sh, tested with stand-ins for Python and pip, without a network."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

STUB = """#!/bin/sh
# Stands for an environment's Python: pip calls are written down, the rest is done by the real one.
case "$1 $2" in
"-m pip")
    [ "$3" = --version ] && exit 0
    echo "$*" >>"$CALLS"
    [ -z "${PIP_FAILS:-}" ] || exit 1
    mkdir -p "$(dirname "$0")"
    printf '#!/bin/sh\\nfor a; do printf "<%%s>" "$a"; done\\n' >"$(dirname "$0")/comp"
    chmod +x "$(dirname "$0")/comp"
    exit 0 ;;
"-m pytest") shift 2; for a; do printf '<%s>' "$a"; done; printf '%s\\n' "$OMP_NUM_THREADS"; exit 0 ;;
"-m venv") mkdir -p "$4/bin" && cp "$0" "$4/bin/python"; exit $? ;;
esac
exec "$REAL" "$@"
"""

OLD = '#!/bin/sh\n[ "$1" = --version ] && { echo "Python 3.9.1"; exit 0; }\nexit 1\n'


class Place:
    """A copy of the scripts in a folder with spaces in its name."""

    def __init__(self, repository: Path, tmp_path: Path) -> None:
        self.root = tmp_path / "a clone of comp"
        self.root.mkdir()
        shutil.copytree(repository / "scripts", self.root / "scripts")
        for name in ("pyproject.toml", "constraints.txt"):
            shutil.copy(repository / name, self.root / name)
        self.calls = tmp_path / "calls"
        self.venv = tmp_path / "my venv"
        self.stub(self.venv / "bin" / "python", STUB)
        self.bin = tmp_path / "bin"  # what PATH offers when no environment is active
        self.bin.mkdir()
        for tool in ("sh", "cat", "cksum", "dirname", "mkdir", "cp", "chmod"):
            (self.bin / tool).symlink_to(str(shutil.which(tool)))
        self.elsewhere = tmp_path / "some where"
        self.elsewhere.mkdir()
        self.environment = {"CALLS": str(self.calls), "REAL": sys.executable}

    def stub(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def run(self, script: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"], **self.environment, **more}
        return subprocess.run(
            [str(self.root / "scripts" / script), *arguments],
            env=environment,
            cwd=self.elsewhere,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def installs(self) -> list[str]:
        return self.calls.read_text().splitlines() if self.calls.exists() else []


@pytest.fixture
def place(repository: Path, tmp_path: Path) -> Place:
    if os.name != "posix":
        pytest.skip("the scripts are POSIX sh")
    return Place(repository, tmp_path)


def test_demo_uses_the_active_environment(place: Place) -> None:
    done = place.run("demo", "my demo", "--slots", "1", VIRTUAL_ENV=str(place.venv))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "<demo><my demo><--slots><1>"
    assert not (place.root / ".venv").exists()
    (install,) = place.installs()
    assert install.endswith("-c constraints.txt -e .")


def test_an_installed_environment_is_left_alone(place: Place) -> None:
    active = {"VIRTUAL_ENV": str(place.venv)}
    assert place.run("test", **active).returncode == 0
    assert place.run("test", **active).returncode == 0
    assert place.run("demo", **active).returncode == 0  # the tests' install holds all of the demo's
    (install,) = place.installs()
    assert install.endswith("-e .[test]")


def test_changed_requirements_are_installed(place: Place) -> None:
    active = {"VIRTUAL_ENV": str(place.venv)}
    place.run("demo", **active)
    place.run("test", **active)  # needs more than the demo
    with open(place.root / "constraints.txt", "a") as file:
        file.write("more==1\n")
    place.run("test", **active)
    assert len(place.installs()) == 3


def test_a_failed_install_is_said_and_tried_again(place: Place) -> None:
    active = {"VIRTUAL_ENV": str(place.venv)}
    done = place.run("demo", **active, PIP_FAILS="1")
    assert done.returncode == 2
    assert "the installation failed" in done.stderr
    assert place.run("demo", **active).returncode == 0
    assert len(place.installs()) == 2


def test_tests_run_in_the_repository_with_one_thread(place: Place) -> None:
    done = place.run("test", "-k", "a and b", VIRTUAL_ENV=str(place.venv))
    assert done.stdout == "<-n><2><-k><a and b>1\n"


def test_without_an_environment_one_is_made(place: Place) -> None:
    place.stub(place.bin / "python3.13", OLD)  # on PATH, and not what its name says
    place.stub(place.bin / "python3", STUB)
    for _ in range(2):
        done = place.run("demo", PATH=str(place.bin))
        assert done.returncode == 0, done.stderr
    assert (place.root / ".venv" / "bin" / "python").exists()
    assert len(place.installs()) == 1


def test_too_old_a_python_is_said(place: Place) -> None:
    place.stub(place.bin / "python3", OLD)
    done = place.run("demo", PATH=str(place.bin))
    assert done.returncode == 2
    assert "needs Python 3.11 or later" in done.stderr and "Python 3.9.1" in done.stderr
    place.stub(place.venv / "bin" / "python", OLD)
    done = place.run("demo", PATH=str(place.bin), VIRTUAL_ENV=str(place.venv))
    assert done.returncode == 2
    assert "the active virtual environment" in done.stderr
    assert not place.installs()


# --- what the README, CI and the lists of requirements say


def code_blocks(text: str) -> list[str]:
    return re.findall(r"^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def test_ci_runs_the_readmes_commands_word_for_word(repository: Path) -> None:
    blocks = code_blocks((repository / "README.md").read_text(encoding="utf-8"))
    commands = [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]
    assert "scripts/test" in commands and "scripts/demo" in commands
    ci = (repository / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert "stage tests scripts/test" in ci


@pytest.mark.parametrize("name", ["scripts/demo", "scripts/test", ".ci/run"])
def test_scripts_are_executable_sh(repository: Path, name: str) -> None:
    path = repository / name
    assert os.access(path, os.X_OK)
    assert path.read_text().startswith("#!/bin/sh\n")
    subprocess.run(["sh", "-n", str(path)], check=True)


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_constraints_pin_every_requirement_and_name_no_place(repository: Path) -> None:
    text = (repository / "constraints.txt").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line) for line in lines)
    pinned = {canonical(line.partition("==")[0]) for line in lines}
    assert len(pinned) == len(lines)
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(item for extra in extras for item in extra)]
    names = {canonical(re.split(r"[<>=\[ ]", item)[0]) for item in wanted} - {"comp"}
    assert names <= pinned


def test_the_version_is_said_once(repository: Path) -> None:
    import comp

    changelog = (repository / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{comp.__version__}]" in changelog
