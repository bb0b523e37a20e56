import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from vqspeech.demo import server

CORE = ("vqspeech", "vqspeech.cli.demo", "vqspeech.demo.server", "vqspeech.demo.studio")


def test_serves_on_this_machine_alone_and_leaves_nothing(
    tiny_model_file: Path, tmp_path: Path
) -> None:
    """The address is printed once the page is there; a browser may ask nobody else; its folder goes with it."""
    pytest.importorskip("gradio", reason="needs gradio (the extra `demo`)")
    environment = os.environ | {"TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "vqspeech", "demo", "--model", str(tiny_model_file)]
    served = subprocess.Popen(
        [*command, "--device", "cpu", "--port", "0"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert served.stdout is not None
        address, _, about = served.stdout.readline().partition(" ")
        assert address.startswith("http://127.0.0.1:")
        assert "x real time" in about
        assert len(list(tmp_path.glob("vqspeech-demo-*"))) == 1
        with urllib.request.urlopen(address) as answer:
            assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{address}/sounds/guess.wav")
    finally:
        served.send_signal(signal.SIGTERM)
        status = served.wait(60)
    assert status == 128 + signal.SIGTERM
    assert list(tmp_path.glob("vqspeech-demo-*")) == []


def test_an_address_in_use_is_one_line(run) -> None:
    """It says which address, and what to do."""
    pytest.importorskip("gradio", reason="needs gradio (the extra `demo`)")
    with socket.create_server(("127.0.0.1", 0)) as other:
        error = run("demo", "--port", other.getsockname()[1]).error
    assert "Address already in use; choose another" in error
    assert str(other) not in error


def test_without_gradio_one_line_says_what_to_install(run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named before anything is loaded."""
    monkeypatch.setattr(server, "find_spec", lambda _: None)
    assert run("demo").error == "the demo needs Gradio: pip install 'vqspeech[demo]'"


def test_all_but_page_and_app_is_imported_without_gradio() -> None:
    """Nothing of the core, nor the demo's own logic, brings it in."""
    code = f"import importlib, sys; [importlib.import_module(n) for n in {CORE!r}]; print('gradio' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    "argument", ["--port=65536", "--port=x", "--at-once=0", "--waiting=0", "--longest=0.5"]
)
def test_numbers_out_of_range_are_refused(run, argument: str) -> None:
    """Before a model is loaded."""
    assert argument.split("=")[1] in run("demo", argument).error
