//! The true addresses and ports, written into a packet.

use crate::connection::Connection;
use crate::wire::checksum::{self, Sum};
use crate::wire::ip::{is_mapped, v4, v6, Ip};
use crate::wire::packet::Segment;
use crate::wire::tcp;
use crate::wire::{be16, be32, link, put16, put32};

use super::{Checksum, Meta};

/// Source and destination of one packet: addresses (IPv4 mapped) and ports.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// Source address.
    pub src: [u8; 16],
    /// Source port.
    pub src_port: u16,
    /// Destination address.
    pub dst: [u8; 16],
    /// Destination port.
    pub dst_port: u16,
}

impl Ends {
    /// What a packet of this connection has to carry; `None` if its header named no addresses.
    #[must_use]
    pub fn of(connection: &Connection, to_server: bool) -> Option<Ends> {
        let (peer, peer_port, destination, port) = connection.truth()?;
        Some(if to_server {
            Ends {
                src: peer,
                src_port: peer_port,
                dst: destination,
                dst_port: port,
            }
        } else {
            Ends {
                src: destination,
                src_port: port,
                dst: peer,
                dst_port: peer_port,
            }
        })
    }

    /// Whether they need an IPv6 header.
    #[must_use]
    pub fn is_v6(&self) -> bool {
        !(is_mapped(&self.src) && is_mapped(&self.dst))
    }
}

/// Writes addresses and ports in place. The packet's IP version must be that of `ends`.
pub fn rewrite(ends: &Ends, segment: &Segment, frame: &mut [u8], meta: &Meta) {
    let before = segment.ip.address_sum(frame);
    write_addresses(ends, &segment.ip, frame);
    let addresses = segment.ip.address_sum(frame) - before;
    write_ports(ends, segment.ip.l4, frame, meta, addresses);
}

/// Writes the addresses; an IPv4 header's checksum is corrected.
pub fn write_addresses(ends: &Ends, ip: &Ip, frame: &mut [u8]) {
    if ip.v6 {
        frame[ip.l3 + v6::SRC..][..16].copy_from_slice(&ends.src);
        frame[ip.l3 + v6::DST..][..16].copy_from_slice(&ends.dst);
        return;
    }
    let before = ip.address_sum(frame);
    frame[ip.l3 + v4::SRC..][..4].copy_from_slice(&ends.src[12..]);
    frame[ip.l3 + v4::DST..][..4].copy_from_slice(&ends.dst[12..]);
    let delta = ip.address_sum(frame) - before;
    let field = be16(frame, ip.l3 + v4::CHECKSUM);
    put16(frame, ip.l3 + v4::CHECKSUM, checksum::update(field, delta));
}

/// Writes the ports and corrects the TCP checksum for them and for `pseudo`, the pseudo-header's
/// change. A partial checksum covers the pseudo-header only.
fn write_ports(ends: &Ends, l4: usize, frame: &mut [u8], meta: &Meta, pseudo: Sum) {
    let ports = u32::from(ends.src_port) << 16 | u32::from(ends.dst_port);
    let delta = pseudo.sub32(be32(frame, l4 + tcp::SRC_PORT)).add32(ports);
    put32(frame, l4 + tcp::SRC_PORT, ports);
    let at = l4 + tcp::CHECKSUM;
    let field = be16(frame, at);
    let corrected = match meta.checksum {
        Checksum::Partial => pseudo.add16(field).fold(),
        Checksum::Unknown | Checksum::Whole => checksum::update(field, delta),
    };
    put16(frame, at, corrected);
}

/// The same packet with an IP header of the other version: an IPv6 peer behind an IPv4 leg, or the
/// reverse. Extension headers and options of the old header do not carry over. Returns the new frame
/// and its segment.
#[must_use]
pub fn rebuild(ends: &Ends, segment: &Segment, frame: &[u8], meta: &Meta) -> (Vec<u8>, Segment) {
    let old = &segment.ip;
    let v6 = ends.is_v6();
    let ip_len = if v6 { v6::LEN } else { v4::MIN_LEN };
    let end = old.end.min(frame.len());
    let mut new = Vec::with_capacity(old.l3 + ip_len + end - old.l4);
    new.extend_from_slice(&frame[..old.l3]);
    link::set_ip_version(&mut new, meta.link, v6);
    new.resize(old.l3 + ip_len, 0);
    new.extend_from_slice(&frame[old.l4..end]);

    let l4 = old.l3 + ip_len;
    let tcp_len = old.end - old.l4;
    let ip = Ip {
        v6,
        l3: old.l3,
        l4,
        end: l4 + tcp_len,
        ..*old
    };
    let header = &mut new[old.l3..l4];
    if v6 {
        let class = u32::from(frame[old.l3 + v4::TOS]);
        put32(header, 0, 6 << 28 | class << 20);
        header[v6::NEXT_HEADER] = old.protocol;
        header[v6::HOP_LIMIT] = frame[old.l3 + v4::TTL];
    } else {
        header[0] = 0x45;
        header[v4::TOS] = (be16(frame, old.l3) >> 4) as u8;
        // Atomic datagrams need no identification (RFC 6864 section 4.1).
        put16(header, v4::FRAGMENT, v4::DONT_FRAGMENT);
        header[v4::TTL] = frame[old.l3 + v6::HOP_LIMIT];
        header[v4::PROTOCOL] = old.protocol;
        put16(header, v4::CHECKSUM, checksum::sum(header).field());
    }
    ip.write_length(&mut new);
    write_addresses(ends, &ip, &mut new);
    let pseudo = ip.address_sum(&new) - old.address_sum(frame);
    write_ports(ends, l4, &mut new, meta, pseudo);
    let segment = Segment {
        ip,
        vlan: segment.vlan,
        payload: segment.payload - old.l4 + l4,
    };
    (new, segment)
}
