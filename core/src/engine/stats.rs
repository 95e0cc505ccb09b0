//! Counters. Every packet that does not come out is counted under a name, and
//! `in = emitted + merged + dropped + held` holds whenever the engine is not at work.

use serde_json::{json, Map, Value};

/// Declares an enum whose members have names in the statistics.
macro_rules! named {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $member:ident = $text:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum $name { $($(#[$doc])* $member,)* }

        impl $name {
            /// All members.
            pub const ALL: &'static [$name] = &[$($name::$member,)*];

            /// The name in statistics.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $($name::$member => $text,)* }
            }
        }
    };
}

named! {
    /// Why a packet went into others, or into nothing, without a loss.
    Merged {
        /// It carried header bytes only.
        Header = "header",
        /// It acknowledged header bytes and said nothing else.
        HeaderAck = "header_ack",
        /// It is a fragment of a datagram that left whole.
        Fragment = "fragment",
    }
}

named! {
    /// Why a packet was dropped.
    Dropped {
        /// `midstream: drop`.
        Midstream = "midstream",
        /// `other: drop`.
        Other = "other",
    }
}

named! {
    /// What else is worth a count.
    Event {
        /// What looks like one more header behind those that were peeled.
        ForgedHeader = "forged_header",
        /// A header from an end that is not trusted.
        UntrustedHeader = "untrusted_header",
        /// A header is required and was not there.
        HeaderMissing = "header_missing",
        /// A header that breaks its rules.
        HeaderMalformed = "header_malformed",
        /// Two copies of header bytes disagree; the first was used.
        HeaderConflict = "header_overlap_differs",
        /// A header at the front of a connection whose beginning was not captured, too late to be
        /// believed.
        LateHeader = "late_header",
        /// Packets held too long, flushed.
        HoldTimeout = "hold_timeout",
        /// Too much held, flushed.
        HoldLimit = "hold_limit",
        /// Handshakes flushed with observed addresses, since no header came.
        NotRestored = "not_restored",
        /// A 5-tuple was used again.
        PortReused = "port_reused",
        /// A packet of an earlier use of its 5-tuple.
        EarlierEpoch = "earlier_epoch",
        /// A half-open connection made room for another.
        EvictedHalfOpen = "evicted_half_open",
        /// A connection made room for another.
        Evicted = "evicted",
        /// TCP MD5 options blanked.
        Md5Blanked = "tcp_md5_blanked",
        /// TCP AO options blanked.
        AoBlanked = "tcp_ao_blanked",
        /// SACK blocks taken out, for they lay within a header.
        SackBlockRemoved = "sack_block_removed",
        /// Partial checksums completed.
        ChecksumCompleted = "checksum_completed",
        /// Partial checksums that a snap length keeps from completion.
        ChecksumCut = "checksum_cut",
        /// IP or TCP with lengths that lie; passed on.
        MalformedPacket = "malformed_packet",
        /// Fragments let go before their datagram was whole.
        FragmentsReleased = "fragments_released",
        /// Fragments that overlap others; the first was used.
        FragmentOverlap = "fragment_overlap",
        /// ICMP errors whose quoted packet was mapped.
        IcmpMapped = "icmp_mapped",
        /// Offloaded frames cut into segments.
        SuperframeSegmented = "superframe_segmented",
        /// Restored connections whose true 5-tuple was in use.
        TrueTupleCollision = "true_tuple_collided",
        /// Connections taken over from a checkpoint.
        Resumed = "resumed",
        /// Connections of a checkpoint whose leg, codec or trust is gone from the configuration, or
        /// for which there was no room.
        NotResumed = "not_resumed",
    }
}

/// All counters of the engine.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Packets that came in.
    pub input: u64,
    /// Packets that came out, alone or as several.
    pub emitted: u64,
    /// Packets that wait.
    pub held: u64,
    /// Frames that came out.
    pub frames_out: u64,
    /// Header bytes found in streams.
    pub bytes_removed: u64,
    merged: [u64; Merged::ALL.len()],
    dropped: [u64; Dropped::ALL.len()],
    events: [u64; Event::ALL.len()],
    /// Connections by verdict, in the order of [`Stats::VERDICTS`].
    verdicts: [u64; Stats::VERDICTS.len()],
    /// Connections by codec.
    pub codecs: Vec<u64>,
}

