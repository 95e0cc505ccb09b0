//! Fragments of the legs: what becomes of them when their datagram is whole, or will never be.

use crate::tracker::Key;
use crate::wire::ip::Ip;
use crate::wire::packet::{self, Kind};

use super::fragments::{Joined, Waiting};
use super::stats::{Dropped, Event, Merged};
use super::{Engine, Fate, Meta, Nanos, Output, Policy};

impl Engine {
    /// A fragment of a datagram between the ends of a leg.
    pub(super) fn fragment(
        &mut self,
        slot: u64,
        meta: &Meta,
        frame: &[u8],
        ip: &Ip,
        vlan: [u16; 2],
        out: &mut impl Output,
    ) -> Fate {
        let joined = self
            .fragments
            .push(slot, self.clock.now, meta, frame, ip, vlan);
        let overlaps = self.fragments.take_overlaps();
        self.stats.note_many(Event::FragmentOverlap, overlaps);
        match joined {
            Joined::Waits => {
                self.stats.held += 1;
                if self.release_fragments(0, slot, out) {
                    return Fate::Emitted;
                }
                Fate::Held
            }
            Joined::Hopeless(parts) => {
                self.stats.held += 1;
                self.let_go(parts, slot, out);
                Fate::Emitted
            }
            Joined::Whole(mut whole, parts) => self.whole(slot, meta, &mut whole, parts, out),
        }
    }

    /// A datagram that came together, under the slot of its last fragment.
    fn whole(
        &mut self,
        slot: u64,
        meta: &Meta,
        whole: &mut [u8],
        parts: Vec<Waiting>,
        out: &mut impl Output,
    ) -> Fate {
        let meta = Meta {
            orig_len: whole.len() as u32,
            ..*meta
        };
        let tracked = match packet::parse(whole, meta.link) {
            Kind::Tcp(segment) => {
                let (key, from_low) = Key::of(&segment, whole);
                let known = self.tracker.find(&key).is_some()
                    || self.matches(&key, from_low, segment.flags(whole)).is_some();
                known.then_some(segment)
            }
            _ => None,
        };
        let Some(mut segment) = tracked else {
            self.stats.held += 1;
            self.let_go(parts, slot, out);
            return Fate::Emitted;
        };
        for part in parts.iter().filter(|part| part.slot != slot) {
            self.stats.held -= 1;
            self.stats.merge(Merged::Fragment);
            out.settle(part.slot);
        }
        match self.tcp(slot, &meta, whole, &mut segment, out) {
            Fate::Pass => out.emit(slot, &meta, whole),
            Fate::Rewritten {
                start,
                end,
                orig_len,
            } => {
                out.emit(slot, &Meta { orig_len, ..meta }, &whole[start..end]);
            }
            other => return other,
        }
        self.stats.emit(1);
        Fate::Emitted
    }

    /// Fragments that are passed on as they came. `current` is the slot being pushed.
    fn let_go(&mut self, parts: Vec<Waiting>, current: u64, out: &mut impl Output) {
        self.stats
            .note_many(Event::FragmentsReleased, parts.len() as u64);
        for part in parts {
            self.stats.held -= 1;
            match self.config.other {
                Policy::Pass => {
                    self.stats.emit(1);
                    out.emit(part.slot, &part.meta, &part.frame);
                }
                Policy::Drop => self.stats.drop(Dropped::Other),
            }
            if part.slot != current {
                out.settle(part.slot);
            }
        }
    }

    /// Lets go of fragments that wait since before `since`, and of the oldest ones over the limit.
    /// Returns whether `current`, the slot being pushed, was among them.
    pub(super) fn release_fragments(
        &mut self,
        since: Nanos,
        current: u64,
        out: &mut impl Output,
    ) -> bool {
        let capacity = self.config.limits.fragments;
        let mut left = false;
        while let Some(parts) = self.fragments.expire(since, capacity) {
            left |= parts.iter().any(|part| part.slot == current);
            self.let_go(parts, current, out);
        }
        left
    }
}
