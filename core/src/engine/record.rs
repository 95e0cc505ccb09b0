//! Flow records: what is remembered of a connection, as one JSON line.

use serde_json::{Map, Value};

use crate::connection::{fact, Connection, State};
use crate::header::registry::AnyCodec;
use crate::header::Codec;

use super::Nanos;

/// An identifier for a connection: FNV-1a over its key, its start and its ISN. The same capture gives
/// the same identifiers, in every run.
#[must_use]
pub fn id(connection: &Connection) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let tail = [
        connection.start,
        u64::from(connection.isn.0),
        u64::from(connection.epoch),
    ];
    for word in connection.key.words().into_iter().chain(tail) {
        for byte in word.to_be_bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    hash
}

/// Appends a connection's record and a newline. `end` is when it ended, if it did.
///
/// Written by hand: one is made for every connection there ever was, and `core::fmt` costs ten times
/// as much. Strings that come from a header or from config go through serde_json.
pub fn write(line: &mut Vec<u8>, connection: &Connection, codecs: &[AnyCodec], end: Option<Nanos>) {
    let low = connection.is(fact::CLIENT_IS_LOW);
    let (client, server) = (connection.key.end(low), connection.key.end(!low));
    line.extend_from_slice(b"{\"id\":\"");
    for at in (0..16).rev() {
        line.push(hex(id(connection) >> (4 * at)));
    }
    line.extend_from_slice(b"\",\"epoch\":");
    number(line, connection.epoch.into());
    line.extend_from_slice(b",\"observed\":{");
    ends(line, client, server, connection.key.is_v6());
    line.extend_from_slice(b",\"proto\":\"TCP\",\"vlan\":[");
    for (at, vlan) in connection.key.vlans().enumerate() {
        if at > 0 {
            line.push(b',');
        }
        number(line, vlan.into());
    }
    line.extend_from_slice(b"]},\"true\":");
    match connection
        .truth()
        .filter(|_| connection.state == State::Stripped)
    {
        None => line.extend_from_slice(b"null"),
        Some((peer, peer_port, destination, port)) => {
            line.push(b'{');
            let v6 = connection.truth_is_v6();
            ends(line, (peer, peer_port), (destination, port), v6);
            line.push(b'}');
        }
    }
    line.extend_from_slice(b",\"headers\":[");
    headers(line, connection, codecs);
    line.extend_from_slice(b"],\"start\":");
    timestamp(line, connection.start);
    line.extend_from_slice(b",\"end\":");
    match end {
        None => line.extend_from_slice(b"null"),
        Some(end) => timestamp(line, end),
    }
    line.extend_from_slice(b",\"verdict\":\"");
    line.extend_from_slice(connection.state.verdict().as_bytes());
    let restored = connection.state == State::Stripped
        && connection.is(fact::RESTORE)
        && connection.is(fact::HAS_TRUTH);
    line.extend_from_slice(if restored {
        b"\",\"restored\":true"
    } else {
        b"\",\"restored\":false"
    });
    for (name, [to_server, to_client]) in [
        ("packets", connection.packets()),
        ("bytes", connection.bytes),
    ] {
        line.extend_from_slice(b",\"");
        line.extend_from_slice(name.as_bytes());
        line.extend_from_slice(b"\":{\"to_server\":");
        number(line, to_server);
        line.extend_from_slice(b",\"to_client\":");
        number(line, to_client);
        line.push(b'}');
    }
    let extra = connection.extra.as_ref();
    if let Some(reason) = extra.and_then(|extra| extra.reason.as_deref()) {
        line.extend_from_slice(b",\"reason\":");
        line.extend_from_slice(Value::from(reason).to_string().as_bytes());
    }
    line.extend_from_slice(b"}\n");
}

fn hex(digit: u64) -> u8 {
    b"0123456789abcdef"[(digit & 15) as usize]
}

