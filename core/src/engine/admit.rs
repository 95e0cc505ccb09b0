//! New connections: which rule they fall under, how they begin, and who makes room for them.

use std::collections::hash_map::Entry;

use crate::connection::{fact, Connection, State};
use crate::tracker::{Id, Key};
use crate::wire::packet::Segment;
use crate::wire::tcp::{self, flag};
use crate::wire::Seq;

use super::rules::Match;
use super::stats::Event;
use super::{Engine, Mode, Nanos, Output, Superframes};

impl Engine {
    /// The rule for a packet whose connection is not known, and whether its source is the client.
    ///
    /// A SYN comes from the client, a SYN/ACK from the server; for other packets the direction is the
    /// one that a rule trusts, or else the one that a rule names.
    pub(super) fn matches(&self, key: &Key, from_low: bool, flags: u8) -> Option<(Match, bool)> {
        let (src, dst) = (key.end(from_low), key.end(!from_low));
        let rules = &self.config.rules;
        match (flags & flag::SYN != 0, flags & flag::ACK != 0) {
            (true, false) => Some((rules.find(&src, &dst)?, true)),
            (true, true) => Some((rules.find(&dst, &src)?, false)),
            _ => {
                let forward = rules.find(&src, &dst).map(|found| (found, true));
                let backward = rules.find(&dst, &src).map(|found| (found, false));
                match (forward, backward) {
                    (Some(f), Some(b)) if !f.0.trusted && b.0.trusted => Some(b),
                    (Some(f), _) => Some(f),
                    (None, b) => b,
                }
            }
        }
    }

    /// Begins to track the connection of a packet that no entry knows, if a rule names it.
    #[cold]
    pub(super) fn admit(
        &mut self,
        key: Key,
        from_low: bool,
        segment: &Segment,
        frame: &[u8],
        now: Nanos,
        out: &mut impl Output,
    ) -> Option<Id> {
        let flags = segment.flags(frame);
        let (found, from_client) = self.matches(&key, from_low, flags)?;
        let begins = flags & flag::SYN != 0;
        // The RST of something unknown begins nothing.
        if !begins && flags & flag::RST != 0 {
            return None;
        }
        let isn = match (begins, from_client) {
            (true, true) => segment.seq(frame),
            // The SYN was not captured; what its answer acknowledges tells its number.
            (true, false) => segment.ack(frame).minus(1),
            (false, _) => Seq(0),
        };
        let state = if begins { State::Header } else { State::Unsure };
        let mut facts = 0;
        if from_client == from_low {
            facts |= fact::CLIENT_IS_LOW;
        }
        if !found.trusted {
            facts |= fact::UNTRUSTED;
        } else if self.config.mode == Mode::Restore {
            facts |= fact::RESTORE;
        }
        let mut connection = Connection::new(key, now, isn, state, facts);
        connection.rule = found.rule;
        note_mss(self.config.superframes, &mut connection, segment, frame);
        // Whatever it is, nobody has answered yet.
        self.make_room(true, out);
        Some(self.tracker.insert(connection, true))
    }

    /// Evicts until a pool has room for one more.
    fn make_room(&mut self, half_open: bool, out: &mut impl Output) {
        while let Some(victim) = self.tracker.victim(half_open, self.clock.now) {
            let event = if half_open {
                Event::EvictedHalfOpen
            } else {
                Event::Evicted
            };
            self.stats.note(event);
            self.close(victim, true, out);
        }
    }

    /// A half-open connection has been answered.
    #[cold]
    pub(super) fn promote(&mut self, id: Id, out: &mut impl Output) -> Id {
        self.make_room(false, out);
        self.tracker.promote(id)
    }

