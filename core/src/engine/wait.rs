//! Connections whose header is not known yet: their packets wait, bounded in count, bytes and time.
//!
//! Once one packet of a connection waits, all that follow in either direction wait behind it, so that
//! they leave in capture order.

use crate::connection::{fact, HeldPacket, Hold, State};
use crate::tracker::Id;
use crate::wire::packet::{self, Kind, Segment};
use crate::wire::tcp::{self, flag};

use super::admit::note_mss;
use super::peel::{decide, is_header, peel, Decision};
use super::stats::{Dropped, Event};
use super::treat::treat;
use super::{nanos, note_end, Deadline, Engine, Fate, Meta, Output, Policy};

/// Bookkeeping of one held packet beside its bytes.
const HELD_OVERHEAD: usize = std::mem::size_of::<HeldPacket>();

impl Engine {
    /// A packet of a connection whose header is not known.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn undecided(
        &mut self,
        slot: u64,
        id: Id,
        to_server: bool,
        meta: &Meta,
        frame: &mut [u8],
        segment: &mut Segment,
        out: &mut impl Output,
    ) -> Fate {
        let flags = segment.flags(frame);
        let connection = self.tracker.get_mut(id);
        note_end(connection, segment, frame, to_server);
        let is_reset = flags & flag::RST != 0 && connection.is(fact::RST);
        if connection.state == State::Unsure {
            return self.unsure(slot, id, to_server, meta, frame, segment, out);
        }
        note_mss(self.config.superframes, connection, segment, frame);

        // 1. The usual case: the first data that comes is the whole header, and nothing waits.
        let connection = self.tracker.get(id);
        let holding = connection.is(fact::HOLDING);
        let payload = segment.payload_len();
        let begin = connection.offset(segment.seq(frame)) + i64::from(flags & flag::SYN != 0);
        let rule = self.config.rules.get(connection.rule);
        let untrusted = connection.is(fact::UNTRUSTED);
        if to_server && payload > 0 && !holding && (begin == 0 || untrusted) {
            let mut decision = decide(rule, &self.config.codecs, segment.captured(frame));
            // No answer changes what becomes of their packets: those who are not trusted are not
            // given memory either.
            if untrusted && matches!(decision, Decision::Wait) {
                decision = Decision::Plain;
            }
            if !matches!(decision, Decision::Wait) {
                self.apply(id, decision, segment.captured(frame));
                return self.decided(slot, id, to_server, meta, frame, segment, out);
            }
        }

        // 2. Nothing waits, and this packet neither brings client data, nor acknowledges any, nor
        //    lies behind data that was not seen yet.
        let ack_of_data = !to_server
            && flags & flag::ACK != 0
            && (connection.offset(segment.ack(frame)) > 0 || tcp::has_sack(segment.options(frame)));
        let restores = connection.is(fact::RESTORE);
        let ends = is_reset || (to_server && flags & flag::FIN != 0);
        let brings_data = to_server && payload > 0;
        let is_ahead = to_server && begin > 0;
        let passes = !brings_data && !is_ahead && !ack_of_data && !restores;
        if !holding && (passes || untrusted) {
            if ends {
                self.set_state(id, State::Incomplete);
            }
            return self.decided(slot, id, to_server, meta, frame, segment, out);
        }

        // 3. It waits behind the others.
        let limit = rule.header_bytes;
        self.hold(id, slot, meta, frame, to_server);
        if let Some(hold) = self.tracker.get_mut(id).hold_mut() {
            hold.acks_data |= ack_of_data;
        }
        let connection = self.tracker.get_mut(id);
        let mut conflict = false;
        let mut decision = Decision::Wait;
        if let Some(hold) = connection
            .extra
            .as_mut()
            .and_then(|extra| extra.hold.as_mut())
        {
            if brings_data {
                let before = hold.stream.size();
                conflict = hold.stream.insert(begin, segment.captured(frame), limit);
                let grown = hold.stream.size() - before;
                hold.bytes += grown;
                self.held_bytes += grown;
                let rule = self.config.rules.get(connection.rule);
                decision = decide(rule, &self.config.codecs, hold.stream.prefix());
            }
        }
        if conflict {
            self.stats.note(Event::HeaderConflict);
        }

        // 4. Decided, or at its end, or over its limits.
        let connection = self.tracker.get(id);
        let (packets, bytes, prefix) = match connection.extra.as_ref().and_then(|e| e.hold.as_ref())
        {
            Some(hold) => (hold.packets.len(), hold.bytes, hold.stream.prefix()),
            None => (0, 0, &[][..]),
        };
        let complete_end = begin + payload as i64 <= prefix.len() as i64;
        let no_more_comes = is_reset || (flags & flag::FIN != 0 && (!to_server || complete_end));
        let limits = &self.config.limits;
        let over = packets > limits.hold_packets || bytes > limits.hold_bytes;
        if !matches!(decision, Decision::Wait) {
            let stream = prefix.to_vec();
            self.apply(id, decision, &stream);
            self.release(id, slot, out);
            Fate::Emitted
        } else if no_more_comes {
            self.give_up(id, slot, out);
            Fate::Emitted
        } else if over {
            self.stats.note(Event::HoldLimit);
            self.give_up(id, slot, out);
            Fate::Emitted
        } else {
            self.shed(slot, out)
        }
    }

    /// Ends the oldest holds while all of them together hold too much. `current` is the slot being
    /// pushed, which waits unless its own connection's hold ends.
    fn shed(&mut self, current: u64, out: &mut impl Output) -> Fate {
        while self.held_bytes > self.config.limits.hold_total_bytes {
            let Some(deadline) = self.deadlines.pop_front() else {
                break;
            };
            if self.end_hold_of(&deadline, Event::HoldLimit, current, out) {
                return Fate::Emitted;
            }
        }
        Fate::Held
    }

    /// A packet of a connection whose beginning was not captured and whose client did not send yet.
    #[allow(clippy::too_many_arguments)]
    fn unsure(
        &mut self,
        slot: u64,
        id: Id,
        to_server: bool,
        meta: &Meta,
        frame: &mut [u8],
        segment: &mut Segment,
        out: &mut impl Output,
    ) -> Fate {
        if to_server && segment.payload_len() > 0 {
            let connection = self.tracker.get_mut(id);
            let trusted = !connection.is(fact::UNTRUSTED);
            let rule = self.config.rules.get(connection.rule);
            let decision = decide(rule, &self.config.codecs, segment.captured(frame));
            let first = segment.seq(frame);
            connection.isn = first.minus(1);
            connection.client_next = first.plus(segment.payload_len() as u32);
            let has_header = matches!(decision, Decision::Headers { .. });
            // A header follows its handshake at once. Only of a connection that was open before the
            // capture can both be true: its handshake was not seen, and these are its first bytes.
            // Later it is one that was forgotten, and these bytes are the peer's own.
            let early = self.clock.now <= self.early_until;
            if has_header && (early || !trusted) {
                self.apply(id, decision, segment.captured(frame));
            } else {
                if has_header {
                    self.stats.note(Event::LateHeader);
                }
                self.set_state(
                    id,
                    match self.config.midstream {
                        Policy::Pass => State::Midstream,
                        Policy::Drop => State::Dropped,
                    },
                );
            }
            return self.decided(slot, id, to_server, meta, frame, segment, out);
        }
        if self.config.midstream == Policy::Drop {
            self.stats.drop(Dropped::Midstream);
            return Fate::Gone;
        }
        self.decided(slot, id, to_server, meta, frame, segment, out)
    }

    /// Treats a packet by what its connection has become.
    #[allow(clippy::too_many_arguments)]
    #[inline(always)]
    pub(super) fn decided(
        &mut self,
        slot: u64,
        id: Id,
        to_server: bool,
        meta: &Meta,
        frame: &mut [u8],
        segment: &mut Segment,
        out: &mut impl Output,
    ) -> Fate {
        let Engine {
            tracker,
            stats,
            config,
            ..
        } = self;
        treat(
            tracker.get_mut(id),
            to_server,
            slot,
            meta,
            frame,
            segment,
            config,
            stats,
            out,
        )
    }

    /// Counts what looks like one more header in the first segment behind the peeled ones, where that
    /// segment came after the verdict. It is payload: the attacker's own.
    #[cold]
    pub(super) fn look_for_forgery(&mut self, id: Id, segment: &Segment, frame: &[u8]) {
        let connection = self.tracker.get_mut(id);
        let at = connection.offset(segment.seq(frame)) - i64::from(connection.boundary());
        if connection.state != State::Stripped || at >= 0 {
            connection.set(fact::LOOKED);
        }
        if connection.state != State::Stripped || at != 0 {
            return;
        }
        let rule = self.config.rules.get(connection.rule);
        if is_header(rule, &self.config.codecs, segment.captured(frame)) {
            self.stats.note(Event::ForgedHeader);
        }
    }

    fn set_state(&mut self, id: Id, state: State) {
        self.tracker.get_mut(id).state = state;
        self.stats.decide(state.verdict());
        if self.config.announce && self.config.records {
            let Engine {
                tracker,
                config,
                records,
                ..
            } = self;
            super::record::write(records, tracker.get(id), &config.codecs, None);
        }
    }

    /// Gives a connection its verdict. `stream` is its first bytes, from offset 0.
    fn apply(&mut self, id: Id, decision: Decision, stream: &[u8]) {
        let connection = self.tracker.get_mut(id);
        match decision {
            Decision::Wait => {}
            Decision::Plain => self.set_state(id, State::Plain),
            Decision::Missing => {
                connection.extra_mut().reason = Some("a header is required here".into());
                self.stats.note(Event::HeaderMissing);
                self.set_state(id, State::Malformed);
            }
            Decision::Malformed(reason) => {
                connection.extra_mut().reason = Some(reason.into());
                self.stats.note(Event::HeaderMalformed);
                self.set_state(id, State::Malformed);
            }
            Decision::Headers { .. } if connection.is(fact::UNTRUSTED) => {
                self.stats.note(Event::UntrustedHeader);
                self.set_state(id, State::Untrusted);
            }
            Decision::Headers {
                first,
                more,
                truth,
                forged,
            } => {
                peel(connection, &self.config.codecs, first, &more, stream);
                let last = more.last().unwrap_or(&first);
                if last.start + last.len < stream.len() {
                    connection.set(fact::LOOKED);
                }
                if let Some(truth) = truth {
                    connection.set_truth(&truth);
                }
                self.stats.bytes_removed += u64::from(connection.removed);
                for peeled in std::iter::once(&first).chain(&more) {
                    self.stats.codecs[usize::from(peeled.codec)] += 1;
                }
                if forged {
                    self.stats.note(Event::ForgedHeader);
                }
                self.set_state(id, State::Stripped);
                self.note_true_tuple(id);
            }
        }
    }

    /// Keeps a copy of a packet.
    fn hold(&mut self, id: Id, slot: u64, meta: &Meta, frame: &[u8], to_server: bool) {
        self.stamp += 1;
        let stamp = self.stamp;
        self.prune_deadlines();
        let connection = self.tracker.get_mut(id);
        if !connection.is(fact::HOLDING) {
            connection.set(fact::HOLDING);
            let at = self
                .clock
                .now
                .saturating_add(nanos(self.config.limits.hold_seconds));
            self.deadlines.push_back(Deadline {
                at,
                key: connection.key,
                stamp,
            });
        }
        let hold = connection
            .extra_mut()
            .hold
            .get_or_insert_with(|| Hold::new(stamp));
        hold.packets.push(HeldPacket {
            slot,
            meta: *meta,
            frame: frame.into(),
            to_server,
        });
        hold.bytes += frame.len() + HELD_OVERHEAD;
        self.held_bytes += frame.len() + HELD_OVERHEAD;
        self.stats.held += 1;
    }

    /// Forgets deadlines of holds that ended early, when most of them did.
    fn prune_deadlines(&mut self) {
        if self.deadlines.len() < self.deadlines_allowed {
            return;
        }
        let Engine {
            tracker, deadlines, ..
        } = self;
        deadlines.retain(|deadline| {
            let id = tracker.find(&deadline.key);
            let hold = id.and_then(|id| tracker.get(id).hold());
            hold.is_some_and(|hold| hold.stamp == deadline.stamp)
        });
        self.deadlines_allowed = 2 * self.deadlines.len() + 1024;
    }

    /// Lets everything go that waits, by what the connection has become. `current` is the slot being
    /// pushed, which was not reported as held yet.
    pub(super) fn release(&mut self, id: Id, current: u64, out: &mut impl Output) {
        let connection = self.tracker.get_mut(id);
        connection.unset(fact::HOLDING);
        let Some(hold) = connection
            .extra
            .as_mut()
            .and_then(|extra| extra.hold.take())
        else {
            return;
        };
        self.held_bytes -= hold.bytes;
        connection.set(fact::RELEASING);
        for mut held in hold.packets {
            self.stats.held -= 1;
            let meta = held.meta;
            let frame = &mut held.frame;
            let fate = match packet::parse(frame, meta.link) {
                Kind::Tcp(mut segment) => self.decided(
                    held.slot,
                    id,
                    held.to_server,
                    &meta,
                    frame,
                    &mut segment,
                    out,
                ),
                // It was one when it came in; but nothing is lost if that should ever be untrue.
                _ => Fate::Pass,
            };
            match fate {
                Fate::Pass => {
                    self.stats.emit(1);
                    out.emit(held.slot, &meta, frame);
                }
                Fate::Rewritten {
                    start,
                    end,
                    orig_len,
                } => {
                    self.stats.emit(1);
                    out.emit(held.slot, &Meta { orig_len, ..meta }, &frame[start..end]);
                }
                Fate::Emitted | Fate::Gone | Fate::Held => {}
            }
            if held.slot != current {
                out.settle(held.slot);
            }
        }
        let connection = self.tracker.get_mut(id);
        connection.unset(fact::RELEASING);
        connection.trim();
    }

    /// A connection's header will not come: what waits leaves as it came in.
    ///
    /// A handshake that waited just to be restored leaves too, but then the connection is still
    /// asked for its header; it is stripped and not restored.
    pub(super) fn give_up(&mut self, id: Id, current: u64, out: &mut impl Output) {
        let connection = self.tracker.get_mut(id);
        let hold = connection
            .extra
            .as_ref()
            .and_then(|extra| extra.hold.as_ref());
        let only_handshake = hold.is_some_and(|hold| hold.stream.is_empty() && !hold.acks_data);
        if connection.is(fact::RESTORE) {
            connection.unset(fact::RESTORE);
            self.stats.note(Event::NotRestored);
        }
        let connection = self.tracker.get(id);
        if connection.state == State::Header && (!only_handshake || connection.is_closed()) {
            self.set_state(id, State::Incomplete);
        }
        self.release(id, current, out);
    }

    /// A restart lost packets that waited here, and a part of the header with them.
    #[cold]
    pub(super) fn cut_short(&mut self, id: Id) {
        let connection = self.tracker.get_mut(id);
        if connection.is(fact::RESTORE) {
            connection.unset(fact::RESTORE);
            self.stats.note(Event::NotRestored);
        }
        self.set_state(id, State::Incomplete);
    }

    /// Ends the holds that are due.
    #[cold]
    pub(super) fn end_holds(&mut self, out: &mut impl Output) {
        while self
            .deadlines
            .front()
            .is_some_and(|deadline| deadline.at <= self.clock.now)
        {
            if let Some(deadline) = self.deadlines.pop_front() {
                self.end_hold(&deadline, Event::HoldTimeout, out);
            }
        }
    }

    /// Ends a hold, if it is still under way.
    pub(super) fn end_hold(&mut self, deadline: &Deadline, event: Event, out: &mut impl Output) {
        self.end_hold_of(deadline, event, u64::MAX, out);
    }

    /// The same; returns whether the slot `current` left with it.
    fn end_hold_of(
        &mut self,
        deadline: &Deadline,
        event: Event,
        current: u64,
        out: &mut impl Output,
    ) -> bool {
        let Some(id) = self.tracker.find(&deadline.key) else {
            return false;
        };
        let extra = self.tracker.get(id).extra.as_ref();
        let Some(hold) = extra.and_then(|extra| extra.hold.as_ref()) else {
            return false;
        };
        if hold.stamp != deadline.stamp {
            return false;
        }
        let has_current = hold.packets.last().is_some_and(|held| held.slot == current);
        self.stats.note(event);
        self.give_up(id, current, out);
        has_current
    }
}