impl Stats {
    /// All verdicts.
    pub const VERDICTS: [&'static str; 6] = [
        "stripped",
        "plain",
        "incomplete",
        "malformed",
        "midstream",
        "untrusted",
    ];

    /// A packet left as `frames` frames.
    #[inline(always)]
    pub fn emit(&mut self, frames: u64) {
        self.emitted += 1;
        self.frames_out += frames;
    }

    /// A packet was merged away.
    pub fn merge(&mut self, reason: Merged) {
        self.merged[reason as usize] += 1;
    }

    /// A packet was dropped.
    pub fn drop(&mut self, reason: Dropped) {
        self.dropped[reason as usize] += 1;
    }

    /// Something happened.
    pub fn note(&mut self, event: Event) {
        self.note_many(event, 1);
    }

    /// Something happened `count` times.
    pub fn note_many(&mut self, event: Event, count: u64) {
        self.events[event as usize] += count;
    }

    /// A connection has its verdict.
    pub fn decide(&mut self, verdict: &str) {
        if let Some(at) = Stats::VERDICTS.iter().position(|name| *name == verdict) {
            self.verdicts[at] += 1;
        }
    }

    /// Whether the sum of all packets adds up.
    #[must_use]
    pub fn balanced(&self) -> bool {
        let merged: u64 = self.merged.iter().sum();
        let dropped: u64 = self.dropped.iter().sum();
        self.input == self.emitted + merged + dropped + self.held
    }

    /// The statistics as JSON; names with a count of 0 are left out of `merged`, `dropped`,
    /// `connections` and `events`.
    #[must_use]
    pub fn to_json(&self, codec_names: &[&str]) -> Map<String, Value> {
        fn counted<'a>(rows: impl Iterator<Item = (&'a str, u64)>) -> Value {
            Value::Object(
                rows.filter(|(_, n)| *n > 0)
                    .map(|(name, n)| (name.into(), n.into()))
                    .collect(),
            )
        }
        let merged = Merged::ALL
            .iter()
            .map(|m| (m.name(), self.merged[*m as usize]));
        let dropped = Dropped::ALL
            .iter()
            .map(|d| (d.name(), self.dropped[*d as usize]));
        let events = Event::ALL
            .iter()
            .map(|e| (e.name(), self.events[*e as usize]));
        let verdicts = Stats::VERDICTS.into_iter().zip(self.verdicts);
        let codecs = codec_names.iter().copied().zip(self.codecs.iter().copied());
        let packets = json!({
            "in": self.input,
            "emitted": self.emitted,
            "merged": self.merged.iter().sum::<u64>(),
            "dropped": self.dropped.iter().sum::<u64>(),
            "held": self.held,
            "frames_out": self.frames_out,
        });
        let mut all = Map::new();
        all.insert("packets".into(), packets);
        all.insert("merged".into(), counted(merged));
        all.insert("dropped".into(), counted(dropped));
        all.insert("connections".into(), counted(verdicts));
        all.insert("codecs".into(), counted(codecs));
        all.insert("bytes_removed".into(), self.bytes_removed.into());
        all.insert("events".into(), counted(events));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_covers_every_way_out() {
        let mut stats = Stats {
            input: 4,
            held: 1,
            ..Stats::default()
        };
        assert!(!stats.balanced());
        stats.emit(3);
        stats.merge(Merged::Header);
        stats.drop(Dropped::Other);
        assert!(stats.balanced());
        let json = Value::Object(stats.to_json(&[]));
        assert_eq!(json["packets"]["frames_out"], 3);
        assert_eq!(json["merged"], json!({"header": 1}));
        assert_eq!(json["dropped"], json!({"other": 1}));
    }
}
