//! One connection on the proxied leg: what is remembered of it, and how its sequence space is mapped.
//!
//! States, and what moves a connection between them:
//!
//! | state        | meaning                                         | leaves when                           |
//! |--------------|-------------------------------------------------|---------------------------------------|
//! | `Header`     | client's first bytes may become a header        | decided; FIN/RST/limits: `Incomplete` |
//! | `Unsure`     | capture began mid-stream, no client data yet    | first client data                     |
//! | `Stripped`   | header found, excisions known                   | -                                     |
//! | `Plain`      | no header                                       | -                                     |
//! | `Incomplete` | ended, or gave up, inside a header              | -                                     |
//! | `Malformed`  | a header that breaks its rules, or none at all where one is required | -                |
//! | `Midstream`  | first data seen did not begin with a header     | -                                     |
//! | `Dropped`    | the same, where config drops such connections      | -                                     |
//! | `Untrusted`  | a header from an end that is not believed       | -                                     |
//!
//! The client is the end that connects (gateway1), the server the one that listens (gateway2). Client
//! stream offset 0 is the byte after the SYN: `offset = seq - (ISN + 1)`. The bytes of headers are the
//! connection's *excisions*; they exist in the client's direction only.

mod assemble;
mod hold;
pub mod saved;

pub use assemble::{Assembler, Ranges};
pub use hold::{HeldPacket, Hold};

use std::borrow::Cow;

use crate::engine::Nanos;
use crate::header::Truth;
use crate::tracker::Key;
use crate::wire::ip::{is_mapped, mapped};
use crate::wire::Seq;

/// Where a connection stands; see the module's table. All but the first three are verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum State {
    Vacant,
    Header,
    Unsure,
    Stripped,
    Plain,
    Incomplete,
    Malformed,
    Midstream,
    Dropped,
    Untrusted,
}

impl State {
    /// The verdict as flow records spell it; what was never decided is incomplete.
    #[must_use]
    pub fn verdict(self) -> &'static str {
        match self {
            State::Vacant | State::Header | State::Incomplete => "incomplete",
            State::Stripped => "stripped",
            State::Plain => "plain",
            State::Malformed => "malformed",
            State::Unsure | State::Midstream | State::Dropped => "midstream",
            State::Untrusted => "untrusted",
        }
    }

    /// Whether packets still wait, or may have to, for the connection's verdict.
    #[inline(always)]
    #[must_use]
    pub fn is_undecided(self) -> bool {
        matches!(self, State::Header | State::Unsure)
    }
}

/// Facts of a connection that are one bit each.
pub mod fact {
    #![allow(missing_docs)]
    /// The client is the lower end of the key.
    pub const CLIENT_IS_LOW: u16 = 1 << 0;
    pub const CLIENT_FIN: u16 = 1 << 1;
    pub const SERVER_FIN: u16 = 1 << 2;
    pub const RST: u16 = 1 << 3;
    /// So much of the client's stream was seen that no packet can touch the header again; from here
    /// on the offset may wrap around.
    pub const FAR_PAST: u16 = 1 << 4;
    /// The first payload behind the headers was looked at for one more.
    pub const LOOKED: u16 = 1 << 5;
    /// True addresses are, or will be, written into this connection's packets.
    pub const RESTORE: u16 = 1 << 6;
    pub const HAS_TRUTH: u16 = 1 << 7;
    pub const SYN_ACK: u16 = 1 << 8;
    /// The server's last word on its window, while it acknowledged header bytes only, was 0.
    pub const ZERO_WINDOW: u16 = 1 << 9;
    /// The client's end is not one that config trusts to send headers.
    pub const UNTRUSTED: u16 = 1 << 10;
    /// Excisions are not just `[0, removed)`: they stand in `Extra`.
    pub const GENERAL: u16 = 1 << 11;
    /// An earlier epoch stands in `Extra`.
    pub const EARLIER: u16 = 1 << 12;
    /// The server acknowledged the headers, all of them and nothing else, and that was merged away.
    pub const HEADERS_ACKED: u16 = 1 << 13;
    /// `Extra` holds packets that wait.
    pub const HOLDING: u16 = 1 << 14;
    /// Packets that waited are leaving: they came before the verdict.
    pub const RELEASING: u16 = 1 << 15;
}

