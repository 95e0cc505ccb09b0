"""The engine's table, row by row, from outside: numbers of a stream, acknowledgements, options.

Further rows: `test_engine_header` (what holds a header up), `test_engine_verdicts` (whose header
counts), `test_engine_network` (below TCP), `test_engine_restore`, `test_engine_bounds`.
"""

from __future__ import annotations

import pytest

from tests.core.talks import HEADER, OPEN, REQUEST, STARTED, counted, talk, verdict
from tests.support.dissect import dissect
from tests.support.packets import URG


def test_syn_synack_and_handshake_ack_pass_unchanged() -> None:
    talk().check(
        """
        c>s [S] <mss 1460,sackok,ts 70 0,wscale 7>          -> same
        s>c [S.] ack 0 <mss 1400,sackok,ts 80 70,wscale 9>  -> same
        c>s [.] 0 ack 0 <ts 71 80>                          -> same
        """
    )


def test_repeated_handshake_packets_pass_unchanged() -> None:
    talk().check(
        OPEN
        + """
        c>s [S] <mss 1460,sackok,wscale 7>           -> same
        s>c [S.] ack 0 <mss 1460,sackok,wscale 7>    -> same
        c>s [P.] 0:46 ack 0                          -> c>s [P.] 0:18 ack 0
        s>c [S.] ack 0 <mss 1460,sackok,wscale 7>    -> same
        """
    )


def test_client_data_after_the_header_is_shifted_by_its_length() -> None:
    talk().check(
        OPEN
        + """
        c>s [P.] 0:28 ack 0      -> gone
        c>s [.] 28:38 ack 0      -> c>s [.] 0:10 ack 0
        c>s [P.] 38:46 ack 0     -> c>s [P.] 10:18 ack 0
        c>s [.] 46 ack 0         -> c>s [.] 18 ack 0
        """
    )


def test_server_ack_up_to_isn_plus_1_is_unchanged() -> None:
    talk().check(OPEN + "s>c [P.] 0:19 ack 0 -> same")


def test_server_ack_inside_the_header_is_clamped() -> None:
    talk().check(
        OPEN
        + """
        c>s [P.] 0:46 ack 0              -> c>s [P.] 0:18 ack 0
        s>c [P.] 0:10 ack 1              -> s>c [P.] 0:10 ack 0
        s>c [P.] 10:19 ack 27            -> s>c [P.] 10:19 ack 0
        s>c [.] 19 ack 28 win 0          -> s>c [.] 19 ack 0 win 0
        s>c [.] 19 ack 28                -> s>c [.] 19 ack 0
        s>c [.] 19 ack 20 <sack 38:46>   -> s>c [.] 19 ack 0 <sack 10:18>
        """
    )


def test_server_ack_inside_the_header_that_says_nothing_more_is_merged_away() -> None:
    """Clamped it would repeat the SYN's acknowledgement: a duplicate ACK, a sign of loss."""
    conversation = talk()
    conversation.check(
        OPEN
        + """
        c>s [P.] 0:10 ack 0              -> held
        s>c [.] 0 ack 10                 -> held
        c>s [P.] 10:28 ack 0             -> gone
        s>c [.] 0 ack 28                 -> gone
        c>s [P.] 28:46 ack 0             -> c>s [P.] 0:18 ack 0
        s>c [.] 0 ack 46                 -> s>c [.] 0 ack 18
        """
    )
    assert conversation.driver.stats["merged"] == {"header": 2, "header_ack": 2}


def test_server_ack_beyond_the_header_is_shifted() -> None:
    talk().check(
        OPEN
        + """
        c>s [P.] 0:46 ack 0      -> c>s [P.] 0:18 ack 0
        s>c [.] 0 ack 29         -> s>c [.] 0 ack 1
        s>c [P.] 0:19 ack 46     -> s>c [P.] 0:19 ack 18
        """
    )


