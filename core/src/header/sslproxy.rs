//! `sslproxy`: the line that SSLproxy inserts in front of what it diverts.
//!
//! Source: SSLproxy's README, "Mode of operation", and its `pxy_setup_child_listener`,
//! `pxy_try_prepend_sslproxy_header`, `protohttp_filter_request_header`:
//!
//! ```text
//! SSLproxy: [127.0.0.1]:34649,[192.168.3.24]:47286,[192.168.111.130]:443,s[,soner]\r\n
//!           returns to        peer               destination           s: TLS, p: plain; user
//! ```
//!
//! It stands at the stream's front, except for HTTP: there it follows the first line, so that the
//! application's own bytes come first and the header is an excision behind them.
//!
//! What follows the line is the peer's, and so is what precedes it in HTTP: SSLproxy passes the first
//! line on whatever it holds, and takes further lines of this kind out of the request. A peer that
//! sends such a line itself is told from SSLproxy only by where the true one stands, so a leg of one
//! kind should say so ([`Position`]); with [`Position::Any`], a line at the front is believed.

use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{signature, text, Codec, Found, Malformed, Parse, Truth};

/// How every line begins.
const SIGNATURE: &[u8] = b"SSLproxy: ";
/// The most bytes of a user's name. SSLproxy's table of users allows for 31 characters.
const MAX_USER: usize = 124;
/// `[address]:port,`
const MAX_ENDPOINT: usize = text::MAX_IP + "[]:65535,".len();
/// The most bytes of the line, CRLF included.
pub const MAX_LINE: usize = SIGNATURE.len() + 3 * MAX_ENDPOINT + "s,".len() + MAX_USER + 2;
/// The most bytes of an HTTP request line in front of the header, CRLF included.
pub const MAX_REQUEST_LINE: usize = 8192;
/// The most bytes of an HTTP method; the longest in use is VERSION-CONTROL.
const MAX_METHOD: usize = 32;

/// Where the line may stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Position {
    /// At the front, or behind a first line of HTTP.
    #[default]
    Any,
    /// At the front only: legs that carry no HTTP.
    Front,
    /// Behind the first line only, whatever that line is: legs that carry HTTP. What SSLproxy takes
    /// for HTTP need not be HTTP, and the first line may be a forgery of this header.
    Request,
}

/// The codec.
#[derive(Clone, Copy, Debug, Default)]
pub struct SslProxy {
    position: Position,
}

/// What stands at some place of the stream.
enum At<T> {
    /// Not decided yet.
    Open,
    /// Something else.
    Other,
    /// It, and its length.
    Here(T, usize),
}

struct Endpoints {
    peer: SocketAddr,
    destination: SocketAddr,
}

/// A line while it is read; each part is judged before the next.
struct Line<'a> {
    seen: &'a [u8],
    at: usize,
}

impl<'a> Line<'a> {
    /// A run of bytes that fit, up to `end`, which is taken too.
    fn until(
        &mut self,
        end: u8,
        fits: impl Fn(u8) -> bool,
        max: usize,
        broken: Malformed,
    ) -> Result<Option<&'a [u8]>, Malformed> {
        let rest = &self.seen[self.at..];
        let window = &rest[..rest.len().min(max + 1)];
        match window.iter().position(|byte| *byte == end || !fits(*byte)) {
            Some(len) if window[len] == end => {
                self.at += len + 1;
                Ok(Some(&rest[..len]))
            }
            None if window.len() <= max => Ok(None),
            _ => Err(broken),
        }
    }

    fn byte(&mut self, byte: u8, broken: Malformed) -> Result<Option<()>, Malformed> {
        match self.seen.get(self.at) {
            None => Ok(None),
            Some(seen) if *seen == byte => {
                self.at += 1;
                Ok(Some(()))
            }
            Some(_) => Err(broken),
        }
    }

    /// `[address]:port,`
    fn endpoint(&mut self) -> Result<Option<SocketAddr>, Malformed> {
        const SHAPE: Malformed = Malformed("an endpoint is not [address]:port and a comma");
        let Some(()) = self.byte(b'[', SHAPE)? else {
            return Ok(None);
        };
        let ip = self.until(b']', text::is_address_byte, text::MAX_IP, SHAPE)?;
        let Some(ip) = ip else { return Ok(None) };
        let ip: IpAddr = text::ip(ip).ok_or(Malformed("an address is not IPv4 or IPv6"))?;
        let Some(()) = self.byte(b':', SHAPE)? else {
            return Ok(None);
        };
        let port = self.until(b',', |byte| byte.is_ascii_digit(), "65535".len(), SHAPE)?;
        let Some(port) = port else { return Ok(None) };
        let port = text::decimal(port).ok_or(Malformed("a port is not a canonical number"))?;
        Ok(Some(SocketAddr::new(ip, port)))
    }
}

