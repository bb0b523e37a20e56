import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import soundfile
import torch

import vqspeech
from vqspeech.models import pretrained
from vqspeech.sampling import native

ROOT = Path(__file__).resolve().parents[1]
CPP = ROOT / "vqspeech/sampling/cpp"


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@dataclass(frozen=True)
class Built:
    wheel: Path
    sdist: Path
    output: str


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Build from a copy of the tree, where there is no compiler."""
    pytest.importorskip("pybind11", reason="needs pybind11 (the extra `dev`)")
    tree = tmp_path_factory.mktemp("tree")
    for name in ("vqspeech", "conf"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    code = "from setuptools import build_meta as b; print(b.build_sdist('.')); print(b.build_wheel('.'))"
    nowhere = {"CC": "/nonexistent/cc", "CXX": "/nonexistent/c++"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tree,
        env=os.environ | nowhere,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    (wheel,), (sdist,) = tree.glob("*.whl"), tree.glob("*.tar.gz")
    return Built(wheel, sdist, done.stdout)


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
    """One minor release of torch, and the wheel of torchaudio that was tried with it: 2.11.1 is for another."""
    wanted = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["train"],
    ]
    (torch,) = (each for each in wanted if each.startswith("torch>"))
    (torchaudio,) = (each for each in wanted if each.startswith("torchaudio"))
    assert (torch, torchaudio) == ("torch>=2.11,<2.12", "torchaudio==2.11.0")


def test_the_wheel_holds_code_configurations_and_models(built: Built) -> None:
    """The wheel has every module, YAML file, shipped model and card, and the command, and none of the C++."""
    with ZipFile(built.wheel) as wheel:
        held = set(wheel.namelist())
        (entry_points,) = (name for name in held if name.endswith("entry_points.txt"))
        assert "vqspeech = vqspeech.cli:main" in wheel.read(entry_points).decode()
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "vqspeech").rglob("*.py")}
    conf = ROOT / "conf"
    settings = {f"vqspeech/conf/{path.relative_to(conf)}" for path in conf.rglob("*.yaml")}
    assert settings
    page = {str(path.relative_to(ROOT)) for path in (ROOT / "vqspeech/report/templates").iterdir()}
    assert page
    shipped = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "vqspeech/models/pretrained").iterdir()
        if path.suffix in (".safetensors", ".md")
    }
    assert modules | settings | page | shipped <= held
    assert {"vqspeech/conf/__init__.py", "vqspeech/py.typed"} <= held
    assert not [name for name in held if name.endswith((".cpp", ".h"))]


def test_every_shipped_file_is_a_model_its_card_or_its_prior() -> None:
    """Nothing else lies beside the module: what is there goes into every installation."""
    expected = {
        "__init__.py",
        *(f"{n}{s}" for n in pretrained.NAMES for s in (".safetensors", ".md")),
        *(f"{n}-prior.safetensors" for n in pretrained.PRIORS),
    }
    found = {
        path.name for path in (ROOT / "vqspeech/models/pretrained").iterdir() if path.is_file()
    }
    assert found <= expected
    assert all(f"{name}.md" in found for name in pretrained.NAMES if f"{name}.safetensors" in found)


def test_the_sdist_holds_what_the_extension_is_built_from(built: Built) -> None:
    """setup.py and every C++ source and header are in the sdist."""
    with tarfile.open(built.sdist) as sdist:
        held = {name.split("/", 1)[-1] for name in sdist.getnames()}
    sources = {
        str(path.relative_to(ROOT)) for path in CPP.iterdir() if path.suffix in (".cpp", ".h")
    }
    assert {"vqspeech/sampling/cpp/binding.cpp", "vqspeech/sampling/cpp/network.h"} <= sources
    assert sources | {"setup.py"} <= held


def test_without_a_compiler_one_line_says_so(built: Built) -> None:
    """The build succeeds without the extension, and says once that it is missing."""
    said = [line for line in built.output.splitlines() if "not built" in line]
    assert len(said) == 1
    assert "vqspeech.sampling._native is not built" in said[0]
    assert "/nonexistent/c++" in said[0]


def test_without_the_extension_it_converts(
    built: Built, tiny_model_file: Path, tmp_path: Path
) -> None:
    """Installed without a compiler, the native engine gives its reason and another one works."""
    site = tmp_path / "site"
    with ZipFile(built.wheel) as wheel:
        wheel.extractall(site)
    assert not list(site.rglob("_native*.so"))
    wav = np.random.default_rng(0).normal(scale=0.1, size=200)
    soundfile.write(tmp_path / "a.wav", wav, 16000)
    code = (
        "import sys, torch; from vqspeech import cli; from vqspeech.sampling import native;"
        "print(native.__file__); print(native.unavailable_reason(torch.device('cpu')));"
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    words = ["convert", "--src", "a.wav", "--speaker", "p225", "--out", "b.wav"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(site), "VQSPEECH_MODEL": str(tiny_model_file)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    file, reason = done.stdout.splitlines()[:2]
    assert Path(file).is_relative_to(site)
    assert reason.startswith("not built")
    assert "reference" in done.stderr
    assert soundfile.info(tmp_path / "b.wav").frames == 200


_LOCK = """
for place in / "$TMPDIR" "$HOME"; do
  mount --bind "$place" "$place" && mount -o remount,bind,ro "$place" || exit 1
