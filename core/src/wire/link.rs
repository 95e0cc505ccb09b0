//! What stands in front of the IP header: Ethernet II with VLAN tags (IEEE 802.1Q), Linux cooked
//! capture v1 and v2, BSD loopback, or nothing.

use super::{be16, put16};
use crate::engine::Link;

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;

/// VLAN tag protocol ids: 802.1Q, 802.1ad, and the pre-standard QinQ value.
const VLAN_TPIDS: [u16; 3] = [0x8100, 0x88a8, 0x9100];

/// The most VLAN tags that are part of a connection's key.
pub const MAX_TAGS: usize = 2;

/// What the link header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkHeader {
    /// Offset of the network header.
    pub l3: usize,
    /// Its EtherType.
    pub ethertype: u16,
    /// VLAN ids, outermost first; see [`tag`].
    pub vlan: [u16; MAX_TAGS],
}

/// How a VLAN id stands in a key: bit 12 says that there is a tag at all, so that "priority tagged,
/// id 0" and "untagged" stay apart.
#[inline]
#[must_use]
pub fn tag(vid: u16) -> u16 {
    0x1000 | (vid & 0x0fff)
}

/// Reads the link header; `None` where the frame is too short, or carries something that is neither
/// tagged nor untagged IP (more than two tags, 802.3 frames, other protocols).
#[inline(always)]
#[must_use]
pub fn parse(frame: &[u8], link: Link) -> Option<LinkHeader> {
    let untagged = |l3, ethertype| LinkHeader {
        l3,
        ethertype,
        vlan: [0; MAX_TAGS],
    };
    match link {
        Link::Ethernet => {
            if frame.len() < 14 {
                return None;
            }
            let ethertype = be16(frame, 12);
            if ethertype == IPV4 || ethertype == IPV6 {
                return Some(untagged(14, ethertype));
            }
            tags(frame, 12)
        }
        Link::Raw => match frame.first()? >> 4 {
            4 => Some(untagged(0, IPV4)),
            6 => Some(untagged(0, IPV6)),
            _ => None,
        },
        Link::Sll => {
            if frame.len() < 16 {
                return None;
            }
            tags(frame, 14)
        }
        Link::Sll2 => {
            if frame.len() < 20 {
                return None;
            }
            let ethertype = be16(frame, 0);
            (ethertype == IPV4 || ethertype == IPV6).then(|| untagged(20, ethertype))
        }
        Link::Null => {
            if frame.len() < 4 {
                return None;
            }
            // The address family is in the byte order of the machine that captured; all known
            // values fit in one byte.
            let family = match frame[..4] {
                [family, 0, 0, 0] | [0, 0, 0, family] => family,
                _ => return None,
            };
            match family {
                2 => Some(untagged(4, IPV4)),
                10 | 24 | 28 | 30 => Some(untagged(4, IPV6)),
                _ => None,
            }
        }
    }
}

/// Walks VLAN tags from the EtherType at `at`.
#[cold]
fn tags(frame: &[u8], mut at: usize) -> Option<LinkHeader> {
    let mut vlan = [0; MAX_TAGS];
    let mut count = 0;
    loop {
        if frame.len() < at + 2 {
            return None;
        }
        let ethertype = be16(frame, at);
        if ethertype == IPV4 || ethertype == IPV6 {
            return Some(LinkHeader {
                l3: at + 2,
                ethertype,
                vlan,
            });
        }
        if !VLAN_TPIDS.contains(&ethertype) || count == MAX_TAGS || frame.len() < at + 4 {
            return None;
        }
        vlan[count] = tag(be16(frame, at + 2));
        count += 1;
        at += 4;
    }
}

