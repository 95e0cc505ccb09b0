//! Tests of declared layouts: their declaration, one table a layout, refusals, laws.

use super::*;
use crate::header::testing::{self, Case};
use proptest::prelude::*;
use serde_json::json;

fn declared(encoding: Encoding, fields: &Value) -> Result<Layout, String> {
    Layout::declare("ours", encoding, fields.as_array().expect("a list"), None)
}

fn binary(fields: &Value) -> Layout {
    declared(Encoding::Binary, fields).expect("a layout")
}

fn text(fields: &Value) -> Layout {
    declared(Encoding::Text, fields).expect("a layout")
}

fn magic() -> Layout {
    Layout::magic("magic", "d1e0c0ffee5eedb5").expect("a layout")
}

/// A length of the rest, which must agree with the family.
fn ours() -> Layout {
    binary(&json!([
        {"bytes": "4f555253"}, {"u8": "length"}, {"u8": "family"}, {"ip": "peer"},
        {"u16be": "peer_port"}, {"ip": "destination"}, {"u16be": "destination_port"}
    ]))
}

/// A length that also tells the family.
fn sized() -> Layout {
    binary(&json!([
        {"bytes": "4f555253"}, {"u8": "length"}, {"ip": "peer"}, {"u16be": "peer_port"},
        {"ip": "destination"}, {"u16be": "destination_port"}
    ]))
}

/// Every kind of binary field.
fn rich() -> Layout {
    binary(&json!([
        {"u8": 1}, {"bytes": "fEeD"}, {"u16le": 0x0201},
        {"u16be": "length", "of": "whole"},
        {"u32le": "family", "ipv4": 2, "ipv6": 10},
        {"u32be": "crc32c"},
        {"u32be": "peer_port"}, {"u16le": "destination_port"},
        {"ip": "destination", "width": 16}, {"ip": "peer", "width": 16},
        {"padding": 2}, {"skip": 1}, {"skip": 2, "name": "cookie"}, {"u8": "value", "name": "zone"},
        {"skip": "rest"}
    ]))
}

fn line() -> Layout {
    text(&json!([
        {"literal": "PEER "}, {"word": "family", "ipv4": "four", "ipv6": "six"}, {"literal": " "},
        {"ip": "peer"}, {"separator": " \t"}, {"decimal": "peer_port"}, {"literal": " -> ["},
        {"ip": "destination"}, {"literal": "]:"}, {"hex": "destination_port"}, {"literal": " by "},
        {"text": "user", "max": 8}, {"terminator": "\r\n"}
    ]))
}

const V4: (&str, &str) = ("203.0.113.7:46421", "192.168.110.2:80");
const V6: (&str, &str) = ("[2001:db8::7]:46421", "[2001:db8::2]:22");

fn bytes(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex"))
        .collect()
}

const V6_PEER: &str = "20010db8000000000000000000000007";
const V6_DESTINATION: &str = "20010db8000000000000000000000002";

#[test]
fn magic_headers() {
    let case = |name, text: &str, (peer, destination)| Case {
        name,
        bytes: bytes(text),
        truth: Some(testing::truth(peer, destination)),
        says: "{}",
        emits: true,
    };
    testing::drive(
        &magic(),
        &[
            case(
                "IPv4",
                "d1e0c0ffee5eedb5 04 cb007107 b555 c0a86e02 0050",
                V4,
            ),
            case(
                "IPv6",
                &format!("d1e0c0ffee5eedb5 06 {V6_PEER} b555 {V6_DESTINATION} 0016"),
                V6,
            ),
        ],
    );
    testing::refuse(
        &magic(),
        &[
            (
                &bytes("d1e0c0ffee5eedb5 05"),
                "the family is neither IPv4 nor IPv6",
            ),
            (
                &bytes("d1e0c0ffee5eedb5 00"),
                "the family is neither IPv4 nor IPv6",
            ),
        ],
    );
    testing::decline(
        &magic(),
        &[b"G", &bytes("d1e0c0ffee5eedb4"), &bytes("d1e1")],
    );
}

