"""Models that CREDIT itself built and ran: an imported package gives the same numbers.

Needs the folder that CREDIT_RAY_TEST_DATA names.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from credit_ray.interchange.credit import CreditFiles, import_credit
from credit_ray.package import load_package
from credit_ray.state import State

DATA = Path(os.environ.get("CREDIT_RAY_TEST_DATA", "")) / "credit_interchange"
pytestmark = pytest.mark.skipif(
    "CREDIT_RAY_TEST_DATA" not in os.environ or not DATA.exists(), reason="no data named by CREDIT_RAY_TEST_DATA"
)


@pytest.mark.parametrize("name", ["wxformer_spectral_norm", "crossformer", "fuxi_spectral_norm"])
def test_an_imported_model_gives_what_credit_got(name: str, tmp_path: Path) -> None:
    files = CreditFiles(checkpoint=DATA / name / "checkpoint.pt", config=DATA / name / "model.yml")
    imported = import_credit(files, tmp_path / "package")
    stepper = load_package(imported.package).stepper
    spec = stepper.spec
    golden = np.load(DATA / name / "io.npz")
    fields = torch.from_numpy(golden["input"]).transpose(1, 2)  # [batch, time, channel, lat, lon]
    wanted = torch.from_numpy(golden["output"])[:, :, 0]
    prognostic, forcing = fields.split([len(spec.prognostic), len(spec.forcing)], 2)
    times = np.zeros(len(fields), np.int64)
    state = State(fields=prognostic, forcing=forcing[:, :-1], valid_time=times)
    with torch.no_grad():
        found = stepper.step(stepper.start(state), forcing[:, -1]).outputs
    assert (found - wanted).abs().max() <= 1e-5 * wanted.abs().max()
    assert {channel.at for channel in spec.forcing} == {"input"}