/// The line at the front of `stream`.
fn line(stream: &[u8]) -> Result<At<Endpoints>, Malformed> {
    match signature(stream, SIGNATURE) {
        None => return Ok(At::Other),
        Some(false) => return Ok(At::Open),
        Some(true) => {}
    }
    let mut line = Line {
        seen: stream,
        at: SIGNATURE.len(),
    };
    let Some(_returns_to) = line.endpoint()? else {
        return Ok(At::Open);
    };
    let Some(peer) = line.endpoint()? else {
        return Ok(At::Open);
    };
    let Some(destination) = line.endpoint()? else {
        return Ok(At::Open);
    };
    if peer.is_ipv4() != destination.is_ipv4() {
        return Err(Malformed("peer and destination are of two families"));
    }

    let Some(kind) = stream.get(line.at) else {
        return Ok(At::Open);
    };
    if !matches!(kind, b's' | b'p') {
        return Err(Malformed("the connection is not marked s or p"));
    }
    line.at += 1;
    let end = Malformed("the line does not end in CRLF");
    match stream.get(line.at) {
        None => return Ok(At::Open),
        Some(b'\r') => line.at += 1,
        Some(b',') => {
            line.at += 1;
            let printable = |byte: u8| byte >= b' ' && byte != 0x7f;
            let broken = Malformed("the user is not text of at most 124 bytes");
            let Some(_) = line.until(b'\r', printable, MAX_USER, broken)? else {
                return Ok(At::Open);
            };
        }
        Some(_) => return Err(end),
    }
    let Some(()) = line.byte(b'\n', end)? else {
        return Ok(At::Open);
    };
    Ok(At::Here(Endpoints { peer, destination }, line.at))
}

/// Any first line as SSLproxy passes it on: no NUL, which would have ended it there, and CRLF.
fn first_line(stream: &[u8]) -> At<()> {
    let seen = &stream[..stream.len().min(MAX_REQUEST_LINE)];
    match seen.iter().position(|byte| matches!(byte, 0 | b'\n')) {
        Some(end) if seen[end] == b'\n' && seen[..end].ends_with(b"\r") => At::Here((), end + 1),
        None if seen.len() < MAX_REQUEST_LINE => At::Open,
        _ => At::Other,
    }
}

/// A first line of HTTP: a method (RFC 9110 token), a space, anything printable, CRLF.
fn request_line(stream: &[u8]) -> At<()> {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let seen = &stream[..stream.len().min(MAX_REQUEST_LINE)];
    let method = seen
        .iter()
        .take_while(|byte| is_token(byte))
        .take(MAX_METHOD + 1)
        .count();
    match seen.get(method) {
        None if method <= MAX_METHOD => return At::Open,
        Some(b' ') if (1..=MAX_METHOD).contains(&method) => {}
        _ => return At::Other,
    }
    let is_text = |byte: &u8| *byte == b'\t' || *byte >= b' ' && *byte != 0x7f;
    let end = method
        + seen[method..]
            .iter()
            .take_while(|byte| is_text(byte))
            .count();
    match seen[end..] {
        [b'\r', b'\n', ..] => At::Here((), end + 2),
        [] | [b'\r'] if seen.len() < MAX_REQUEST_LINE => At::Open,
        _ => At::Other,
    }
}

impl SslProxy {
    /// A codec that looks at `position` only.
    #[must_use]
    pub fn new(position: Position) -> Self {
        SslProxy { position }
    }

    /// The line at `start`, as an answer about the whole stream.
    fn at(start: usize, here: At<Endpoints>) -> Parse {
        match here {
            At::Open => Parse::NeedMore,
            At::Other => Parse::NotMine,
            At::Here(Endpoints { peer, destination }, len) => Parse::Header(Found {
                start,
                len,
                truth: Truth::new(peer, destination),
            }),
        }
    }
}

