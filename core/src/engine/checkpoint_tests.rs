//! Checkpoints that are whole, damaged, forged; what is taken over of them and what is not.

use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;
use crate::connection::Hold;
use crate::engine::Config;
use crate::header::Truth;
use crate::tracker::Key;
use crate::wire::ip::mapped;
use crate::wire::Seq;

const SECOND: Nanos = 1_000_000_000;
/// When the newest entries of these tests were last seen.
const NOW: Nanos = 1_800_000_000 * SECOND;
const GATEWAY1: [u8; 4] = [172, 16, 23, 1];

fn engine(edit: impl Fn(&str) -> String) -> Engine {
    let json = r#"{"mode": "strip",
        "codecs": [{"name": "proxy-v1", "kind": "proxy-v1"}, {"name": "proxy-v2", "kind": "proxy-v2"}],
        "gateways": [{"from": "172.16.23.1", "to": "172.16.23.2", "to_port": 9000,
                      "headers": ["proxy-v2", "proxy-v1"]}]}"#;
    let mut engine = Engine::new(Config::from_json(edit(json).as_bytes()).expect("sound"));
    engine.tell(NOW - 60 * SECOND);
    engine.tell(NOW);
    engine
}

fn plain() -> Engine {
    engine(str::to_owned)
}

/// A connection from gateway1's `port`, stripped of 28 bytes, last seen `ago` seconds before `NOW`.
fn stripped(port: u16, ago: u64) -> Connection {
    let (client, server) = ((mapped(GATEWAY1), port), (mapped([172, 16, 23, 2]), 9000));
    let (key, client_is_low) = Key::new(client, server, [0; 2], false);
    let start = NOW - (ago + 10) * SECOND;
    let mut connection = Connection::new(key, start, Seq(7), State::Stripped, 0);
    if client_is_low {
        connection.set(fact::CLIENT_IS_LOW);
    }
    let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let truth = Truth::new(address("203.0.113.7:46421"), address("192.168.110.2:80"));
    connection.set_truth(&truth.expect("one family"));
    connection.codec = 1;
    connection.removed = 28;
    connection.count(true, 100, NOW - ago * SECOND);
    connection.count(false, 100, NOW - ago * SECOND);
    connection
}

fn with(connections: impl IntoIterator<Item = Connection>) -> Engine {
    let mut engine = plain();
    for connection in connections {
        engine.tracker.insert(connection, false);
    }
    engine
}

fn ports(engine: &Engine) -> Vec<u16> {
    let all = engine.tracker.all().into_iter();
    let port = |id| engine.tracker.get(id).key.end(true).1;
    let mut ports: Vec<u16> = all.map(|(_, id)| port(id)).collect();
    ports.sort_unstable();
    ports
}

fn noted(engine: &Engine, name: &str) -> u64 {
    engine.stats_json()["events"][name].as_u64().unwrap_or(0)
}

#[test]
fn a_full_one_has_all_and_the_next_what_changed() {
    let mut engine = with((0..100).map(|port| stripped(port, 50)));
    let mut full = Vec::new();
    let mut pieces = 0;
    engine.checkpoint_begin(true);
    while let Some(piece) = engine.checkpoint_some(7) {
        pieces += usize::from(!piece.is_empty());
        full.extend_from_slice(&piece);
    }
    assert_eq!(pieces, 15);
    let mut again = plain();
    assert_eq!(again.resume(&full, false), Ok(100));
    assert_eq!(ports(&again), (0..100).collect::<Vec<_>>());
    assert_eq!(noted(&again, "resumed"), 100);
    assert_eq!(again.resume(&full, false), Ok(0), "known already");
    assert_eq!(entries(&again.checkpoint(true)), entries(&full));

    assert_eq!(engine.checkpoint(false), b"");
    engine.tell(NOW + 5 * SECOND);
    let (_, id) = engine.tracker.all()[3];
    engine.tracker.get_mut(id).count(true, 1, NOW + 5 * SECOND);
    let mut third = plain();
    assert_eq!(third.resume(&engine.checkpoint(false), false), Ok(1));
    assert_eq!(
        engine.checkpoint(false),
        engine.checkpoint(false),
        "within the slack"
    );
}

/// Bytes of entries alone.
fn entries(checkpoint: &[u8]) -> usize {
    let pieces = pieces(checkpoint).expect("a checkpoint");
    pieces.iter().map(|piece| piece.entries.len()).sum()
}

