//! `proxy-v1`: the text line of the PROXY protocol.
//!
//! Source: HAProxy's doc/proxy-protocol.txt, section 2.1. One line of US-ASCII:
//!
//! ```text
//! PROXY TCP4 192.0.2.7 198.51.100.2 56324 443\r\n
//! PROXY TCP6 2001:db8::7 2001:db8::2 56324 443\r\n
//! PROXY UNKNOWN[ anything]\r\n
//! ```
//!
//! Single spaces, canonical numbers, at most 107 bytes with its CRLF. One leniency: an IPv6 address
//! may end in a dotted quad, since inet_ntop(3), which HAProxy prints with, writes IPv4-mapped
//! addresses so.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Map, Value};

use super::{signature, text, Codec, Found, Malformed, Parse, Truth};

/// How every line begins.
const SIGNATURE: &[u8] = b"PROXY";
/// The most bytes of a line, CRLF included.
pub const MAX_LEN: usize = 107;

const NO_CRLF: Malformed = Malformed("no CRLF within 107 bytes");

/// The codec.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProxyV1;

#[derive(Clone, Copy)]
enum Protocol {
    Tcp4,
    Tcp6,
    Unknown,
}

/// Each protocol with its words, spaces included.
const PROTOCOLS: [(&[u8], Protocol); 4] = [
    (b" TCP4 ", Protocol::Tcp4),
    (b" TCP6 ", Protocol::Tcp6),
    (b" UNKNOWN ", Protocol::Unknown),
    (b" UNKNOWN\r", Protocol::Unknown),
];

/// A line while it is read: fields are taken from the left, and each is judged before the next.
struct Line<'a> {
    seen: &'a [u8],
    at: usize,
}

impl<'a> Line<'a> {
    /// The field that ends at `end`, which is taken too; `None` while it is not complete.
    fn field(&mut self, end: u8) -> Result<Option<&'a [u8]>, Malformed> {
        let rest = &self.seen[self.at..];
        match rest.iter().position(|byte| !text::is_address_byte(*byte)) {
            Some(len) if rest[len] == end => {
                self.at += len + 1;
                Ok(Some(&rest[..len]))
            }
            Some(_) if end == b'\r' => Err(Malformed("a port is not followed by CRLF")),
            Some(_) => Err(Malformed("a field is not followed by a single space")),
            None if self.seen.len() == MAX_LEN => Err(NO_CRLF),
            None => Ok(None),
        }
    }

    fn address(&mut self, protocol: Protocol) -> Result<Option<IpAddr>, Malformed> {
        let Some(field) = self.field(b' ')? else {
            return Ok(None);
        };
        match protocol {
            Protocol::Tcp4 => text::ipv4(field).map(IpAddr::V4),
            _ => text::ipv6(field).map(IpAddr::V6),
        }
        .map(Some)
        .ok_or(Malformed("an address is not one of the line's family"))
    }

    fn port(&mut self, end: u8) -> Result<Option<u16>, Malformed> {
        let Some(field) = self.field(end)? else {
            return Ok(None);
        };
        text::decimal(field)
            .map(Some)
            .ok_or(Malformed("a port is not a canonical number"))
    }
}

impl Codec for ProxyV1 {
    fn name(&self) -> &str {
        "proxy-v1"
    }

