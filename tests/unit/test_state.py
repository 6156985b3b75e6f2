"""Names and indices: channels, specs, states and windows."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_ray.errors import SpecMismatchError
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.state import Channel, Channels, Fields, State, StateSpec, Window
from credit_ray.times import Step

GRID = LatLonGrid.gaussian(4)


def level(variable: str, value: float | None = None, vertical: Any = "pressure") -> Channel:
    return Channel(variable=variable, units="1", level=value, vertical=None if value is None else vertical)


ALL = Channels([level("u", 500), level("t", 500), level("t", 850), level("sp"), level("t", 1000)])
SPEC = StateSpec(
    prognostic=ALL,
    diagnostic=Channels([Channel(variable="tp", units="kg m-2", kind="accumulated")]),
    forcing=Channels(
        [Channel(variable="rsdt", units="W m-2", kind="mean"), Channel(variable="sst", units="K", at="input")]
    ),
    static=Channels([level("orography")]),
    history=2,
    step=Step.parse("6h"),
    grid=GRID,
    calendar="noleap",
)


@pytest.mark.parametrize(
    ("channel", "name"),
    [
        (level("t2m"), "t2m"),
        (level("z", 500), "z_500"),
        (level("t", 97, "model"), "t_m97"),
        (level("t", 0.835, "sigma"), "t_s0.835"),
        (level("so", 2.5, "depth"), "so_d2.5"),
    ],
)
def test_a_channels_name_says_variable_and_level(channel: Channel, name: str) -> None:
    assert channel.name == name


def test_vector_components_turn_at_the_poles() -> None:
    assert [
        channel.flips_across_pole for channel in (level("u", 500), level("v10"), level("t", 500), level("my_tracer"))
    ] == [True, True, False, False]


def test_channels_are_found_by_name_and_variable() -> None:
    assert ALL.names == ("u_500", "t_500", "t_850", "sp", "t_1000")
    assert ALL.variables == ("u", "t", "sp")
    assert [ALL.index(name) for name in ALL.names] == [0, 1, 2, 3, 4]
    assert ALL.of("t") == [1, 2, 4]
    assert "t_850" in ALL
    assert level("sp") in ALL
    assert "t" not in ALL
    assert ALL[1:3].names == ("t_500", "t_850")
    with pytest.raises(SpecMismatchError, match="There is no channel 't_85'. Did you mean 't_850'"):
        ALL.index("t_85")
    with pytest.raises(SpecMismatchError, match="There is no variable 'spp'. Did you mean 'sp'"):
        ALL.of("spp")


def test_a_name_stands_for_one_channel() -> None:
    with pytest.raises(SpecMismatchError, match="Given twice: t_500"):
        Channels([level("t", 500), level("u", 500), level("t", 500)])


def test_equal_channels_are_equal_keys_also_after_a_journey() -> None:
    travelled = pickle.loads(pickle.dumps(ALL))
    assert travelled == ALL
    assert {ALL: 1}[travelled] == 1
    assert Channels(list(ALL)) == ALL
    assert ALL[:2] != ALL


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(5)))
def test_fields_are_selected_by_name(order: list[int]) -> None:
    fields = Fields(torch.randn(2, 5, *GRID.shape, generator=torch.Generator().manual_seed(0)), ALL)
    picked = fields.select(Channels([ALL[i] for i in order]))
    for name in ALL.names:
        assert torch.equal(picked[name], fields[name])
    assert torch.equal(picked.variable("sp")[:, 0], fields["sp"])


def test_changed_fields_replace_only_themselves_and_pass_gradients() -> None:
    data = torch.randn(2, 5, *GRID.shape, requires_grad=True)
    fields = Fields(data, ALL)
    changed = fields | {"sp": fields["sp"] * 2}
    assert torch.equal(changed["sp"], 2 * fields["sp"])
    assert torch.equal(changed.data[:, [0, 1, 2, 4]], data[:, [0, 1, 2, 4]])
    assert (fields | {}) is fields
    changed.data.sum().backward()
    assert data.grad is not None
    assert data.grad[:, 3].unique().tolist() == [2.0]
    assert data.grad[:, 0].unique().tolist() == [1.0]


def test_a_spec_says_what_goes_in_and_what_comes_out() -> None:
    assert SPEC.outputs.names == (*ALL.names, "tp")
    assert SPEC.inputs.names == (*ALL.names, "rsdt", "sst", "orography")
    assert SPEC.windowed.names == (*ALL.names, "tp", "rsdt", "sst")
    assert SPEC.describe().startswith(
        "5 prognostic, 1 diagnostic, 2 forcing, 1 static; 2 input times, step 6h, 4×8 Gaussian grid"
    )


def test_a_spec_is_the_same_after_json() -> None:
    again = StateSpec.from_json(json.loads(json.dumps(SPEC.to_json())))
    assert again == SPEC
    assert again.forcing[1].at == "input"
    assert again.diagnostic[0].kind == "accumulated"


def test_data_fit_a_model_whose_channels_they_have_in_any_order() -> None:
    more = replace(SPEC, prognostic=Channels([*reversed(ALL), level("q", 500)]), diagnostic=Channels(), history=1)
    SPEC.check(more, "The data")  # diagnostics and history are the model's own
    with pytest.raises(SpecMismatchError):
        more.check(SPEC, "The data")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"prognostic": ALL[:3]}, "prognostic channels that it lacks: sp, t_1000"),
        ({"forcing": Channels()}, "forcing channels that it lacks: rsdt, sst"),
        ({"static": Channels()}, "static channels that it lacks: orography"),
        ({"static": Channels([Channel(variable="orography", units="km")])}, "orography in km, not 1"),
        (
            {"forcing": Channels([Channel(variable="rsdt", units="W m-2"), SPEC.forcing[1]])},
            "rsdt instantaneous, not mean",
        ),
        ({"grid": LatLonGrid.gaussian(6)}, "grid: 6×12 Gaussian grid .*, not 4×8"),
        ({"step": Step.parse("1D")}, "time step: 1D, not 6h"),
        ({"calendar": "standard"}, "calendar: standard, not noleap"),
    ],
)
def test_data_that_do_not_fit_are_refused_by_what_differs(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecMismatchError, match=f"The data does not fit the model.*{said}"):
        SPEC.check(replace(SPEC, **changed), "The data")


def state(history: int = 3) -> State:
    return State(
        fields=torch.arange(2 * history * 5).float().view(2, history, 5, 1, 1).expand(-1, -1, -1, *GRID.shape),
        forcing=torch.arange(2 * (history - 1) * 2)
        .float()
        .view(2, history - 1, 2, 1, 1)
        .expand(-1, -1, -1, *GRID.shape),
        valid_time=np.array([0, 21600]),
        carries=({"mass": torch.ones(2)},),
    )


@pytest.mark.parametrize("history", [1, 2, 3])
def test_a_state_advances_by_dropping_its_oldest_time(history: int) -> None:
    before = state(history)
    new, forced = torch.randn(2, 5, *GRID.shape), torch.randn(2, 2, *GRID.shape)
    after = before.advance(new, forced, before.valid_time + 21600, [{"mass": torch.zeros(2)}])
    assert after.fields.shape == before.fields.shape
    assert after.forcing.shape == before.forcing.shape
    assert torch.equal(after.fields[:, -1], new)
    assert torch.equal(after.fields[:, :-1], before.fields[:, 1:])
    if history > 1:
        assert torch.equal(after.forcing[:, -1], forced)
        assert torch.equal(after.forcing[:, :-1], before.forcing[:, 1:])
    assert after.valid_time.tolist() == [21600, 43200]
    assert after.carries[0]["mass"].tolist() == [0, 0]
    assert len(after) == 2


def test_a_detached_state_holds_no_graph() -> None:
    before = state()
    grown = replace(before, fields=before.fields.clone().requires_grad_() * 2)
    assert grown.fields.requires_grad
    assert not grown.detach().fields.requires_grad
    assert torch.equal(grown.detach().fields, grown.fields)


def window(steps: int = 2) -> Window:
    times = SPEC.history + steps
    fields = torch.arange(times).float().view(1, times, 1, 1, 1) * 100 + torch.arange(8).float().view(1, 1, 8, 1, 1)
    return Window(fields=fields.expand(3, -1, -1, *GRID.shape), times=np.arange(3 * times).reshape(3, times), spec=SPEC)


def test_a_window_gives_state_forcings_and_targets_at_their_times() -> None:
    w = window()
    assert w.steps == 2
    assert len(w) == 3
    start = w.initial()
    assert start.fields[0, :, :, 0, 0].tolist() == [[0, 1, 2, 3, 4], [100, 101, 102, 103, 104]]
    assert start.forcing[0, :, :, 0, 0].tolist() == [[106, 7]]  # rsdt at its step's target, sst at its input
    assert start.valid_time.tolist() == w.times[:, 1].tolist()
    assert w.forcing(0)[0, :, 0, 0].tolist() == [206, 107]
    assert w.forcing(1)[0, :, 0, 0].tolist() == [306, 207]
    assert w.target(0)[0, :, 0, 0].tolist() == [200, 201, 202, 203, 204, 205]
    assert w.target(1)[0, :, 0, 0].tolist() == [300, 301, 302, 303, 304, 305]


def test_a_window_may_be_empty_and_without_forcings() -> None:
    bare = replace(SPEC, forcing=Channels())
    empty = Window(fields=torch.empty(0, 4, 6, *GRID.shape), times=np.empty((0, 4), np.int64), spec=bare)
    assert empty.initial().forcing.shape == (0, 1, 0, *GRID.shape)
    assert empty.forcing(1).shape == (0, 0, *GRID.shape)
    assert empty.target(1).shape == (0, 6, *GRID.shape)