done
for place in /tmp "$TMPDIR" "$HOME" "$PYTHONPATH"; do
  if touch "$place/probe" 2>/dev/null; then printf '%s can be written to\n' "$place" >&2; exit 1; fi
done
exec "$@"
"""
"""Makes every disk read-only, for this process alone, and runs what follows."""


@pytest.fixture
def locked(built: Built, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Return what runs the installed command where nothing can be written: permissions do not bind root."""
    site, home, scratch = tmp_path / "site", tmp_path / "home", tmp_path / "scratch"
    with ZipFile(built.wheel) as wheel:
        wheel.extractall(site)
    home.mkdir()
    scratch.mkdir()
    variables = {"PYTHONPATH": str(site), "HOME": str(home), "TMPDIR": str(scratch)}
    inherited = {
        k: v
        for k, v in os.environ.items()
        if k not in ("XDG_CACHE_HOME", "PYTHONDONTWRITEBYTECODE")
    }

    def run(*command: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
        mine = () if os.getuid() == 0 else ("--map-root-user",)
        return subprocess.run(
            ["unshare", "--mount", *mine, "sh", "-c", _LOCK, "sh", *command],
            cwd=tmp_path,
            env=inherited | variables,
            capture_output=True,
            **options,
        )

    if shutil.which("unshare") is None:
        pytest.skip("needs unshare (util-linux)")
    if (tried := run("true")).returncode != 0:
        pytest.skip(f"no disk can be made read-only here: {tried.stderr.decode().strip()}")
    return run


def test_a_read_only_installation_works_where_nothing_can_be_written(
    locked: Callable[..., subprocess.CompletedProcess[bytes]],
    tiny_model_file: Path,
    tmp_path: Path,
) -> None:
    """Neither the package, nor the home, nor a temporary folder: info, codes and convert print what they make."""
    wav = np.random.default_rng(0).normal(scale=0.1, size=200)
    soundfile.write(tmp_path / "a.wav", wav, 16000)
    command = [sys.executable, "-m", "vqspeech"]
    model = ["--model", str(tiny_model_file)]
    shown = locked(*command, "info", str(tiny_model_file))
    coded = locked(*command, "codes", "a.wav", *model)
    spoken = locked(
        *command, "convert", "--src", "a.wav", "--speaker", "p225", "--out", "-", *model
    )
    for done in (shown, coded, spoken):
        assert done.returncode == 0, done.stderr
        assert b"Traceback" not in done.stderr
    assert b"p225" in shown.stdout
    assert json.loads(coded.stdout)["samples"] == 200
    assert spoken.stdout[:4] == b"RIFF"
    there = {path.name for path in tmp_path.iterdir()}
    assert there == {"site", "home", "scratch", "a.wav"}
    refused = locked(*command, "codes", "-", *model, input=(tmp_path / "a.wav").read_bytes())
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1


@pytest.mark.skipif("VQSPEECH_PYTHON" in os.environ, reason="nothing is built for VQSPEECH_PYTHON")
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_the_extension_is_built_where_it_can_be() -> None:
    """With a compiler and Python's headers, a missing extension is an error, not a skipped test."""
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        pytest.skip("needs the headers of Python")
    assert native.unavailable_reason(torch.device("cpu")) is None


def test_every_file_of_the_fast_tier_is_there() -> None:
    """A name that has gone would end the fast tier before its first test."""
    lines = (ROOT / "tests/fast.txt").read_text().splitlines()
    named = [line for line in lines if line and not line.startswith("#")]
    assert named
    assert not [name for name in named if not (ROOT / name.partition("::")[0]).exists()]