    fn parse(&self, stream: &[u8]) -> Result<Parse, Malformed> {
        let seen = &stream[..stream.len().min(MAX_LEN)];
        match signature(seen, SIGNATURE) {
            None => return Ok(Parse::NotMine),
            Some(false) => return Ok(Parse::NeedMore),
            Some(true) => {}
        }

        let words = &seen[SIGNATURE.len()..];
        let mut possible = false;
        let known = PROTOCOLS.iter().find(|(word, _)| {
            let fits = signature(words, word);
            possible |= fits.is_some();
            fits == Some(true)
        });
        let (word, protocol) = match known {
            Some((word, protocol)) => (word, *protocol),
            None if possible => return Ok(Parse::NeedMore),
            None => return Err(Malformed("the protocol is not TCP4, TCP6 or UNKNOWN")),
        };
        let mut line = Line {
            seen,
            at: SIGNATURE.len() + word.len(),
        };

        // Whatever stands between UNKNOWN and the CRLF is to be ignored, a lone CR or LF included.
        if let Protocol::Unknown = protocol {
            let from = SIGNATURE.len() + " UNKNOWN".len();
            return match seen[from..].windows(2).position(|pair| pair == b"\r\n") {
                Some(n) => Ok(Parse::Header(Found {
                    start: 0,
                    len: from + n + 2,
                    truth: None,
                })),
                None if seen.len() == MAX_LEN => Err(NO_CRLF),
                None => Ok(Parse::NeedMore),
            };
        }

        let Some(peer) = line.address(protocol)? else {
            return Ok(Parse::NeedMore);
        };
        let Some(destination) = line.address(protocol)? else {
            return Ok(Parse::NeedMore);
        };
        let Some(peer_port) = line.port(b' ')? else {
            return Ok(Parse::NeedMore);
        };
        let Some(destination_port) = line.port(b'\r')? else {
            return Ok(Parse::NeedMore);
        };
        match seen.get(line.at) {
            Some(b'\n') => Ok(Parse::Header(Found {
                start: 0,
                len: line.at + 1,
                truth: Truth::new(
                    SocketAddr::new(peer, peer_port),
                    SocketAddr::new(destination, destination_port),
                ),
            })),
            Some(_) => Err(Malformed("a port is not followed by CRLF")),
            None if seen.len() == MAX_LEN => Err(NO_CRLF),
            None => Ok(Parse::NeedMore),
        }
    }

    fn max_len(&self) -> usize {
        MAX_LEN
    }

    fn describe(&self, header: &[u8]) -> Map<String, Value> {
        let unknown = signature(header, b"PROXY UNKNOWN") == Some(true);
        let protocol = unknown.then(|| ("protocol".to_owned(), "unknown".into()));
        protocol.into_iter().collect()
    }