impl Codec for SslProxy {
    fn name(&self) -> &str {
        "sslproxy"
    }

    fn parse(&self, stream: &[u8]) -> Result<Parse, Malformed> {
        if self.position != Position::Request {
            let front = line(stream)?;
            if self.position == Position::Front || !matches!(front, At::Other) {
                return Ok(Self::at(0, front));
            }
        }
        let first = match self.position {
            Position::Request => first_line(stream),
            _ => request_line(stream),
        };
        match first {
            At::Open => Ok(Parse::NeedMore),
            At::Other => Ok(Parse::NotMine),
            At::Here((), start) => Ok(Self::at(start, line(&stream[start..])?)),
        }
    }

    fn max_len(&self) -> usize {
        match self.position {
            Position::Front => MAX_LINE,
            Position::Any | Position::Request => MAX_REQUEST_LINE + MAX_LINE,
        }
    }

    fn describe(&self, header: &[u8]) -> Map<String, Value> {
        let text = String::from_utf8_lossy(header);
        let mut parts = text.trim_end().splitn(5, ',').map(str::to_owned);
        let mut says = Map::new();
        if let Some(first) = parts.next() {
            let returns_to = first.strip_prefix("SSLproxy: ").unwrap_or(&first);
            says.insert("returns_to".into(), returns_to.into());
        }
        let mut parts = parts.skip(2);
        if let Some(kind) = parts.next() {
            says.insert("tls".into(), (kind == "s").into());
        }
        if let Some(user) = parts.next() {
            says.insert("user".into(), user.into());
        }
        says
    }

