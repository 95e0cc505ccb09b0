//! Tests of `proxy-v2`: one table drives parse, describe and emit.

use super::*;
use crate::header::testing::{self, Case};
use proptest::prelude::*;

const V4: &str = "203.0.113.7:46421 192.168.110.2:80";
const V6: &str = "[2001:db8::7]:46421 [2001:db8:0:1::2]:22";

fn truth(pair: &str) -> Truth {
    let (peer, destination) = pair.split_once(' ').expect("two addresses");
    testing::truth(peer, destination)
}

fn bytes(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hex"))
        .collect()
}

/// The signature, then these digits.
fn header(text: &str) -> Vec<u8> {
    [&SIGNATURE[..], &bytes(text)].concat()
}

fn built(builder: Option<Builder>) -> Vec<u8> {
    builder.and_then(Builder::finish).expect("a header")
}

#[test]
fn headers() {
    let v4 = truth(V4);
    let unix = [&b"/run/peer.sock"[..], &[0; 94], b"\0hidden", &[0; 101]].concat();
    let case = |name, bytes, truth, says| Case {
        name,
        bytes,
        truth,
        says,
        emits: false,
    };
    testing::drive(
        &ProxyV2,
        &[
            Case {
                name: "TCP over IPv4",
                bytes: header("21 11 000c cb007107 c0a86e02 b555 0050"),
                truth: Some(v4),
                says: "{}",
                emits: true,
            },
            Case {
                name: "TCP over IPv6",
                bytes: header(
                    "21 21 0024 20010db8000000000000000000000007
                     20010db8000000010000000000000002 b555 0016",
                ),
                truth: Some(truth(V6)),
                says: "{}",
                emits: true,
            },
            case(
                "two IPv4-mapped addresses were an IPv4 connection",
                header(
                    "21 21 0024 00000000000000000000ffffcb007107
                     00000000000000000000ffffc0a86e02 b555 0050",
                ),
                Some(v4),
                "{}",
            ),
            case(
                "UDP",
                header("21 12 000c cb007107 c0a86e02 b555 0050"),
                Some(v4),
                r#"{"transport":"dgram"}"#,
            ),
            case(
                "UNIX",
                built(Some(Builder::new(
                    Command::Proxy,
                    Family::Unix,
                    Transport::Stream,
                    &unix,
                ))),
                None,
                r#"{"peer_path":"/run/peer.sock","destination_path":"@hidden"}"#,
            ),
            case(
                "LOCAL",
                header("20 00 0000"),
                None,
                r#"{"command":"local"}"#,
            ),
            case(
                "LOCAL with TLVs, as HAProxy's health checks send",
                header("20 00 0005 05 0002 6869"),
                None,
                r#"{"command":"local","unique_id":"hi"}"#,
            ),
            case(
                "LOCAL with addresses, which are to be discarded",
                header("20 11 0011 cb007107 c0a86e02 b555 0050 05 0002 6869"),
                None,
                r#"{"command":"local","unique_id":"hi"}"#,
            ),
            case(
                "LOCAL with an unknown family and a block of anything",
                header("20 ff 0003 010203"),
                None,
                r#"{"command":"local","ignored":"010203"}"#,
            ),
            case(
                "UNSPEC",
                header("21 00 0000"),
                None,
                r#"{"family":"unspec"}"#,
            ),
            case(
                "UNSPEC with a block of anything",
                header("21 00 0004 01020304"),
                None,
                r#"{"family":"unspec","ignored":"01020304"}"#,
            ),
            case(
                "IPv4 over an unspecified transport",
                header("21 10 000c cb007107 c0a86e02 b555 0050"),
                None,
                r#"{"family":"unspec"}"#,
            ),
            case(
                "every TLV is kept, in order",
                header(
                    "21 11 0020 cb007107 c0a86e02 b555 0050
                     04 0000 01 0002 6832 f3 0002 beef 04 0001 00 30 0000",
                ),
                Some(v4),
                r#"{"noop":["","00"],"alpn":"h2","0xf3":"beef","netns":""}"#,
            ),
            case(
                "a checksum between other TLVs",
                built(
                    Builder::proxy(&v4).map(|b| b.tlv(tlv::ALPN, b"h2").crc32c().tlv(0xe5, b"!")),
                ),
                Some(v4),
                r#"{"alpn":"h2","crc32c":"3e739152","0xe5":"21"}"#,
            ),
        ],
    );
}

