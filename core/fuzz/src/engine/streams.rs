//! What clients send: streams with every kind of header, none, and broken ones.

use std::ops::Range;
use std::sync::LazyLock;

use peeltap_core::header::registry::build;
use peeltap_core::header::{Codec, CodecSpec, Truth};

/// The codecs of every script's configuration, in the order in which a leg tries them.
pub const CODECS: &str = r#"[
    {"name": "proxy-v2", "kind": "proxy-v2"}, {"name": "proxy-v1", "kind": "proxy-v1"},
    {"name": "magic", "kind": "magic", "magic": "d1e0c0ffee5eedb5"},
    {"name": "sslproxy", "kind": "sslproxy"}]"#;

const REQUEST: &[u8] = b"GET /index HTTP/1.1\r\n";
const HOST: &[u8] = b"Host: decoy\r\n\r\n";

/// A client's stream: its beginning, and where headers lie in it.
#[derive(Debug)]
pub struct Stream {
    front: Vec<u8>,
    /// In order, as many as there are: a leg takes only as many as its depth says.
    pub headers: Vec<Range<usize>>,
}

impl Stream {
    /// Any byte of the stream.
    pub fn at(&self, offset: i64) -> u8 {
        let filler = (offset.wrapping_mul(31) >> 3) as u8 | 0x80;
        let front = usize::try_from(offset)
            .ok()
            .and_then(|at| self.front.get(at));
        *front.unwrap_or(&filler)
    }

    /// Bytes from `offset` on.
    pub fn slice(&self, offset: i64, len: usize) -> Vec<u8> {
        (0..len as i64).map(|at| self.at(offset + at)).collect()
    }

    /// Where the first byte behind all headers is.
    pub fn clear(&self) -> i64 {
        self.headers.last().map_or(0, |last| last.end as i64)
    }

    /// The offset at which a byte of the stripped stream stood, for a leg of `depth` headers.
    pub fn unmap(&self, mut offset: i64, depth: usize) -> i64 {
        for header in self.headers.iter().take(depth) {
            if offset >= header.start as i64 {
                offset += header.len() as i64;
            }
        }
        offset
    }

    /// The reverse; bytes of a header go where it began.
    pub fn map(&self, offset: i64, depth: usize) -> i64 {
        let below =
            |header: &Range<usize>| (offset - header.start as i64).clamp(0, header.len() as i64);
        offset - self.headers.iter().take(depth).map(below).sum::<i64>()
    }

    /// What a leg of `depth` headers takes out of it in all.
    pub fn removed(&self, depth: usize) -> u64 {
        self.headers
            .iter()
            .take(depth)
            .map(|header| header.len() as u64)
            .sum()
    }
}

/// Every stream, by the number under which scripts name it. The order is part of the corpus.
pub static STREAMS: LazyLock<Vec<Stream>> = LazyLock::new(|| {
    let specs: Vec<CodecSpec> = serde_json::from_str(CODECS).expect("a list of codecs");
    let truth = |v6: bool| {
        let text = if v6 {
            ("[2001:db8::7]:46421", "[2001:db8:1::2]:80")
        } else {
            ("203.0.113.7:46421", "192.168.110.2:80")
        };
        let address = |text: &str| text.parse().expect("an address");
        Truth::new(address(text.0), address(text.1)).expect("one family")
    };
    let header = |codec: usize, v6: bool| {
        let codec = build(&specs[codec]).expect("a codec");
        codec.emit(&truth(v6)).expect("a header")
    };
    let (v2, v1, magic, ssl) = (
        header(0, false),
        header(1, false),
        header(2, false),
        header(3, false),
    );
    // proxy-protocol.txt section 2.2: an ALPN and an AUTHORITY behind the addresses.
    let mut tlvs = header(0, true);
    tlvs.extend(b"\x01\0\x02h2\x02\0\x05decoy");
    tlvs[15] += 13;
    let local = [b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\x05".as_slice(), b"local"].concat();
    let mut broken = v2.clone();
    broken[12] = 0x31;

    let front = |headers: &[&[u8]]| {
        let mut stream = Stream {
            front: Vec::new(),
            headers: Vec::new(),
        };
        for header in headers {
            let at = stream.front.len();
            stream.front.extend(*header);
            stream.headers.push(at..at + header.len());
        }
        stream.front.extend(REQUEST);
        stream.front.extend(HOST);
        stream
    };
    let at = REQUEST.len();
    let behind_request = Stream {
        front: [REQUEST, &ssl, HOST].concat(),
        headers: vec![at..at + ssl.len()],
    };
    let mut malformed = front(&[&broken]);
    malformed.headers.clear();
    vec![
        front(&[&v2]),
        front(&[&v1]),
        front(&[&magic]),
        front(&[&ssl]),
        behind_request,
        front(&[&tlvs]),
        front(&[&header(1, true)]),
        front(&[&header(2, true)]),
        front(&[&local]),
        front(&[&v2, &v2]),
        front(&[&v2, &v1, &magic]),
        front(&[&magic, &tlvs]),
        malformed,
        front(&[]),
        Stream {
            front: b"\r\n\r\n\0\r\nQUIT\nnot quite".to_vec(),
            headers: Vec::new(),
        },
        Stream {
            front: Vec::new(),
            headers: Vec::new(),
        },
    ]
});