fn number(line: &mut Vec<u8>, value: u64) {
    line.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// The four keys of a 5-tuple's two ends.
fn ends(line: &mut Vec<u8>, src: ([u8; 16], u16), dest: ([u8; 16], u16), v6: bool) {
    line.extend_from_slice(b"\"src_ip\":\"");
    address(line, src.0, v6);
    line.extend_from_slice(b"\",\"src_port\":");
    number(line, src.1.into());
    line.extend_from_slice(b",\"dest_ip\":\"");
    address(line, dest.0, v6);
    line.extend_from_slice(b"\",\"dest_port\":");
    number(line, dest.1.into());
}

/// An address as text. IPv6 is written as Suricata writes it, all eight groups, zero-padded, so that
/// corrected events look like the others.
fn address(line: &mut Vec<u8>, octets: [u8; 16], v6: bool) {
    if v6 {
        for (at, octet) in octets.into_iter().enumerate() {
            if at > 0 && at % 2 == 0 {
                line.push(b':');
            }
            line.push(hex(u64::from(octet) >> 4));
            line.push(hex(u64::from(octet)));
        }
        return;
    }
    for (at, octet) in octets[12..].iter().enumerate() {
        if at > 0 {
            line.push(b'.');
        }
        number(line, u64::from(*octet));
    }
}

fn headers(line: &mut Vec<u8>, connection: &Connection, codecs: &[AnyCodec]) {
    let mut one = |codec: u8, len: u64, tlvs: Map<String, Value>| {
        let name = codecs
            .get(usize::from(codec))
            .map_or("", |codec| codec.name());
        line.extend_from_slice(b"{\"codec\":");
        // Most names are plain; a site's own may hold anything.
        line.extend_from_slice(Value::from(name).to_string().as_bytes());
        line.extend_from_slice(b",\"length\":");
        number(line, len);
        line.extend_from_slice(b",\"tlvs\":");
        if tlvs.is_empty() {
            line.extend_from_slice(b"{}");
        } else {
            line.extend_from_slice(Value::Object(tlvs).to_string().as_bytes());
        }
        line.extend_from_slice(b"},");
    };
    match &connection.extra {
        Some(extra) if !extra.headers.is_empty() => {
            for (codec, bytes) in &extra.headers {
                let known = codecs.get(usize::from(*codec));
                let tlvs = known.map_or_else(Map::new, |known| known.describe(bytes));
                one(*codec, bytes.len() as u64, tlvs);
            }
        }
        _ if connection.removed > 0 => {
            one(connection.codec, connection.removed.into(), Map::new());
        }
        _ => return,
    }
    // The last comma.
    line.pop();
}

/// A time as EVE writes it, in UTC, in quotes: `"2026-01-01T00:00:00.000000+0000"`.
fn timestamp(line: &mut Vec<u8>, nanos: Nanos) {
    let micros = nanos / 1000 % 1_000_000;
    let seconds = nanos / 1_000_000_000;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days to civil date, counting years from March (Howard Hinnant, "chrono-Compatible Low-Level
    // Date Algorithms", civil_from_days), for days since the epoch only.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    for (before, value, digits) in [
        (b'"', year, 4),
        (b'-', month, 2),
        (b'-', day, 2),
        (b'T', rest / 3600, 2),
        (b':', rest / 60 % 60, 2),
        (b':', rest % 60, 2),
        (b'.', micros, 6),
    ] {
        line.push(before);
        padded(line, value, digits);
    }
    line.extend_from_slice(b"+0000\"");
}

/// A number with leading zeros.
fn padded(line: &mut Vec<u8>, value: u64, digits: u32) {
    for at in (0..digits).rev() {
        line.push(b'0' + (value / 10u64.pow(at) % 10) as u8);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    #[test]
    fn times_are_written_as_eve_writes_them() {
        let table = [
            (0, "1970-01-01T00:00:00.000000+0000"),
            (951_782_400_000_000_000, "2000-02-29T00:00:00.000000+0000"),
            (1_767_225_599_999_999_999, "2025-12-31T23:59:59.999999+0000"),
            (1_767_225_600_000_001_000, "2026-01-01T00:00:00.000001+0000"),
            (4_107_542_400_000_000_000, "2100-03-01T00:00:00.000000+0000"),
        ];
        for (nanos, wanted) in table {
            let mut line = Vec::new();
            timestamp(&mut line, nanos);
            assert_eq!(line, format!("\"{wanted}\"").into_bytes());
        }
    }

    #[test]
    fn addresses_are_written_as_eve_writes_them() {
        let v6: Ipv6Addr = "2001:db8::7".parse().unwrap();
        let mapped = crate::wire::ip::mapped([10, 0, 0, 1]);
        let table = [
            (v6.octets(), true, "2001:0db8:0000:0000:0000:0000:0000:0007"),
            (mapped, false, "10.0.0.1"),
            (mapped, true, "0000:0000:0000:0000:0000:ffff:0a00:0001"),
        ];
        for (octets, v6, wanted) in table {
            let mut line = Vec::new();
            address(&mut line, octets, v6);
            assert_eq!(line, wanted.as_bytes());
        }
    }

    #[test]
    fn a_record_is_one_line_of_json() {
        let json = br#"{"codecs": [{"name": "a \"b\"", "kind": "proxy-v1"}], "gateways": []}"#;
        let config = crate::engine::Config::from_json(json).unwrap();
        let mut connection = Connection::vacant();
        connection.removed = 47;
        connection.state = State::Stripped;
        connection.extra_mut().reason = Some("quote \"".into());
        let mut line = Vec::new();
        write(&mut line, &connection, &config.codecs, Some(1000));
        assert_eq!(line.pop(), Some(b'\n'));
        let read: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(read["headers"][0]["codec"], "a \"b\"");
        assert_eq!(read["headers"][0]["length"], 47);
        assert_eq!(read["reason"], "quote \"");
        assert_eq!(read["end"], "1970-01-01T00:00:00.000001+0000");
        assert_eq!(read["true"], Value::Null);
    }
}