#[test]
fn broken_rules() {
    let v4 = "cb007107 c0a86e02 b555 0050";
    let family = "the address family is not one of version 2";
    let short = "the length is below the family's address block";
    let overrun = "a TLV overruns the header";
    let long_id = {
        let id = format!("05 0081 {}", "61".repeat(129));
        header(&format!("21 11 0090 {v4} {id}"))
    };
    let crc_of = |sum: &str| header(&format!("21 11 0013 {v4} 03 0004 {sum}"));
    let table: Vec<(Vec<u8>, &'static str)> = vec![
        (header("11"), "the version is not 2"),
        (header("31"), "the version is not 2"),
        (header("22"), "the command is not LOCAL or PROXY"),
        (header("21 41"), family),
        (header("21 f1"), family),
        (header("21 13"), "the transport is not one of version 2"),
        (header("21 11 000b"), short),
        (header("21 12 0000"), short),
        (header("21 21 0023"), short),
        (header("21 31 00d7"), short),
        (header(&format!("21 11 000d {v4} 01")), overrun),
        (header(&format!("21 11 000e {v4} 0100")), overrun),
        (header(&format!("21 11 000f {v4} 01 0001")), overrun),
        (header(&format!("21 11 0010 {v4} 01 ffff 00")), overrun),
        (long_id, "a UNIQUE_ID is longer than 128 bytes"),
        (
            header(&format!("21 11 0012 {v4} 03 0003 000000")),
            "a CRC32C is not four bytes long",
        ),
        (crc_of("00000000"), "the CRC32C does not match"),
        (
            header(&format!(
                "21 11 001a {v4} 03 0004 00000000 03 0004 00000000"
            )),
            "there are two CRC32C",
        ),
        (
            header(&format!("21 11 0013 {v4} 20 0004 00000000")),
            "an SSL TLV is shorter than its fixed part",
        ),
        (
            header(&format!("21 11 0017 {v4} 20 0008 0000000000 21 0001")),
            "a TLV overruns the SSL TLV",
        ),
    ];
    let table: Vec<_> = table
        .iter()
        .map(|(bytes, rule)| (&bytes[..], *rule))
        .collect();
    testing::refuse(&ProxyV2, &table);
}

#[test]
fn every_single_bit_error_breaks_the_checksum() {
    let good =
        built(Builder::proxy(&truth(V4)).map(|b| b.tlv(tlv::AUTHORITY, b"a.example").crc32c()));
    let addresses_and_names = 16..good.len() - 7;
    for bit in addresses_and_names.flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let mut bad = good.clone();
        bad[bit.0] ^= 1 << bit.1;
        assert!(ProxyV2.parse(&bad).is_err(), "{bit:?}");
    }
}

#[test]
fn the_longest_header() {
    let long = built(Builder::proxy(&truth(V4)).map(|b| b.tlv(0xe1, &vec![7; 65535 - 12 - 3])));
    assert_eq!(long.len(), MAX_LEN);
    assert!(matches!(
        ProxyV2.parse(&long),
        Ok(Parse::Header(Found { len: MAX_LEN, .. }))
    ));
    assert_eq!(ProxyV2.parse(&long[..MAX_LEN - 1]), Ok(Parse::NeedMore));
    let longer = Builder::proxy(&truth(V4)).map(|b| b.tlv(0xe1, &vec![7; 65535]));
    assert_eq!(longer.and_then(Builder::finish), None);
}

#[test]
fn foreign_bytes() {
    testing::decline(
        &ProxyV2,
        &[b"G", b"\r\n\r\n\r", b"\r\n\r\n\0\r\nQUIT\r", b"\0"],
    );
}

fn any_tlvs() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    let kind = any::<u8>().prop_filter("checked types", |kind| {
        ![tlv::CRC32C, tlv::SSL].contains(kind)
    });
    proptest::collection::vec((kind, proptest::collection::vec(any::<u8>(), 0..40)), 0..6)
}

proptest! {
    #[test]
    fn reads_what_it_emits(truth in testing::any_truth(), tail: Vec<u8>) {
        testing::round_trip(&ProxyV2, &truth, &tail)?;
    }

    #[test]
    fn reads_what_it_builds(truth in testing::any_truth(), tlvs in any_tlvs(), crc: bool, tail: Vec<u8>) {
        let mut builder = Builder::proxy(&truth).expect("one family");
        for (kind, value) in &tlvs {
            builder = builder.tlv(*kind, value);
        }
        let count = tlvs.len() + usize::from(crc);
        let header = if crc { builder.crc32c() } else { builder }.finish().expect("short");
        let found = Found { start: 0, len: header.len(), truth: Some(truth) };
        prop_assert_eq!(ProxyV2.parse(&[&header[..], &tail].concat()), Ok(Parse::Header(found)));
        let kept: usize = ProxyV2.describe(&header).values().map(|value| value.as_array().map_or(1, Vec::len)).sum();
        prop_assert_eq!(kept, count);
    }

    #[test]
    fn laws_hold_for_any_bytes(
        command in 0x1fu8..0x24, family: u8, length in 0u16..80, rest in proptest::collection::vec(any::<u8>(), 0..100)
    ) {
        testing::laws(&ProxyV2, &rest)?;
        let front = [&SIGNATURE[..], &[command, family], &length.to_be_bytes()].concat();
        testing::laws(&ProxyV2, &[&front[..], &rest].concat())?;
    }

    #[test]
    fn laws_hold_for_small_tlvs(rest in proptest::collection::vec((0u8..6, 0u8..2, 0u8..9), 0..30)) {
        let block: Vec<u8> = rest.into_iter().flat_map(|(kind, high, low)| [kind, high, low]).collect();
        let front = [&SIGNATURE[..], &[0x21, 0x11, 0, 12 + block.len() as u8], &[0; 12]].concat();
        testing::laws(&ProxyV2, &[&front[..], &block].concat())?;
    }
}
