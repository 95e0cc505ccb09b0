//! What has to hold of every packet that leaves, and of every one that does not.

use std::collections::HashMap;

use peeltap_core::engine::{Checksum, Fate, Meta, Output};
use peeltap_core::wire::ip::{mapped, Ip};
use peeltap_core::wire::packet::{parse, Kind, Segment};

use super::frames::{fold, pseudo};
use super::script::{Input, Script};
use super::setting::{Tuple, STRANGER, TUPLES};

const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// What became of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// It is being pushed.
    Now,
    Held,
    Over,
}

/// A checksum as it stands in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Good,
    Bad,
    /// The pseudo-header's sum only.
    Pseudo,
    /// It cannot be told: a snap length cut the packet, or it is no packet.
    Unknown,
}

struct Slot {
    life: Life,
    emitted: u64,
    /// Number of the step at which it was pushed.
    step: usize,
    /// Whether a packet of its kind waits for its connection, not for its datagram.
    whole: bool,
    sum: Standing,
    ip_sum: Standing,
    front: i64,
    /// Bytes on the wire that were not captured, behind a packet and its padding.
    uncaptured: u32,
    untouchable: bool,
}

/// A client's or server's packet of an honest connection that came out.
struct Seen {
    tuple: usize,
    to_server: bool,
    number: u32,
    payload: Vec<u8>,
    slot: u64,
    /// Offset at which it went in.
    offset: i64,
    /// How far the client's stream had been seen without a gap when it went in.
    front: i64,
}

/// Keeps the accounts of one run.
pub struct Watch<'a> {
    script: &'a Script,
    first: u32,
    slots: Vec<Slot>,
    current: u64,
    frames: u64,
    seen: Vec<Seen>,
    /// For each tuple whether its packets told one story so far; `None` before its first.
    honest: [Option<bool>; TUPLES.len()],
    /// For each tuple what was seen of its client's stream: from, to.
    ranges: [Vec<(i64, i64)>; TUPLES.len()],
}

fn holds(sum: u16) -> Standing {
    if sum == 0xffff {
        Standing::Good
    } else {
        Standing::Bad
    }
}

fn addresses<'a>(frame: &'a [u8], ip: &Ip) -> (&'a [u8], &'a [u8]) {
    let (at, len) = if ip.v6 {
        (ip.l3 + 8, 16)
    } else {
        (ip.l3 + 12, 4)
    };
    (&frame[at..at + len], &frame[at + len..at + 2 * len])
}

/// How the transport checksum of a frame stands.
fn transport_sum(frame: &[u8], kind: &Kind) -> Standing {
    let (ip, protocol) = match kind {
        Kind::Tcp(segment) => (&segment.ip, 6),
        Kind::Icmp { ip, .. } => (ip, 58),
        _ => return Standing::Unknown,
    };
    let Some(body) = frame.get(ip.l4..ip.end) else {
        return Standing::Unknown;
    };
    if body.len() < 8 {
        return Standing::Unknown;
    }
    let (src, dst) = addresses(frame, ip);
    let start = match kind {
        Kind::Icmp { .. } if !ip.v6 => 0,
        _ => pseudo(src, dst, protocol, body.len()),
    };
    if protocol == 6 && fold(start, &[]) == u16::from_be_bytes([body[16], body[17]]) {
        // A good one may be the same number by chance.
        return match holds(fold(start, body)) {
            Standing::Good => Standing::Unknown,
            _ => Standing::Pseudo,
        };
    }
    holds(fold(start, body))
}

fn ip_of(kind: &Kind) -> Option<&Ip> {
    match kind {
        Kind::Tcp(Segment { ip, .. }) | Kind::Fragment { ip, .. } | Kind::Icmp { ip, .. } => {
            Some(ip)
        }
        _ => None,
    }
}

