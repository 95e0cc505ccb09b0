//! Proxy headers: one codec a file, one trait.
//!
//! A codec sees the first bytes of a stream and gives one of three answers ([`Parse`]): more bytes
//! are needed, this is not mine, or here is a header. Bytes that begin like its own format and then
//! break that format's rules are an error ([`Malformed`]).

use std::net::SocketAddr;

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