/// Rewrites the protocol of a link header of `l3` bytes for a packet that changes its IP version.
pub fn set_ip_version(header: &mut [u8], link: Link, v6: bool) {
    let ethertype = if v6 { IPV6 } else { IPV4 };
    match link {
        Link::Ethernet | Link::Sll => {
            let at = header.len() - 2;
            put16(header, at, ethertype);
        }
        Link::Sll2 => put16(header, 0, ethertype),
        Link::Null => {
            // 24 is AF_INET6 of NetBSD and OpenBSD; readers accept all systems' values.
            let family = if v6 { 24 } else { 2 };
            let at = if header[0] == 0 { 3 } else { 0 };
            header[at] = family;
        }
        Link::Raw => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_network_header() {
        let eth = |rest: &[u8]| [&[0u8; 12][..], rest].concat();
        type Row = (&'static str, Link, Vec<u8>, Option<(usize, u16, [u16; 2])>);
        let table: &[Row] = &[
            (
                "ethernet v4",
                Link::Ethernet,
                eth(&[8, 0]),
                Some((14, IPV4, [0, 0])),
            ),
            (
                "ethernet v6",
                Link::Ethernet,
                eth(&[0x86, 0xdd]),
                Some((14, IPV6, [0, 0])),
            ),
            ("arp", Link::Ethernet, eth(&[8, 6]), None),
            ("802.3", Link::Ethernet, eth(&[0, 60]), None),
            ("short", Link::Ethernet, vec![0; 13], None),
            (
                "802.1Q",
                Link::Ethernet,
                eth(&[0x81, 0, 0x20, 7, 8, 0]),
                Some((18, IPV4, [0x1007, 0])),
            ),
            (
                "priority tag",
                Link::Ethernet,
                eth(&[0x81, 0, 0x20, 0, 8, 0]),
                Some((18, IPV4, [0x1000, 0])),
            ),
            (
                "QinQ",
                Link::Ethernet,
                eth(&[0x88, 0xa8, 0, 9, 0x81, 0, 0, 7, 0x86, 0xdd]),
                Some((22, IPV6, [0x1009, 0x1007])),
            ),
            (
                "three tags",
                Link::Ethernet,
                eth(&[0x88, 0xa8, 0, 9, 0x81, 0, 0, 7, 0x81, 0, 0, 7, 8, 0]),
                None,
            ),
            ("cut in a tag", Link::Ethernet, eth(&[0x81, 0, 0x20]), None),
            ("raw v4", Link::Raw, vec![0x45], Some((0, IPV4, [0, 0]))),
            ("raw v6", Link::Raw, vec![0x60], Some((0, IPV6, [0, 0]))),
            ("raw other", Link::Raw, vec![0x10], None),
            ("raw empty", Link::Raw, vec![], None),
            (
                "sll",
                Link::Sll,
                [&[0u8; 14][..], &[8, 0]].concat(),
                Some((16, IPV4, [0, 0])),
            ),
            (
                "sll2",
                Link::Sll2,
                [&[8, 0][..], &[0; 18]].concat(),
                Some((20, IPV4, [0, 0])),
            ),
            (
                "null little",
                Link::Null,
                vec![2, 0, 0, 0],
                Some((4, IPV4, [0, 0])),
            ),
            (
                "null big",
                Link::Null,
                vec![0, 0, 0, 30],
                Some((4, IPV6, [0, 0])),
            ),
            ("null other", Link::Null, vec![1, 2, 3, 4], None),
        ];
        for (name, link, frame, wanted) in table {
            let found = parse(frame, *link).map(|h| (h.l3, h.ethertype, h.vlan));
            assert_eq!(found, *wanted, "{name}");
        }
    }

    #[test]
    fn changes_the_ip_version_in_place() {
        let tagged = [&[0u8; 12][..], &[0x81, 0, 0, 7, 8, 0]].concat();
        for (link, header) in [
            (Link::Ethernet, tagged),
            (Link::Sll, [&[0u8; 14][..], &[8, 0]].concat()),
            (Link::Sll2, [&[8u8, 0][..], &[0; 18]].concat()),
            (Link::Null, vec![2, 0, 0, 0]),
            (Link::Null, vec![0, 0, 0, 2]),
        ] {
            let mut changed = header.clone();
            set_ip_version(&mut changed, link, true);
            assert_eq!(
                parse(&changed, link).map(|h| h.ethertype),
                Some(IPV6),
                "{link:?}"
            );
            set_ip_version(&mut changed, link, false);
            assert_eq!(changed, header, "{link:?}");
        }
    }
}
