"""The commands of the documentation, run as they are printed, in a folder of their own."""

from __future__ import annotations

import contextlib
import io
import os
import re
import runpy
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from credit_ray import cli

DOCS = Path(__file__).parents[2] / "docs"
NOT_RUN, BACKGROUND = "not run:", "in the background"


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Parameters
    ----------
    language, text : str
        What is in it.
    remark : str
        Of a comment just before it: `not run: REASON`, or `in the background`.
    """

    language: str
    text: str
    remark: str

    @property
    def file(self) -> str | None:
        """Where its reader is told to save it: the first line says so."""
        found = re.match(r"# ([\w.]+\.\w+): ", self.text)
        return found[1] if found else None


def blocks(page: str) -> list[Block]:
    text = (DOCS / page).read_text(encoding="utf-8")
    fence = re.compile(r"(?:^<!-- (?P<remark>[^\n]*) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S)
    return [Block(found["language"], found["text"], found["remark"] or "") for found in fence.finditer(text)]


def run_here(words: list[str]) -> object:
    """A command's exit code; it runs in this process."""
    try:
        match words:
            case ["credit-ray", *_]:
                cli.main()
            case ["python", "-c", program]:
                exec(program, {})
            case ["python", script]:
                runpy.run_path(script, run_name="__main__")
            case _:
                pytest.fail(f"Nobody here knows how to run {shlex.join(words)}")
    except SystemExit as end:
        return end.code
    return 0


class Reader:
    """Somebody who types the commands of a page: in this process, which has Ray and PyTorch loaded already; services in their own.

    Parameters
    ----------
    address : str
        Of the Ray cluster that the others use.
    """

    def __init__(self, address: str) -> None:
        self.output = ""
        self.ports: dict[str, int] = {}
        self._environment = {**os.environ, "RAY_ADDRESS": address, "PYTHONPATH": str(DOCS.parent)}
        self._background: list[subprocess.Popen[str]] = []

    def follow(self, block: Block) -> None:
        text = self._with_free_ports(block.text)
        if block.file:
            Path(block.file).write_text(text, encoding="utf-8")
        elif block.language == "bash" and not block.remark.startswith(NOT_RUN):
            for line in text.splitlines():
                words = shlex.split(line)
                if block.remark == BACKGROUND:
                    self._start(words)
                else:
                    self._type(words)

    def _with_free_ports(self, text: str) -> str:
        for port in re.findall(r"(?:--port |127\.0\.0\.1:)(\d+)", text):
            if port not in self.ports:
                with socket.socket() as free:
                    free.bind(("127.0.0.1", 0))
                    self.ports[port] = free.getsockname()[1]
            text = text.replace(port, str(self.ports[port]))
        return text

    def _type(self, words: list[str]) -> None:
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as said:
            patch.setattr(sys, "argv", words[1:] if words[0] == "python" else words)
            code = run_here(words)
        self.output += f"$ {shlex.join(words)}\n{said.getvalue()}\n"
        assert not code, self.output

    def _start(self, words: list[str]) -> None:
        """Begin a service, and wait until it answers."""
        program = [sys.executable, "-m", "credit_ray.cli" if words[0] == "credit-ray" else words[0]]
        with Path("service.log").open("w") as log:
            service = subprocess.Popen(
                [*program, *words[1:]], env=self._environment, stdout=log, stderr=log, text=True, start_new_session=True
            )
        self._background.append(service)
        url = f"http://127.0.0.1:{words[words.index('--port') + 1]}/"
        while True:
            assert service.poll() is None, Path("service.log").read_text()
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(url + ("readyz" if words[0] == "credit-ray" else "health")),
            ):
                return
            time.sleep(0.5)

    def leave(self) -> None:
        """End the services, as Ctrl-C does."""
        for service in self._background:
            os.killpg(service.pid, signal.SIGINT)
        for service in self._background:
            service.wait()


