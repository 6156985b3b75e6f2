"""A small valid config, as a file and as values."""

from __future__ import annotations

from pathlib import Path

import pytest

BASE = """\
name: base
seed: 1
output: ${CREDIT_RAY_TEST_OUTPUT:-runs}
data:
  timestep: 6h
  sources:
    atmosphere:
      store: weather.zarr
      prognostic: [u, v]
      storage_options: {secret: open sesame}
  splits:
    train: [2020-01-01, 2020-12-31]
    validation: [2021-01-01, 2021-02-01]
training:
  batch_size: 8
  optimizer: {lr: 1e-3}
  curriculum:
    - {epoch: 0, steps: 1}
    - {epoch: 2, steps: 2}
"""


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`base.yaml` in the working directory; paths in messages are then short."""
    monkeypatch.chdir(tmp_path)
    Path("base.yaml").write_text(BASE, encoding="utf-8")
    return Path("base.yaml")
