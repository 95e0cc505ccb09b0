//! `proxy-v2`: the binary header of the PROXY protocol.
//!
//! Source: HAProxy's doc/proxy-protocol.txt, section 2.2:
//!
//! ```text
//!  0               12       13        14        16
//! +-- ... --------+--------+---------+---------+-- ... -----------+-- ... ------+
//! | signature     | 2 | cmd| fam|tran| length  | peer, destination | TLVs        |
//! +-- ... --------+--------+---------+---------+-- ... -----------+-- ... ------+
//! ```
//!
//! What a receiver is told to ignore is never malformed: the whole block of a LOCAL header, and that
//! of a PROXY header whose family or transport is UNSPEC. It is described as far as it can be read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde_json::{Map, Value};

use super::{hex, signature, tlv, Codec, Found, Malformed, Parse, Truth};

/// How every header begins.
pub const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

mod field {
    pub const VERSION_COMMAND: usize = 12;
    pub const FAMILY_TRANSPORT: usize = 13;
    pub const LENGTH: std::ops::Range<usize> = 14..16;
    pub const BLOCK: usize = 16;
}

/// The most bytes of a header: its fixed part and a block of 65535.
pub const MAX_LEN: usize = field::BLOCK + u16::MAX as usize;
/// The length of a path in an AF_UNIX address block.
const UNIX_PATH: usize = 108;

/// On whose behalf the connection was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// The proxy's own, such as a health check: the real endpoints count.
    Local,
    /// The peer's.
    Proxy,
}

/// The address family of the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Unknown or not told.
    Unspec,
    /// Two IPv4 addresses, two ports.
    Inet,
    /// Two IPv6 addresses, two ports.
    Inet6,
    /// Two paths.
    Unix,
}

impl Family {
    /// The length of the family's address block.
    #[must_use]
    pub fn block_len(self) -> usize {
        match self {
            Family::Unspec => 0,
            Family::Inet => 2 * (4 + 2),
            Family::Inet6 => 2 * (16 + 2),
            Family::Unix => 2 * UNIX_PATH,
        }
    }
}

/// The socket type of the proxied connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Unknown or not told.
    Unspec,
    /// SOCK_STREAM.
    Stream,
    /// SOCK_DGRAM.
    Dgram,
}

/// A checked view of a complete header.
#[derive(Clone, Copy)]
struct View<'a> {
    command: Command,
    family: Family,
    transport: Transport,
    header: &'a [u8],
}

impl<'a> View<'a> {
    /// The header at the front of `stream`; `Ok(None)` while it is not complete.
    ///
    /// Fields are judged as they arrive, so that a lying one does not wait for 64 KiB.
    fn new(stream: &'a [u8]) -> Result<Option<Self>, Malformed> {
        let Some(byte) = stream.get(field::VERSION_COMMAND) else {
            return Ok(None);
        };
        if byte >> 4 != 2 {
            return Err(Malformed("the version is not 2"));
        }
        let command = match byte & 0x0f {
            0 => Command::Local,
            1 => Command::Proxy,
            _ => return Err(Malformed("the command is not LOCAL or PROXY")),
        };
        let Some(byte) = stream.get(field::FAMILY_TRANSPORT) else {
            return Ok(None);
        };
        let family = match byte >> 4 {
            0 => Family::Unspec,
            1 => Family::Inet,
            2 => Family::Inet6,
            3 => Family::Unix,
            _ if command == Command::Local => Family::Unspec,
            _ => return Err(Malformed("the address family is not one of version 2")),
        };
        let transport = match byte & 0x0f {
            0 => Transport::Unspec,
            1 => Transport::Stream,
            2 => Transport::Dgram,
            _ if command == Command::Local => Transport::Unspec,
            _ => return Err(Malformed("the transport is not one of version 2")),
        };
        let Some(length) = stream.get(field::LENGTH) else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        let view = View {
            command,
            family,
            transport,
            header: stream,
        };
        if view.binds() && length < family.block_len() {
            return Err(Malformed("the length is below the family's address block"));
        }
        let header = stream.get(..field::BLOCK + length);
        Ok(header.map(|header| View { header, ..view }))
    }

    /// Whether the block means something: that of a LOCAL or UNSPEC header is to be ignored.
    fn binds(self) -> bool {
        self.command == Command::Proxy
            && self.family != Family::Unspec
            && self.transport != Transport::Unspec
    }

    fn block(self) -> &'a [u8] {
        &self.header[field::BLOCK..]
    }

    /// Peer and destination, where the block holds them and is to be believed.
    fn truth(self) -> Option<Truth> {
        if !self.binds() {
            return None;
        }
        let block = self.block();
        let port = |at: usize| u16::from_be_bytes([block[at], block[at + 1]]);
        match self.family {
            Family::Inet => {
                let ip = |at: usize| -> [u8; 4] { std::array::from_fn(|n| block[at + n]) };
                Truth::new((ip(0), port(8)).into(), (ip(4), port(10)).into())
            }
            Family::Inet6 => {
                let ip = |at: usize| -> [u8; 16] { std::array::from_fn(|n| block[at + n]) };
                Truth::new((ip(0), port(32)).into(), (ip(16), port(34)).into())
            }
            Family::Unspec | Family::Unix => None,
        }
    }

    /// The TLVs, or what cannot be read as TLVs.
    fn extensions(self) -> Result<&'a [u8], &'a [u8]> {
        let block = self.block();
        // In an ignored block addresses may stand or not: whichever reading comes out even.
        [self.family.block_len(), 0]
            .iter()
            .filter_map(|from| block.get(*from..))
            .find(|tlvs| self.binds() || tlv::Tlvs::new(tlvs).all(|tlv| tlv.is_ok()))
            .ok_or(block)
    }
}

