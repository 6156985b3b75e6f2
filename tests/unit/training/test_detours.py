"""What is remembered of a training that diverged."""

from __future__ import annotations

from pathlib import Path

import pytest

from credit_ray.errors import TrainingError
from credit_ray.training.detours import Detours


def test_each_is_taken_until_it_gives_up_and_someone_asks_for_more(tmp_path: Path) -> None:
    detours, why = Detours(str(tmp_path)), TrainingError("At step 7 the loss is not finite.")
    assert detours.epochs() == ()
    detours.take(3, 1, why, write=False)
    assert detours.epochs() == ()
    detours.take(3, 1, why, write=True)
    assert Detours(str(tmp_path)).epochs() == (3,)
    detours.take(4, 1, why, write=True)
    with pytest.raises(TrainingError, match=r"At step 7.*went back.*1 times"):
        detours.refuse_if_in_vain()
    detours.try_again()
    detours.refuse_if_in_vain()
    assert detours.epochs() == (3,)