#[test]
fn a_length_of_the_rest() {
    let case = |name, text: &str, (peer, destination)| Case {
        name,
        bytes: bytes(text),
        truth: Some(testing::truth(peer, destination)),
        says: "{}",
        emits: true,
    };
    testing::drive(
        &ours(),
        &[
            case("IPv4", "4f555253 0d 04 cb007107 b555 c0a86e02 0050", V4),
            case(
                "IPv6",
                &format!("4f555253 25 06 {V6_PEER} b555 {V6_DESTINATION} 0016"),
                V6,
            ),
        ],
    );
    let below = "the length is below that of the fields";
    testing::refuse(
        &ours(),
        &[
            (
                &bytes("4f555253 26"),
                "the length is above the layout's longest header",
            ),
            (&bytes("4f555253 0c 04 cb007107 b555 c0a86e02"), below),
            (&bytes("4f555253 0d 06"), below),
            (&bytes("4f555253 01 04"), below),
            (
                &bytes("4f555253 0e 04 cb007107 b555 c0a86e02 0050"),
                "the length is above that of the fields",
            ),
        ],
    );
}

#[test]
fn a_length_that_tells_the_family() {
    let case = |name, text: &str, (peer, destination)| Case {
        name,
        bytes: bytes(text),
        truth: Some(testing::truth(peer, destination)),
        says: "{}",
        emits: true,
    };
    testing::drive(
        &sized(),
        &[
            case("IPv4", "4f555253 0c cb007107 b555 c0a86e02 0050", V4),
            case(
                "IPv6",
                &format!("4f555253 24 {V6_PEER} b555 {V6_DESTINATION} 0016"),
                V6,
            ),
        ],
    );
    let neither = "the length is neither IPv4's nor IPv6's";
    testing::refuse(
        &sized(),
        &[
            (&bytes("4f555253 0d"), neither),
            (&bytes("4f555253 00"), neither),
        ],
    );
}

