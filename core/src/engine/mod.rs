//! Packet in, packets out, flow records. Sans-IO: opens nothing, reads no clock.
//!
//! A packet's way: [`crate::wire::packet::parse`] -> the connection, found in the tracker or admitted
//! by the rules (`admit`) -> if its header is not known yet, the packet waits (`wait`) -> numbers
//! mapped and header bytes taken out (`strip`) -> true addresses written (`restore`) -> cut to
//! segments (`superframe`), the last three in `treat`. Fragments are put together first
//! (`fragments`, `datagram`); ICMP errors have their
//! quote mapped (`icmp`). What is remembered of a connection becomes a line of JSON (`record`), and bytes
//! from which a restarted engine goes on (`checkpoint`).

mod admit;
mod checkpoint;
mod clock;
mod close;
mod config;
mod datagram;
mod fragments;
mod icmp;
mod peel;
mod record;
mod restore;
mod rules;
mod stats;
mod strip;
mod superframe;
mod treat;
mod value;
mod wait;

use std::collections::{HashMap, VecDeque};

pub use checkpoint::CheckpointError;
pub use config::{Config, ConfigError, Limits, Mode, Policy, Superframes};
pub use rules::{Net, Rule, Rules};
pub use stats::{Dropped, Event, Merged, Stats};
pub use value::{Checksum, Fate, Link, Meta, Nanos, Output};

use crate::connection::{fact, Connection, State};
use crate::header::Codec;
use crate::tracker::{Id, Key, Tracker};
use crate::wire::packet::{self, Kind, Segment};
use crate::wire::tcp::flag;

use checkpoint::Checkpoints;
use clock::{Clock, Step};
use fragments::Fragments;
use restore::Ends;
use treat::treat;

/// When a connection's hold has to end.
struct Deadline {
    at: Nanos,
    key: Key,
    stamp: u64,
}

/// The engine.
pub struct Engine {
    config: Config,
    tracker: Tracker,
    stats: Stats,
    fragments: Fragments,
    /// Holds that are under way, by when they end; those that ended early are skipped.
    deadlines: VecDeque<Deadline>,
    /// How many deadlines there may be before those that ended early are taken out.
    deadlines_allowed: usize,
    /// Bytes that wait.
    held_bytes: usize,
    stamp: u64,
    clock: Clock,
    /// Whether the clock stepped, so that nobody knows how long fragments have waited.
    fragments_ageless: bool,
    /// Until when a connection may have begun before the first packet; 0 once the clock stepped.
    early_until: Nanos,
    /// When entries are next looked at for expiry.
    next_sweep: Nanos,
    since_sweep: u32,
    /// True 5-tuples in use, in restore mode.
    true_tuples: HashMap<Key, u32>,
    records: Vec<u8>,
    /// Connections that are still to be closed after the end of the input, the last one first.
    closing: Vec<(Nanos, Id)>,
    checkpoints: Checkpoints,
}

/// Seconds as configured, in nanoseconds.
fn nanos(seconds: f64) -> Nanos {
    (seconds * 1e9) as Nanos
}

/// Entries looked at in one sweep of the table: these at least, and of a large table such a part. Then the
/// packets and the time between two sweeps.
const SWEEP_LEAST: usize = 128;
const SWEEP_PART: usize = 512;
const SWEEP_PACKETS: u32 = 1024;
const SWEEP_NANOS: Nanos = 1_000_000_000;

impl Engine {
    /// An engine with empty tables.
    #[must_use]
    pub fn new(config: Config) -> Engine {
        let mut stats = Stats::default();
        stats.codecs = vec![0; config.codecs.len()];
        Engine {
            tracker: Tracker::new(config.limits.connections, config.limits.half_open),
            stats,
            fragments: Fragments::default(),
            deadlines: VecDeque::new(),
            deadlines_allowed: 1024,
            held_bytes: 0,
            stamp: 0,
            clock: Clock::default(),
            fragments_ageless: false,
            early_until: 0,
            next_sweep: 0,
            since_sweep: 0,
            true_tuples: HashMap::new(),
            records: Vec::new(),
            closing: Vec::new(),
            checkpoints: Checkpoints::default(),
            config,
        }
    }

