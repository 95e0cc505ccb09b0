//! Proxy headers: one codec a file, one trait.
//!
//! A codec sees the first bytes of a stream and gives one of three answers ([`Parse`]): more bytes
//! are needed, this is not mine, or here is a header. Bytes that begin like its own format and then
//! break that format's rules are an error ([`Malformed`]).
//!
//! | file | format |
//! |---|---|
//! | [`proxy_v1`] | HAProxy's text line |
//! | [`proxy_v2`], [`tlv`] | HAProxy's binary header and its extensions |
//! | [`sslproxy`] | SSLproxy's line, at the front or behind an HTTP request line |
//! | [`layout`] | formats that a site declares field by field; `magic` is one of them |
//! | [`registry`] | configuration -> codec, with one type for all of them |
//!
//! Parsing is a single walk from the left that never looks behind what it has judged. So an answer
//! other than "need more" never changes when more bytes arrive, and nothing behind a header has a
//! say in it.

pub mod layout;
pub mod proxy_v1;
pub mod proxy_v2;
pub mod registry;
pub mod sslproxy;
pub mod tlv;

#[cfg(test)]
mod testing;
mod text;

use std::net::{IpAddr, SocketAddr};

pub use registry::{AnyCodec, CodecSpec};

/// The answer of a codec to the bytes at the front of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parse {
    /// All bytes so far fit; the header is not complete.
    NeedMore,
    /// These bytes cannot become a header of this codec, whatever follows.
    NotMine,
    /// A complete header.
    Header(Found),
}

/// A complete header: where it stands in the stream and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Offset of its first byte in the stream; not 0 only where bytes of the application come first.
    pub start: usize,
    /// Its length in bytes.
    pub len: usize,
    /// Peer and destination; `None` where the header carries none (LOCAL, UNKNOWN, AF_UNIX).
    pub truth: Option<Truth>,
}

/// Who connected, and what was attacked. Both addresses are of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Truth {
    /// The true client.
    pub peer: SocketAddr,
    /// The address and port that the peer attacked.
    pub destination: SocketAddr,
}

impl Truth {
    /// `peer` and `destination` as the packets of that connection had them; `None` where their
    /// families differ.
    ///
    /// A dual-stack socket reports an IPv4 client as `::ffff:a.b.c.d` (RFC 4291 2.5.5.2). No packet
    /// ever carried that address: where both are of that form, the connection was IPv4.
    #[must_use]
    pub fn new(peer: SocketAddr, destination: SocketAddr) -> Option<Self> {
        if peer.is_ipv4() != destination.is_ipv4() {
            return None;
        }
        let canonical = (peer.ip().to_canonical(), destination.ip().to_canonical());
        let (peer_ip, destination_ip) = match canonical {
            (IpAddr::V4(_), IpAddr::V4(_)) => canonical,
            _ => (peer.ip(), destination.ip()),
        };
        Some(Truth {
            peer: SocketAddr::new(peer_ip, peer.port()),
            destination: SocketAddr::new(destination_ip, destination.port()),
        })
    }
}

/// The bytes began as this codec's format and then broke its rules; the text names the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// One header format.
pub trait Codec: Send + Sync {
    /// The name used in configuration and in flow records.
    fn name(&self) -> &str;

    /// Reads the front of a stream. `stream[0]` is the stream's first byte (or the first byte behind
    /// an outer header). Never looks at more than [`Codec::max_len`] bytes.
    fn parse(&self, stream: &[u8]) -> Result<Parse, Malformed>;

    /// The most bytes that [`Codec::parse`] can ask for.
    fn max_len(&self) -> usize;

    /// What else the header says, for the flow record's `tlvs` object: an empty map if nothing.
    /// `header` is exactly the bytes that `parse` found.
    fn describe(&self, header: &[u8]) -> serde_json::Map<String, serde_json::Value>;

    /// The bytes that announce `truth`; `None` where this format cannot say it.
    fn emit(&self, truth: &Truth) -> Option<Vec<u8>>;
}

/// Whether `seen` can still become, or already begins with, `signature`.
///
/// `Some(true)`: all of it is there. `Some(false)`: what is there fits. `None`: it does not.
pub(crate) fn signature(seen: &[u8], signature: &[u8]) -> Option<bool> {
    let known = seen.len().min(signature.len());
    (seen[..known] == signature[..known]).then_some(known == signature.len())
}

/// Lower-case hexadecimal, two digits a byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}
