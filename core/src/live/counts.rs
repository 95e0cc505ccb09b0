//! What a live capture counts of itself.

use std::time::{Duration, Instant};

use serde_json::{json, Value};

use crate::io::block::Frame;
use crate::io::ring::Counted;

/// The counters.
#[derive(Debug, Default)]
pub struct Counts {
    packets: u64,
    bytes: u64,
    /// Frames longer than the filter or the ring let through.
    cut: u64,
    /// Frames whose VLAN tag was put back.
    tagged: u64,
    /// Frames that the ring claimed and did not have.
    pub damaged: u64,
    /// How often the interface came back.
    pub reopened: u64,
    kernel: Counted,
    offline: Duration,
    offline_since: Option<Instant>,
}

impl Counts {
    /// A frame came out of the ring.
    #[inline]
    pub fn captured(&mut self, frame: &Frame) {
        let captured = (frame.end - frame.start) as u64;
        self.packets += 1;
        self.bytes += captured;
        self.cut += u64::from(captured < u64::from(frame.wire_len));
        self.tagged += u64::from(frame.is_tagged);
    }

    /// What the kernel counted since it was last asked.
    pub fn kernel(&mut self, counted: &Counted) {
        self.kernel.received += counted.received;
        self.kernel.dropped += counted.dropped;
        self.kernel.freezes += counted.freezes;
    }

    /// Whether packets can come now.
    pub fn is_online(&mut self, online: bool, now: Instant) {
        match (online, self.offline_since) {
            (true, Some(since)) => {
                self.offline += now - since;
                self.offline_since = None;
            }
            (false, None) => self.offline_since = Some(now),
            _ => {}
        }
    }

    /// The counters as JSON.
    pub fn to_json(&self, interface: &str, state: &str, ring_bytes: usize, now: Instant) -> Value {
        let offline = self.offline
            + self
                .offline_since
                .map_or(Duration::ZERO, |since| now - since);
        json!({
            "interface": interface,
            "state": state,
            "packets": self.packets,
            "bytes": self.bytes,
            "kernel_received": self.kernel.received,
            "kernel_drops": self.kernel.dropped,
            "freezes": self.kernel.freezes,
            "cut": self.cut,
            "tagged": self.tagged,
            "damaged": self.damaged,
            "ring_bytes": ring_bytes,
            "reopened": self.reopened,
            "offline_seconds": offline.as_secs_f64(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_without_the_interface_adds_up() {
        let mut counts = Counts::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        // (second, whether it is online) -> seconds offline so far
        for (second, online, wanted) in [
            (0, true, 0.0),
            (2, false, 0.0),
            (5, false, 3.0),
            (6, true, 4.0),
            (9, true, 4.0),
            (9, false, 4.0),
            (10, true, 5.0),
        ] {
            counts.is_online(online, at(second));
            let json = counts.to_json("br1", "up", 0, at(second));
            assert_eq!(json["offline_seconds"], wanted, "after {second} s");
        }
    }
}
