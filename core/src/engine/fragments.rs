//! IP fragments of the legs, put together before TCP is read (RFC 791 section 3.2, RFC 8200 section
//! 4.5). Bounded in fragments and time; what does not come together is let go as it came.

use std::collections::{HashMap, VecDeque};

use crate::connection::Ranges;
use crate::wire::be16;
use crate::wire::ip::{set16, v4, Fragment, Ip, FRAGMENT_HEADER};
#[cfg(test)]
use crate::wire::put16;

use super::{Meta, Nanos};

/// What tells datagrams apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Datagram {
    src: [u8; 16],
    dst: [u8; 16],
    id: u32,
    vlan: [u16; 2],
    v6: bool,
}

/// A fragment that waits for the rest of its datagram.
pub struct Waiting {
    /// The slot under which it came in.
    pub slot: u64,
    /// What is known of it.
    pub meta: Meta,
    /// Its bytes.
    pub frame: Box<[u8]>,
    ip: Ip,
    place: Fragment,
}

struct Pending {
    since: Nanos,
    stamp: u64,
    parts: Vec<Waiting>,
    /// What of the datagram is there.
    filled: Ranges,
    /// Its length, when its last fragment is there.
    total: Option<usize>,
}

/// What a fragment led to.
pub enum Joined {
    /// The datagram is not whole yet.
    Waits,
    /// The datagram, as one frame, and the fragments it was made of, the last one among them.
    Whole(Vec<u8>, Vec<Waiting>),
    /// These cannot come together: to be passed on as they came.
    Hopeless(Vec<Waiting>),
}

/// The largest datagram (RFC 791 section 3.1; an IPv6 payload without the jumbo option).
const MAX_DATAGRAM: usize = 65_535;

/// The most fragments that one datagram may have: 65,535 bytes in pieces for the smallest MTU in use
/// (576) are 119.
const MAX_PARTS: usize = 128;

/// All datagrams that wait.
#[derive(Default)]
pub struct Fragments {
    pending: HashMap<Datagram, Pending>,
    /// In the order in which they began.
    order: VecDeque<(Datagram, u64)>,
    count: usize,
    stamp: u64,
    /// Fragments that overlap others, since the last call of `take_overlaps`.
    overlaps: u64,
}

impl Fragments {
    /// How many fragments wait.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Overlaps seen since the last call.
    pub fn take_overlaps(&mut self) -> u64 {
        std::mem::take(&mut self.overlaps)
    }

    /// Adds a fragment. `ip.is_fragment` holds.
    pub fn push(
        &mut self,
        slot: u64,
        now: Nanos,
        meta: &Meta,
        frame: &[u8],
        ip: &Ip,
        vlan: [u16; 2],
    ) -> Joined {
        let Some(place) = ip.fragment(frame) else {
            return Joined::Waits;
        };
        let (src, dst) = ip.addresses(frame);
        let key = Datagram {
            src,
            dst,
            id: place.id,
            vlan,
            v6: ip.v6,
        };
        let part = Waiting {
            slot,
            meta: *meta,
            frame: frame.into(),
            ip: *ip,
            place,
        };
        let len = ip.end.min(frame.len()) - ip.l4;
        let lies = frame.len() < ip.end
            || (place.more && (len == 0 || !len.is_multiple_of(8)))
            || place.offset as usize + len > MAX_DATAGRAM;

        self.stamp += 1;
        let stamp = self.stamp;
        if self.order.len() > 2 * self.pending.len() + 1024 {
            let pending = &self.pending;
            self.order
                .retain(|(key, stamp)| pending.get(key).is_some_and(|p| p.stamp == *stamp));
        }
        let order = &mut self.order;
        let pending = self.pending.entry(key).or_insert_with(|| {
            order.push_back((key, stamp));
            Pending {
                since: now,
                stamp,
                parts: Vec::new(),
                filled: Ranges::default(),
                total: None,
            }
        });
        let begin = place.offset as usize;
        pending.parts.push(part);
        pending.filled.add(begin, begin + len);
        if !place.more && pending.total.is_none() {
            pending.total = Some(begin + len);
        }
        self.count += 1;
        if lies || pending.parts.len() > MAX_PARTS {
            return Joined::Hopeless(self.take(&key));
        }
        if pending
            .total
            .is_none_or(|total| pending.filled.prefix() < total)
        {
            return Joined::Waits;
        }
        match join(&pending.parts, &mut self.overlaps) {
            None => Joined::Hopeless(self.take(&key)),
            Some(whole) => Joined::Whole(whole, self.take(&key)),
        }
    }

    fn take(&mut self, key: &Datagram) -> Vec<Waiting> {
        let parts = self
            .pending
            .remove(key)
            .map(|pending| pending.parts)
            .unwrap_or_default();
        self.count -= parts.len();
        parts
    }

    /// Takes out a datagram that waits since before `since`, or the oldest of all if more than
    /// `capacity` fragments wait. To be called until it gives nothing.
    pub fn expire(&mut self, since: Nanos, capacity: usize) -> Option<Vec<Waiting>> {
        while let Some((key, stamp)) = self.order.front() {
            match self.pending.get(key) {
                Some(pending) if pending.stamp == *stamp => {
                    if pending.since >= since && self.count <= capacity {
                        return None;
                    }
                    let key = *key;
                    self.order.pop_front();
                    return Some(self.take(&key));
                }
                _ => {
                    self.order.pop_front();
                }
            }
        }
        None
    }
}

