//! ICMP errors that quote a tracked packet (RFC 792, RFC 4443): the quoted TCP header is mapped too.

use crate::connection::{fact, Connection};
use crate::tracker::Key;
use crate::wire::checksum::{self, sum, Sum};
use crate::wire::ip::{self, protocol, Ip};
use crate::wire::tcp::{self, flag};
use crate::wire::{be16, be32, put16, put32, Seq};

use super::restore::{write_addresses, Ends};

/// A quoted TCP packet in an ICMP error.
#[derive(Clone, Copy, Debug)]
pub struct Quote {
    /// The quoted packet's IP header.
    pub ip: Ip,
    /// Its source and destination port.
    pub ports: (u16, u16),
}

/// The ICMP header in front of the quote.
const HEADER: usize = 8;

/// Finds the quote of an ICMP error about a TCP packet. The quote may be cut: eight bytes of TCP are
/// enough.
#[must_use]
pub fn quote(frame: &[u8], outer: &Ip) -> Option<Quote> {
    let kind = *frame.get(outer.l4)?;
    let is_error = if outer.v6 {
        matches!(kind, 1..=4)
    } else {
        matches!(kind, 3 | 4 | 5 | 11 | 12)
    };
    if !is_error {
        return None;
    }
    let at = outer.l4 + HEADER;
    let quoted = frame.get(..outer.end.min(frame.len()))?;
    let ip = if outer.v6 {
        ip::parse_v6(quoted, at)
    } else {
        ip::parse_v4(quoted, at)
    }?;
    if ip.protocol != protocol::TCP || ip.is_fragment || quoted.len() < ip.l4 + 8 {
        return None;
    }
    Some(Quote {
        ip,
        ports: (be16(frame, ip.l4), be16(frame, ip.l4 + 2)),
    })
}

impl Quote {
    /// The key of the quoted packet's connection, and whether its source is the lower end.
    #[must_use]
    pub fn key(&self, frame: &[u8], vlan: [u16; 2]) -> (Key, bool) {
        let (src, dst) = self.ip.addresses(frame);
        Key::new((src, self.ports.0), (dst, self.ports.1), vlan, self.ip.v6)
    }
}

/// Maps the quoted header, and cuts quoted header bytes off. `to_server` is the quoted packet's
/// direction. Returns the frame's new end.
///
/// With `ends` (restore), the true addresses go into the quote, and into the outer header where it
/// names one of the connection's observed ends. The caller made sure that IP versions are equal.
pub fn map(
    connection: &Connection,
    to_server: bool,
    quote: &Quote,
    outer: &Ip,
    frame: &mut [u8],
    ends: Option<&Ends>,
) -> usize {
    let mut outer = *outer;
    let end = outer.end.min(frame.len());
    // A checksum that was wrong stays wrong: what it says is kept as a difference.
    let covered_before = covered(&outer, frame, end);
    let l4 = quote.ip.l4;

    // 1. Sequence and acknowledgement numbers, as in the packet itself.
    let mut new_end = end;
    if to_server {
        let offset = connection.offset(Seq(be32(frame, l4 + tcp::SEQ)));
        let far = connection.is(fact::FAR_PAST);
        let mapped = if far {
            offset - i64::from(connection.removed)
        } else {
            connection.map(offset)
        };
        put32(frame, l4 + tcp::SEQ, connection.seq(mapped).0);
        if !far && offset < i64::from(connection.boundary()) {
            // What is quoted of the payload may be the header: only the TCP header stays.
            let header = tcp::header_len(&frame[..end], l4).unwrap_or(end - l4);
            new_end = new_end.min(l4 + header);
        }
    } else if end > l4 + tcp::FLAGS && frame[l4 + tcp::FLAGS] & flag::ACK != 0 {
        let offset = connection.offset(Seq(be32(frame, l4 + tcp::ACK)));
        put32(
            frame,
            l4 + tcp::ACK,
            connection.seq(connection.map(offset)).0,
        );
    }

    // 2. True addresses.
    if let Some(ends) = ends {
        let observed = quote.ip.addresses(frame);
        write_addresses(ends, &quote.ip, frame);
        put16(frame, l4 + tcp::SRC_PORT, ends.src_port);
        put16(frame, l4 + tcp::DST_PORT, ends.dst_port);
        let now = outer.addresses(frame);
        let swap = |address: [u8; 16]| {
            if address == observed.0 {
                ends.src
            } else if address == observed.1 {
                ends.dst
            } else {
                address
            }
        };
        let outer_ends = Ends {
            src: swap(now.0),
            dst: swap(now.1),
            src_port: 0,
            dst_port: 0,
        };
        write_addresses(&outer_ends, &outer, frame);
    }

    // 3. Lengths and the ICMP checksum.
    if new_end < end {
        outer.end -= end - new_end;
        outer.write_length(frame);
    }
    let at = outer.l4 + 2;
    let delta = covered(&outer, frame, new_end) - covered_before;
    let field = be16(frame, at);
    put16(frame, at, checksum::update(field, delta));
    new_end
}

/// The sum of what the ICMP checksum covers, its own field left out; ICMPv6 has a pseudo-header
/// (RFC 4443 section 2.3).
fn covered(outer: &Ip, frame: &[u8], end: usize) -> Sum {
    let body = sum(&frame[outer.l4..end]).sub16(be16(frame, outer.l4 + 2));
    if outer.v6 {
        let len = (outer.end - outer.l4) as u32;
        (body + outer.address_sum(frame))
            .add16(u16::from(protocol::ICMPV6))
            .add32(len)
    } else {
        body
    }
}
