//! One walk over a frame: link, IP and TCP, giving the offsets that the engine works with.

use super::ip::{self, protocol, Ip};
use super::{be16, be32, link, tcp, Seq};
use crate::engine::Link;

/// A TCP segment in a frame. All offsets are into the frame and lie within its captured bytes,
/// except `ip.end`, which may lie past them where a snap length cut the payload.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// The IP header.
    pub ip: Ip,
    /// VLAN ids, outermost first, as [`link::tag`] gives them.
    pub vlan: [u16; link::MAX_TAGS],
    /// Offset of the payload.
    pub payload: usize,
}

/// What a frame is to the engine.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A whole TCP segment.
    Tcp(Segment),
    /// A fragment of a datagram that is, or may be, TCP.
    Fragment {
        /// The IP header.
        ip: Ip,
        /// VLAN ids.
        vlan: [u16; link::MAX_TAGS],
    },
    /// An ICMP or ICMPv6 message.
    Icmp {
        /// The IP header.
        ip: Ip,
        /// VLAN ids.
        vlan: [u16; link::MAX_TAGS],
    },
    /// Anything else: nothing that the engine reads.
    Other,
    /// IP or TCP with lengths that lie.
    Malformed,
}

/// Reads a frame.
#[inline(always)]
#[must_use]
pub fn parse(frame: &[u8], link_type: Link) -> Kind {
    let Some(head) = link::parse(frame, link_type) else {
        return Kind::Other;
    };
    let parsed = match head.ethertype {
        link::IPV4 => ip::parse_v4(frame, head.l3),
        _ => ip::parse_v6(frame, head.l3),
    };
    let Some(ip) = parsed else {
        return Kind::Malformed;
    };
    let vlan = head.vlan;
    if ip.is_fragment {
        return match ip.protocol {
            protocol::TCP => Kind::Fragment { ip, vlan },
            // What follows the options is known when the datagram is whole.
            protocol::DESTINATION if ip.v6 => Kind::Fragment { ip, vlan },
            _ => Kind::Other,
        };
    }
    match ip.protocol {
        protocol::TCP => segment(frame, ip, vlan).map_or(Kind::Malformed, Kind::Tcp),
        protocol::ICMP if !ip.v6 => Kind::Icmp { ip, vlan },
        protocol::ICMPV6 if ip.v6 => Kind::Icmp { ip, vlan },
        _ => Kind::Other,
    }
}

/// The TCP segment behind `ip`; `None` if its header is cut or lies.
#[inline(always)]
#[must_use]
pub fn segment(frame: &[u8], ip: Ip, vlan: [u16; link::MAX_TAGS]) -> Option<Segment> {
    let payload = ip.l4 + tcp::header_len(frame, ip.l4)?;
    (payload <= ip.end).then_some(Segment { ip, vlan, payload })
}

impl Segment {
    /// Source port.
    #[inline(always)]
    #[must_use]
    pub fn src_port(&self, frame: &[u8]) -> u16 {
        be16(frame, self.ip.l4 + tcp::SRC_PORT)
    }

    /// Destination port.
    #[inline(always)]
    #[must_use]
    pub fn dst_port(&self, frame: &[u8]) -> u16 {
        be16(frame, self.ip.l4 + tcp::DST_PORT)
    }

    /// Sequence number.
    #[inline(always)]
    #[must_use]
    pub fn seq(&self, frame: &[u8]) -> Seq {
        Seq(be32(frame, self.ip.l4 + tcp::SEQ))
    }

    /// Acknowledgement number.
    #[inline(always)]
    #[must_use]
    pub fn ack(&self, frame: &[u8]) -> Seq {
        Seq(be32(frame, self.ip.l4 + tcp::ACK))
    }

    /// Flags.
    #[inline(always)]
    #[must_use]
    pub fn flags(&self, frame: &[u8]) -> u8 {
        frame[self.ip.l4 + tcp::FLAGS]
    }

    /// Payload length by the IP header, captured or not.
    #[inline(always)]
    #[must_use]
    pub fn payload_len(&self) -> usize {
        self.ip.end - self.payload
    }

    /// The payload's captured bytes.
    #[inline]
    #[must_use]
    pub fn captured<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        &frame[self.payload..self.ip.end.min(frame.len())]
    }

    /// The options.
    #[inline(always)]
    #[must_use]
    pub fn options<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        &frame[self.ip.l4 + tcp::MIN_LEN..self.payload]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn offsets_lie_within_any_frame(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            start in prop_oneof![Just(0x45u8), Just(0x60), any::<u8>()],
            link in prop_oneof![
                Just(Link::Ethernet), Just(Link::Raw), Just(Link::Sll), Just(Link::Sll2), Just(Link::Null)
            ],
        ) {
            let mut frame = bytes;
            if let Some(first) = frame.first_mut() {
                *first = start;
            }
            if let Kind::Tcp(segment) = parse(&frame, link) {
                assert!(segment.ip.l3 < segment.ip.l4 && segment.ip.l4 < segment.payload);
                assert!(segment.payload <= frame.len() && segment.payload <= segment.ip.end);
                let _ = segment.captured(&frame);
            }
        }
    }
}
