"""Models come from and go to a Hub: a small one on loopback, spoken to by huggingface_hub itself."""

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

import vqspeech
from vqspeech.errors import ConfigurationError, ModelFileError
from vqspeech.models import hub, pretrained
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.checkpoint import load_model
from vqspeech.models.prior import Prior

TOKEN = "hf_test"


class FakeHub(ThreadingHTTPServer):
    """Repositories in memory, each one commit on main; large files go by Git LFS, others within the commit."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.large: dict[str, bytes] = {}
        self.private: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Answer(BaseHTTPRequestHandler):
    server: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for key, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def say(self, content: Any, status: int = 200) -> None:
        self.answer(status, json.dumps(content).encode(), Content_Type="application/json")

    def missing(self) -> None:
        self.answer(404, b"{}", X_Error_Code="RepoNotFound")

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def files(self, name: str) -> dict[str, bytes] | None:
        known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        return (
            None
            if name in self.server.private and not known
            else self.server.repositories.get(name)
        )

    def do_GET(self) -> None:
        if found := re.match(
            r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/(\w+))?(?:\?|$)", self.path
        ):
            name, what, revision = found.groups()
            files = self.files(name)
            if files is None:
                return self.missing()
            commit = _commit(files)
            if revision not in (None, "main", commit):
                return self.answer(404, b"{}", X_Error_Code="RevisionNotFound")
            if what == "tree":
                return self.say(
                    [
                        {"type": "file", "path": path, "size": len(data), "oid": _id(data)}
                        for path, data in files.items()
                    ]
                )
            siblings = [{"rfilename": path} for path in files]
            return self.say({"id": name, "sha": commit, "siblings": siblings})
        if found := re.match(r"/([^/]+/[^/]+)/resolve/\w+/(.+)$", self.path):
            files = self.files(found[1])
            if files is None:
                return self.missing()
            if found[2] not in files:
                return self.answer(404, X_Error_Code="EntryNotFound")
            data = files[found[2]]
            return self.answer(200, data, ETag=f'"{_id(data)}"', X_Repo_Commit=_commit(files))
        return self.answer(404)

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        data = self.body()
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer(401, b"{}")
        if self.path == "/api/validate-yaml":
            return self.say({"errors": [], "warnings": []})
        if self.path == "/api/repos/create":
            asked = json.loads(data)
            name = f"{asked['organization']}/{asked['name']}"
            if asked.get("private"):
                self.server.private.add(name)
            if name in self.server.repositories:
                return self.say({"url": f"{self.server.url}/{name}"}, 409)
            self.server.repositories[name] = {}
            return self.say({"url": f"{self.server.url}/{name}"})
        if found := re.match(r"/api/models/([^/]+/[^/]+)/preupload/main", self.path):
            return self.say(
                {
                    "files": [
                        {
                            "path": file["path"],
                            "uploadMode": "lfs" if file["path"].endswith("tensors") else "regular",
                            "shouldIgnore": False,
                        }
                        for file in json.loads(data)["files"]
                    ]
                }
            )
        if self.path.endswith(".git/info/lfs/objects/batch"):
            objects = [
                {
                    **wanted,
                    "actions": {"upload": {"href": f"{self.server.url}/large/{wanted['oid']}"}},
                }
                for wanted in json.loads(data)["objects"]
            ]
            return self.say({"transfer": "basic", "objects": objects})
        if found := re.match(r"/api/models/([^/]+/[^/]+)/commit/main", self.path):
            files = self.server.repositories[found[1]]
            for line in map(json.loads, data.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    files[value["path"]] = self.server.large[value["oid"]]
            commit = _commit(files)
            return self.say(
                {"commitUrl": f"{self.server.url}/{found[1]}/commit/{commit}", "commitOid": commit}
            )
        return self.answer(404)

    def do_PUT(self) -> None:
        data = self.body()
        digest = self.path.rsplit("/", 1)[1]
        assert hashlib.sha256(data).hexdigest() == digest
        self.server.large[digest] = data
        self.answer(200)


def _id(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


def _commit(files: dict[str, bytes]) -> str:
    return _id(b"".join(path.encode() + data for path, data in sorted(files.items())))


@pytest.fixture
def server() -> Iterator[FakeHub]:
    pytest.importorskip("huggingface_hub", reason="needs huggingface_hub (the extra `hub`)")
    with FakeHub() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def ask(server: FakeHub, tmp_path: Path) -> Any:
    """Return what runs Python against the Hub on loopback: huggingface_hub reads its variables once a process."""

    def ask(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "VQSPEECH_"))}
        own = {
            "HF_ENDPOINT": server.url,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        return subprocess.run(
            [sys.executable, *words],
            cwd=tmp_path,
            env=kept | own | variables,
            capture_output=True,
            text=True,
        )

    return ask


def the_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one line of an error."""
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    return line.removeprefix("vqspeech: ")


