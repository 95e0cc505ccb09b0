//! Wire formats: whatever a frame holds, offsets lie in it and in their order, walkers end, and what
//! is written can be read again.

use peeltap_core::engine::Link;
use peeltap_core::wire::checksum::{self, sum, Sum};
use peeltap_core::wire::ip::{self, v4, Ip};
use peeltap_core::wire::packet::{self, Kind, Segment};
use peeltap_core::wire::{be16, link, put16, tcp, Seq};

/// Every link type, as scripts number them.
pub const LINKS: [Link; 5] = [Link::Ethernet, Link::Raw, Link::Sll, Link::Sll2, Link::Null];

/// A link type's number, and a frame.
pub fn wire(data: &[u8]) {
    let Some((number, frame)) = data.split_first() else {
        return;
    };
    let link_type = LINKS[usize::from(*number) % LINKS.len()];
    sums(frame);
    tcp_options(frame);
    // The walkers stand on any offset: an ICMP error quotes a packet in the middle of a frame.
    for l3 in [0, 4, 28] {
        for ip in [ip::parse_v4(frame, l3), ip::parse_v6(frame, l3)] {
            ip.iter().for_each(|ip| datagram(frame, l3, ip));
        }
    }

    let kind = packet::parse(frame, link_type);
    let head = link::parse(frame, link_type);
    match (&kind, head) {
        (Kind::Other, None) => {}
        (_, Some(head)) => {
            assert!(head.l3 <= frame.len());
            if head.l3 > 0 {
                link_header(&frame[..head.l3], link_type, &head);
            }
        }
        (kind, None) => panic!("{kind:?} without a link header"),
    }
    match kind {
        Kind::Tcp(found) => segment(frame, &found),
        Kind::Fragment { ip, .. } => {
            assert!(ip.is_fragment);
            datagram(frame, ip.l3, &ip);
        }
        Kind::Icmp { ip, .. } => datagram(frame, ip.l3, &ip),
        Kind::Other | Kind::Malformed => {}
    }
}

/// What an IP header says of a packet.
fn datagram(frame: &[u8], l3: usize, ip: &Ip) {
    let (least, unit) = if ip.v6 { (40, 8) } else { (20, 4) };
    let len = ip.l4 - ip.l3;
    assert!(ip.l3 == l3 && len >= least && (len - least).is_multiple_of(unit));
    assert!(ip.l4 <= frame.len() && ip.l4 <= ip.end);
    let (src, dst) = ip.addresses(frame);
    assert!(ip.v6 || (ip::is_mapped(&src) && ip::is_mapped(&dst)));
    let _ = ip.pseudo_sum(frame);

    // Its own length written anew is the same packet, and keeps a header's checksum as good as it was.
    let mut again = frame.to_vec();
    ip.write_length(&mut again);
    let reread = if ip.v6 {
        ip::parse_v6(&again, l3)
    } else {
        ip::parse_v4(&again, l3)
    };
    assert_eq!(reread.as_ref(), Some(ip));
    if !ip.v6 {
        let fold = |frame: &[u8]| sum(&frame[l3..ip.l4]).fold();
        let (valid, before) = (0xffff, fold(frame));
        assert_eq!(before == valid, fold(&again) == valid);
        ip::set16(&mut again, l3, v4::ID, !be16(frame, l3 + v4::ID));
        assert_eq!(before == valid, fold(&again) == valid);
    }
}

fn segment(frame: &[u8], found: &Segment) {
    let ip = &found.ip;
    datagram(frame, ip.l3, ip);
    assert!(!ip.is_fragment);
    let header = found.payload - ip.l4;
    assert!((20..=60).contains(&header) && header.is_multiple_of(4));
    assert!(found.payload <= frame.len() && found.payload <= ip.end);
    assert_eq!(found.payload_len(), ip.end - found.payload);
    assert!(found.captured(frame).len() <= found.payload_len());
    assert_eq!(found.options(frame).len(), header - 20);
    let _ = (found.src_port(frame), found.dst_port(frame));
    let (seq, ack) = (found.seq(frame), found.ack(frame));
    let distance = seq.past(ack);
    assert_eq!(ack.plus(distance as u32), seq);
    assert_eq!(seq.minus(distance as u32), ack);
    assert!(seq.after(ack) == (distance > 0) && Seq(seq.0) == seq);
    let _ = found.flags(frame);
    tcp_options(found.options(frame));
}

/// Options are walked in order and never past the end, and the segment size is one of them.
fn tcp_options(options: &[u8]) {
    let mut last = 0;
    let mut mss = None;
    tcp::each_option(options, |kind, start, end| {
        assert!(last <= start && start + 2 <= end && end <= options.len());
        assert!(kind == options[start] && usize::from(options[start + 1]) == end - start);
        assert!(options[last..start].iter().all(|byte| *byte == 1), "NOPs");
        if kind == 2 && end - start == 4 {
            mss = Some(be16(options, start + 2));
        }
        last = end;
    });
    assert_eq!(tcp::mss(options), mss);
    let _ = tcp::only_timestamp(options);
    for l4 in [0, options.len() / 2] {
        if let Some(len) = tcp::header_len(options, l4) {
            assert!((20..=60).contains(&len) && l4 + len <= options.len());
        }
    }
}

/// A link header changed to the other IP version and back.
fn link_header(header: &[u8], link_type: Link, head: &link::LinkHeader) {
    let mut changed = header.to_vec();
    for ethertype in [link::IPV6, link::IPV4, head.ethertype] {
        link::set_ip_version(&mut changed, link_type, ethertype == link::IPV6);
        let wanted = link::LinkHeader { ethertype, ..*head };
        assert_eq!(link::parse(&changed, link_type), Some(wanted));
    }
}

/// The Internet checksum: slow and fast agree, parts add up at any cut, and an update is a new sum.
fn sums(bytes: &[u8]) {
    let mut slow = 0u32;
    for pair in bytes.chunks(2) {
        slow += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        slow = (slow & 0xffff) + (slow >> 16);
    }
    assert_eq!(u32::from(sum(bytes).fold()), slow);
    let cut = bytes.first().map_or(0, |first| usize::from(*first)) % (bytes.len() + 1);
    let (front, back) = bytes.split_at(cut);
    let back = match cut % 2 {
        0 => sum(back),
        _ => sum(back).swapped(),
    };
    // 0 and 0xffff are one number.
    let same = |a: u16, b: u16| a % 0xffff == b % 0xffff;
    assert!(same((sum(front) + back).fold(), slow as u16));
    assert!(same((sum(bytes) - back).fold(), sum(front).fold()));
    if bytes.len() >= 4 {
        let mut changed = bytes.to_vec();
        put16(&mut changed, 2, !be16(bytes, 2));
        let delta = Sum::ZERO.sub16(be16(bytes, 2)).add16(be16(&changed, 2));
        let updated = checksum::update(sum(bytes).field(), delta);
        assert!(same(updated, sum(&changed).field()));
    }
}