#[test]
fn every_kind_of_field() {
    let head = "01 feed 0102";
    let v4 = format!(
        "{head} 003d 02000000 00000000 0000b555 5000 c0a86e02 {0} cb007107 {0} 0000 aa bbcc 07 dddd",
        "00".repeat(12)
    );
    let with_sum = |text: &str| {
        let mut header = bytes(text);
        let sum = crc32c::crc32c(&header).to_be_bytes();
        header[11..15].copy_from_slice(&sum);
        header
    };
    let header = with_sum(&v4);
    assert_eq!(header.len(), 0x3d);
    let case = |name, bytes, says| Case {
        name,
        bytes,
        truth: Some(testing::truth(V4.0, V4.1)),
        says,
        emits: false,
    };
    let emitted = with_sum(
        &v4.replace("003d", "003b")
            .replace("aa bbcc 07 dddd", "00 0000 00"),
    );
    testing::drive(
        &rich(),
        &[
            case(
                "and more",
                header.clone(),
                r#"{"cookie":"bbcc","zone":7,"rest":"dddd"}"#,
            ),
            Case {
                emits: true,
                ..case("as emitted", emitted, r#"{"cookie":"0000","zone":0}"#)
            },
        ],
    );

    let change = |at: usize, byte: u8| {
        let mut changed = header.clone();
        changed[at] = byte;
        changed
    };
    let table = [
        (
            change(8, 1)[..11].to_vec(),
            "the family is neither IPv4 nor IPv6",
        ),
        (change(15, 1)[..19].to_vec(), "a port is above 65535"),
        (
            change(36, 1)[..37].to_vec(),
            "an address is not padded with zeros",
        ),
        (change(54, 1)[..55].to_vec(), "padding is not zero"),
        (change(55, 0xab), "the checksum does not match"),
        (change(58, 0xdc), "the checksum does not match"),
        (change(14, header[14] ^ 1), "the checksum does not match"),
        (
            change(5, 0xff)[..7].to_vec(),
            "the length is above the layout's longest header",
        ),
        (
            change(6, 6)[..7].to_vec(),
            "the length is below that of the fields",
        ),
    ];
    let table: Vec<_> = table
        .iter()
        .map(|(bytes, rule)| (&bytes[..], *rule))
        .collect();
    testing::refuse(&rich(), &table);
    testing::decline(
        &rich(),
        &[&bytes("01 feed 0103"), &bytes("02"), &bytes("01 feee")],
    );
}

#[test]
fn checksums() {
    let tail = json!([{"ipv4": "peer"}, {"u16be": "peer_port"}, {"ipv4": "destination"}, {"u16be": "destination_port"}]);
    let build = |sum: Value, first: bool| {
        let mut fields = vec![json!({"bytes": "4f555253"})];
        let at = if first { 1 } else { 5 };
        fields.extend(tail.as_array().expect("a list").iter().cloned());
        fields.insert(at, sum);
        binary(&Value::Array(fields))
    };
    let addresses = "cb007107 b555 c0a86e02 0050";
    // Computed with Python: zlib.crc32 and crc32c of the bytes named.
    let table = [
        (
            build(json!({"u32be": "crc32", "over": "before"}), false),
            format!("4f555253 {addresses} {CRC32_BEFORE}"),
        ),
        (
            build(json!({"u32le": "crc32c", "over": "before"}), false),
            format!("4f555253 {addresses} {CRC32C_BEFORE_LE}"),
        ),
        (
            build(json!({"u32be": "crc32"}), true),
            format!("4f555253 {CRC32_WHOLE} {addresses}"),
        ),
    ];
    for (layout, text) in table {
        testing::drive(
            &layout,
            &[Case {
                name: "a checksum",
                bytes: bytes(&text),
                truth: Some(testing::truth(V4.0, V4.1)),
                says: "{}",
                emits: true,
            }],
        );
    }
}

const CRC32_BEFORE: &str = "d29afa48";
const CRC32C_BEFORE_LE: &str = "146f6f7e";
const CRC32_WHOLE: &str = "ff8bdf3f";

#[test]
fn lines_of_text() {
    let case = |name, text: &str, (peer, destination), says, emits| Case {
        name,
        bytes: text.into(),
        truth: Some(testing::truth(peer, destination)),
        says,
        emits,
    };
    testing::drive(
        &line(),
        &[
            case(
                "IPv4",
                "PEER four 203.0.113.7 46421 -> [192.168.110.2]:50 by -\r\n",
                V4,
                r#"{"user":"-"}"#,
                true,
            ),
            case(
                "IPv6",
                "PEER six 2001:db8::7 46421 -> [2001:db8::2]:16 by -\r\n",
                V6,
                r#"{"user":"-"}"#,
                true,
            ),
            case(
                "a run of separators, an empty token",
                "PEER four 203.0.113.7 \t \t46421 -> [192.168.110.2]:50 by \r\n",
                V4,
                r#"{"user":""}"#,
                false,
            ),
            case(
                "a token of spaces and more",
                "PEER four 203.0.113.7 46421 -> [192.168.110.2]:50 by a\n\u{fc} by\r\n",
                V4,
                r#"{"user":"a\nü by"}"#,
                false,
            ),
        ],
    );
    let literal = "a literal does not match";
    let address = "an address is not canonical text";
    let port = "a port is not a canonical number";
    let long = "a field is too long";
    let endless = format!("PEER four 1.2.3.4{:246}", "");
    assert_eq!(endless.len(), 263);
    testing::refuse(
        &line(),
        &[
            (b"PEER four x", address),
            (b"PEER four  ", address),
            (b"PEER four 1.2.3.4 x", port),
            (b"PEER four 1.2.3.4 080 ", port),
            (b"PEER four 1.2.3.4 65536 ", port),
            (b"PEER four 1.2.3.4 655360", long),
            (b"PEER four 1.2.3.4]", "a separator is absent"),
            (b"PEER four 1.2.3.4 1 x", literal),
            (
                b"PEER four 1.2.3.4 1 -> [::1]",
                "an address is not of the header's family",
            ),
            (
                b"PEER six 1.2.3.4 ",
                "an address is not of the header's family",
            ),
            (
                b"PEER six 1:2:3:4:5:6:7:8:9:a:b:c:d:e:f:1:2:3:4:5:6:7:8:",
                long,
            ),
            (b"PEER four 1.2.3.4 1 -> [1.2.3.4]:00 ", port),
            (b"PEER four 1.2.3.4 1 -> [1.2.3.4]:1 by 123456789", long),
            (b"PEER four 1.2.3.4 1 -> [1.2.3.4]:1 by 1234\r\r", literal),
            (
                &endless.as_bytes()[..256],
                "there is no terminator within the longest header",
            ),
        ],
    );
    testing::decline(&line(), &[b"G", b"PEER5", b"PEER fi", b"PEER four\t"]);
}

#[test]
fn declarations_that_are_refused() {
    let rest = json!([{"ipv4": "peer"}, {"u16be": "peer_port"}, {"ipv4": "destination"}, {"u16be": "destination_port"}]);
    let with = |field: Value| {
        let mut fields = vec![json!({"bytes": "01"}), field];
        fields.extend(rest.as_array().expect("a list").iter().cloned());
        Value::Array(fields)
    };
    let table = [
        (with(json!("u8")), "layout[1]: must be an object with one of: bytes, u8, u16be, u16le, u32be, u32le, ip, ipv4, ipv6, skip, padding"),
        (with(json!({"u8": 1, "bytes": "00"})), "layout[1]: has {u8, bytes}; must have exactly one of: bytes, u8, u16be, u16le, u32be, u32le, ip, ipv4, ipv6, skip, padding"),
        (with(json!({"bytes": "0"})), r#"layout[1].bytes: "0" is not pairs of hexadecimal digits"#),
        (with(json!({"bytes": ""})), r#"layout[1].bytes: "" is not pairs of hexadecimal digits"#),
        (with(json!({"bytes": "+1"})), r#"layout[1].bytes: "+1" is not pairs of hexadecimal digits"#),
        (with(json!({"bytes": 12})), "layout[1].bytes: 12 must be a text; put it in quotes"),
        (with(json!({"bytes": "00", "name": "a"})), "layout[1].bytes: name: takes no options"),
        (with(json!({"u8": 256})), "layout[1].u8: 256 does not fit"),
        (with(json!({"u8": -1})), "layout[1].u8: -1 does not fit"),
        (with(json!({"u16be": "peerport"})), r#"layout[1].u16be: "peerport" is not known; allowed: family, peer_port, destination_port, length, crc32c, crc32, value"#),
        (with(json!({"u8": "peer_port"})), "layout[1].u8: a port needs 16 bits"),
        (with(json!({"u16be": "peer_port"})), "layout[3].u16be: this port is there twice"),
        (with(json!({"ipv4": "peer"})), "layout[2].ipv4: this address is there twice"),
        (with(json!({"ip": "peer"})), "layout[1].ip: nothing before it tells the family: add a family or a length, or use ipv4 or ipv6"),
        (with(json!({"ipv4": "source"})), r#"layout[1].ipv4: "source" is not known; allowed: peer, destination"#),
        (with(json!({"u16be": "crc32c"})), "layout[1].u16be: a checksum needs 32 bits"),
        (with(json!({"u32be": "crc32c", "over": "all"})), r#"layout[1].u32be: "all" is not known; allowed: whole, before"#),
        (with(json!({"u8": "length", "off": "rest"})), "layout[1].u8: off: is not an option; allowed: of"),
        (with(json!({"u8": "family", "ipv4": 256})), "layout[1].u8: ipv4: must be a number from 0 to 255"),
        (with(json!({"u8": "family", "ipv4": 6})), "layout[1].u8: ipv4 and ipv6 are the same value"),
        (with(json!({"u8": "value"})), "layout[1].u8: value: needs a name to be reported under"),
        (with(json!({"skip": "rest"})), "layout[1].skip: rest: no length stands before it"),
        (with(json!({"skip": 0})), "layout[1].skip: 0 must be a number of bytes"),
        (with(json!({"padding": 65552})), "layout[1].padding: 65552 must be a number of bytes"),
        (with(json!({"skip": 65551})), "layout: is longer than 65551 bytes"),
        (rest.clone(), "layout: no constant tells such a header from a payload"),
        (json!([{"bytes": "00"}]), "layout: no field holds peer"),
        (json!([{"bytes": "00"}, {"ipv4": "peer"}, {"ipv4": "destination"}, {"u16be": "peer_port"}]), "layout: no field holds destination_port"),
        (json!([{"bytes": "00"}, {"ipv4": "peer"}, {"ipv6": "destination"}, {"u16be": "peer_port"}, {"u16be": "destination_port"}]), "layout: peer and destination are of two families"),
        (json!([]), "layout: no field holds peer"),
        (
            json!([
                {"bytes": "00"}, {"u8": "length"}, {"ip": "peer", "width": 16}, {"u16be": "peer_port"},
                {"ip": "destination", "width": 16}, {"u16be": "destination_port"}
            ]),
            "layout: the length cannot tell the family here; name the family",
        ),
    ];
    for (fields, error) in table {
        assert_eq!(
            declared(Encoding::Binary, &fields).map(|_| ()),
            Err(error.to_owned())
        );
    }
    let max = |max| {
        Layout::declare(
            "a",
            Encoding::Binary,
            with(json!({"u8": 1})).as_array().expect("a list"),
            Some(max),
        )
        .map(|layout| layout.max_len())
    };
    assert_eq!(max(14), Ok(14));
    assert_eq!(
        max(13),
        Err("max_length: 13 is below the 14 bytes that the fields need".into())
    );
    assert_eq!(max(0), Err("max_length: must be 1 to 65551".into()));
}

#[test]
fn declarations_of_text_that_are_refused() {
    let line = |behind_peer: Value, last: Value| {
        json!([
            {"literal": "P "}, {"ip": "peer"}, behind_peer, {"decimal": "peer_port"}, {"literal": ","},
            {"ipv4": "destination"}, {"literal": ","}, {"hex": "destination_port"}, last
        ])
    };
    let end = json!({"terminator": "\n"});
    let comma = json!({"literal": ","});
    let with = |field: Value| json!([field, {"terminator": "\n"}]);
    let table = [
        (line(json!({"literal": ":"}), end.clone()), "layout[1].ip: ':' behind it could be part of it"),
        (line(json!({"separator": " ."}), end.clone()), "layout[1].ip: '.' behind it could be part of it"),
        (line(json!({"separator": " 0"}), end.clone()), "layout[1].ip: '0' behind it could be part of it"),
        (line(json!({"text": "a"}), end.clone()), "layout[1].ip: a literal, a separator or the terminator must follow"),
        (line(comma.clone(), json!({"terminator": "f"})), "layout[7].hex: 'f' behind it could be part of it"),
        (line(comma.clone(), comma.clone()), "layout: the last field must be a terminator"),
        (line(end.clone(), end.clone()), "layout[2].terminator: must be the last field"),
        (line(json!({"literal": ""}), end.clone()), "layout[2].literal: must not be empty"),
        (line(json!({"literal": 1}), end.clone()), "layout[2].literal: 1 must be a text; put it in quotes"),
        (line(json!({"u8": 1}), end.clone()), "layout[2]: has {u8}; must have exactly one of: literal, separator, terminator, word, decimal, hex, ip, ipv4, ipv6, text"),
        (with(json!({"word": "family", "ipv4": "TCP"})), "layout[0].word: needs both words: ipv4, ipv6"),
        (with(json!({"word": "family", "ipv4": "TCP", "ipv6": "TCP6"})), "layout[0].word: one word is the beginning of the other"),
        (with(json!({"word": "proto"})), r#"layout[0].word: "proto" is not known; allowed: family"#),
        (with(json!({"text": "a", "max": -1})), "layout[0].text: max: must be a number from 0 to 65551"),
        (with(json!({"literal": "a"})), "layout: no field holds peer"),
        (json!([]), "layout: the last field must be a terminator"),
        (
            json!([{"text": "a", "emit": "a,b"}, {"literal": ","}, {"ip": "peer"}, {"literal": ","}, {"ip": "destination"}, {"literal": ","}, {"hex": "peer_port"}, {"literal": ","}, {"hex": "destination_port"}, end]),
            "layout[0].text: emit: would not be read back",
        ),
    ];
    for (fields, error) in table {
        assert_eq!(
            declared(Encoding::Text, &fields).map(|_| ()),
            Err(error.to_owned()),
            "{fields}"
        );
    }
    let separators_only = json!([
        {"ip": "peer"}, {"separator": " "}, {"ip": "destination"}, {"separator": " "}, {"hex": "peer_port"},
        {"separator": " "}, {"hex": "destination_port"}, {"terminator": "\n"}
    ]);
    assert_eq!(
        declared(Encoding::Text, &separators_only).map(|_| ()),
        Err("layout: no literal tells such a header from a payload".into())
    );
}

fn layouts() -> [Layout; 5] {
    [magic(), ours(), sized(), rich(), line()]
}

proptest! {
    #[test]
    fn reads_what_it_emits(truth in testing::any_truth(), tail: Vec<u8>) {
        for layout in layouts() {
            testing::round_trip(&layout, &truth, &tail)?;
        }
    }

    #[test]
    fn laws_hold_for_any_bytes(truth in testing::any_truth(), changes: Vec<(u8, u8)>, tail: Vec<u8>) {
        for layout in layouts() {
            testing::laws(&layout, &tail)?;
            let mut stream = layout.emit(&truth).expect("a header");
            for (at, byte) in &changes {
                let at = usize::from(*at) % stream.len();
                stream[at] = *byte;
            }
            stream.extend(&tail);
            testing::laws(&layout, &stream)?;
        }
    }
}