    fn emit(&self, truth: &Truth) -> Option<Vec<u8>> {
        let Truth { peer, destination } = truth;
        let protocol = match (peer, destination) {
            (SocketAddr::V4(_), SocketAddr::V4(_)) => "TCP4",
            (SocketAddr::V6(_), SocketAddr::V6(_)) => "TCP6",
            _ => return None,
        };
        let (from, to) = (peer.ip(), destination.ip());
        let line = format!(
            "PROXY {protocol} {from} {to} {} {}\r\n",
            peer.port(),
            destination.port()
        );
        Some(line.into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::testing::{self, Case};
    use proptest::prelude::*;

    fn line(name: &'static str, text: &str, truth: Option<Truth>) -> Case {
        let says = if truth.is_some() {
            "{}"
        } else {
            r#"{"protocol":"unknown"}"#
        };
        Case {
            name,
            bytes: text.into(),
            truth,
            says,
            emits: true,
        }
    }

    #[test]
    fn lines() {
        let truth = |a, b| Some(testing::truth(a, b));
        let mapped = Case {
            emits: false,
            ..line(
                "two IPv4-mapped addresses were an IPv4 connection",
                "PROXY TCP6 ::ffff:192.0.2.7 ::ffff:c633:6402 1 2\r\n",
                truth("192.0.2.7:1", "198.51.100.2:2"),
            )
        };
        let upper = Case {
            emits: false,
            ..line(
                "upper case, zeros written out",
                "PROXY TCP6 2001:0DB8:0000:0:0:0:0:0007 2001:DB8::2 1 2\r\n",
                truth("[2001:db8::7]:1", "[2001:db8::2]:2"),
            )
        };
        testing::drive(
            &ProxyV1,
            &[
                line(
                    "HAProxy's example",
                    "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n",
                    truth("192.168.0.1:56324", "192.168.0.11:443"),
                ),
                line(
                    "the longest TCP4 line",
                    "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
                    truth("255.255.255.255:65535", "255.255.255.255:65535"),
                ),
                line(
                    "port 0 is a number",
                    "PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n",
                    truth("0.0.0.0:0", "0.0.0.0:0"),
                ),
                line(
                    "IPv6",
                    "PROXY TCP6 2001:db8::7 ::1 46421 22\r\n",
                    truth("[2001:db8::7]:46421", "[::1]:22"),
                ),
                line(
                    "one IPv4-mapped address beside a native one",
                    "PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n",
                    truth("[::ffff:192.0.2.7]:1", "[::1]:2"),
                ),
                mapped,
                upper,
                line("UNKNOWN, short", "PROXY UNKNOWN\r\n", None),
                line(
                    "UNKNOWN and a text",
                    "PROXY UNKNOWN \r \n ffff::\x00\r\r\n",
                    None,
                ),
                line(
                    "UNKNOWN at 107 bytes",
                    &format!("PROXY UNKNOWN {:91}\r\n", ""),
                    None,
                ),
            ],
        );
    }

    #[test]
    fn broken_rules() {
        let family = "an address is not one of the line's family";
        let protocol = "the protocol is not TCP4, TCP6 or UNKNOWN";
        let space = "a field is not followed by a single space";
        let port = "a port is not a canonical number";
        let crlf = "a port is not followed by CRLF";
        let endless = format!("PROXY UNKNOWN {:93}", "");
        let digits = format!("PROXY TCP4 {:1<96}", "1");
        let cut = format!(
            "PROXY TCP6 {0} {0} 65535 65535\r",
            "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255"
        );
        testing::refuse(
            &ProxyV1,
            &[
                (b"PROXYT", protocol),
                (b"PROXY\r", protocol),
                (b"PROXY  ", protocol),
                (b"PROXY t", protocol),
                (b"PROXY TCP5", protocol),
                (b"PROXY UD", protocol),
                (b"PROXY UNKNOWNX", protocol),
                (b"PROXY TCP4  ", family),
                (b"PROXY TCP4 ::1 ", family),
                (b"PROXY TCP6 1.2.3.4 ", family),
                (b"PROXY TCP4 1.2.3 ", family),
                (b"PROXY TCP4 1.2.3.04 ", family),
                (b"PROXY TCP4 256.2.3.4 ", family),
                (b"PROXY TCP6 :::1 ", family),
                (b"PROXY TCP4 1.2.3.4\t", space),
                (b"PROXY TCP6 fe80::1%", space),
                (b"PROXY TCP4 1.2.3.4 5.6.7.8\r", space),
                (b"PROXY TCP4 1.2.3.4 5.6.7.8 -", space),
                (b"PROXY TCP4 1.2.3.4 5.6.7.8 080 ", port),
                (b"PROXY TCP4 1.2.3.4 5.6.7.8 65536 ", port),
                (b"PROXY TCP4 1.2.3.4 5.6.7.8  ", port),
                (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 \r", port),
                (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2a\r", port),
                (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 ", crlf),
                (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n", crlf),
                (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\r", crlf),
                (endless.as_bytes(), "no CRLF within 107 bytes"),
                (digits.as_bytes(), "no CRLF within 107 bytes"),
                (&cut.as_bytes()[..107], "no CRLF within 107 bytes"),
            ],
        );
    }

    #[test]
    fn foreign_bytes() {
        testing::decline(&ProxyV1, &[b"G", b"PROXx", b"PRI", b"p", b"\r"]);
    }

    proptest! {
        #[test]
        fn reads_what_it_emits(truth in testing::any_truth(), tail: Vec<u8>) {
            testing::round_trip(&ProxyV1, &truth, &tail)?;
        }

        #[test]
        fn laws_hold_for_any_bytes(front in "PROXY (TCP[46] |UNKNOWN )?", rest: Vec<u8>) {
            testing::laws(&ProxyV1, &rest)?;
            testing::laws(&ProxyV1, &[front.as_bytes(), &rest].concat())?;
        }

        #[test]
        fn laws_hold_for_almost_lines(line in "PROXY TCP[46]( {1,2}[0-9a-f:.]{1,12}){4}[\r\n]{1,3}.*") {
            testing::laws(&ProxyV1, line.as_bytes())?;
        }
    }
}