/// The datagram, if the parts cover all of it. The first copy of a byte wins.
fn join(parts: &[Waiting], overlaps: &mut u64) -> Option<Vec<u8>> {
    let last = parts.iter().find(|part| !part.place.more)?;
    let first = parts.iter().find(|part| part.place.offset == 0)?;
    let data_len = |part: &Waiting| part.ip.end - part.ip.l4;
    let total = last.place.offset as usize + data_len(last);

    let header_end = first.ip.l4 - if first.ip.v6 { FRAGMENT_HEADER } else { 0 };
    let mut whole = first.frame[..header_end].to_vec();
    let body = whole.len();
    whole.resize(body + total, 0);
    let mut filled = vec![false; total];
    let mut overlapping = 0;
    for part in parts {
        let data = &part.frame[part.ip.l4..part.ip.end];
        let mut overlapped = false;
        for (at, byte) in (part.place.offset as usize..total).zip(data) {
            if filled[at] {
                overlapped = true;
                continue;
            }
            filled[at] = true;
            whole[body + at] = *byte;
        }
        overlapping += u64::from(overlapped);
    }
    if filled.contains(&false) {
        return None;
    }
    *overlaps += overlapping;

    let mut ip = first.ip;
    ip.l4 = header_end;
    ip.end = body + total;
    if ip.v6 {
        whole[first.place.named_at] = first.ip.protocol;
        if ip.end - ip.l3 - 40 > MAX_DATAGRAM {
            return None;
        }
        ip.write_length(&mut whole);
    } else {
        if ip.end - ip.l3 > MAX_DATAGRAM {
            return None;
        }
        let flags = be16(&whole, ip.l3 + v4::FRAGMENT) & v4::DONT_FRAGMENT;
        set16(&mut whole, ip.l3, v4::FRAGMENT, flags);
        ip.write_length(&mut whole);
    }
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::super::{Checksum, Link};
    use super::*;
    use crate::wire::checksum::sum;
    use crate::wire::packet::{parse, Kind};

    const META: Meta = Meta {
        ts: 0,
        orig_len: 0,
        link: Link::Raw,
        checksum: Checksum::Unknown,
        gso_size: 0,
    };

    fn v4_fragment(offset: usize, more: bool, data: &[u8]) -> Vec<u8> {
        let mut frame = vec![
            0x45, 0, 0, 0, 0, 7, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        ];
        put16(&mut frame, 2, (20 + data.len()) as u16);
        put16(
            &mut frame,
            6,
            (offset / 8) as u16 | if more { v4::MORE_FRAGMENTS } else { 0 },
        );
        let field = sum(&frame).field();
        put16(&mut frame, 10, field);
        frame.extend(data);
        frame
    }

    fn push(fragments: &mut Fragments, slot: u64, frame: &[u8]) -> Joined {
        let Kind::Fragment { ip, vlan } = parse(frame, Link::Raw) else {
            panic!("not a fragment")
        };
        fragments.push(slot, META.ts, &META, frame, &ip, vlan)
    }

    #[test]
    fn parts_in_any_order_make_the_datagram() {
        let data: Vec<u8> = (0..60).collect();
        let parts = [
            v4_fragment(0, true, &data[..24]),
            v4_fragment(24, true, &data[24..48]),
            v4_fragment(48, false, &data[48..]),
        ];
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let mut fragments = Fragments::default();
            assert!(matches!(
                push(&mut fragments, 0, &parts[order[0]]),
                Joined::Waits
            ));
            assert!(matches!(
                push(&mut fragments, 1, &parts[order[1]]),
                Joined::Waits
            ));
            let Joined::Whole(whole, used) = push(&mut fragments, 2, &parts[order[2]]) else {
                panic!("not whole");
            };
            assert_eq!(
                (&whole[20..], used.len(), fragments.len()),
                (&data[..], 3, 0)
            );
            assert_eq!(sum(&whole[..20]).fold(), 0xffff, "IPv4 header checksum");
            assert_eq!(be16(&whole, 2), 80);
        }
    }

    #[test]
    fn what_cannot_come_together_is_let_go() {
        let mut fragments = Fragments::default();
        let odd = v4_fragment(0, true, &[0; 7]);
        assert!(
            matches!(push(&mut fragments, 0, &odd), Joined::Hopeless(parts) if parts.len() == 1)
        );
        push(&mut fragments, 1, &v4_fragment(8, true, &[0; 8]));
        assert!(
            fragments.expire(0, 10).is_none(),
            "neither old nor too many"
        );
        assert_eq!(
            fragments.expire(1, 10).map(|parts| parts.len()),
            Some(1),
            "old"
        );
        push(&mut fragments, 2, &v4_fragment(8, true, &[0; 8]));
        assert_eq!(
            fragments.expire(0, 0).map(|parts| parts.len()),
            Some(1),
            "too many"
        );
        assert_eq!(fragments.len(), 0);
    }
}