    /// Takes a frame. Slots have to grow from call to call. The frame may be changed, whatever the
    /// answer; where it is [`Fate::Pass`] or [`Fate::Rewritten`] it holds the result.
    ///
    /// Packets that waited for this one leave through `out` first.
    #[inline]
    pub fn push(
        &mut self,
        slot: u64,
        meta: &Meta,
        frame: &mut [u8],
        out: &mut impl Output,
    ) -> Fate {
        self.stats.input += 1;
        self.tell(meta.ts);
        self.since_sweep += 1;
        if self.since_sweep >= SWEEP_PACKETS || self.clock.now >= self.next_sweep {
            self.sweep(out);
        }
        if self
            .deadlines
            .front()
            .is_some_and(|deadline| deadline.at <= self.clock.now)
        {
            self.end_holds(out);
        }
        let fate = match packet::parse(frame, meta.link) {
            Kind::Tcp(mut segment) => self.tcp(slot, meta, frame, &mut segment, out),
            Kind::Fragment { ip, vlan } => {
                let (src, dst) = ip.addresses(frame);
                if self.config.rules.concern(&src, &dst) {
                    self.fragment(slot, meta, frame, &ip, vlan, out)
                } else {
                    self.other()
                }
            }
            Kind::Icmp { ip, vlan } => self.icmp(frame, &ip, vlan, meta),
            Kind::Malformed => {
                self.stats.note(Event::MalformedPacket);
                self.other()
            }
            Kind::Other => self.other(),
        };
        if let Fate::Pass | Fate::Rewritten { .. } = fate {
            self.stats.emit(1);
        }
        fate
    }

    /// Tells the engine what time it is, where packets do not come to tell it: holds that are due
    /// end, silent connections expire. Time that passed in this way is believed.
    pub fn advance(&mut self, now: Nanos, out: &mut impl Output) {
        if let Some(step) = self.clock.advance(now) {
            self.step(step);
        }
        self.end_holds(out);
        if self.clock.now >= self.next_sweep {
            self.sweep(out);
        }
    }

    /// The end of the input: everything that waits leaves. Connections stay in the table until
    /// [`Engine::close_some`].
    pub fn finish(&mut self, out: &mut impl Output) {
        self.release_fragments(Nanos::MAX, u64::MAX, out);
        while let Some(deadline) = self.deadlines.pop_front() {
            self.end_hold(&deadline, Event::HoldTimeout, out);
        }
    }

    /// Closes up to `count` connections, the oldest first, and makes their records; `false` when none
    /// are left. Those that have not ended have `"end": null`. To be called after
    /// [`Engine::finish`], with [`Engine::take_records`] in between, so that a million records need
    /// not lie in memory at once.
    pub fn close_some(&mut self, count: usize, out: &mut impl Output) -> bool {
        if self.closing.is_empty() {
            self.closing = self.tracker.all();
            self.closing.sort_unstable_by(|a, b| b.cmp(a));
        }
        for _ in 0..count {
            let Some((_, id)) = self.closing.pop() else {
                break;
            };
            let ended = self.tracker.get(id).is_closed();
            self.close(id, ended, out);
        }
        !self.closing.is_empty()
    }

