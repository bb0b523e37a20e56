"""The documentation builds without a warning or a network, its links resolve, its commands run."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from vqspeech import cli
from vqspeech.cli.train import compose
from vqspeech.training.kinds import configured

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted(p for p in (ROOT / "docs").glob("*.md") if not p.is_symlink())]

NOT_RUN = {
    r"bash |pip |python |torchrun |srun ": "installs, downloads, or takes minutes to days; the file exists",
    r"vqspeech push ": "sends to a Hub: tests/models/test_hub.py",
    r"vqspeech export ": "takes long to load: tests/cli/test_export.py",
    r"vqspeech evaluate ": "judges take minutes: tests/cli/test_evaluate.py",
    r"vqspeech align ": "takes minutes: tests/cli/test_align.py",
    r"vqspeech analyze ": "takes a minute: tests/cli/test_analyze.py",
    r"vqspeech bench": "measures for minutes: tests/cli/test_bench.py",
    r"vqspeech prepare --corpus mini": "makes the corpus: tests/corpus/test_mini.py",
    r"vqspeech pack ": "tests/cli/test_pack.py",
    r"vqspeech train ": "trains for minutes to days; its configuration is composed",
    r"vqspeech codes archive/ |vqspeech codes .*--merge": "an archive in shards: tests/cli/test_shards.py",
    r"vqspeech demo": "serves until it is stopped: tests of the demo",
    r".*ann/arctic12": "a repository that is not there: tests/models/test_hub.py",
    r".*--model exp/|.*--prior exp/": "wants what a training above it makes",
}
"""Commands whose arguments alone are checked, each with the reason; all others are run."""


def commands(page: Path) -> list[str]:
    """Return the lines of all blocks without a language that are commands, without comments."""
    blocks = re.findall(r"^```\n(.*?)^```$", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if re.match(r"(vqspeech|bash|pip|python|torchrun|srun) ", line)]


def not_run(line: str) -> bool:
    return any(re.match(pattern, line) for pattern in NOT_RUN)


def parse(line: str) -> None:
    """Check the arguments of a command that is not run."""
    program, *words = shlex.split(line)
    if program == "bash":
        assert (ROOT / words[0]).is_file()
    if program != "vqspeech":
        return
    verb, *rest = words
    module = cli._verb_module(verb)
    parser = cli._Parser(prog=verb)
    module.add_arguments(parser)
    args = parser.parse_args(rest)
    if verb == "train" and not args.config:
        configured(compose(args.settings, args.config_name))


def test_there_are_commands_of_both_kinds() -> None:
    """The pattern finds those of every page that has some; no reason is left without a command."""
    found = [line for page in PAGES for line in commands(page)]
    assert len(found) > 50
    assert sum(not not_run(line) for line in found) > 20
    assert [p for p in NOT_RUN if not any(re.match(p, line) for line in found)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_that_are_not_run_have_arguments_that_fit(
    page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verb, options and configuration are there; so is a script."""
    monkeypatch.chdir(ROOT)
    for line in filter(not_run, commands(page)):
        parse(line)