/// Time since a connection began, in 32 bits: a 30-bit count of microseconds times 1, 2^8, 2^16 or
/// 2^24, by the top two bits. Precise to the microsecond for 17 minutes, to a quarter of a millisecond
/// for three days, and never full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Elapsed(u32);

impl Elapsed {
    const COUNT: u32 = (1 << 30) - 1;

    /// Rounded down to the unit that holds it.
    #[inline]
    #[must_use]
    pub fn new(nanos: u64) -> Elapsed {
        let micros = nanos / 1000;
        if micros <= u64::from(Elapsed::COUNT) {
            return Elapsed(micros as u32);
        }
        Elapsed::coarse(micros)
    }

    #[cold]
    fn coarse(micros: u64) -> Elapsed {
        for scale in 1..3 {
            let count = micros >> (8 * scale);
            if count <= u64::from(Elapsed::COUNT) {
                return Elapsed(scale << 30 | count as u32);
            }
        }
        Elapsed(3 << 30 | (micros >> 24).min(u64::from(Elapsed::COUNT)) as u32)
    }

    /// In nanoseconds.
    #[inline]
    #[must_use]
    pub fn nanos(self) -> u64 {
        (u64::from(self.0 & Elapsed::COUNT) << (8 * (self.0 >> 30))) * 1000
    }
}

/// What most connections have none of.
#[derive(Default)]
pub struct Extra {
    /// Packets that wait, and the header's bytes so far.
    pub hold: Option<Hold>,
    /// Excised ranges of the client's stream, `(offset, length)`, sorted, apart from one another.
    pub excisions: Vec<(u32, u32)>,
    /// The headers, where the connection has several or one that says more than two addresses:
    /// codec and bytes.
    pub headers: Vec<(u8, Vec<u8>)>,
    /// The connection that used the same 5-tuple before; late packets still go to it.
    pub earlier: Option<Box<Connection>>,
    /// What makes the header malformed.
    pub reason: Option<Cow<'static, str>>,
    /// Packet counts beyond 32 bits.
    pub packets_high: [u32; 2],
    /// The smaller of both ends' maximum segment sizes, where segmentation is on; else 0.
    pub mss: u16,
}

impl Extra {
    fn is_empty(&self) -> bool {
        self.hold.is_none()
            && self.excisions.is_empty()
            && self.headers.is_empty()
            && self.earlier.is_none()
            && self.reason.is_none()
            && self.packets_high == [0; 2]
            && self.mss == 0
    }
}

/// One connection. Kept small and plain: there may be a million of them.
pub struct Connection {
    /// Observed 5-tuple and VLANs.
    pub key: Key,
    /// True peer (IPv4 mapped), valid with `HAS_TRUTH`.
    true_peer: [u8; 16],
    /// True destination.
    true_destination: [u8; 16],
    /// What few connections need.
    pub extra: Option<Box<Extra>>,
    /// When its first packet was seen.
    pub start: Nanos,
    /// Payload bytes seen on the leg, to the server and to the client.
    pub bytes: [u64; 2],
    /// Packets seen on the leg, to the server and to the client; low 32 bits.
    packets: [u32; 2],
    last: Elapsed,
    /// The client's initial sequence number.
    pub isn: Seq,
    /// The highest sequence number after client data.
    pub client_next: Seq,
    /// The client's highest acknowledgement that was passed on; before the first, the server's ISN.
    /// Where the SYN/ACK was not captured, 0 stands for "none yet".
    pub client_ack: Seq,
    /// Bytes excised in all.
    pub removed: u32,
    true_ports: [u16; 2],
    /// Which of the configured legs it runs on.
    pub rule: u16,
    /// Which use of this 5-tuple it is.
    pub epoch: u16,
    facts: u16,
    /// The header's codec.
    pub codec: u8,
    /// Where it stands.
    pub state: State,
}