def test_server_packet_acking_what_the_capture_has_not_seen_yet_waits_for_the_header() -> None:
    talk().check(
        OPEN
        + """
        s>c [P.] 0:19 ack 46     -> held
        c>s [P.] 0:46 ack 0      -> s>c [P.] 0:19 ack 18
                                 -> c>s [P.] 0:18 ack 0
        """
    )


def test_sack_blocks_from_the_server_have_both_edges_shifted() -> None:
    talk(client=bytes(range(60))).check(
        OPEN
        + """
        c>s [P.] 0:38 ack 0                      -> c>s [P.] 0:10 ack 0
        c>s [P.] 48:58 ack 0                     -> c>s [P.] 20:30 ack 0
        c>s [P.] 68:78 ack 0                     -> c>s [P.] 40:50 ack 0
        s>c [.] 0 ack 38 <sack 68:78 48:58>      -> s>c [.] 0 ack 10 <sack 40:50 20:30>
        s>c [.] 0 ack 38 <ts 5 6,sack 48:58>     -> s>c [.] 0 ack 10 <ts 5 6,sack 20:30>
        """
    )


def test_sack_block_across_the_end_of_the_header_begins_at_0() -> None:
    talk().check(
        OPEN
        + """
        c>s [P.] 0:46 ack 0               -> c>s [P.] 0:18 ack 0
        s>c [.] 0 ack 10 <sack 20:38>     -> s>c [.] 0 ack 0 <sack 0:10>
        """
    )


def test_sack_block_wholly_inside_the_header_is_taken_out_and_its_space_kept() -> None:
    conversation = talk()
    conversation.check(
        OPEN
        + """
        c>s [P.] 0:46 ack 0                         -> c>s [P.] 0:18 ack 0
        s>c [.] 0 ack 0 <sack 10:28>                -> s>c [.] 0 ack 0
        s>c [.] 0 ack 0 <sack 10:20 38:46>          -> s>c [.] 0 ack 0 <sack 10:18>
        """
    )
    lengths = [len(dissect(frame).options) for frame in conversation.driver.frames[-2:]]
    assert lengths == [12, 20]


def test_dsack_block_below_the_ack_is_shifted_too() -> None:
    talk().check(
        STARTED
        + """
        c>s [P.] 28:38 ack 0              -> c>s [P.] 0:10 ack 0
        s>c [.] 0 ack 46 <sack 28:38>     -> s>c [.] 0 ack 18 <sack 0:10>
        c>s [P.] 0:28 ack 0               -> gone
        s>c [.] 0 ack 46 <sack 0:28>      -> s>c [.] 0 ack 18
        """
    )


def test_sack_blocks_from_the_client_are_untouched() -> None:
    talk().check(STARTED + "c>s [.] 46 ack 0 <sack 10:19> -> c>s [.] 18 ack 0 <sack 10:19>")


def test_header_and_payload_in_one_segment_shrinks_from_the_front() -> None:
    talk().check(OPEN + "c>s [P.] 0:46 ack 0 -> c>s [P.] 0:18 ack 0")


def test_header_alone_in_a_segment_gives_nothing() -> None:
    talk().check(OPEN + "c>s [P.] 0:28 ack 0 -> gone")


def test_header_alone_gives_a_bare_ack_when_it_acks_something_new() -> None:
    talk().check(
        OPEN
        + """
        s>c [P.] 0:19 ack 0      -> same
        c>s [P.] 0:28 ack 19     -> c>s [.] 0 ack 19
        """
    )


def test_header_alone_gives_the_bare_ack_that_completes_the_handshake() -> None:
    talk().check(
        """
        c>s [S]                  -> same
        s>c [S.] ack 0           -> same
        c>s [P.] 0:28 ack 0      -> c>s [.] 0 ack 0
        c>s [P.] 28:46 ack 0     -> c>s [P.] 0:18 ack 0
        """
    )


