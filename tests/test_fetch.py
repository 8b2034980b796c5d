"""Transfers from a real HTTP server on this machine that misbehaves in the ways that servers and
networks do."""

import hashlib

import pytest
from support.servers import CONTENT, CUT, IMPATIENT, OPTIONS, Server

from stages.runtime.errors import UserError
from stages.sources import transfer
from stages.sources.fetch import fetch, fetch_all
from stages.sources.official import File, Publisher


def published(server: Server, **changes) -> File:
    facts = {"bytes": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()} | changes
    return File(name="set.bin", url=f"{server.address}/set.bin", **facts)


def ranges(server: Server) -> list[str | None]:
    return [range_header for _, range_header in server.seen]


TEMPORARY_FAULTS = {  # behaviours, and the Range header of each request
    "well": ([], [None]),
    "cut in the middle": (["cut"], [None, f"bytes={CUT}-"]),
    "cut twice": (["cut", "cut"], [None, f"bytes={CUT}-", f"bytes={2 * CUT}-"]),
    "503, then well": ([503], [None, None]),
    "too many requests": ([429], [None, None]),
    "stall": (["stall"], [None, f"bytes={CUT}-"]),
    "a length that is no number": (["odd length"], [None]),
    "redirect": (["redirect"], [None, None]),
    "another range than asked for": (["cut", "wrong range"], [None, f"bytes={CUT}-", None]),
    "pieces of two versions": (["cut", "other content"], [None, f"bytes={CUT}-", None]),
}


@pytest.mark.parametrize("plan, expected_ranges", TEMPORARY_FAULTS.values(), ids=TEMPORARY_FAULTS)
def test_a_file_arrives_despite_temporary_faults(server, tmp_path, plan, expected_ranges):
    server.plan = list(plan)
    options = IMPATIENT if "stall" in plan else OPTIONS
    assert fetch(published(server), tmp_path, options).read_bytes() == CONTENT
    assert ranges(server) == expected_ranges
    assert [path.name for path in tmp_path.iterdir()] == ["set.bin"]


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"bytes": None},
        {"sha256": None},
        {"bytes": None, "sha256": None},
        {"sha256": None, "md5": hashlib.md5(CONTENT).hexdigest()},
    ],
)
def test_a_transfer_needs_only_what_is_published(server, tmp_path, facts):
    server.plan = ["cut"]
    assert fetch(published(server, **facts), tmp_path, OPTIONS).read_bytes() == CONTENT


def test_a_transfer_from_a_server_without_ranges_starts_again(server, tmp_path):
    server.plan, server.ranges = ["cut"], False
    assert fetch(published(server), tmp_path, OPTIONS).read_bytes() == CONTENT


LASTING_FAULTS = {  # behaviours, facts that the publisher states, what the message names
    "wrong digest": ([], {"sha256": "0" * 64}, "0" * 64),
    "wrong MD5, and no other": ([], {"sha256": None, "md5": "0" * 32}, "0" * 32),
    "wrong size": ([], {"bytes": len(CONTENT) - 1}, "set.bin"),
    "404": ([404], {}, "404"),
    "403": ([403], {}, "403"),
    "503 each time": ([503, 503, 503], {}, "503"),
    "redirected to nowhere": (["redirect to nowhere"], {}, "invalid address"),
    "redirected in a circle": (["redirect"] * 40, {}, "redirects"),
}


@pytest.mark.parametrize("plan, facts, named", LASTING_FAULTS.values(), ids=LASTING_FAULTS)
def test_a_lasting_fault_says_what_to_do_by_hand(server, tmp_path, plan, facts, named):
    server.plan = list(plan)
    file = published(server, **facts)
    with pytest.raises(UserError) as error:
        fetch(file, tmp_path, OPTIONS)
    for part in (named, file.url, str(tmp_path / "set.bin"), file.digest):
        assert part in str(error.value)
    assert not list(tmp_path.iterdir())