    /// A SYN with another ISN on a known 5-tuple: a new epoch. The old one is kept beside it, for
    /// packets of it that are still on their way.
    #[cold]
    pub(super) fn renew(&mut self, id: Id, isn: Seq, now: Nanos, out: &mut impl Output) {
        self.stats.note(Event::PortReused);
        if self.tracker.get(id).is(fact::HOLDING) {
            self.give_up(id, u64::MAX, out);
        }
        let old = self.tracker.get_mut(id);
        // A SYN that nobody answered does not take the place of the connection before it.
        let is_idle_talk = old.packets()[1] == 0 && old.is(fact::EARLIER);
        let spared = match &mut old.extra {
            Some(extra) if is_idle_talk => extra.earlier.take(),
            _ => None,
        };
        if is_idle_talk {
            old.unset(fact::EARLIER);
        }
        self.drop_earlier(id);
        let old = self.tracker.get_mut(id);
        let mut new = Connection::new(old.key, now, isn, State::Header, 0);
        for lasting in [fact::CLIENT_IS_LOW, fact::UNTRUSTED] {
            if old.is(lasting) {
                new.set(lasting);
            }
        }
        if self.config.mode == Mode::Restore && !new.is(fact::UNTRUSTED) {
            new.set(fact::RESTORE);
        }
        new.rule = old.rule;
        new.epoch = old.epoch.saturating_add(1);
        let old = std::mem::replace(old, new);
        let earlier = if spared.is_some() || old.state.is_undecided() {
            self.retire(&old, Some(old.last_seen()));
            spared
        } else {
            Some(Box::new(old))
        };
        if let Some(earlier) = earlier {
            let new = self.tracker.get_mut(id);
            new.set(fact::EARLIER);
            new.extra_mut().earlier = Some(earlier);
        }
    }

    /// Remembers that a restored connection uses its true 5-tuple.
    pub(super) fn note_true_tuple(&mut self, id: Id) {
        if let Some(key) = open_true_key(self.tracker.get(id)) {
            self.use_true_tuple(key);
        }
    }

    /// One connection more uses a true 5-tuple.
    pub(super) fn use_true_tuple(&mut self, key: Key) {
        match self.true_tuples.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(1);
            }
            Entry::Occupied(mut entry) => {
                *entry.get_mut() += 1;
                self.stats.note(Event::TrueTupleCollision);
            }
        }
    }

    /// A restored connection has ended: its true 5-tuple is free.
    #[cold]
    pub(super) fn leave_true_tuple(&mut self, id: Id) {
        if let Some(key) = true_key(self.tracker.get(id)) {
            self.free_true_tuple(key);
        }
    }

    /// The same, of a connection that leaves the table without having ended.
    pub(super) fn forget_true_tuple(&mut self, connection: &Connection) {
        if let Some(key) = true_key(connection) {
            self.free_true_tuple(key);
        }
    }

    /// One connection less uses a true 5-tuple.
    pub(super) fn free_true_tuple(&mut self, key: Key) {
        if let Entry::Occupied(mut entry) = self.true_tuples.entry(key) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

/// The key under which a restored connection's packets leave.
pub(super) fn true_key(connection: &Connection) -> Option<Key> {
    if !connection.is(fact::RESTORE) || connection.state != State::Stripped {
        return None;
    }
    let (peer, peer_port, destination, port) = connection.truth()?;
    let v6 = connection.truth_is_v6();
    Some(Key::new((peer, peer_port), (destination, port), [0; 2], v6).0)
}

/// The same, while the connection has not ended.
pub(super) fn open_true_key(connection: &Connection) -> Option<Key> {
    true_key(connection).filter(|_| !connection.is_closed())
}

/// Remembers the smaller of both ends' segment sizes, where superframes are to be cut.
pub(super) fn note_mss(
    superframes: Superframes,
    connection: &mut Connection,
    segment: &Segment,
    frame: &[u8],
) {
    if superframes == Superframes::Segment && segment.flags(frame) & flag::SYN != 0 {
        if let Some(mss) = tcp::mss(segment.options(frame)) {
            let known = &mut connection.extra_mut().mss;
            *known = if *known == 0 { mss } else { mss.min(*known) };
        }
    }
}