def test_pushed_and_loaded_again(
    ask: Any, server: FakeHub, tiny_model_file: Path, tiny_prior_file: Path, tmp_path: Path
) -> None:
    """File, prior and card arrive as they are, are found by owner/name, and later without the Hub."""
    file = tmp_path / "mine.safetensors"
    file.write_bytes(tiny_model_file.read_bytes())
    push = ("-m", "vqspeech", "push", "ann/mine", "--model", str(file), "--private")
    (tmp_path / "mine.md").write_text("# mine\n\nSpeaks.\n")
    (tmp_path / "mine-prior.safetensors").write_bytes(tiny_prior_file.read_bytes())
    assert "hf auth login" in the_line(ask(*push))
    done = ask(*push, HF_TOKEN=TOKEN)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{server.url}/ann/mine\n"
    files = server.repositories["ann/mine"]
    assert files.keys() == {"model.safetensors", "model-prior.safetensors", "README.md"}
    assert files["model.safetensors"] == file.read_bytes()
    assert files["README.md"].decode() == hub.HEADER + "# mine\n\nSpeaks.\n"
    code = (
        "import vqspeech; m = vqspeech.load('ann/mine'); p = vqspeech.load_prior('ann/mine');"
        "n = vqspeech.Autoencoder.from_pretrained('ann/mine', revision='main');"
        "print(m.codebook_id == n.codebook_id == p.config.codebook_id, *m.speakers);"
        "from vqspeech import cli; cli.main(['info', '--card', 'ann/mine'])"
    )
    there = ask("-c", code, HF_TOKEN=TOKEN)
    assert there.stdout == "True p225 p226 p227\n# mine\n\nSpeaks.\n", there.stderr
    server.repositories.clear()
    gone = ask("-c", code, HF_ENDPOINT="http://127.0.0.1:1")
    assert gone.stdout == there.stdout, gone.stderr


def test_what_is_not_there_is_one_line(ask: Any, server: FakeHub) -> None:
    """An unknown repository, one without a model, no network: what was found, and what to do."""
    info = ("-m", "vqspeech", "info", "--card")
    unknown = the_line(ask(*info, "bob/none"))
    assert unknown.startswith("bob/none: neither a file here nor a repository")
    assert server.url in unknown
    server.repositories["bob/other"] = {"README.md": b"# other"}
    assert the_line(ask(*info, "bob/other")).startswith("bob/other: this repository has no model")
    for variables in ({"HF_ENDPOINT": "http://127.0.0.1:1"}, {"HF_HUB_OFFLINE": "1"}):
        line = the_line(ask(*info, "bob/mine", **variables))
        assert line.startswith("bob/mine: no such file here nor in the cache of models")
        assert "connect to the network once" in line


def test_from_memory(ask: Any, server: FakeHub, tiny_model_file: Path) -> None:
    """`push_to_hub` sends the weights of a model that has no file."""
    code = (
        f"import vqspeech; m = vqspeech.load({str(tiny_model_file)!r});"
        "print(m.push_to_hub('ann/made', card='# made'))"
    )
    done = ask("-c", code, HF_TOKEN=TOKEN)
    assert done.stdout == f"{server.url}/ann/made\n", done.stderr
    sent = tiny_model_file.with_name("sent.safetensors")
    sent.write_bytes(server.repositories["ann/made"]["model.safetensors"])
    expected = load_model(tiny_model_file).state_dict()
    found = load_model(sent).state_dict()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_a_folder_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a name of two parts, whose first is no folder here, is a repository; a `Path` never is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "fetch", lambda name: Path("fetched", name))
    assert pretrained.find("ann/mine") == Path("fetched/ann/mine")
    paths = ("ann/mine.safetensors", "./ann/mine", "/ann/mine", "ann/mine/", "a/b/c", "../mine")
    assert [pretrained.find(name) for name in paths] == [Path(name) for name in paths]
    assert pretrained.find(Path("ann/mine")) == Path("ann/mine")
    Path("ann").mkdir()
    assert pretrained.find("ann/mine") == Path("ann/mine")


def test_without_the_package_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tiny_model: Autoencoder
) -> None:
    """The extra is named, for loading as for sending."""
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for call in (
        lambda: vqspeech.load("ann/nowhere"),
        lambda: tiny_model.push_to_hub("ann/nowhere", card="# none"),
    ):
        with pytest.raises(ConfigurationError, match=r"pip install 'vqspeech\[hub\]'"):
            call()


def test_a_repository_without_a_prior(
    monkeypatch: pytest.MonkeyPatch, tiny_model_file: Path, tiny_prior: Prior
) -> None:
    """The file that is missing is named."""
    monkeypatch.setattr(hub, "fetch", lambda name: tiny_model_file)
    with pytest.raises(ModelFileError, match=r"ann/mine: this repository has no tiny-prior"):
        vqspeech.load_prior("ann/mine")