@pytest.fixture
def reader(ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    import ray

    monkeypatch.chdir(tmp_path)
    someone = Reader(ray.get_runtime_context().gcs_address)
    yield someone
    someone.leave()


@pytest.mark.timeout(900)
def test_the_getting_started_page_works_from_top_to_bottom(reader: Reader, tmp_path: Path) -> None:
    page = blocks("getting-started.md")
    assert sum(block.remark.startswith(NOT_RUN) for block in page) == 1  # the installation
    for block in page:
        reader.follow(block)
    assert "Trained first version 2 (alias candidate)" in reader.output
    assert "<xarray.Dataset>" in reader.output
    assert all((tmp_path / made).is_file() for made in ("scores/index.html", "z.png", "runs/mlflow.db"))


def test_every_other_page_shows_configs_that_load_and_a_network_that_builds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from credit_ray.config.loader import load_experiment
    from credit_ray.models.arguments import NetworkShape
    from credit_ray.models.network import build_network
    from credit_ray.registry import networks

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(networks, "_entries", dict(networks._entries))
    pages = ["getting-started.md", "config.md", "networks.md", "your-own-network.md", "clusters.md"]
    files = {block.file: block for page in pages for block in blocks(page) if block.file}
    for name, block in files.items():
        Path(str(name)).write_text(block.text, encoding="utf-8")
    runpy.run_path("rowmix.py")
    loaded = {name: load_experiment(str(name)) for name in files if str(name).endswith(".yaml")}
    assert {"first.yaml", "wide.yaml", "sfno.yaml", "trial.yaml", "rowmix.yaml", "cluster.yaml"} <= set(loaded)

    import torch

    shape = NetworkShape(
        history=1, in_channels=5, out_channels=4, grid=(8, 16), periodic=True, poles=True, pole_points=False,
        pole_sign=(1.0,) * 5, pole_offset=(0.0,) * 5,
    )  # fmt: skip
    network = build_network("rowmix", {"width": 4}, shape)
    assert network(torch.randn(2, 1, 5, 8, 16)).shape == (2, 4, 8, 16)
    assert loaded["rowmix.yaml"].model.arguments.width == 24


def test_links_lead_somewhere() -> None:
    pages = [
        *DOCS.glob("*.md"),
        DOCS.parent / "README.md",
        DOCS.parent / "CONTRIBUTING.md",
        *DOCS.parent.glob("cluster/*.md"),
    ]
    links = [
        (page, link)
        for page in pages
        for link in re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text(encoding="utf-8"))
    ]
    assert len(links) > 10
    assert not [f"{page.name}: {link}" for page, link in links if not (page.parent / link).exists()]


def test_the_first_page_names_files_that_exist() -> None:
    """README's table of what is where: `credit_ray/data/plan.py`, and names beside it in the same folder."""
    root = DOCS.parent
    text = (root / "README.md").read_text(encoding="utf-8")
    table = text[text.index("## Where is what") : text.index("## Five commands")]
    for line in table.splitlines():
        folder = root
        for name in re.findall(r"`([\w/.-]+(?:\.py|/))`", line):
            here = next((place for place in (root, folder, root / "credit_ray") if (place / name).exists()), None)
            assert here, f"README: there is no {name}"
            if name.endswith(".py") or folder == root:
                folder = here / name if name.endswith("/") else (here / name).parent
    assert table.count("`credit_ray/") > 8


def test_the_commands_of_the_first_page_exist() -> None:
    from typer.main import get_command

    known = set(get_command(cli.app).commands)  # type: ignore[attr-defined]
    texts = [path.read_text(encoding="utf-8") for path in (*DOCS.glob("*.md"), DOCS.parent / "README.md")]
    named = {word for text in texts for word in re.findall(r"(?:^|`)credit-ray ([a-z]+)", text, re.M)}
    assert {"check", "train", "forecast", "verify", "serve"} <= named <= known
