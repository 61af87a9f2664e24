"""The parts of a result: what each phase says, how they come together, what is left where a job ends early."""

import math

import numpy as np
import pytest
from pydantic import ValidationError

from refbench.engine.job.draft import Ending, Noted, Opened, Refined, ResultDraft, Scored, Weights
from refbench.engine.job.request import JobRequest, SceneRequest
from refbench.engine.job.result import Cost, Phase, Result, Status

REQUEST = JobRequest("lift", SceneRequest("/some/place"), "/out", seed=3)


def result(draft, status=Status.OK, reason=None, peak=7):
    return draft.result(REQUEST, status, reason, Cost(wall_s=1.0, cpu_s=2.0, peak_memory_bytes=peak), ["last line"])


def test_a_job_that_died_at_once_is_named_by_what_was_asked_of_it():
    found = result(ResultDraft(), Status.CRASHED, "It died.")
    assert (found.method, found.scene, found.seed) == ("lift", "place", 3)
    assert found.metrics is None and "crashed" in found.metrics_reason and found.log_tail == ["last line"]
    assert found.cost.peak_memory_bytes == 7


def test_parts_travel_as_json_and_come_together_in_their_order():
    draft = ResultDraft().with_phase(Phase(name="open", wall_s=1, cpu_s=1))
    draft = draft.with_part(Opened(scene="hill", config_hash="ab", warnings=("opened",)))
    draft = draft.with_part(Scored(metrics={"gain": math.nan}, warnings=("scored",)))
    draft = draft.with_part(Refined(outputs={"dsm": "dsm.tif"}, warnings=("refined",)))
    draft = draft.with_part(Noted(notes={"shift": np.float32(0.5), "counts": np.arange(2)}))
    draft = draft.with_part(Ending(status="ok", peak_memory_bytes=11))
    found = result(ResultDraft.model_validate_json(draft.to_json()))
    assert found.warnings == ["opened", "refined", "scored"] and found.metrics == {"gain": None}
    assert found.notes == {"shift": 0.5, "counts": [0, 1]} and found.outputs == {"dsm": "dsm.tif"}
    assert found.hashes.config == "ab" and found.cost.peak_memory_bytes == 11 and found.log_tail == []
    assert [phase.name for phase in found.phases] == ["open"]
    assert Result.model_validate(found.model_dump()) == found


def test_a_later_part_replaces_the_earlier_of_its_kind():
    draft = ResultDraft().with_part(Weights(path="asked", hashes={"a": "1"}))
    draft = draft.with_part(Weights(path="taken", hashes={"b": "2"}))
    found = result(draft)
    assert found.weights == "taken" and found.hashes.weights == {"b": "2"}


@pytest.mark.parametrize("text", ["", "[]", '{"status": "ok"}', '{"ending": {"status": "splendid"}}'])
def test_what_is_no_draft_is_refused(text):
    with pytest.raises(ValidationError):
        ResultDraft.model_validate_json(text)


def test_parts_are_frozen():
    with pytest.raises(ValidationError):
        ResultDraft().opened.scene = "another"