/// A path of an AF_UNIX block: up to its first NUL; an abstract one begins with `@` instead of NUL.
fn path(block: &[u8]) -> String {
    let abstract_name = block[0] == 0 && block.iter().any(|byte| *byte != 0);
    let name = &block[usize::from(abstract_name)..];
    let end = name
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(name.len());
    let text = name[..end].escape_ascii();
    if abstract_name {
        format!("@{text}")
    } else {
        text.to_string()
    }
}

/// The codec.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProxyV2;

impl Codec for ProxyV2 {
    fn name(&self) -> &str {
        "proxy-v2"
    }

    fn parse(&self, stream: &[u8]) -> Result<Parse, Malformed> {
        match signature(stream, &SIGNATURE) {
            None => return Ok(Parse::NotMine),
            Some(false) => return Ok(Parse::NeedMore),
            Some(true) => {}
        }
        let Some(view) = View::new(stream)? else {
            return Ok(Parse::NeedMore);
        };
        if view.binds() {
            tlv::check(view.header, field::BLOCK + view.family.block_len())?;
        }
        Ok(Parse::Header(Found {
            start: 0,
            len: view.header.len(),
            truth: view.truth(),
        }))
    }

    fn max_len(&self) -> usize {
        MAX_LEN
    }

    fn describe(&self, header: &[u8]) -> Map<String, Value> {
        let Ok(Some(view)) = View::new(header) else {
            return Map::new();
        };
        let mut says = Map::new();
        if view.command == Command::Local {
            says.insert("command".into(), "local".into());
        } else if !view.binds() {
            says.insert("family".into(), "unspec".into());
        }
        if view.binds() && view.transport == Transport::Dgram {
            says.insert("transport".into(), "dgram".into());
        }
        if view.binds() && view.family == Family::Unix {
            let (peer, destination) = view.block()[..2 * UNIX_PATH].split_at(UNIX_PATH);
            says.insert("peer_path".into(), path(peer).into());
            says.insert("destination_path".into(), path(destination).into());
        }
        match view.extensions() {
            Ok(tlvs) => says.extend(tlv::describe(tlvs)),
            Err(block) => {
                says.insert("ignored".into(), hex(block).into());
            }
        }
        says
    }

    fn emit(&self, truth: &Truth) -> Option<Vec<u8>> {
        Builder::proxy(truth)?.finish()
    }
}

/// A header in the making: its fixed part and addresses first, then TLVs in the order of the calls.
#[derive(Clone, Debug)]
pub struct Builder {
    header: Vec<u8>,
    checksum: Option<usize>,
}

impl Builder {
    /// A header with this block, to which TLVs may be added; no rule is applied to the block.
    #[must_use]
    pub fn new(command: Command, family: Family, transport: Transport, block: &[u8]) -> Self {
        let mut header = SIGNATURE.to_vec();
        header.push(0x20 | command as u8);
        header.push((family as u8) << 4 | transport as u8);
        header.extend([0, 0]);
        header.extend(block);
        Builder {
            header,
            checksum: None,
        }
    }

    /// A PROXY header over TCP; `None` where the two addresses are not of one family.
    #[must_use]
    pub fn proxy(truth: &Truth) -> Option<Self> {
        Self::proxy_over(truth, Transport::Stream)
    }

    /// A PROXY header over `transport`; `None` where the two addresses are not of one family.
    #[must_use]
    pub fn proxy_over(truth: &Truth, transport: Transport) -> Option<Self> {
        fn octets(ip: IpAddr) -> Vec<u8> {
            match ip {
                IpAddr::V4(ip) => Ipv4Addr::octets(&ip).to_vec(),
                IpAddr::V6(ip) => Ipv6Addr::octets(&ip).to_vec(),
            }
        }
        let Truth { peer, destination } = truth;
        let family = match (peer, destination) {
            (SocketAddr::V4(_), SocketAddr::V4(_)) => Family::Inet,
            (SocketAddr::V6(_), SocketAddr::V6(_)) => Family::Inet6,
            _ => return None,
        };
        let mut block = octets(peer.ip());
        block.extend(octets(destination.ip()));
        block.extend(peer.port().to_be_bytes());
        block.extend(destination.port().to_be_bytes());
        Some(Self::new(Command::Proxy, family, transport, &block))
    }

    /// A LOCAL header without addresses.
    #[must_use]
    pub fn local() -> Self {
        Self::new(Command::Local, Family::Unspec, Transport::Unspec, &[])
    }

    /// Adds a TLV; a value beyond 65535 bytes makes [`Builder::finish`] give nothing.
    #[must_use]
    pub fn tlv(mut self, kind: u8, value: &[u8]) -> Self {
        tlv::emit(&mut self.header, kind, value);
        self
    }

    /// Adds a CRC32C TLV; its value is computed by [`Builder::finish`].
    #[must_use]
    pub fn crc32c(mut self) -> Self {
        self = self.tlv(tlv::CRC32C, &[0; 4]);
        self.checksum = Some(self.header.len() - 4);
        self
    }

    /// The bytes; `None` where they are more than a header's length can say.
    #[must_use]
    pub fn finish(mut self) -> Option<Vec<u8>> {
        let length = u16::try_from(self.header.len() - field::BLOCK).ok()?;
        self.header[field::LENGTH].copy_from_slice(&length.to_be_bytes());
        if let Some(at) = self.checksum {
            let sum = crc32c::crc32c(&self.header);
            self.header[at..at + 4].copy_from_slice(&sum.to_be_bytes());
        }
        Some(self.header)
    }
}

#[cfg(test)]
#[path = "proxy_v2_tests.rs"]
mod tests;
