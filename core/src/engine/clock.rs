//! The time that the engine believes.
//!
//! Times come with packets, and may be wrong: a clock that was set, a corrupt record, a capture with a
//! gap. One wrong time must not age everything that is remembered. So a time far from the present is
//! believed when the next packet says so too, and then all that is remembered counts as seen just now.

use super::Nanos;

/// How far apart the times of two packets in a row may be before they are doubted.
const FAR: Nanos = 60_000_000_000;

/// The time, and where it last stepped to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    /// The latest time that is believed; 0 before the first.
    pub now: Nanos,
    /// A time far from it, which the last packet had.
    doubted: Option<Nanos>,
    /// Where the clock last stepped to.
    stepped: Nanos,
}

/// The clock was set: from where to where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The time that was believed; 0 if this is the first.
    pub from: Nanos,
    /// The time that is believed now.
    pub to: Nanos,
}

impl Clock {
    /// Hears a packet's time.
    #[inline(always)]
    pub fn tell(&mut self, ts: Nanos) -> Option<Step> {
        if ts.abs_diff(self.now) <= FAR {
            // Packets of several queues come slightly out of order.
            self.now = self.now.max(ts);
            self.doubted = None;
            return None;
        }
        self.doubt(ts)
    }

    #[cold]
    fn doubt(&mut self, ts: Nanos) -> Option<Step> {
        let agreed = match self.doubted.replace(ts) {
            // Both ahead, one after the other: time did pass.
            Some(doubted) if doubted > self.now && ts >= doubted => true,
            Some(doubted) => doubted.abs_diff(ts) <= FAR,
            None => self.now == 0,
        };
        if !agreed {
            return None;
        }
        let from = self.now;
        *self = Clock {
            now: ts,
            doubted: None,
            stepped: ts,
        };
        Some(Step { from, to: ts })
    }

    /// Time passed without packets; believed, whatever it is.
    pub fn advance(&mut self, now: Nanos) -> Option<Step> {
        let step = self.tell(now);
        if now > self.now {
            self.now = now;
            self.doubted = None;
        }
        step
    }

    /// How long ago something was seen, steps left out.
    #[must_use]
    pub fn silence(&self, seen: Nanos) -> Nanos {
        let from_before = seen > self.now.saturating_add(FAR);
        self.now.saturating_sub(if from_before {
            self.stepped
        } else {
            seen.max(self.stepped)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    fn after(times: &[Nanos]) -> Clock {
        let mut clock = Clock::default();
        for ts in times {
            clock.tell(ts * SECOND);
        }
        clock
    }

    #[test]
    fn what_is_believed() {
        // (times heard in seconds, the time believed)
        let table: [(&str, &[Nanos], Nanos); 8] = [
            ("the first", &[1000], 1000),
            ("it goes on", &[1000, 1030, 1090], 1090),
            ("slightly out of order", &[1000, 999, 1001, 998], 1001),
            ("one far ahead", &[1000, 9_000_000], 1000),
            (
                "one far ahead, then as before",
                &[1000, 9_000_000, 1001, 9_000_000],
                1001,
            ),
            ("two far ahead: a gap", &[1000, 5000, 9000], 9000),
            ("one far back", &[1000, 10], 1000),
            ("two far back: the clock was set", &[1000, 10, 11], 11),
        ];
        for (name, times, believed) in table {
            assert_eq!(after(times).now, believed * SECOND, "{name}");
        }
    }

    #[test]
    fn a_step_ages_nothing() {
        let clock = after(&[1000, 5000, 5001]);
        assert_eq!(clock.silence(900 * SECOND), 0, "seen before the step");
        let clock = after(&[1000, 10, 11, 40]);
        assert_eq!(clock.silence(1000 * SECOND), 29 * SECOND, "set back");
        assert_eq!(clock.silence(30 * SECOND), 10 * SECOND);
    }

    #[test]
    fn time_without_packets_is_believed() {
        let mut clock = after(&[1000]);
        clock.advance(5000 * SECOND);
        assert_eq!(clock.now, 5000 * SECOND);
        assert_eq!(clock.silence(1000 * SECOND), 4000 * SECOND);
    }
}