/// Index of a direction in `bytes` and `packets`.
#[inline(always)]
fn direction(to_server: bool) -> usize {
    usize::from(!to_server)
}

impl Connection {
    /// A connection that begins.
    #[must_use]
    pub fn new(key: Key, start: Nanos, isn: Seq, state: State, facts: u16) -> Connection {
        Connection {
            key,
            true_peer: [0; 16],
            true_destination: [0; 16],
            extra: None,
            start,
            bytes: [0; 2],
            packets: [0; 2],
            last: Elapsed::default(),
            isn,
            client_next: isn.plus(1),
            client_ack: Seq(0),
            removed: 0,
            true_ports: [0; 2],
            rule: 0,
            epoch: 0,
            facts,
            codec: 0,
            state,
        }
    }

    /// The content of a free slot.
    #[must_use]
    pub fn vacant() -> Connection {
        let (key, _) = Key::new(([0; 16], 0), ([0; 16], 0), [0; 2], false);
        Connection::new(key, 0, Seq(0), State::Vacant, 0)
    }

    /// Whether a fact of [`fact`] holds.
    #[inline(always)]
    #[must_use]
    pub fn is(&self, fact: u16) -> bool {
        self.facts & fact != 0
    }

    /// Notes a fact.
    #[inline(always)]
    pub fn set(&mut self, fact: u16) {
        self.facts |= fact;
    }

    /// Withdraws a fact.
    #[inline(always)]
    pub fn unset(&mut self, fact: u16) {
        self.facts &= !fact;
    }

    /// What few connections need, made at first use.
    pub fn extra_mut(&mut self) -> &mut Extra {
        self.extra.get_or_insert_with(Box::default)
    }

    /// The packets that wait, if any do.
    #[must_use]
    pub fn hold(&self) -> Option<&Hold> {
        self.extra.as_ref()?.hold.as_ref()
    }

    /// The same, to change.
    pub fn hold_mut(&mut self) -> Option<&mut Hold> {
        self.extra.as_mut()?.hold.as_mut()
    }

    /// The connection that used the same 5-tuple before, if it is still remembered.
    #[must_use]
    pub fn earlier(&self) -> Option<&Connection> {
        self.extra.as_ref()?.earlier.as_deref()
    }

    /// Gives memory back that is not needed any more.
    pub fn trim(&mut self) {
        if self.extra.as_ref().is_some_and(|extra| extra.is_empty()) {
            self.extra = None;
        }
    }

    /// Counts a packet.
    #[inline(always)]
    pub fn count(&mut self, to_server: bool, payload: usize, now: Nanos) {
        let at = direction(to_server);
        self.bytes[at] += payload as u64;
        let (packets, wrapped) = self.packets[at].overflowing_add(1);
        self.packets[at] = packets;
        if wrapped {
            self.extra_mut().packets_high[at] += 1;
        }
        self.last = Elapsed::new(now.saturating_sub(self.start));
    }

    /// Packets seen, to the server and to the client.
    #[must_use]
    pub fn packets(&self) -> [u64; 2] {
        let high = self
            .extra
            .as_ref()
            .map_or([0; 2], |extra| extra.packets_high);
        [0, 1].map(|at| u64::from(high[at]) << 32 | u64::from(self.packets[at]))
    }

    /// When its last packet was seen.
    #[inline]
    #[must_use]
    pub fn last_seen(&self) -> Nanos {
        self.start + self.last.nanos()
    }