def test_header_retransmitted_with_any_boundaries_is_excised_by_sequence() -> None:
    talk().check(
        STARTED
        + """
        c>s [P.] 0:28 ack 0      -> gone
        c>s [.] 5:20 ack 0       -> gone
        c>s [P.] 26:28 ack 0     -> gone
        c>s [P.] 0:46 ack 0      -> c>s [P.] 0:18 ack 0
        """
    )


def test_partial_overlap_of_header_and_payload_is_excised_by_sequence() -> None:
    talk().check(
        STARTED
        + """
        c>s [P.] 20:46 ack 0     -> c>s [P.] 0:18 ack 0
        c>s [.] 27:29 ack 0      -> c>s [.] 0:1 ack 0
        c>s [P.] 28:40 ack 0     -> c>s [P.] 0:12 ack 0
        """
    )


def test_first_packet_of_the_client_is_not_always_the_header() -> None:
    """A retransmission may carry payload alone while the header went before."""
    talk().check(
        OPEN
        + """
        c>s [P.] 0:30 ack 0      -> c>s [P.] 0:2 ack 0
        c>s [P.] 29:46 ack 0     -> c>s [P.] 1:18 ack 0
        """
    )


@pytest.mark.parametrize("garbage", ['"\\x00"', '"?"'])
def test_keepalive_stays_a_keepalive(garbage: str) -> None:
    """Of no byte or one, just below what was sent (RFC 9293 §3.8.4)."""
    talk().check(
        STARTED
        + f"""
        c>s [.] 45 ack 0                 -> c>s [.] 17 ack 0
        c>s [.] 45:46 {garbage} ack 0    -> c>s [.] 17:18 {garbage} ack 0
        s>c [.] -1 ack 46                -> s>c [.] -1 ack 18
        s>c [.] -1:0 {garbage} ack 46    -> s>c [.] -1:0 {garbage} ack 18
        """
    )


def test_keepalive_before_any_data_is_unchanged() -> None:
    talk().check(OPEN + "c>s [.] -1 ack 0 -> same")


def test_keepalive_behind_the_bare_header_stays_a_keepalive() -> None:
    talk().check(
        OPEN
        + """
        c>s [P.] 0:28 ack 0      -> gone
        c>s [.] 27 ack 0         -> c>s [.] -1 ack 0
        """
    )


def test_keepalive_with_a_byte_never_exposes_a_header_byte() -> None:
    conversation = talk()
    conversation.check(OPEN + "c>s [P.] 0:28 ack 0 -> gone")
    ((_, frame),) = conversation.driver.push(conversation.frame("c>s [.] 27:28 ack 0"))
    out = dissect(frame)
    assert out.seq == conversation.client_isn
    assert out.payload in (b"", b"\0")
    assert HEADER[27:28] not in (b"", b"\0")
    assert out.faults == ()


def test_zero_window_probe_stays_a_probe() -> None:
    talk().check(
        OPEN
        + """
        c>s [P.] 0:28 ack 0          -> gone
        s>c [.] 0 ack 28 win 0       -> s>c [.] 0 ack 0 win 0
        c>s [.] 28:29 ack 0          -> c>s [.] 0:1 ack 0
        s>c [.] 0 ack 28 win 0       -> s>c [.] 0 ack 0 win 0
        c>s [.] 28:29 ack 0          -> c>s [.] 0:1 ack 0
        s>c [.] 0 ack 29             -> s>c [.] 0 ack 1
        c>s [P.] 29:46 ack 0         -> c>s [P.] 1:18 ack 0
        """
    )


def test_zero_window_probe_of_a_header_byte_never_exposes_it() -> None:
    talk().check(
        OPEN
        + """
        c>s [.] 0:1 ack 0            -> held
        c>s [P.] 0:46 ack 0          -> c>s [P.] 0:18 ack 0
        c>s [.] 0:1 ack 0            -> gone
        """
    )


