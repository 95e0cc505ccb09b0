//! Flow records: what is remembered of a connection, as one JSON line.

use std::fmt::Write;
use std::net::{IpAddr, Ipv6Addr};

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
pub fn write(line: &mut Vec<u8>, connection: &Connection, codecs: &[AnyCodec], end: Option<Nanos>) {
    // Formatting into a String does not fail.
    let mut text = String::with_capacity(512);
    let low = connection.is(fact::CLIENT_IS_LOW);
    let (client, client_port) = connection.key.end(low);
    let (server, server_port) = connection.key.end(!low);
    let v6 = connection.key.is_v6();
    let _ = write!(
        text,
        r#"{{"id":"{:016x}","epoch":{},"observed":{{"#,
        id(connection),
        connection.epoch
    );
    ends(&mut text, (client, client_port), (server, server_port), v6);
    let _ = write!(text, r#","proto":"TCP","vlan":["#);
    for (at, vlan) in connection.key.vlans().enumerate() {
        let _ = write!(text, "{}{vlan}", if at > 0 { "," } else { "" });
    }
    text.push_str(r#"]},"true":"#);
    match connection
        .truth()
        .filter(|_| connection.state == State::Stripped)
    {
        None => text.push_str("null"),
        Some((peer, peer_port, destination, port)) => {
            text.push('{');
            ends(
                &mut text,
                (peer, peer_port),
                (destination, port),
                connection.truth_is_v6(),
            );
            text.push('}');
        }
    }
    text.push_str(r#","headers":["#);
    text.push_str(&headers(connection, codecs));
    text.push_str(r#"],"start":""#);
    timestamp(&mut text, connection.start);
    text.push_str(r#"","end":"#);
    match end {
        None => text.push_str("null"),
        Some(end) => {
            text.push('"');
            timestamp(&mut text, end);
            text.push('"');
        }
    }
    let packets = connection.packets();
    let bytes = connection.bytes;
    let restored = connection.state == State::Stripped
        && connection.is(fact::RESTORE)
        && connection.is(fact::HAS_TRUTH);
    let _ = write!(
        text,
        r#","verdict":"{}","restored":{restored},"packets":{{"to_server":{},"to_client":{}}},"bytes":{{"to_server":{},"to_client":{}}}"#,
        connection.state.verdict(),
        packets[0],
        packets[1],
        bytes[0],
        bytes[1],
    );
    if let Some(reason) = connection.extra.as_ref().and_then(|extra| extra.reason) {
        let _ = write!(text, r#","reason":{}"#, Value::from(reason));
    }
    text.push_str("}\n");
    line.extend_from_slice(text.as_bytes());
}

fn ends(text: &mut String, src: ([u8; 16], u16), dest: ([u8; 16], u16), v6: bool) {
    let (src_ip, dest_ip) = (address(src.0, v6), address(dest.0, v6));
    let _ = write!(
        text,
        r#""src_ip":"{src_ip}","src_port":{},"dest_ip":"{dest_ip}","dest_port":{}"#,
        src.1, dest.1
    );
}

/// An address as text. On an IPv4 wire it is an IPv4 address; IPv6 is written as Suricata writes it:
/// all eight groups, zero-padded, since events are matched by text.
fn address(octets: [u8; 16], v6: bool) -> String {
    let address = Ipv6Addr::from(octets);
    if !v6 {
        return IpAddr::V6(address).to_canonical().to_string();
    }
    let groups = address.segments().map(|group| format!("{group:04x}"));
    groups.join(":")
}

fn headers(connection: &Connection, codecs: &[AnyCodec]) -> String {
    let one = |codec: u8, len: usize, tlvs: Map<String, Value>| {
        let codec = codecs
            .get(usize::from(codec))
            .map_or("", |codec| codec.name());
        let tlvs = Value::Object(tlvs);
        format!(
            r#"{{"codec":{},"length":{len},"tlvs":{tlvs}}}"#,
            Value::from(codec)
        )
    };
    match &connection.extra {
        Some(extra) if !extra.headers.is_empty() => {
            let each = extra.headers.iter().map(|(codec, bytes)| {
                let tlvs = codecs
                    .get(usize::from(*codec))
                    .map_or_else(Map::new, |c| c.describe(bytes));
                one(*codec, bytes.len(), tlvs)
            });
            each.collect::<Vec<_>>().join(",")
        }
        _ if connection.removed > 0 => {
            one(connection.codec, connection.removed as usize, Map::new())
        }
        _ => String::new(),
    }
}

/// Appends a time as EVE writes it, in UTC: `2026-01-01T00:00:00.000000+0000`.
fn timestamp(text: &mut String, nanos: Nanos) {
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
    let _ = write!(
        text,
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{micros:06}+0000",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    );
}

#[cfg(test)]
mod tests {
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
            let mut text = String::new();
            timestamp(&mut text, nanos);
            assert_eq!(text, wanted);
        }
    }

    #[test]
    fn addresses_are_written_as_eve_writes_them() {
        let v6: Ipv6Addr = "2001:db8::7".parse().unwrap();
        assert_eq!(
            address(v6.octets(), true),
            "2001:0db8:0000:0000:0000:0000:0000:0007"
        );
        let mapped = crate::wire::ip::mapped([10, 0, 0, 1]);
        assert_eq!(address(mapped, false), "10.0.0.1");
        assert_eq!(
            address(mapped, true),
            "0000:0000:0000:0000:0000:ffff:0a00:0001"
        );
    }
}