    /// The records made since the last call: JSON lines.
    pub fn take_records(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.records)
    }

    /// Bytes of the records that wait to be taken.
    #[must_use]
    pub fn records_waiting(&self) -> usize {
        self.records.len()
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The counters and the size of the table, as JSON.
    #[must_use]
    pub fn stats_json(&self) -> serde_json::Map<String, serde_json::Value> {
        let names: Vec<&str> = self
            .config
            .codecs
            .iter()
            .map(|codec| codec.name())
            .collect();
        let mut all = self.stats.to_json(&names);
        all.insert("tracked".into(), self.tracker.len().into());
        all.insert("tracked_peak".into(), self.tracker.peak().into());
        all.insert("half_open".into(), self.tracker.half_open().into());
        all.insert("held_bytes".into(), self.held_bytes.into());
        all.insert(
            "bytes_per_connection".into(),
            self.tracker.bytes_per_connection().into(),
        );
        all
    }

    /// Hears a packet's time.
    #[inline(always)]
    fn tell(&mut self, ts: Nanos) {
        if let Some(step) = self.clock.tell(ts) {
            self.step(step);
        }
    }

    /// The clock was set.
    #[cold]
    fn step(&mut self, step: Step) {
        let is_first = step.from == 0;
        let early = nanos(self.config.limits.hold_seconds);
        self.early_until = if is_first {
            step.to.saturating_add(early)
        } else {
            0
        };
        for deadline in &mut self.deadlines {
            let left = deadline.at.saturating_sub(step.from);
            deadline.at = step.to.saturating_add(left);
        }
        self.fragments_ageless = !is_first;
        self.next_sweep = step.to;
        self.checkpoints.forget();
    }

    /// A frame that belongs to no connection.
    #[inline]
    fn other(&mut self) -> Fate {
        match self.config.other {
            Policy::Pass => Fate::Pass,
            Policy::Drop => {
                self.stats.drop(Dropped::Other);
                Fate::Gone
            }
        }
    }

    /// A TCP segment.
    #[inline(always)]
    fn tcp(
        &mut self,
        slot: u64,
        meta: &Meta,
        frame: &mut [u8],
        segment: &mut Segment,
        out: &mut impl Output,
    ) -> Fate {
        let (key, from_low) = Key::of(segment, frame);
        let flags = segment.flags(frame);
        let found = self.tracker.find(&key);
        let mut id = match found {
            Some(id) => id,
            None => match self.admit(key, from_low, segment, frame, meta.ts, out) {
                Some(id) => id,
                None => return self.other(),
            },
        };
        let connection = self.tracker.get_mut(id);
        let to_server = from_low == connection.is(fact::CLIENT_IS_LOW);

        if found.is_some() {
            let is_syn = flags & (flag::SYN | flag::ACK) == flag::SYN;
            let again = segment.seq(frame) != connection.isn || is_refused(connection);
            let is_earlier = connection
                .earlier()
                .is_some_and(|earlier| earlier.isn == segment.seq(frame));
            if is_syn && to_server && again && is_earlier {
                return self.earlier(slot, id, to_server, meta, frame, segment, out);
            } else if is_syn && to_server && again {
                self.renew(id, segment.seq(frame), meta.ts, out);
            } else if connection.is(fact::EARLIER)
                && is_of_earlier(connection, segment, frame, to_server)
            {
                return self.earlier(slot, id, to_server, meta, frame, segment, out);
            }
        }

        let connection = self.tracker.get_mut(id);
        let payload = segment.payload_len();
        connection.count(to_server, payload, meta.ts);
        if flags & flag::SYN != 0 {
            let answers = flags & flag::ACK != 0 && !to_server;
            if answers && !connection.is(fact::SYN_ACK) {
                connection.set(fact::SYN_ACK);
                connection.client_ack = segment.seq(frame);
            }
        } else if id.is_half_open() && flags & flag::RST == 0 && is_answered(connection) {
            id = self.promote(id, out);
        }
        strip::complete_checksum(segment, frame, meta, &mut self.stats);
        let connection = self.tracker.get_mut(id);
        let sends = payload > 0 || flags & flag::FIN != 0;
        if to_server && sends && connection.state != State::Unsure {
            let begin = segment.seq(frame).plus(u32::from(flags & flag::SYN != 0));
            connection.note_client_end(begin.plus(payload as u32));
        }
        if connection.state.is_undecided() {
            return self.undecided(slot, id, to_server, meta, frame, segment, out);
        }
        if flags & (flag::FIN | flag::RST) != 0 && !connection.is_closed() {
            note_end(connection, segment, frame, to_server);
            if connection.is_closed() {
                self.leave_true_tuple(id);
            }
        }
        let connection = self.tracker.get(id);
        if to_server && payload > 0 && !connection.is(fact::LOOKED) {
            self.look_for_forgery(id, segment, frame);
        }
        self.decided(slot, id, to_server, meta, frame, segment, out)
    }

    /// A packet of the connection that used the same 5-tuple before.
    #[allow(clippy::too_many_arguments)]
    #[cold]
    fn earlier(
        &mut self,
        slot: u64,
        id: Id,
        to_server: bool,
        meta: &Meta,
        frame: &mut [u8],
        segment: &mut Segment,
        out: &mut impl Output,
    ) -> Fate {
        self.stats.note(Event::EarlierEpoch);
        strip::complete_checksum(segment, frame, meta, &mut self.stats);
        let Engine {
            tracker,
            stats,
            config,
            ..
        } = self;
        let connection = tracker.get_mut(id);
        let Some(earlier) = connection
            .extra
            .as_mut()
            .and_then(|extra| extra.earlier.as_mut())
        else {
            return Fate::Pass;
        };
        earlier.count(to_server, segment.payload_len(), meta.ts);
        if to_server {
            earlier.note_client_end(segment.seq(frame).plus(segment.payload_len() as u32));
        }
        let was_closed = earlier.is_closed();
        note_end(earlier, segment, frame, to_server);
        let ends_now = !was_closed && earlier.is_closed();
        let freed = admit::true_key(earlier).filter(|_| ends_now);
        let fate = treat(
            earlier, to_server, slot, meta, frame, segment, config, stats, out,
        );
        if let Some(key) = freed {
            self.free_true_tuple(key);
        }
        fate
    }

    /// An ICMP message: mapped if it quotes a tracked packet.
    fn icmp(
        &mut self,
        frame: &mut [u8],
        outer: &crate::wire::ip::Ip,
        vlan: [u16; 2],
        meta: &Meta,
    ) -> Fate {
        let Some(quote) = icmp::quote(frame, outer) else {
            return self.other();
        };
        let (key, from_low) = quote.key(frame, vlan);
        let Some(id) = self.tracker.find(&key) else {
            return self.other();
        };
        let connection = self.tracker.get(id);
        let to_server = from_low == connection.is(fact::CLIENT_IS_LOW);
        let restored = connection.is(fact::RESTORE) && connection.state == State::Stripped;
        let ends =
            Ends::of(connection, to_server).filter(|ends| restored && ends.is_v6() == outer.v6);
        if connection.removed == 0 && ends.is_none() {
            return Fate::Pass;
        }
        self.stats.note(Event::IcmpMapped);
        let end = icmp::map(connection, to_server, &quote, outer, frame, ends.as_ref());
        if end == frame.len() {
            return Fate::Pass;
        }
        let gone = (frame.len() - end) as u32;
        Fate::Rewritten {
            start: 0,
            end,
            orig_len: meta.orig_len.saturating_sub(gone),
        }
    }

    /// Looks at some entries of the table and closes those that were silent for too long.
    #[cold]
    fn sweep(&mut self, out: &mut impl Output) {
        self.since_sweep = 0;
        self.next_sweep = self.clock.now.saturating_add(SWEEP_NANOS);
        let limits = self.config.limits;
        let age = nanos(limits.fragment_seconds);
        let since = if std::mem::take(&mut self.fragments_ageless) {
            Nanos::MAX
        } else {
            self.clock.now.saturating_sub(age)
        };
        self.release_fragments(since, u64::MAX, out);
        let (idle, half, closed) = (
            nanos(limits.idle_seconds),
            nanos(limits.half_open_seconds),
            nanos(limits.closed_seconds),
        );
        let clock = self.clock;
        let silence = |connection: &Connection| clock.silence(connection.last_seen());
        let entries = (self.tracker.len() / SWEEP_PART).max(SWEEP_LEAST);
        let mut with_earlier = Vec::new();
        let expired = self.tracker.sweep(entries, |connection, half_open| {
            let silent = silence(connection);
            let earlier = connection
                .extra
                .as_ref()
                .and_then(|extra| extra.earlier.as_ref());
            if earlier.is_some_and(|earlier| silence(earlier) > closed) {
                with_earlier.push(connection.key);
            }
            silent
                > if connection.is_closed() {
                    closed
                } else if half_open {
                    half
                } else {
                    idle
                }
        });
        for id in expired {
            self.close(id, true, out);
        }
        for key in with_earlier {
            if let Some(id) = self.tracker.find(&key) {
                self.drop_earlier(id);
            }
        }
    }
}