def test_less_than_a_chunk_is_kept_when_a_transfer_is_cut(server, tmp_path):
    server.plan = ["cut early", "cut early"]
    fetch(published(server), tmp_path, OPTIONS)
    assert ranges(server) == [None, "bytes=100-", "bytes=200-"]


BOUNDED = {  # behaviour, what the publisher says of the size, what the message names
    "past the published size": ("endless", len(CONTENT), "set.bin"),
    "past the limits": ("endless", None, "download.limits.total_bytes"),
    "an announcement past the limits": ("endless, announced", None, "download.limits.total_bytes"),
    "a published size past the limits": ("well", 10**9, "download.limits.total_bytes"),
    "a redirection without an end": ("endless redirect", len(CONTENT), "redirects"),
}


@pytest.mark.parametrize("behaviour, size, named", BOUNDED.values(), ids=BOUNDED)
def test_an_endless_or_oversized_answer_is_bounded(server, tmp_path, behaviour, size, named):
    server.plan = [behaviour] * 50
    limits = OPTIONS.limits.model_copy(update={"total_bytes": 2 * len(CONTENT)})
    with pytest.raises(UserError) as error:
        fetch(
            published(server, bytes=size), tmp_path, OPTIONS.model_copy(update={"limits": limits})
        )
    assert named in str(error.value)
    assert not list(tmp_path.iterdir())
    assert server.sent < 500 * len(CONTENT)  # no more than buffers take of each answer


@pytest.mark.parametrize(
    "behaviour, named",
    [
        ("endless drip", "too slow"),
        ("endless drip of headers", "no answer"),
        ("endless trailers", "nothing of the file"),
    ],
)
def test_an_answer_that_makes_no_progress_is_given_up(
    server, tmp_path, monkeypatch, behaviour, named
):
    monkeypatch.setattr(transfer, "ANSWER", 2)
    server.plan = [behaviour] * 50
    with pytest.raises(UserError, match=named):
        fetch(published(server), tmp_path, IMPATIENT.model_copy(update={"retries": 1}))
    assert len(server.seen) == 2


def test_all_files_of_a_publisher_together_keep_within_the_limits(server, tmp_path):
    files = [published(server).model_copy(update={"name": name}) for name in ("a.bin", "b.bin")]
    publisher = Publisher.model_construct(files=files)
    for total, fits in ((2 * len(CONTENT), True), (2 * len(CONTENT) - 1, False)):
        limits = OPTIONS.limits.model_copy(update={"total_bytes": total})
        options = OPTIONS.model_copy(update={"limits": limits})
        if fits:
            assert set(fetch_all(publisher, tmp_path / str(total), options)) == {"a.bin", "b.bin"}
        else:
            with pytest.raises(UserError, match=r"b\.bin.*total_bytes"):
                fetch_all(publisher, tmp_path / str(total), options)


def test_a_failed_transfer_keeps_what_came_for_the_next_run(server, tmp_path):
    # without ranges no try gets further than the first
    server.plan, server.ranges = ["cut"] * 3, False
    with pytest.raises(UserError, match=r"set\.bin"):
        fetch(published(server), tmp_path, OPTIONS)
    assert [path.name for path in tmp_path.iterdir()] == ["set.bin.partial"]
    server.ranges, server.seen = True, []
    assert fetch(published(server), tmp_path, OPTIONS).read_bytes() == CONTENT
    assert ranges(server) == [f"bytes={CUT}-"]


def test_a_partial_file_that_is_complete_needs_no_request(server, tmp_path):
    (tmp_path / "set.bin.partial").write_bytes(CONTENT)
    assert fetch(published(server), tmp_path, OPTIONS).read_bytes() == CONTENT
    assert not server.seen


def test_a_partial_file_longer_than_the_servers_is_fetched_anew(server, tmp_path):
    (tmp_path / "set.bin.partial").write_bytes(CONTENT + b"more")
    assert fetch(published(server), tmp_path, OPTIONS).read_bytes() == CONTENT
    assert ranges(server) == [f"bytes={len(CONTENT) + 4}-", None]