    /// Whether it ended: a RST, or a FIN from both ends.
    #[inline]
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.is(fact::RST) || (self.is(fact::CLIENT_FIN) && self.is(fact::SERVER_FIN))
    }

    /// Remembers what the header said.
    pub fn set_truth(&mut self, truth: &Truth) {
        let octets = |address: std::net::IpAddr| match address.to_canonical() {
            std::net::IpAddr::V4(v4) => mapped(v4.octets()),
            std::net::IpAddr::V6(v6) => v6.octets(),
        };
        self.true_peer = octets(truth.peer.ip());
        self.true_destination = octets(truth.destination.ip());
        self.true_ports = [truth.peer.port(), truth.destination.port()];
        self.set(fact::HAS_TRUTH);
    }

    /// True peer and true destination (IPv4 mapped) with their ports, if the header named them.
    #[inline]
    #[must_use]
    pub fn truth(&self) -> Option<([u8; 16], u16, [u8; 16], u16)> {
        self.is(fact::HAS_TRUTH).then_some((
            self.true_peer,
            self.true_ports[0],
            self.true_destination,
            self.true_ports[1],
        ))
    }

    /// Whether restored packets are IPv6 ones. Both addresses have to be IPv4 for IPv4.
    #[must_use]
    pub fn truth_is_v6(&self) -> bool {
        !(is_mapped(&self.true_peer) && is_mapped(&self.true_destination))
    }

    /// The stream offset after the last excised byte: from here on all bytes shift alike.
    #[inline(always)]
    #[must_use]
    pub fn boundary(&self) -> u32 {
        if self.is(fact::GENERAL) {
            self.last_excision_end()
        } else {
            self.removed
        }
    }

    #[cold]
    fn last_excision_end(&self) -> u32 {
        let excisions = self
            .extra
            .as_ref()
            .map_or(&[][..], |extra| &extra.excisions);
        excisions.last().map_or(0, |(start, len)| start + len)
    }

    /// The excisions, sorted.
    pub fn excisions(&self) -> impl DoubleEndedIterator<Item = (i64, i64)> + '_ {
        let general: &[(u32, u32)] = match &self.extra {
            Some(extra) if self.is(fact::GENERAL) => &extra.excisions,
            _ => &[],
        };
        let simple = (!self.is(fact::GENERAL) && self.removed > 0).then_some((0, self.removed));
        let widen = |(start, len)| (i64::from(start), i64::from(len));
        simple.into_iter().chain(general.iter().copied()).map(widen)
    }

    /// Maps a client stream offset: moves it back by the bytes excised below it.
    #[must_use]
    pub fn map(&self, offset: i64) -> i64 {
        let below = self
            .excisions()
            .map(|(start, len)| (offset - start).clamp(0, len))
            .sum::<i64>();
        offset - below
    }

    /// A sequence number as a client stream offset. Right within 2^31 of the ISN.
    #[inline(always)]
    #[must_use]
    pub fn offset(&self, seq: Seq) -> i64 {
        i64::from(seq.past(self.isn.plus(1)))
    }

    /// The sequence number of a client stream offset.
    #[inline(always)]
    #[must_use]
    pub fn seq(&self, offset: i64) -> Seq {
        // Truncation is the wrap.
        Seq(self.isn.plus(1).0.wrapping_add(offset as u32))
    }

    /// Remembers how far the client's stream came. A jump further than any window reaches (2^30, RFC
    /// 7323 section 2.3) is not the stream's own: an older use of the 5-tuple, a corrupt packet, a
    /// forged one.
    #[inline(always)]
    pub fn note_client_end(&mut self, end: Seq) {
        const WINDOW: i32 = 1 << 30;
        if (1..=WINDOW).contains(&end.past(self.client_next)) {
            self.client_next = end;
            // One packet must not be able to say so: the bytes were seen.
            if end.past(self.isn) > WINDOW && self.bytes[0] > WINDOW as u64 / 2 {
                self.set(fact::FAR_PAST);
            }
        }
    }

    /// Whether a server's sequence number may belong to this use of the 5-tuple, by what the client
    /// acknowledged; unknown before the SYN/ACK.
    #[must_use]
    pub fn is_near_server(&self, seq: Seq) -> bool {
        const WINDOW: u32 = 1 << 20;
        self.is(fact::SYN_ACK) && seq.past(self.client_ack).unsigned_abs() <= WINDOW
    }

    /// Whether a client sequence number (or a server's acknowledgement of one) may belong to this
    /// use of the 5-tuple.
    #[must_use]
    pub fn is_near(&self, seq: Seq) -> bool {
        const WINDOW: i32 = 1 << 20;
        let past_next = seq.past(self.client_next);
        let reaches_back = if self.is(fact::FAR_PAST) {
            past_next > -(1 << 30)
        } else {
            seq.past(self.isn) >= 0
        };
        past_next <= WINDOW && reaches_back
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(isn: u32, excisions: &[(u32, u32)]) -> Connection {
        let mut connection = Connection::vacant();
        connection.isn = Seq(isn);
        connection.client_next = Seq(isn).plus(1);
        connection.removed = excisions.iter().map(|(_, len)| len).sum();
        if excisions.first().is_some_and(|(start, _)| *start > 0) || excisions.len() > 1 {
            connection.set(fact::GENERAL);
            connection.extra_mut().excisions = excisions.to_vec();
        }
        connection
    }

    #[test]
    fn one_entry_stays_within_its_budget() {
        // 160 bytes with the index (10.5 bytes at a million entries).
        assert_eq!(std::mem::size_of::<Connection>(), 144);
    }

    #[test]
    fn offsets_map_around_excisions() {
        // (excisions, (offset, mapped)...)
        type Row = (&'static [(u32, u32)], &'static [(i64, i64)]);
        let table: [Row; 3] = [
            (&[], &[(-1, -1), (0, 0), (100, 100)]),
            (
                &[(0, 28)],
                &[
                    (-1, -1),
                    (0, 0),
                    (1, 0),
                    (27, 0),
                    (28, 0),
                    (29, 1),
                    (1000, 972),
                ],
            ),
            (
                &[(10, 5), (20, 3)],
                &[
                    (0, 0),
                    (10, 10),
                    (12, 10),
                    (15, 10),
                    (18, 13),
                    (20, 15),
                    (23, 15),
                    (30, 22),
                ],
            ),
        ];
        for (excisions, points) in table {
            let connection = connection(u32::MAX - 3, excisions);
            for (offset, mapped) in points {
                assert_eq!(
                    connection.map(*offset),
                    *mapped,
                    "{excisions:?} at {offset}"
                );
                assert_eq!(connection.offset(connection.seq(*offset)), *offset);
            }
        }
    }

    #[test]
    fn elapsed_keeps_the_order_and_never_overflows() {
        let mut before = 0;
        for nanos in [
            0,
            999,
            1000,
            1_000_000_000,
            1 << 40,
            1 << 41,
            1 << 50,
            1 << 60,
            1 << 63,
        ] {
            let kept = Elapsed::new(nanos).nanos();
            assert!(kept <= nanos && kept >= before, "{nanos}: {kept}");
            assert!(nanos - kept <= (nanos >> 20).max(999), "{nanos}: {kept}");
            before = kept;
        }
    }

    #[test]
    fn packet_counts_go_past_32_bits() {
        let mut connection = connection(0, &[]);
        connection.packets = [u32::MAX, 0];
        connection.count(true, 0, 0);
        assert_eq!(connection.packets(), [1 << 32, 0]);
    }

    #[test]
    fn nearness_tells_uses_of_a_5_tuple_apart() {
        let mut old = connection(1000, &[]);
        old.note_client_end(Seq(5000));
        for (seq, near) in [
            (1000, true),
            (5000, true),
            (6000, true),
            (999, false),
            (3_000_000_000, false),
        ] {
            assert_eq!(old.is_near(Seq(seq)), near, "{seq}");
        }
    }
}