fn ip_sum(frame: &[u8], kind: &Kind) -> Standing {
    match ip_of(kind) {
        Some(ip) if !ip.v6 => {
            let end = ip.l3 + usize::from(frame[ip.l3] & 15) * 4;
            holds(fold(0, &frame[ip.l3..end]))
        }
        _ => Standing::Unknown,
    }
}

/// Whether an address is one that a leg names.
fn on_a_leg(address: [u8; 16]) -> bool {
    TUPLES.iter().enumerate().any(|(at, tuple)| {
        let octets = <[u8; 4]>::try_from(tuple.server).map(mapped);
        at != STRANGER && octets.map_or(tuple.server == address, |octets| octets == address)
    })
}

impl<'a> Watch<'a> {
    pub fn new(script: &'a Script, first: u32) -> Watch<'a> {
        Watch {
            script,
            first,
            slots: Vec::new(),
            current: 0,
            frames: 0,
            seen: Vec::new(),
            honest: [None; TUPLES.len()],
            ranges: Default::default(),
        }
    }

    /// How far a client's stream has been seen without a gap.
    fn front(&self, tuple: Option<usize>) -> i64 {
        let mut front = 0;
        let Some(ranges) = tuple.map(|tuple| &self.ranges[tuple]) else {
            return front;
        };
        while let Some((_, end)) = ranges
            .iter()
            .find(|(from, to)| *from <= front && *to > front)
        {
            front = *end;
        }
        front
    }

    /// A frame is about to be pushed; its slot.
    pub fn begin(&mut self, step: usize, input: &Input) -> u64 {
        let kind = parse(&input.frame, input.meta.link);
        self.judge(input, &kind);
        let untouchable = match &kind {
            Kind::Other | Kind::Malformed => true,
            Kind::Tcp(Segment { ip, .. }) | Kind::Fragment { ip, .. } => {
                let (src, dst) = ip.addresses(&input.frame);
                !on_a_leg(src) && !on_a_leg(dst)
            }
            Kind::Icmp { .. } => input.honest && input.tuple == Some(STRANGER),
        };
        self.slots.push(Slot {
            life: Life::Now,
            emitted: 0,
            step,
            whole: !matches!(kind, Kind::Fragment { .. }),
            sum: transport_sum(&input.frame, &kind),
            ip_sum: ip_sum(&input.frame, &kind),
            front: self.front(input.tuple),
            uncaptured: input.meta.orig_len.saturating_sub(input.frame.len() as u32),
            untouchable,
        });
        self.current = self.slots.len() as u64 - 1;
        self.current
    }

    /// Whether what is known of a connection's stream still holds after this packet.
    fn judge(&mut self, input: &Input, kind: &Kind) {
        let Some(tuple) = input.tuple else {
            // Any bytes may be a packet of any connection.
            if !input.honest {
                self.honest = [Some(false); TUPLES.len()];
            }
            return;
        };
        let flags = match kind {
            Kind::Tcp(segment) => segment.flags(&input.frame),
            // Fragments and errors are no beginning, nor do they say anything wrong.
            _ => 0,
        };
        if let (Kind::Tcp(segment), true) = (kind, input.to_server) {
            let captured = segment.captured(&input.frame).len() as i64;
            self.ranges[tuple].push((input.offset, input.offset + captured));
        }
        let begins = input.to_server && flags & (SYN | ACK) == SYN;
        let turned = input.to_server == (flags & (SYN | ACK) == SYN | ACK) && flags & SYN != 0;
        let honest = self.honest[tuple].unwrap_or(begins) && input.honest && !turned;
        self.honest[tuple] = Some(honest);
    }

    /// A connection ended before the input did: later packets of its tuple begin another one.
    pub fn recorded_early(&mut self, records: &[u8]) {
        for tuple in records_by_tuple(records).keys() {
            self.honest[*tuple] = Some(false);
        }
    }

    /// The answer to the frame that was pushed.
    pub fn end(&mut self, input: &Input, frame: &[u8], fate: Fate) {
        let current = self.current;
        let slot = &self.slots[current as usize];
        assert_eq!(slot.life, Life::Now, "settled while it was pushed");
        match fate {
            Fate::Pass | Fate::Rewritten { .. } | Fate::Gone | Fate::Held => {
                assert_eq!(slot.emitted, 0, "emitted, and yet {fate:?}");
            }
            // Held packets are let go by other packets, and may then turn out to be nothing.
            Fate::Emitted => {}
        }
        match fate {
            Fate::Pass => {
                assert_eq!(frame.len(), input.frame.len());
                self.left(current, &input.meta, frame, input);
            }
            Fate::Rewritten {
                start,
                end,
                orig_len,
            } => {
                let meta = Meta {
                    orig_len,
                    ..input.meta
                };
                self.left(current, &meta, &frame[start..end], input);
            }
            Fate::Emitted | Fate::Gone | Fate::Held => {}
        }
        self.slots[current as usize].life = match fate {
            Fate::Held => Life::Held,
            _ => Life::Over,
        };
    }

    /// How many slots wait: (whole packets of one tuple at most, fragments).
    pub fn held(&self) -> (usize, usize) {
        let held = || self.slots.iter().filter(|slot| slot.life == Life::Held);
        let mut by_tuple: HashMap<Option<usize>, usize> = HashMap::new();
        for slot in held().filter(|slot| slot.whole) {
            if let super::Step::Push(input) = &self.script.steps[slot.step] {
                *by_tuple.entry(input.tuple).or_default() += usize::from(input.honest);
            }
        }
        let most = by_tuple.into_values().max().unwrap_or(0);
        (most, held().filter(|slot| !slot.whole).count())
    }

    /// How many slots wait in all.
    pub fn held_in_all(&self) -> u64 {
        self.slots
            .iter()
            .filter(|slot| slot.life == Life::Held)
            .count() as u64
    }

    /// The step of the first whole packet that waits.
    pub fn oldest_held(&self) -> Option<usize> {
        let mut held = self
            .slots
            .iter()
            .filter(|slot| slot.life == Life::Held && slot.whole);
        held.next().map(|slot| slot.step)
    }

    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// A packet leaves.
    fn left(&mut self, number: u64, meta: &Meta, frame: &[u8], input: &Input) {
        self.frames += 1;
        let slot = &mut self.slots[number as usize];
        slot.emitted += 1;
        if slot.untouchable {
            assert_eq!(frame, input.frame, "traffic of no leg was changed");
            assert_eq!(meta.orig_len, input.meta.orig_len);
            return;
        }
        let kind = parse(frame, meta.link);
        let came = parse(&input.frame, input.meta.link);
        match (&came, &kind) {
            (Kind::Tcp(_), Kind::Tcp(_)) | (Kind::Icmp { .. }, Kind::Icmp { .. }) => {}
            (Kind::Fragment { .. }, Kind::Tcp(_) | Kind::Fragment { .. }) => {}
            (came, kind) => panic!("{came:?} left as {kind:?}"),
        }

        // 1. Checksums.
        let (sum, good) = (transport_sum(frame, &kind), Standing::Good);
        match (meta.checksum, slot.sum) {
            (Checksum::Unknown, Standing::Good) => {
                assert!(sum != Standing::Bad && sum != Standing::Pseudo, "{sum:?}");
            }
            (Checksum::Unknown, Standing::Bad) => {
                assert_ne!(sum, good, "a bad checksum was mended");
            }
            (Checksum::Unknown, Standing::Pseudo) => assert_ne!(sum, Standing::Bad),
            (Checksum::Partial, Standing::Pseudo) => {
                assert!(
                    sum != Standing::Bad && sum != good,
                    "partial once, and now {sum:?}"
                );
            }
            _ => {}
        }
        if slot.ip_sum == good {
            assert_ne!(ip_sum(frame, &kind), Standing::Bad, "IPv4 header");
        }

        // 2. Lengths.
        assert!(
            meta.orig_len as usize >= frame.len(),
            "longer than on the wire"
        );
        if slot.whole && slot.uncaptured == 0 {
            assert_eq!(meta.orig_len as usize, frame.len(), "nothing was cut");
        }

        // 3. The stream, looked at when it is known what became of the connection.
        if let (Kind::Tcp(segment), Some(tuple), true) = (&kind, input.tuple, input.honest) {
            let flags = segment.flags(frame);
            let syn = u32::from(flags & SYN != 0);
            if !input.to_server && (flags & ACK == 0 || flags & (SYN | RST) != 0) {
                return;
            }
            self.seen.push(Seen {
                tuple,
                to_server: input.to_server,
                number: if input.to_server {
                    segment.seq(frame).0.wrapping_add(syn)
                } else {
                    segment.ack(frame).0
                },
                payload: segment.captured(frame).to_vec(),
                slot: number,
                offset: input.offset,
                front: self.slots[number as usize].front,
            });
        }
    }

    /// Everything has left; what came out of honest connections is one stream without its headers.
    pub fn finish(&self, records: &[u8]) {
        for (number, slot) in self.slots.iter().enumerate() {
            assert_eq!(slot.life, Life::Over, "slot {number} never settled");
        }
        let records = records_by_tuple(records);
        for seen in &self.seen {
            let tuple = seen.tuple;
            let (Some(true), Some([record])) =
                (self.honest[tuple], records.get(&tuple).map(Vec::as_slice))
            else {
                continue;
            };
            let stream = self.script.stream(tuple);
            let depth = match record["verdict"].as_str() {
                Some("stripped") => self.script.depth,
                _ => 0,
            };
            let lengths = record["headers"].as_array().into_iter().flatten();
            let removed: u64 = lengths.filter_map(|header| header["length"].as_u64()).sum();
            assert_eq!(removed, stream.removed(depth), "tuple {tuple}: headers");
            let offset = i64::from(seen.number.wrapping_sub(self.first) as i32);
            if seen.to_server {
                let wanted: Vec<u8> = (0..seen.payload.len() as i64)
                    .map(|at| stream.at(stream.unmap(offset + at, depth)))
                    .collect();
                assert_eq!(
                    seen.payload, wanted,
                    "slot {}, tuple {tuple}: bytes at offset {offset}",
                    seen.slot
                );
            } else if seen.offset <= seen.front {
                // What acknowledges more may have left before anything was known of the header.
                assert_eq!(
                    offset,
                    stream.map(seen.offset, depth),
                    "slot {}, tuple {tuple}: acknowledgement",
                    seen.slot
                );
            }
        }
    }
}

/// Records by the tuple that they are of. Each is checked to be one object of JSON.
fn records_by_tuple(lines: &[u8]) -> HashMap<usize, Vec<serde_json::Value>> {
    let mut found: HashMap<usize, Vec<serde_json::Value>> = HashMap::new();
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        let record: serde_json::Value = serde_json::from_slice(line).expect("a record is JSON");
        for port in ["src_port", "dest_port"] {
            let port = record["observed"][port].as_u64();
            let of = |tuple: &Tuple| Some(u64::from(tuple.client_port)) == port;
            if let Some(tuple) = TUPLES.iter().position(of) {
                found.entry(tuple).or_default().push(record.clone());
            }
        }
    }
    found
}

impl Output for Watch<'_> {
    fn emit(&mut self, slot: u64, meta: &Meta, frame: &[u8]) {
        let known = &self.slots[slot as usize];
        assert_ne!(known.life, Life::Over, "slot {slot} leaves twice");
        assert!(known.life == Life::Held || slot == self.current);
        let script = self.script;
        if let super::Step::Push(input) = &script.steps[known.step] {
            self.left(slot, meta, frame, input);
        }
    }

    fn settle(&mut self, slot: u64) {
        let known = &mut self.slots[slot as usize];
        assert_eq!(
            known.life,
            Life::Held,
            "slot {slot} settles, and does not wait"
        );
        known.life = Life::Over;
    }
}
