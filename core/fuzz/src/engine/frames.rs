//! Frames by hand: what a script's packets look like on the wire, written without the engine's help.

use peeltap_core::engine::Link;

/// The one's complement sum of bytes as 16-bit words (RFC 1071), `start` included.
pub fn fold(start: u32, bytes: &[u8]) -> u16 {
    let mut sum = u64::from(start);
    for pair in bytes.chunks(2) {
        sum += u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The sum of a pseudo-header (RFC 9293 section 3.1, RFC 8200 section 8.1).
pub fn pseudo(src: &[u8], dst: &[u8], protocol: u8, len: usize) -> u32 {
    let ends = u32::from(fold(0, src)) + u32::from(fold(0, dst));
    ends + u32::from(protocol) + (len >> 16) as u32 + (len & 0xffff) as u32
}

/// What a TCP checksum field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sum {
    /// What it should.
    Good,
    /// Something else.
    Bad,
    /// The pseudo-header's sum: the rest was left to a network card.
    Pseudo,
}

/// A TCP segment and the IP header in front of it.
#[derive(Clone, Debug)]
pub struct Packet {
    pub src: Vec<u8>,
    pub dst: Vec<u8>,
    pub ports: (u16, u16),
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub window: u16,
    pub urgent: u16,
    pub options: Vec<u8>,
    pub payload: Vec<u8>,
    pub id: u16,
    /// IPv4 options, or an IPv6 extension header.
    pub extended: bool,
    /// Length fields are 0, as the local stack leaves them in a superframe.
    pub no_length: bool,
    pub sum: Sum,
}

impl Packet {
    /// The TCP segment.
    pub fn tcp(&self) -> Vec<u8> {
        let mut tcp = Vec::with_capacity(60 + self.payload.len());
        tcp.extend(self.ports.0.to_be_bytes());
        tcp.extend(self.ports.1.to_be_bytes());
        tcp.extend(self.seq.to_be_bytes());
        tcp.extend(self.ack.to_be_bytes());
        let words = 5 + self.options.len().div_ceil(4);
        tcp.push((words as u8) << 4);
        tcp.push(self.flags);
        tcp.extend(self.window.to_be_bytes());
        tcp.extend([0, 0]);
        tcp.extend(self.urgent.to_be_bytes());
        tcp.extend(&self.options);
        tcp.resize(words * 4, 0);
        tcp.extend(&self.payload);
        let pseudo = pseudo(&self.src, &self.dst, 6, tcp.len());
        let field = match self.sum {
            Sum::Good => !fold(pseudo, &tcp),
            Sum::Bad => !fold(pseudo, &tcp) ^ 0x1234,
            Sum::Pseudo => fold(pseudo, &[]),
        };
        tcp[16..18].copy_from_slice(&field.to_be_bytes());
        tcp
    }

    /// The whole packet.
    pub fn ip(&self) -> Vec<u8> {
        let tcp = self.tcp();
        let whole = ip(&self.src, &self.dst, 6, self.id, self.extended, None, &tcp);
        if !self.no_length {
            return whole;
        }
        let mut whole = whole;
        if whole[0] >> 4 == 4 {
            whole[2..4].fill(0);
            v4_checksum(&mut whole);
        } else {
            whole[4..6].fill(0);
        }
        whole
    }
}

fn v4_checksum(packet: &mut [u8]) {
    let len = usize::from(packet[0] & 15) * 4;
    packet[10..12].fill(0);
    let field = !fold(0, &packet[..len]);
    packet[10..12].copy_from_slice(&field.to_be_bytes());
}

/// An IP packet; `fragment` is its place: offset in bytes, and whether more follow.
pub fn ip(
    src: &[u8],
    dst: &[u8],
    protocol: u8,
    id: u16,
    extended: bool,
    fragment: Option<(usize, bool)>,
    body: &[u8],
) -> Vec<u8> {
    let place = |(offset, more): (usize, bool)| (offset as u16, more);
    if src.len() == 4 {
        let header = if extended { 24 } else { 20 };
        let word = fragment
            .map(place)
            .map_or(0x4000, |(offset, more)| offset / 8 | u16::from(more) << 13);
        let mut packet = vec![0x40 | header / 4, 0];
        packet.extend((u16::from(header) + body.len() as u16).to_be_bytes());
        packet.extend(id.to_be_bytes());
        packet.extend(word.to_be_bytes());
        packet.extend([64, protocol, 0, 0]);
        packet.extend(src);
        packet.extend(dst);
        // Router alert (RFC 2113).
        packet.extend(&[0x94, 4, 0, 0][..usize::from(header) - 20]);
        v4_checksum(&mut packet);
        packet.extend(body);
        return packet;
    }
    let mut chain: Vec<u8> = Vec::new();
    let mut first = protocol;
    if let Some((offset, more)) = fragment.map(place) {
        chain.extend([protocol, 0]);
        chain.extend((offset | u16::from(more)).to_be_bytes());
        chain.extend(u32::from(id).to_be_bytes());
        first = 44;
    }
    if extended {
        let options = [first, 0, 1, 4, 0, 0, 0, 0];
        chain.splice(0..0, options);
        first = 60;
    }
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(((chain.len() + body.len()) as u16).to_be_bytes());
    packet.extend([first, 64]);
    packet.extend(src);
    packet.extend(dst);
    packet.extend(chain);
    packet.extend(body);
    packet
}

/// An ICMP error from a router (or an end) about the packet `quote`.
pub fn icmp_error(from: &[u8], to: &[u8], quote: &[u8], good: bool) -> Vec<u8> {
    let v6 = from.len() == 16;
    let mut body = vec![if v6 { 1 } else { 3 }, 1, 0, 0, 0, 0, 0, 0];
    body.extend(quote);
    let start = if v6 {
        pseudo(from, to, 58, body.len())
    } else {
        0
    };
    let field = !fold(start, &body) ^ if good { 0 } else { 0x1234 };
    body[2..4].copy_from_slice(&field.to_be_bytes());
    ip(from, to, if v6 { 58 } else { 1 }, 9, false, None, &body)
}

/// A frame around an IP packet. `vlans` stand where the link type has them.
pub fn frame(link: Link, vlans: &[u16], packet: &[u8]) -> Vec<u8> {
    let v6 = packet.first().is_some_and(|first| first >> 4 == 6);
    let ethertype: [u8; 2] = if v6 { [0x86, 0xdd] } else { [8, 0] };
    let mut frame = Vec::with_capacity(packet.len() + 24);
    match link {
        Link::Ethernet => {
            frame.extend([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]);
            for (at, vlan) in vlans.iter().enumerate() {
                frame.extend(if at + 1 < vlans.len() {
                    [0x88, 0xa8]
                } else {
                    [0x81, 0]
                });
                frame.extend(vlan.to_be_bytes());
            }
            frame.extend(ethertype);
        }
        Link::Raw => {}
        Link::Sll => {
            frame.extend([0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0]);
            frame.extend(ethertype);
        }
        Link::Sll2 => {
            frame.extend(ethertype);
            frame.extend([0; 18]);
        }
        Link::Null => frame.extend([if v6 { 24 } else { 2 }, 0, 0, 0]),
    }
    frame.extend(packet);
    frame
}