#[test]
fn a_clock_that_was_set_makes_the_next_one_full() {
    let mut engine = with((0..10).map(|port| stripped(port, 50)));
    engine.checkpoint(true);
    engine.tell(NOW - 5_000 * SECOND);
    engine.tell(NOW - 4_999 * SECOND);
    assert_eq!(plain().resume(&engine.checkpoint(false), false), Ok(10));
    engine.tell(NOW - 4_990 * SECOND);
    engine.checkpoint(false);
    assert_eq!(engine.checkpoint(false), b"", "those after it are not");
}

#[test]
fn who_comes_back() {
    type Edit = fn(&str) -> String;
    // (what, what becomes of the configuration, seconds since it was seen, what is special, taken, counted)
    type Row = (&'static str, Edit, u64, fn(&mut Connection), usize, u64);
    let same: Edit = str::to_owned;
    let nothing: fn(&mut Connection) = |_| {};
    let ended: fn(&mut Connection) = |connection| connection.set(fact::RST);
    let table: [Row; 10] = [
        ("as it was", same, 0, nothing, 1, 0),
        ("silent, remembered", same, 3599, nothing, 1, 0),
        ("silent for too long", same, 3601, nothing, 0, 0),
        ("ended just now", same, 1, ended, 1, 0),
        ("ended", same, 61, ended, 0, 0),
        (
            "its leg is gone",
            |json| json.replace("9000", "9001"),
            0,
            nothing,
            0,
            1,
        ),
        (
            "its leg is another by number",
            |json| {
                json.replace("[{\"from\"", "[{\"from\": \"10.0.0.1\", \"to\": \"10.0.0.2\", \"headers\": [\"proxy-v1\"]}, {\"from\"")
            },
            0,
            nothing,
            1,
            0,
        ),
        (
            "its codec is gone",
            |json| {
                json.replace(", {\"name\": \"proxy-v2\", \"kind\": \"proxy-v2\"}", "")
                    .replace("\"proxy-v2\", ", "")
            },
            0,
            nothing,
            0,
            1,
        ),
        (
            "its client is not trusted any more",
            |json| json.replace("23.1", "23.9"),
            0,
            nothing,
            0,
            1,
        ),
        (
            "plain, and not trusted any more",
            |json| json.replace("23.1", "23.9"),
            0,
            |connection| {
                connection.state = State::Plain;
                connection.removed = 0;
            },
            1,
            0,
        ),
    ];
    for (name, edit, ago, special, taken, counted) in table {
        let mut connection = stripped(40000, ago);
        special(&mut connection);
        let checkpoint = with([connection]).checkpoint(true);
        let mut after = engine(edit);
        assert_eq!(after.resume(&checkpoint, false), Ok(taken), "{name}");
        assert_eq!(noted(&after, "not_resumed"), counted, "{name}");
    }
}

#[test]
fn codecs_are_known_by_name() {
    let mut connection = stripped(40000, 0);
    connection.extra_mut().headers = vec![(1, vec![1, 2, 3]), (0, vec![4])];
    let checkpoint = with([connection]).checkpoint(true);
    let mut after = engine(|json| {
        json.replace(
            "\"codecs\": [",
            "\"codecs\": [{\"name\": \"proxy-v2\", \"kind\": \"proxy-v2\"}, ",
        )
        .replace(", {\"name\": \"proxy-v2\", \"kind\": \"proxy-v2\"}]", "]")
    });
    assert_eq!(after.resume(&checkpoint, false), Ok(1));
    let connection = after.tracker.get(after.tracker.all()[0].1);
    assert_eq!(connection.codec, 0);
    let headers = &connection.extra.as_ref().expect("headers").headers;
    assert_eq!(headers, &[(0, vec![1, 2, 3]), (1, vec![4])]);
}

#[test]
fn the_newest_has_the_room() {
    let old = with((0..5).map(|port| stripped(port, 10))).checkpoint(true);
    let new = with((3..8).map(|port| stripped(port, 0))).checkpoint(true);
    let small =
        || engine(|json| json.replace("\"mode\"", "\"limits\": {\"connections\": 6}, \"mode\""));
    for one_by_one in [true, false] {
        let mut after = small();
        if one_by_one {
            assert_eq!(after.resume(&new, false), Ok(5));
            assert_eq!(after.resume(&old, false), Ok(1));
        } else {
            assert_eq!(after.resume(&[&old[..], &new].concat(), false), Ok(6));
        }
        let ports = ports(&after);
        assert!((3..8).all(|port| ports.contains(&port)), "{ports:?}");
        assert_eq!(noted(&after, "not_resumed"), 2);
    }
}

#[test]
fn an_unfinished_header_is_incomplete_and_a_waiting_handshake_goes_on() {
    for (bytes, state) in [(&b"\r\n\r\n"[..], State::Incomplete), (b"", State::Header)] {
        let mut connection = stripped(40000, 0);
        connection.removed = 0;
        connection.state = State::Header;
        connection.set(fact::HOLDING);
        let mut hold = Hold::new(1);
        hold.stream.insert(0, bytes, 100);
        connection.extra_mut().hold = Some(hold);
        let checkpoint = with([connection]).checkpoint(true);
        let mut after = engine(|json| json.replace("\"mode\"", "\"announce\": true, \"mode\""));
        assert_eq!(after.resume(&checkpoint, false), Ok(1));
        let connection = after.tracker.get(after.tracker.all()[0].1);
        assert_eq!(connection.state, state);
        assert!(!connection.is(fact::HOLDING));
        let announced = !after.take_records().is_empty();
        assert_eq!(announced, state == State::Incomplete);
    }
}

#[test]
fn true_tuples_are_in_use_again() {
    let restored = |port, ends: bool| {
        let mut connection = stripped(port, 0);
        connection.set(fact::RESTORE);
        if ends {
            connection.set(fact::RST);
        }
        connection
    };
    let mut new = restored(40001, false);
    new.set(fact::EARLIER);
    new.extra_mut().earlier = Some(Box::new(restored(40001, false)));
    let checkpoint = with([new, restored(40002, true)]).checkpoint(true);
    let mut after = plain();
    assert_eq!(after.resume(&checkpoint, false), Ok(2));
    assert_eq!(after.true_tuples.values().copied().collect::<Vec<_>>(), [2]);
    assert_eq!(noted(&after, "true_tuple_collided"), 1);
}

#[test]
fn records_of_other_workers_connections_are_theirs() {
    let checkpoint = with([stripped(40000, 2), stripped(40001, 0)]).checkpoint(true);
    for (shared, records) in [(false, 2), (true, 0)] {
        let mut after = plain();
        assert_eq!(after.resume(&checkpoint, shared), Ok(2));
        // It is so after one more restart, too.
        let mut again = plain();
        assert_eq!(again.resume(&after.checkpoint(true), false), Ok(2));
        struct Nowhere;
        impl crate::engine::Output for Nowhere {
            fn emit(&mut self, _: u64, _: &crate::engine::Meta, _: &[u8]) {}
            fn settle(&mut self, _: u64) {}
        }
        while again.close_some(10, &mut Nowhere) {}
        let made = again.take_records();
        assert_eq!(made.iter().filter(|byte| **byte == b'\n').count(), records);
    }
    // The later of two copies stays.
    let later = with([stripped(40000, 1)]).checkpoint(true);
    let mut after = plain();
    assert_eq!(after.resume(&checkpoint, true), Ok(2));
    assert_eq!(after.resume(&later, true), Ok(0));
    let seen: Vec<_> = after
        .tracker
        .all()
        .iter()
        .map(|(_, id)| after.tracker.get(*id).last_seen())
        .collect();
    assert!(seen.contains(&(NOW - SECOND)));
}

#[test]
fn damage_is_refused_whole() {
    let checkpoint = with((0..3).map(|port| stripped(port, 0))).checkpoint(true);
    let changed = |at: usize, to: u8| {
        let mut bytes = checkpoint.clone();
        bytes[at] = to;
        bytes
    };
    let last = checkpoint.len() - 1;
    let table = [
        (b"SQLite format 3".to_vec(), CheckpointError::Foreign),
        (changed(4, 9), CheckpointError::Version(9)),
        (checkpoint[..last].to_vec(), CheckpointError::Cut),
        (changed(last, !checkpoint[last]), CheckpointError::Checksum),
        ([&checkpoint[..], b"PTCK"].concat(), CheckpointError::Cut),
        (
            [&checkpoint[..], &changed(60, 0xff)].concat(),
            CheckpointError::Checksum,
        ),
    ];
    for (bytes, error) in table {
        let mut after = plain();
        assert_eq!(after.resume(&bytes, false), Err(error), "{error}");
        assert!(after.tracker.is_empty(), "{error}");
    }
    assert_eq!(plain().resume(b"", false), Ok(0));
}

/// A checkpoint whose checksum is right, whatever else it is.
fn sign(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(summed) = bytes
        .len()
        .checked_sub(CHECKSUM)
        .filter(|summed| *summed >= FRONT)
    {
        let length = ((summed + CHECKSUM - FRONT) as u32).to_be_bytes();
        bytes[FRONT - 4..FRONT].copy_from_slice(&length);
        let sum = crc32c::crc32c(&bytes[..summed]);
        bytes[summed..].copy_from_slice(&sum.to_be_bytes());
    }
    bytes
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::new();
        saved::emit(&mut bytes, self, false);
        write!(f, "Connection({bytes:02x?})")
    }
}