    /// A line for the stream's front. SSLproxy takes the diverted bytes back at the first address;
    /// as nothing listens there, it is the unspecified one. Behind a request there is no such line:
    /// the request is not this codec's to write.
    fn emit(&self, truth: &Truth) -> Option<Vec<u8>> {
        let Truth { peer, destination } = truth;
        if self.position == Position::Request || peer.is_ipv4() != destination.is_ipv4() {
            return None;
        }
        let endpoint = |address: &SocketAddr| format!("[{}]:{}", address.ip(), address.port());
        let (from, to) = (endpoint(peer), endpoint(destination));
        Some(format!("SSLproxy: [0.0.0.0]:0,{from},{to},p\r\n").into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::testing::{self, Case};
    use proptest::prelude::*;

    const README: &str =
        "SSLproxy: [127.0.0.1]:34649,[192.168.3.24]:47286,[192.168.111.130]:443,s\r\n";
    const FRONT: SslProxy = SslProxy {
        position: Position::Front,
    };
    const REQUEST: SslProxy = SslProxy {
        position: Position::Request,
    };
    const ANY: SslProxy = SslProxy {
        position: Position::Any,
    };

    fn readme_truth() -> Truth {
        testing::truth("192.168.3.24:47286", "192.168.111.130:443")
    }

    #[test]
    fn lines() {
        let case = |name, text: &str, truth, says| Case {
            name,
            bytes: text.into(),
            truth: Some(truth),
            says,
            emits: false,
        };
        let v6 = testing::truth("[2001:db8::7]:46421", "[2001:db8::2]:25");
        let long = format!("{},{}\r\n", README.trim_end(), "u".repeat(MAX_USER));
        let long_says = format!(
            r#"{{"returns_to":"[127.0.0.1]:34649","tls":true,"user":"{}"}}"#,
            "u".repeat(MAX_USER)
        );
        let table = [
            case(
                "README",
                README,
                readme_truth(),
                r#"{"returns_to":"[127.0.0.1]:34649","tls":true}"#,
            ),
            case(
                "README, with a user",
                &README.replace(",s\r", ",s,soner\r"),
                readme_truth(),
                r#"{"returns_to":"[127.0.0.1]:34649","tls":true,"user":"soner"}"#,
            ),
            case(
                "a user with a comma",
                &README.replace(",s\r", ",p,a,b\r"),
                readme_truth(),
                r#"{"returns_to":"[127.0.0.1]:34649","tls":false,"user":"a,b"}"#,
            ),
            case("the longest user", &long, readme_truth(), long_says.leak()),
            case(
                "IPv6 diverted to an IPv4 program",
                "SSLproxy: [10.0.0.1]:1024,[2001:db8::7]:46421,[2001:db8::2]:25,p\r\n",
                v6,
                r#"{"returns_to":"[10.0.0.1]:1024","tls":false}"#,
            ),
            Case {
                emits: true,
                ..case(
                    "as emitted",
                    "SSLproxy: [0.0.0.0]:0,[2001:db8::7]:46421,[2001:db8::2]:25,p\r\n",
                    v6,
                    r#"{"returns_to":"[0.0.0.0]:0","tls":false}"#,
                )
            },
        ];
        testing::drive(&FRONT, &table);
        testing::drive(&ANY, &table);
    }

    #[test]
    fn behind_a_request_line() {
        let longest = format!("GET /{:a<1$} HTTP/1.1\r\n", "", MAX_REQUEST_LINE - 16);
        assert_eq!(longest.len(), MAX_REQUEST_LINE);
        for request in [
            "GET / HTTP/1.1\r\n",
            "OPTIONS * HTTP/1.0\r\n",
            "GET /\r\n",
            "VERSION-CONTROL /a\tb\u{e9} HTTP/1.1\r\n",
            "GET SSLproxy: HTTP/1.1\r\n",
            &longest,
        ] {
            let stream = format!("{request}{README}Host: a\r\n\r\n");
            let (start, len) = (request.len(), README.len());
            let found = Found {
                start,
                len,
                truth: Some(readme_truth()),
            };
            for codec in [ANY, REQUEST] {
                let end = start + len;
                assert_eq!(
                    codec.parse(stream.as_bytes()),
                    Ok(Parse::Header(found.clone())),
                    "{request}"
                );
                for cut in 0..end {
                    let answer = codec.parse(&stream.as_bytes()[..cut]);
                    assert_eq!(answer, Ok(Parse::NeedMore), "{cut} bytes of {request}");
                }
                assert!(end <= codec.max_len());
            }
        }
    }

    #[test]
    fn broken_rules() {
        let shape = "an endpoint is not [address]:port and a comma";
        let address = "an address is not IPv4 or IPv6";
        let end = "the line does not end in CRLF";
        let user = "the user is not text of at most 124 bytes";
        let three = "SSLproxy: [127.0.0.1]:1,[1.2.3.4]:2,[5.6.7.8]:3,";
        let long = format!("{three}s,{:u<125}", "");
        let table: Vec<(String, &'static str)> = [
            ("SSLproxy: 1", shape),
            ("SSLproxy: [127.0.0.1]:1,1", shape),
            ("SSLproxy: [127.0.0.1 ", shape),
            ("SSLproxy: [127.0.0.1].", shape),
            ("SSLproxy: [127.0.0.1]:x", shape),
            ("SSLproxy: [127.0.0.1]:655350", shape),
            (
                "SSLproxy: [::ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.2]",
                address,
            ),
            ("SSLproxy: []", address),
            ("SSLproxy: [h", shape),
            (
                "SSLproxy: [127.0.0.1]:65536,",
                "a port is not a canonical number",
            ),
            (
                "SSLproxy: [127.0.0.1]:080,",
                "a port is not a canonical number",
            ),
            (
                "SSLproxy: [127.0.0.1]:1,[1.2.3.4]:2,[::1]:3,",
                "peer and destination are of two families",
            ),
            ("{3}x", "the connection is not marked s or p"),
            ("{3}s\n", end),
            ("{3}s ", end),
            ("{3}s\r\r", end),
            ("{3}s,a\n", user),
            ("{3}s,a\x00", user),
            ("{3}s,soner\r\r", end),
            (&long, user),
        ]
        .iter()
        .map(|(text, rule)| (text.replace("{3}", three), *rule))
        .collect();
        let front: Vec<_> = table
            .iter()
            .map(|(text, rule)| (text.as_bytes(), *rule))
            .collect();
        testing::refuse(&FRONT, &front);
        testing::refuse(&ANY, &front);
        let behind: Vec<_> = table
            .iter()
            .map(|(text, rule)| (format!("GET / HTTP/1.1\r\n{text}"), *rule))
            .collect();
        let behind: Vec<_> = behind
            .iter()
            .map(|(text, rule)| (text.as_bytes(), *rule))
            .collect();
        testing::refuse(&REQUEST, &behind);
        testing::refuse(&ANY, &behind);
    }

    #[test]
    fn foreign_bytes() {
        let long_line = format!("GET {:a<1$}", "", MAX_REQUEST_LINE - 4);
        let long_method = format!("{:A<33}", "");
        let request: &[&[u8]] = &[
            b"\x16",
            b" ",
            b"GET\r",
            b"GET / HTTP/1.1\r\nH",
            b"GET / HTTP/1.1\r\nSSLproxy:1",
            b"GET / HTTP/1.1\n",
            b"GET / HTTP/1.1\r\r",
            b"GET /\x00",
            b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n\x00",
            b"SSLproxz\x01",
            long_line.as_bytes(),
            long_method.as_bytes(),
        ];
        testing::decline(&ANY, request);
        testing::decline(&FRONT, &[b"G", b"SSLproxy:[", b"SSLP", b"s", b"\x16"]);
        let behind: &[&[u8]] = &[
            b"GET / HTTP/1.1\r\nH",
            b"GET / HTTP/1.1\r\nSSLproxy:1",
            b"GET / HTTP/1.1\n",
            b"GET /\x00",
            b"\x16\x03\x01\x00",
            b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n\x00",
            long_line.as_bytes(),
        ];
        testing::decline(&REQUEST, behind);
        // A line at the front is the peer's first line, nothing more.
        let alone = format!("{README}\0");
        testing::decline(&REQUEST, &[alone.as_bytes()]);
    }

    /// SSLproxy passes any first line on and puts its own behind it.
    #[test]
    fn behind_any_first_line() {
        for first in [
            "\r\n",
            "no-space\r\n",
            "SSLproxy: \r\n",
            "\u{1}\u{e9} a\rb\r\r\n",
            &README.replace("192.168.3.24", "6.6.6.6"),
        ] {
            let stream = format!("{first}{README}Host: a\r\n\r\n");
            let found = Found {
                start: first.len(),
                len: README.len(),
                truth: Some(readme_truth()),
            };
            assert_eq!(
                REQUEST.parse(stream.as_bytes()),
                Ok(Parse::Header(found)),
                "{first:?}"
            );
            for cut in 0..first.len() + README.len() {
                let answer = REQUEST.parse(&stream.as_bytes()[..cut]);
                assert_eq!(answer, Ok(Parse::NeedMore), "{cut} bytes of {first:?}");
            }
        }
    }

    /// Two lines in one stream: one is the peer's forgery. Position says which.
    #[test]
    fn a_forged_line() {
        let forged = README.replace("192.168.3.24", "6.6.6.6");
        let truth = Some(readme_truth());
        let cases = [
            (FRONT, format!("{README}{forged}"), 0),
            (FRONT, format!("{README}GET / HTTP/1.1\r\n{forged}"), 0),
            (ANY, format!("{README}GET / HTTP/1.1\r\n{forged}"), 0),
            (ANY, format!("GET / HTTP/1.1\r\n{README}{forged}"), 16),
            (REQUEST, format!("GET / HTTP/1.1\r\n{README}{forged}"), 16),
            (REQUEST, format!("{forged}{README}"), forged.len()),
        ];
        for (codec, stream, start) in cases {
            let found = Found {
                start,
                len: README.len(),
                truth,
            };
            assert_eq!(
                codec.parse(stream.as_bytes()),
                Ok(Parse::Header(found)),
                "{stream}"
            );
        }
    }

    proptest! {
        #[test]
        fn reads_what_it_emits(truth in testing::any_truth(), tail: Vec<u8>) {
            testing::round_trip(&ANY, &truth, &tail)?;
            testing::round_trip(&FRONT, &truth, &tail)?;
            prop_assert_eq!(REQUEST.emit(&truth), None);
        }

        #[test]
        fn laws_hold_for_any_bytes(
            front in "(GET [a-z/]{0,3} HTTP/1.1\r\n)?(SSLproxy: (\\[1.2.3.4\\]:5,){0,3})?", rest: Vec<u8>
        ) {
            for codec in [ANY, FRONT, REQUEST] {
                testing::laws(&codec, &rest)?;
                testing::laws(&codec, &[front.as_bytes(), &rest].concat())?;
            }
        }
    }
}