def test_a_correct_file_is_not_fetched_again_and_a_wrong_one_is(server, tmp_path):
    (tmp_path / "set.bin").write_bytes(CONTENT)
    fetch(published(server), tmp_path, OPTIONS)
    assert not server.seen
    (tmp_path / "set.bin").write_bytes(CONTENT[:-1])
    assert fetch(published(server), tmp_path, OPTIONS).read_bytes() == CONTENT
    assert len(server.seen) == 1


def test_the_fault_of_a_file_put_there_by_hand_is_named(server, tmp_path):
    (tmp_path / "set.bin").write_bytes(CONTENT[:-1])
    server.plan = [404]
    with pytest.raises(UserError, match=f"{len(CONTENT) - 1:,} bytes instead of"):
        fetch(published(server), tmp_path, OPTIONS)


def test_without_a_digest_a_file_of_another_address_is_fetched_anew(server, tmp_path):
    first = published(server, bytes=None, sha256=None)
    second = first.model_copy(update={"url": f"{server.address}/of-2027/set.bin"})
    server.plan = ["cut"]  # the second does not continue what came of the first
    with pytest.raises(UserError):
        fetch(first, tmp_path, OPTIONS.model_copy(update={"retries": 0}))
    for file in (second, second, first):
        assert fetch(file, tmp_path, OPTIONS).read_bytes() == CONTENT
    paths = [path for path, _ in server.seen]
    assert paths == ["/set.bin", "/of-2027/set.bin", "/set.bin"]
    assert ranges(server) == [None, None, None]


def test_a_file_put_there_by_hand_is_put_aside_for_another_address(server, tmp_path):
    first = published(server, bytes=None, sha256=None)
    (tmp_path / "set.bin").write_bytes(b"by hand")
    assert fetch(first, tmp_path, OPTIONS).read_bytes() == b"by hand" and not server.seen
    second = first.model_copy(update={"url": f"{server.address}/of-2027/set.bin"})
    assert fetch(second, tmp_path, OPTIONS).read_bytes() == CONTENT
    assert (tmp_path / "set.bin.other").read_bytes() == b"by hand"


@pytest.mark.parametrize("name", ["set.zip", "set.tar.gz", "set.npz", "train-images-ubyte.gz"])
def test_a_page_in_place_of_an_archive_is_refused_where_no_digest_is_published(
    server, tmp_path, name
):
    file = published(server, bytes=None, sha256=None).model_copy(update={"name": name})
    (tmp_path / name).write_text("<html>Sign in</html>")  # stored by an earlier version
    with pytest.raises(UserError, match="not the archive that its name promises"):
        fetch(file, tmp_path, OPTIONS)
    assert len(server.seen) == 1


def test_a_wrong_network_setting_is_not_reported_as_a_disk_fault(server, tmp_path, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "no-such-file")
    file = published(server)
    file = file.model_copy(update={"url": file.url.replace("http:", "https:")})
    with pytest.raises(UserError, match="cannot be fetched: .*no-such-file"):
        fetch(file, tmp_path, OPTIONS)


def test_a_file_comes_from_the_mirror_if_one_is_set(server, tmp_path):
    file = published(server).model_copy(
        update={"url": "http://publisher.invalid/deep/down/set.bin"}
    )
    options = OPTIONS.model_copy(update={"mirror": server.address + "/mirror/"})
    assert fetch(file, tmp_path, options).read_bytes() == CONTENT
    assert server.seen == [("/mirror/set.bin", None)]


def test_a_file_comes_through_the_proxy_if_one_is_set(server, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", server.address)
    file = published(server).model_copy(update={"url": "http://publisher.invalid/set.bin"})
    assert fetch(file, tmp_path, OPTIONS).read_bytes() == CONTENT
    assert server.seen == [("http://publisher.invalid/set.bin", None)]


def test_without_a_connection_the_message_says_to_fetch_by_hand(server, tmp_path):
    file = published(server)
    server.shutdown()
    server.server_close()
    with pytest.raises(UserError, match="by hand"):
        fetch(file, tmp_path, OPTIONS)
    assert not list(tmp_path.iterdir())
