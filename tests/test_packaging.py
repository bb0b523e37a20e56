import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest

import vqspeech

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_package_of_the_tree_is_installed(project: dict) -> None:
    """The list in pyproject.toml is the tree; a folder left out would be missing from the wheel alone."""
    found = {
        ".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "vqspeech").rglob("*.py")
    }
    assert set(project["tool"]["setuptools"]["packages"]) == found | {"vqspeech.conf"}


def test_every_package_is_one_for_python_too() -> None:
    """Each folder with modules has an __init__.py: installed and source trees import alike."""
    folders = {path.parent for path in (ROOT / "vqspeech").rglob("*.py")} | {ROOT / "conf"}
    assert not [folder for folder in folders if not (folder / "__init__.py").is_file()]


def test_one_version(project: dict) -> None:
    """pyproject.toml, the package and the changelog name the same version."""
    assert project["project"]["version"] == vqspeech.__version__
    assert f"## {vqspeech.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_torch_and_torchaudio_are_pinned_as_a_pair(project: dict) -> None:
    """One range for both: a torchaudio wheel works with its own torch only."""
    wanted = {}
    for requirement in project["project"]["dependencies"]:
        name = requirement.split(">")[0]
        wanted[name] = requirement.removeprefix(name)
    assert wanted["torch"] == wanted["torchaudio"]


def test_the_wheel_holds_the_code_and_the_configurations(tmp_path: Path) -> None:
    """Built from a copy of the tree, the wheel has every module, every YAML file and the command."""
    for name in ("vqspeech", "conf"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    code = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    with ZipFile(tmp_path / done.stdout.splitlines()[-1]) as wheel:
        held = set(wheel.namelist())
        (entry_points,) = (name for name in held if name.endswith("entry_points.txt"))
        assert "vqspeech = vqspeech.cli:main" in wheel.read(entry_points).decode()
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "vqspeech").rglob("*.py")}
    conf = ROOT / "conf"
    settings = {f"vqspeech/conf/{path.relative_to(conf)}" for path in conf.rglob("*.yaml")}
    assert settings
    assert modules | settings | {"vqspeech/conf/__init__.py", "vqspeech/py.typed"} <= held


def test_nothing_of_ours_imports_the_command_line() -> None:
    """Imports run one way: only vqspeech.cli and __main__ know of vqspeech.cli."""
    others = [
        path
        for path in (ROOT / "vqspeech").rglob("*.py")
        if path.parent.name != "cli" and path.name != "__main__.py"
    ]
    assert not [path for path in others if "vqspeech.cli" in path.read_text()]


def test_layers_import_nothing_of_ours_but_layers() -> None:
    """nn is pure torch: no files, no configuration objects."""
    for path in (ROOT / "vqspeech/nn").glob("*.py"):
        imports = [
            line
            for line in path.read_text().splitlines()
            if line.startswith(("from vqspeech", "import vqspeech"))
        ]
        assert all(
            line.startswith(("from vqspeech.nn", "from vqspeech.errors")) for line in imports
        ), path
