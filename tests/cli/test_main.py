import json
import os
import re
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import pytest
from bare import run_without

from vqspeech import cli
from vqspeech.errors import ModelFileError
from vqspeech.models import pretrained

HEAVY = ("torch", "numpy", "hydra", "lightning", "librosa", "soundfile")


def test_help_lists_every_verb_and_imports_nothing_slow() -> None:
    """The overview names all verbs and loads none of the slow packages."""
    code = (
        "import sys; from vqspeech.cli import main; main(['--help']);"
        f"print('loaded:', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "loaded: []" in done.stdout
    for verb in cli.VERBS:
        assert f"\n  {verb} " in done.stdout


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """VERB --help prints usage and ends with status 0."""
    with pytest.raises(SystemExit) as ended:
        cli.main([verb, "--help"])
    assert ended.value.code == 0
    assert f"usage: vqspeech {verb}" in capsys.readouterr().out


def test_every_module_of_the_package_with_a_run_function_is_a_verb() -> None:
    """A command added as a file but not to the table would be unreachable."""
    folder = Path(cli.__file__).parent
    modules = {path.stem for path in folder.glob("*.py") if "\ndef run(" in path.read_text()}
    assert modules == set(cli.VERBS)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], "no verb given"),
        (["encode"], "unknown verb 'encode'"),
        (["codes"], "name sound files or folders"),
        (["codes", "a.wav", "--bogus"], "unrecognized arguments: --bogus"),
        (["convert", "--src", "a.wav", "--speaker", "x", "--temperature", "-1"], "from 0 up"),
        (["convert", "--src", "a.wav", "--speaker", "x", "--temperature", "nan"], "from 0 up"),
        (["convert", "--src", "a.wav", "--speaker", "x", "--temperature", "hot"], "from 0 up"),
        (["convert", "--src", "a.wav", "--speaker", "x", "--seed", str(2**63)], "2^63 - 1"),
        (["decode", "a.json", "--speaker", "x", "--seed=-1"], "'-1' is not a whole number"),
        (["decode", "a.json", "--speaker", "x", "--engine", "fast"], "invalid choice: 'fast'"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_status_1(run, argv, expected) -> None:
    """What is wrong with the arguments is told like any other error."""
    assert expected in run(*argv).error


def test_version(run) -> None:
    """--version prints the version of the package."""
    from vqspeech import __version__

    assert run("--version").out == f"vqspeech {__version__}\n"


def test_traceback_on_request(run, monkeypatch: pytest.MonkeyPatch) -> None:
    """VQSPEECH_TRACEBACK=1 lets the exception through."""
    monkeypatch.setenv("VQSPEECH_TRACEBACK", "1")
    with pytest.raises(ModelFileError):
        run("info", "missing.safetensors")


def test_an_error_of_the_system_is_one_line(run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, a folder without permission and the like name the file and the reason."""
    from vqspeech.cli import info

    def fail(_args: object) -> None:
        raise OSError(28, "No space left on device", "/somewhere/a.wav")

    monkeypatch.setattr(info, "run", fail)
    assert run("info").error == "/somewhere/a.wav: No space left on device"


def test_a_full_disk_in_a_thread_is_one_line(run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads of libraries end with an error of the system like everything else does."""
    from vqspeech.cli import info

    def fail() -> None:
        raise OSError(28, "No space left on device")

    def work(_args: object) -> None:
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()

    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(info, "run", work)
    assert run("info").err == "vqspeech: No space left on device\n"


def test_an_interruption_is_status_130(run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends with the shell's status for it and without a traceback."""
    from vqspeech.cli import info

    def interrupt(_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(info, "run", interrupt)
    outcome = run("info")
    assert (outcome.status, outcome.err) == (130, "vqspeech: interrupted\n")


def test_no_complaint_when_the_reader_goes_away(tiny_model_file: Path) -> None:
    """``vqspeech info | head -0`` says nothing on standard error."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "vqspeech", "info", tiny_model_file],
            stdout=closed,
            stderr=subprocess.PIPE,
        )
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("device", ["gpu9", "cuda:99", ""])
def test_a_device_that_is_not_there_is_refused(run, tone, device: str) -> None:
    """An unknown or absent device is told in one line; an empty name means the default."""
    outcome = run("codes", tone("a.wav"), "--device", device)
    if device:
        assert device in outcome.error
    else:
        assert outcome.status == 0


def test_without_a_model_the_shipped_one_serves(
    run, tone, shipped_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Codes say by its name which model made them, and are decoded without naming it."""
    by_file = run("codes", tone("a.wav")).out
    monkeypatch.delenv("VQSPEECH_MODEL")
    outcome = run("codes", "a.wav")
    record = json.loads(outcome.out)
    assert record["model"] == "vctk"
    assert record["codes"] == json.loads(by_file)["codes"]
    Path("codes.json").write_text(outcome.out)
    assert run("decode", "codes.json", "--speaker", "p225", "--out", "decoded.wav").status == 0
    assert run("convert", "--src", "a.wav", "--speaker", "p225", "--out", "b.wav").status == 0
    assert Path("decoded.wav").read_bytes() == Path("b.wav").read_bytes()


def test_option_before_variable_before_default(run, shipped_folder: Path, tone) -> None:
    """--model wins over the variable, which wins over the shipped model."""
    tone("a.wav")
    by_variable, by_option = (
        json.loads(run("codes", "a.wav", *more).out)["model"] for more in ([], ["--model", "vctk"])
    )
    assert by_variable.endswith("tiny.safetensors")
    assert by_option == "vctk"


def test_a_model_that_is_not_there(
    run, tone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The missing file of an installation without models is named, and what to name instead; so are those shipped."""
    error = run("codes", tone("a.wav"), "--model", "vtck").error
    assert error.startswith("vtck: no such model file")
    assert "vctk, phoneme25" in error
    monkeypatch.delenv("VQSPEECH_MODEL")
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path / "nothing")
    error = run("codes", tone("a.wav")).error
    assert error.startswith(str(tmp_path / "nothing/vctk.safetensors"))
    assert "--model" in error
    assert "VQSPEECH_MODEL" in error


def test_the_core_speaks_without_what_only_other_verbs_need(
    tiny_model_file: Path, tiny_prior_file: Path, tone, tmp_path: Path
) -> None:
    """Codes, convert, decode, sample and info run where no extra is; train and analyze name theirs in one line."""
    tone("a.wav")
    model = ["--model", str(tiny_model_file)]
    voice = ["--speaker", "p225", "--force", *model]
    prior = ["--prior", str(tiny_prior_file), "--seconds", "0.1"]
    run = [
        ["codes", "a.wav", "--out", "a.json", *model],
        ["codes", "a.wav", "--out", "a.vqc", *model],
        ["convert", "--src", "a.wav", "--out", "b.wav", *voice],
        ["decode", "a.json", "--out", "c.wav", *voice],
        ["sample", "--out", "d.wav", *prior, *voice],
    ]
    refused = [
        ["train", "data.store=store", "run.dir=run"],
        ["analyze", "--corpus", "store", "--out", "analysis", *model],
    ]
    code = (
        "import io, json, os, sys; from contextlib import redirect_stderr; from vqspeech.cli import main\n"
        "os.chdir(sys.argv[1])\n"
        "for words in json.loads(sys.argv[2]):\n"
        "    with redirect_stderr(io.StringIO()) as said: status = main(words)\n"
        "    last = said.getvalue().splitlines()[-1] if status else ''\n"
        "    print('done', words[0], status, last, sep='\\t')"
    )
    said = run_without(" ".join(cli._EXTRAS), code, tmp_path, json.dumps(run + refused))
    lines = re.findall("^done\t(.*)$", said, re.MULTILINE)
    assert lines[:5] == [f"{words[0]}\t0\t" for words in run]
    assert lines[5] == "train\t1\tvqspeech: this needs hydra: pip install 'vqspeech[train]'"
    assert re.fullmatch(
        r"analyze\t1\tvqspeech: this needs \w+: pip install 'vqspeech\[analysis\]'", lines[6]
    )


def test_every_module_of_an_extra_is_in_that_extra() -> None:
    """What the line says to install has the package that is missing."""
    root = Path(__file__).parents[2]
    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    called = {"sklearn": "scikit-learn", "hydra": "hydra-core"}
    for module, extra in cli._EXTRAS.items():
        assert any(re.match(rf"{called.get(module, module)}\b", text) for text in extras[extra]), (
            module
        )