@pytest.fixture
def workplace(
    shipped_folder: Path,
    tiny_model_file: Path,
    tiny_prior_file: Path,
    mini_store: Path,
    record: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """Return a folder with what the pages speak of, small: tiny models, half a second of sound, a store."""
    for name in ("vctk", "phoneme25"):
        shutil.copy(tiny_model_file, shipped_folder / f"{name}.safetensors")
        shutil.copy(tiny_prior_file, shipped_folder / f"{name}-prior.safetensors")
        (shipped_folder / f"{name}.md").write_text(f"# {name}\n")
    shutil.copy(tiny_model_file, tmp_path / "model.safetensors")
    record(tmp_path / "a.wav", seed=1)
    record(tmp_path / "recordings/ann/b.wav", seed=2)
    for number in range(8):
        record(tmp_path / f"my-recordings/ann/{number}.wav", f"Sentence {number}.", 1, seed=number)
    for name in ("DIR", "archive"):
        shutil.copytree(tmp_path / "my-recordings", tmp_path / name)
    shutil.copytree(mini_store, tmp_path / "store")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VQSPEECH_MODEL", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(not not_run(line) for line in commands(page))],
    ids=lambda p: p.name,
)
def test_commands_run(
    page: Path,
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    """One after the other, as somebody types them, on tiny models and half a second of sound; a player is left out."""
    for line in commands(page):
        if not_run(line):
            continue
        capfdbinary.readouterr()
        line, *into = line.split(" > ")
        output = b""
        for stage in line.split(" | "):
            program, *words = shlex.split(stage)
            if program == "aplay":
                assert output.startswith(b"RIFF")
                break
            assert program == "vqspeech", line
            # What stands there already is of an earlier command of the page.
            verb = words[0]
            if (
                verb in ("convert", "decode", "codes", "sample", "prepare")
                and "--force" not in words
            ):
                words.append("--force")
            if verb == "sample":
                words += ["--seconds", "0.3", "--mode", "fp32"]
            if verb == "decode" and output:
                Path("piped.json").write_bytes(output)
                words[words.index("-")] = "piped.json"
            assert cli.main(words) == 0, f"{stage}: {capfdbinary.readouterr().err.decode()}"
            output = capfdbinary.readouterr().out
        if into:
            Path(into[0]).write_bytes(output)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_is_python(page: Path) -> None:
    """Every example in Python compiles."""
    for block in re.findall(
        r"^```python\n(.*?)^```$", page.read_text(), flags=re.MULTILINE | re.DOTALL
    ):
        compile(block, str(page), "exec")


def test_the_example_of_the_first_page_runs(workplace: Path) -> None:
    """It encodes and decodes."""
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/index.md").read_text(), re.DOTALL)
    names: dict = {}
    exec(block, names)
    assert len(names["other"]) == len(names["wav"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site; a warning is an error."""
    pytest.importorskip("mkdocstrings", reason="needs mkdocs and mkdocstrings (the extra `docs`)")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", out]
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


class _Wanted(HTMLParser):
    """Collects ids, links, and what a page loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        of = dict(attrs)
        self.ids |= {str(of[key]) for key in ("id", "name") if of.get(key)}
        if tag == "a" and of.get("href"):
            self.links.append(str(of["href"]))
        elif tag == "link" and of.get("rel") in ("stylesheet", "icon", "preload", "preconnect"):
            self.loaded.append(str(of.get("href")))
        elif of.get("src"):
            self.loaded.append(str(of["src"]))


def test_every_link_resolves_and_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    """Pages, places in them, pictures, sounds, styles and scripts are all in the site."""
    pages = {path: _Wanted(path.read_text()) for path in site.rglob("*.html")}
    assert len(pages) >= 15
    followed = 0
    for path, page in pages.items():
        if path.name == "404.html":
            continue
        for target in page.loaded:
            assert not re.match(r"(https?:)?//", target), f"{path.name} loads {target}"
        for target in [*page.links, *page.loaded]:
            if re.match(r"(https?|mailto|data):", target):
                continue
            name, _, place = target.partition("#")
            file = (path.parent / name.split("?")[0]).resolve() if name else path
            file = file / "index.html" if file.is_dir() else file
            assert file.is_file(), f"{path.name}: {target}"
            if place and file in pages and not place.startswith("__"):
                assert place in pages[file].ids, f"{path.name}: {target}"
            followed += 1
    assert followed > 200
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//", style.read_text()), style


def test_links_of_the_readme_resolve() -> None:
    """They are files of the repository."""
    links = re.findall(r"\]\(([^)#]+)", (ROOT / "README.md").read_text())
    local = [link for link in links if not link.startswith("http")]
    assert local
    assert all((ROOT / link).exists() for link in local)


def test_the_site_has_both_notebooks(site: Path) -> None:
    """What is linked is a notebook, not a name of one."""
    for name in ("phonemes", "voice"):
        assert json.loads((site / f"notebooks/{name}.ipynb").read_text())["cells"]