prop_compose! {
    /// Any connection that the engine can have.
    fn connections()(
        numbers in any::<[u32; 8]>(),
        counts in prop::array::uniform4(0u64..1 << 40),
        state in 1u8..10,
        facts in any::<u16>(),
        v6 in any::<bool>(),
        vlan in prop::option::of(any::<u16>()),
        excisions in prop::collection::vec((1u32..50, 1u32..50), 0..4),
        headers in prop::collection::vec((0u8..2, prop::collection::vec(any::<u8>(), 0..200)), 0..3),
        reason in prop::option::of("[a-z ]{1,40}"),
        earlier in any::<bool>(),
    ) -> Connection {
        let words = [u64::from(numbers[0]) << 32, u64::from(numbers[1]), u64::MAX, u64::from(numbers[2])];
        let mut address = [0; 16];
        address[..8].copy_from_slice(&words[0].to_be_bytes());
        let client = (if v6 { address } else { mapped(numbers[0].to_be_bytes()) }, numbers[3] as u16);
        let vlans = [vlan.map_or(0, |tag| 0x1000 | tag & 0xfff), 0];
        let (key, _) = Key::new(client, (mapped([172, 16, 23, 2]), 9000), vlans, v6);
        let state = match state {
            1 => State::Header, 2 => State::Unsure, 3 => State::Stripped, 4 => State::Plain,
            5 => State::Incomplete, 6 => State::Malformed, 7 => State::Midstream,
            8 => State::Dropped, _ => State::Untrusted,
        };
        let special = fact::HOLDING | fact::RELEASING | fact::GENERAL | fact::EARLIER;
        let make = |state| {
            let mut one = Connection::new(key, NOW - 100 * SECOND, Seq(numbers[4]), state, facts & !special);
            one.client_next = Seq(numbers[5]);
            one.epoch = numbers[6] as u16;
            one.bytes = [counts[0], counts[1]];
            if counts[2] % 2 == 0 {
                one.count(true, 5, NOW);
            }
            one
        };
        let mut one = make(state);
        if state == State::Stripped {
            let mut at = 0;
            let extra = one.extra_mut();
            for (gap, len) in excisions {
                extra.excisions.push((at + gap, len));
                at += gap + len;
            }
            extra.headers = headers;
            one.removed = extra.excisions.iter().map(|(_, len)| len).sum();
            if one.removed > 0 {
                one.set(fact::GENERAL);
            } else {
                one.removed = 28;
            }
        }
        if let Some(reason) = reason {
            one.extra_mut().reason = Some(reason.into());
        }
        if earlier {
            one.set(fact::EARLIER);
            one.extra_mut().earlier = Some(Box::new(make(State::Plain)));
        }
        one
    }
}