def test_fin_is_mapped_and_so_is_its_ack() -> None:
    conversation = talk()
    conversation.check(
        STARTED
        + """
        s>c [P.] 0:19 ack 46     -> s>c [P.] 0:19 ack 18
        c>s [F.] 46 ack 19       -> c>s [F.] 18 ack 19
        s>c [F.] 19 ack 47       -> s>c [F.] 19 ack 19
        c>s [.] 47 ack 20        -> c>s [.] 19 ack 20
        end                      -> nothing
        """
    )
    assert verdict(conversation.driver) == "stripped"


def test_fin_on_the_segment_with_the_payload_stays() -> None:
    talk().check(OPEN + "c>s [FP.] 0:46 ack 0 -> c>s [FP.] 0:18 ack 0")


def test_fin_on_the_segment_with_the_bare_header_stays() -> None:
    conversation = talk(client=b"")
    conversation.check(OPEN + "c>s [F.] 0:28 ack 0 -> c>s [F.] 0 ack 0")
    conversation.driver.finish()
    assert verdict(conversation.driver) == "stripped"


@pytest.mark.parametrize(
    "line",
    [
        "c>s [R.] 46 ack 0  -> c>s [R.] 18 ack 0",
        "c>s [R] 46         -> c>s [R] 18",
        "s>c [R.] 0 ack 46  -> s>c [R.] 0 ack 18",
        "s>c [R] 0          -> same",
    ],
)
def test_rst_is_mapped(line: str) -> None:
    talk().check(STARTED + line)


@pytest.mark.parametrize(
    "end",
    ["c>s [R.] 10 ack 0", "c>s [F.] 10 ack 0", "s>c [R.] 0 ack 10", "s>c [F.] 0 ack 10"],
)
def test_fin_or_rst_before_the_header_is_complete_flushes_raw(end: str) -> None:
    conversation = talk(stripped=HEADER + REQUEST)
    conversation.check(
        OPEN
        + f"""
        c>s [P.] 0:10 ack 0      -> held
        {end}                    -> c>s [P.] 0:10 ack 0
                                 -> same
        end                      -> nothing
        """
    )
    assert verdict(conversation.driver) == "incomplete"


def test_urg_pointer_is_recomputed_over_the_excision() -> None:
    talk(client=bytes(range(60))).check(
        OPEN
        + """
        c>s [PU.] 0:46 ack 0 urg 40      -> c>s [PU.] 0:18 ack 0 urg 12
        c>s [PU.] 46:66 ack 0 urg 5      -> c>s [PU.] 18:38 ack 0 urg 5
        c>s [PU.] 20:46 ack 0 urg 20     -> c>s [PU.] 0:18 ack 0 urg 12
        s>c [PU.] 0:19 ack 46 urg 7      -> s>c [PU.] 0:19 ack 18 urg 7
        """
    )


def test_urg_pointer_into_the_header_points_at_nothing() -> None:
    conversation = talk()
    conversation.check(OPEN)
    ((_, frame),) = conversation.driver.push(
        conversation.frame("c>s [PU.] 0:46 ack 0 urg 20"),
    )
    out = dissect(frame)
    assert out.payload == REQUEST
    assert not out.flags & URG or out.urgent == 0


def test_tcp_fast_open_header_is_excised_from_the_syn() -> None:
    conversation = talk()
    conversation.check(
        """
        c>s [S] 0:46 <mss 1460,tfo>      -> c>s [S] 0:18 <mss 1460,tfo>
        s>c [S.] ack 46                  -> s>c [S.] ack 18
        c>s [.] 46 ack 0                 -> c>s [.] 18 ack 0
        s>c [P.] 0:19 ack 46             -> s>c [P.] 0:19 ack 18
        """
    )
    conversation.driver.finish()
    assert verdict(conversation.driver) == "stripped"


