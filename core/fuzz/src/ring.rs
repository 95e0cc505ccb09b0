//! Blocks of a capture ring: whatever stands in one, its frames lie in it, and what the engine makes of
//! them is announced to the tap in offsets that lie within each frame.

use peeltap_core::engine::{Checksum, Config, Engine, Fate, Link, Meta, Output};
use peeltap_core::io::block::Walk;
use peeltap_core::io::vnet::{self, Vnet};

const CONFIG: &[u8] = br#"{
    "codecs": [{"name": "proxy-v1", "kind": "proxy-v1"}],
    "gateways": [{"from": "172.16.23.0/24", "to": "172.16.23.0/24", "headers": ["proxy-v1"]}]
}"#;

struct Checked;

impl Output for Checked {
    fn emit(&mut self, _: u64, meta: &Meta, frame: &[u8]) {
        check(Vnet::of(meta, frame, Vnet::NONE), frame);
    }

    fn settle(&mut self, _: u64) {}
}

/// The kernel refuses a checksum or a header that ends behind the frame.
fn check(said: Vnet, frame: &[u8]) {
    let bytes = said.emit();
    let half = |at: usize| usize::from(u16::from_ne_bytes([bytes[at], bytes[at + 1]]));
    let (header, checksum) = (half(2), half(6) + half(8));
    assert!(header <= frame.len(), "{said:?} of {} bytes", frame.len());
    assert!(bytes[0] & 1 == 0 || checksum + 2 <= frame.len(), "{said:?}");
}

/// A block, as the kernel hands it over.
pub fn rings(data: &[u8]) {
    let mut block = data.to_vec();
    let mut engine = Engine::new(Config::from_json(CONFIG).expect("a configuration"));
    let mut walk = Walk::new(&block);
    let mut slot = 0;
    while let Some(frame) = walk.next(&mut block) {
        assert!(vnet::LEN <= frame.start && frame.start <= frame.end && frame.end <= block.len());
        let meta = Meta {
            ts: frame.ts,
            orig_len: frame.wire_len,
            link: Link::Ethernet,
            checksum: if frame.is_partial {
                Checksum::Partial
            } else {
                Checksum::Whole
            },
            gso_size: frame.vnet.segment_size(),
        };
        let bytes = &mut block[frame.start..frame.end];
        let left = match engine.push(slot, &meta, bytes, &mut Checked) {
            Fate::Pass => Some(&*bytes),
            Fate::Rewritten { start, end, .. } => Some(&bytes[start..end]),
            Fate::Emitted | Fate::Gone | Fate::Held => None,
        };
        if let Some(left) = left {
            check(Vnet::of(&meta, left, Vnet::NONE), left);
        }
        slot += 1;
    }
    engine.finish(&mut Checked);
    assert!(engine.stats().balanced());
}
