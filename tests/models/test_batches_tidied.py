"""What lies at a provider, questions and answers of users, is deleted once nobody needs it any more."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from jisi_cli.errors import NoAnswerError
from tests.batch_desk import BatchDesk
from tests.loopback import Fault, Loopback
from tests.models.test_batches import Lab, left_alone, questions
from tests.models.test_batches_elsewhere import CLAUDE, anthropic, azure


@pytest.fixture
def lab(loopback: Loopback, tmp_path: Path) -> Lab:
    loopback.script("a", text="four words of answer")
    return Lab(loopback, tmp_path)


def deletions(desk: BatchDesk) -> int:
    return desk.requests["DELETE files/id"]


def test_files_are_deleted_when_all_results_have_been_collected(lab: Lab) -> None:
    lab.server.script("a", text="4", faults=(Fault("status", status=400),))
    assert len(lab.run().answers) == 3
    desk = lab.server.batches
    assert (desk.files, sorted(desk.deleted)) == ({}, ["file-1", "file-err-batch_1", "file-out-batch_1"])


def test_it_is_so_at_azure_and_at_anthropic(
    loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_KEY", "a-key-of-the-lab")
    for model in ("a", CLAUDE):
        loopback.script(model, text="4")
    assert len(Lab(loopback, tmp_path, azure(loopback)).run().answers) == 3
    assert loopback.batches.files == {}
    assert len(Lab(loopback, tmp_path, anthropic(loopback)).run().answers) == 3
    assert loopback.message_batches.deleted == ["msgbatch_1"]


def test_they_stay_as_long_as_another_run_needs_a_part_of_them(lab: Lab) -> None:
    desk = lab.server.batches
    desk.refused = {"GET batches/id"}
    with pytest.raises(NoAnswerError):
        lab.run(4)
    desk.refused.clear()
    assert len(lab.run(2).answers) == 2
    assert deletions(desk) == 0
    assert len(lab.run(4).answers) == 2
    assert desk.files == {}
    assert list(desk.asked().values()) == [1] * 4


def test_a_run_whose_batch_another_has_collected_and_deleted_takes_the_answers_from_it(lab: Lab) -> None:
    desk = lab.server.batches

    async def both() -> None:
        runs = [asyncio.create_task(lab.fetch(questions(4))) for _ in range(2)]
        while not any("under way at" in line for line in lab.told):
            await asyncio.sleep(0.01)
        desk.held.clear()
        await asyncio.gather(*runs)

    desk.held = {"GET batches/id"}
    asyncio.run(both())
    assert any("another run of jisi has collected the results" in line for line in lab.told)
    assert (desk.files, len(lab.rows())) == ({}, 4)


def test_what_cannot_be_deleted_is_a_note_and_the_next_run_deletes_it(lab: Lab) -> None:
    lab.server.batches.busy["DELETE files/id"] = 1
    assert len(lab.run().answers) == 3
    assert any("the requests and results of batch_1 still lie at 127.0.0.1: HTTP 503" in line for line in lab.told)
    assert lab.warned == []
    lab.run()
    assert lab.server.batches.files == {}


def test_a_provider_that_refuses_to_delete_is_not_asked_again(lab: Lab) -> None:
    desk = lab.server.batches
    desk.refused = {"DELETE files/id"}
    assert len(lab.run().answers) == 3
    assert any("still lie at 127.0.0.1: HTTP 403: not yours" in line for line in lab.told)
    lab.run()
    assert deletions(desk) == 1


def test_the_file_of_a_batch_that_is_not_accepted_is_deleted(lab: Lab) -> None:
    lab.server.batches.refused = {"POST batches"}
    assert len(lab.run().unasked) == 3
    assert lab.server.batches.deleted == ["file-1"]


def test_a_file_whose_name_did_not_arrive_is_found_by_ours_and_deleted(lab: Lab) -> None:
    desk = lab.server.batches
    left_alone(lab, "POST files")
    assert len(lab.run().answers) == 3
    assert desk.files == {}
    assert desk.deleted[0] == "file-1"


def test_a_batch_that_was_found_by_elimination_may_be_anothers_and_is_left_there(
    loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_KEY", "a-key-of-the-lab")
    loopback.script(CLAUDE, text="4")
    loopback.message_batches.unheard["POST batches"] = 1
    assert len(Lab(loopback, tmp_path, anthropic(loopback)).run().answers) == 3
    assert loopback.message_batches.deleted == []