proptest! {
    #[test]
    fn what_is_read_is_what_was_written(connection in connections(), half_open in any::<bool>()) {
        let mut bytes = Vec::new();
        saved::emit(&mut bytes, &connection, half_open);
        let mut reader = Reader(&bytes);
        let (read, was_half_open) = saved::parse(&mut reader).expect("an entry");
        prop_assert!(reader.0.is_empty());
        prop_assert_eq!(was_half_open, half_open);
        let mut again = Vec::new();
        saved::emit(&mut again, &read, half_open);
        prop_assert_eq!(&bytes, &again);
        prop_assert_eq!(super::super::record::id(&read), super::super::record::id(&connection));
        prop_assert_eq!(read.excisions().collect::<Vec<_>>(), connection.excisions().collect::<Vec<_>>());
        prop_assert_eq!(read.last_seen(), connection.last_seen());
        prop_assert_eq!(read.packets(), connection.packets());
        prop_assert_eq!(read.truth(), connection.truth());
    }

    #[test]
    fn a_forged_one_is_refused_or_harmless(
        connections in prop::collection::vec(connections(), 1..5),
        forgeries in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..10),
    ) {
        let mut bytes = with(connections).checkpoint(true);
        for (at, to) in forgeries {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        let mut after = plain();
        if after.resume(&sign(bytes), false).is_ok() {
            let mut again = plain();
            prop_assert!(again.resume(&after.checkpoint(true), false).is_ok());
        } else {
            prop_assert!(after.tracker.is_empty());
        }
    }
}