/// Whether a RST is near enough to the stream to end it.
#[cold]
fn ends_it(connection: &Connection, segment: &Segment, frame: &[u8], to_server: bool) -> bool {
    if connection.state == State::Unsure {
        return true;
    }
    if to_server {
        return connection.is_near(segment.seq(frame));
    }
    let acks = segment.flags(frame) & flag::ACK != 0;
    (acks && connection.is_near(segment.ack(frame)))
        || connection.is_near_server(segment.seq(frame))
        || !connection.is(fact::SYN_ACK)
}

/// Whether a packet belongs to the earlier use of a connection's 5-tuple.
#[cold]
fn is_of_earlier(
    connection: &Connection,
    segment: &Segment,
    frame: &[u8],
    to_server: bool,
) -> bool {
    let Some(earlier) = connection
        .extra
        .as_ref()
        .and_then(|extra| extra.earlier.as_ref())
    else {
        return false;
    };
    // A client's packet is placed by its sequence number, a server's by what it acknowledges.
    let number = if to_server {
        segment.seq(frame)
    } else if segment.flags(frame) & flag::ACK != 0 {
        segment.ack(frame)
    } else {
        let number = segment.seq(frame);
        return !connection.is_near_server(number) && earlier.is_near_server(number);
    };
    !connection.is_near(number) && earlier.is_near(number)
}

/// Whether an entry is more than somebody's attempt: both ends were heard, or one of them at length,
/// where only its direction is captured.
fn is_answered(connection: &Connection) -> bool {
    const AT_LENGTH: u64 = 8;
    let [to_server, to_client] = connection.packets();
    (to_server > 0 && to_client > 0) || to_server.max(to_client) >= AT_LENGTH
}

/// Whether a connection was refused before it carried anything: a client that asks again may do so
/// with the same ISN.
fn is_refused(connection: &Connection) -> bool {
    connection.is(fact::RST) && connection.bytes == [0; 2] && !connection.is(fact::SYN_ACK)
}

/// Remembers FIN and RST. A RST far from the stream is one that the ends ignore too (RFC 5961 section
/// 3.2).
#[inline(always)]
fn note_end(connection: &mut Connection, segment: &Segment, frame: &[u8], to_server: bool) {
    let flags = segment.flags(frame);
    if flags & flag::RST != 0 && ends_it(connection, segment, frame, to_server) {
        connection.set(fact::RST);
    }
    if flags & flag::FIN != 0 {
        connection.set(if to_server {
            fact::CLIENT_FIN
        } else {
            fact::SERVER_FIN
        });
    }
}
