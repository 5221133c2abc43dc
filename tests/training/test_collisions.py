"""The guard of the top-level names."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from training import collisions
from training.collisions import TOP_LEVEL_NAMES, NameCollisionError, find_collisions, guard

ROOT = Path(__file__).resolve().parents[2]


def install(folder: Path, distribution: str, package: str) -> None:
    """A distribution as pip leaves it: a package folder and a dist-info folder."""
    (folder / package).mkdir(parents=True)
    (folder / package / "__init__.py").write_text("")
    info = folder / f"{distribution.replace('-', '_')}-1.2.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2.3\n")
    (info / "RECORD").write_text(f"{package}/__init__.py,,\n{info.name}/METADATA,,\n")


def test_every_name_is_ours_here() -> None:
    assert find_collisions() == []
    guard()


def test_names_are_those_of_the_wheel() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    wheel = tomllib.loads(text)["tool"]["hatch"]["build"]["targets"]["wheel"]
    listed = {str(name).removesuffix(".py") for name in (*wheel.get("packages", ()),)}
    listed |= {str(name).removesuffix(".py") for name in wheel.get("only-include", ())}
    assert listed | {"perennial"} == set(TOP_LEVEL_NAMES)


def test_other_distribution_is_named_even_when_ours_is_found_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "openai-agents", "agents")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path[1:], str(tmp_path)])
    (collision,) = find_collisions()
    assert collision.name == "agents"
    assert collision.found == "the distribution openai-agents 1.2.3"
    with pytest.raises(
        NameCollisionError, match=r"agents: .*openai-agents 1\.2\.3[\s\S]*uninstall"
    ):
        guard()


@pytest.mark.parametrize("with_metadata", [True, False])
def test_shadowing_package_is_named_with_its_place(tmp_path: Path, with_metadata: bool) -> None:
    if with_metadata:
        install(tmp_path, "envs", "envs")
    else:
        (tmp_path / "envs.py").write_text("")
    program = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}]\n"
        "import training.collisions as c\n"
        f"sys.path[:0] = [{str(tmp_path)!r}]\n"
        "print(*c.find_collisions(), sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"envs: expected to be of perennial in {ROOT}, found")
    assert ("the distribution envs 1.2.3" if with_metadata else "another module") in line
    assert str(tmp_path / "envs") in line


def test_absent_package_is_a_collision_too() -> None:
    (collision,) = find_collisions(("no_such_package_of_ours",))
    assert collision.found == "nothing that can be imported"
    assert str(collisions.root()) in str(collision)