def test_tcp_fast_open_ignored_by_the_server_sends_the_data_again() -> None:
    """The server acks the SYN alone, and the client repeats its data (RFC 7413 §4.1.2.2)."""
    talk().check(
        """
        c>s [S] 0:46 <mss 1460,tfo>      -> c>s [S] 0:18 <mss 1460,tfo>
        s>c [S.] ack 0                   -> same
        c>s [.] 0 ack 0                  -> same
        c>s [P.] 0:46 ack 0              -> c>s [P.] 0:18 ack 0
        s>c [.] 0 ack 46                 -> s>c [.] 0 ack 18
        """
    )


def test_tcp_fast_open_with_the_header_alone_leaves_a_bare_syn() -> None:
    talk().check(
        """
        c>s [S] 0:28 <mss 1460,tfo>      -> c>s [S] <mss 1460,tfo>
        s>c [S.] ack 28                  -> s>c [S.] ack 0
        c>s [P.] 28:46 ack 0             -> c>s [P.] 0:18 ack 0
        """
    )


def test_tcp_fast_open_with_a_part_of_the_header_waits_for_the_rest() -> None:
    talk().check(
        """
        c>s [S] 0:10 <mss 1460,tfo>      -> held
        s>c [S.] ack 10                  -> held
        c>s [P.] 10:46 ack 0             -> c>s [S] <mss 1460,tfo>
                                         -> s>c [S.] ack 0
                                         -> c>s [P.] 0:18 ack 0
        """
    )


WRAPS = [2**32 - 1, 2**32 - 2, 2**32 - 20, 2**32 - 28, 2**32 - 29, 2**32 - 30, 2**32 - 47]


@pytest.mark.parametrize("isn", [*WRAPS, 2**32 - 65536, 2**31 - 20])
def test_sequence_wrap_around(isn: int) -> None:
    """With both ISNs near 2^32 (and 2^31, where a signed comparison turns)."""
    talk(client_isn=isn, server_isn=isn).check(
        OPEN
        + """
        c>s [P.] 0:10 ack 0              -> held
        c>s [P.] 38:46 ack 0             -> held
        s>c [.] 0 ack 10 <sack 38:46>    -> held
        c>s [P.] 10:38 ack 0             -> c>s [P.] 10:18 ack 0
                                         -> s>c [.] 0 ack 0 <sack 10:18>
                                         -> c>s [P.] 0:10 ack 0
        s>c [P.] 0:19 ack 46             -> s>c [P.] 0:19 ack 18
        c>s [.] 45 ack 19                -> c>s [.] 17 ack 19
        c>s [F.] 46 ack 19               -> c>s [F.] 18 ack 19
        s>c [F.] 19 ack 47               -> s>c [F.] 19 ack 19
        """
    )


def test_timestamps_window_scale_and_mss_are_unchanged() -> None:
    talk().check(
        """
        c>s [S] win 1000 <mss 1460,sackok,ts 70 0,wscale 7>   -> same
        s>c [S.] ack 0 win 2000 <mss 536,ts 80 70,wscale 0>   -> same
        c>s [P.] 0:46 ack 0 win 17 <ts 71 80>    -> c>s [P.] 0:18 ack 0 win 17 <ts 71 80>
        s>c [.] 0 ack 46 win 3 <ts 81 71>        -> s>c [.] 0 ack 18 win 3 <ts 81 71>
        """
    )


@pytest.mark.parametrize(("option", "length"), [("md5", 20), ("ao", 16)])
def test_tcp_md5_and_ao_options_are_replaced_by_nops_and_counted(option: str, length: int) -> None:
    """No signature can hold over other bytes and other numbers."""
    conversation = talk()
    conversation.check(
        OPEN
        + f"""
        c>s [P.] 0:46 ack 0 <{option}>   -> c>s [P.] 0:18 ack 0
        s>c [.] 0 ack 46 <{option}>      -> s>c [.] 0 ack 18
        """
    )
    for frame in conversation.driver.frames[-2:]:
        assert len(dissect(frame).options) == length
        assert set(dissect(frame).options) == {1}
    assert counted(conversation.driver, f"tcp_{option}_blanked") == 2
