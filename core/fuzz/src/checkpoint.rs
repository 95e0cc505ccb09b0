//! Checkpoints: any bytes, with a right checksum or without, into an engine that then goes on.

use peeltap_core::engine::{Checksum, Config, Engine, Link, Meta, Output};
use serde_json::Value;

/// What the engine of an input is like, by bits of its first byte.
const SIGNED: u8 = 1 << 0;
const RESTORE: u8 = 1 << 1;
const SHARED: u8 = 1 << 2;
const LITTLE: u8 = 1 << 3;
const SEGMENT: u8 = 1 << 4;

/// Magic, version, length; and the checksum at the end.
const FRONT: usize = 9;
const CHECKSUM: usize = 4;

struct Nowhere;

impl Output for Nowhere {
    fn emit(&mut self, _slot: u64, _meta: &Meta, _frame: &[u8]) {}
    fn settle(&mut self, _slot: u64) {}
}

fn engine(flags: u8) -> Engine {
    let choose = |bit: u8, set: &'static str, unset: &'static str| {
        if flags & bit != 0 {
            set
        } else {
            unset
        }
    };
    let json = format!(
        r#"{{"mode": "{}", "superframes": "{}", "announce": true,
            "codecs": [{{"name": "proxy-v2", "kind": "proxy-v2"}},
                       {{"name": "proxy-v1", "kind": "proxy-v1"}},
                       {{"name": "sslproxy", "kind": "sslproxy"}}],
            "gateways": [{{"from": "172.16.23.1", "to": "172.16.23.2", "depth": 2,
                           "headers": ["proxy-v2", "proxy-v1", "sslproxy"]}},
                         {{"from": "fd00:23::1", "to": "fd00:23::2", "headers": ["sslproxy"]}}],
            "limits": {{"connections": {most}, "half_open": {most}}}}}"#,
        choose(RESTORE, "restore", "strip"),
        choose(SEGMENT, "segment", "keep"),
        most = choose(LITTLE, "1", "1000"),
    );
    Engine::new(Config::from_json(json.as_bytes()).expect("a sound configuration"))
}

/// Makes the checksum of every piece right, and the last one's length.
fn sign(mut checkpoint: &mut [u8]) {
    while checkpoint.len() >= FRONT + CHECKSUM {
        let length: [u8; 4] = checkpoint[FRONT - 4..FRONT].try_into().expect("4 bytes");
        let most = checkpoint.len() - FRONT;
        let length = (u32::from_be_bytes(length) as usize)
            .max(CHECKSUM)
            .min(most);
        checkpoint[FRONT - 4..FRONT].copy_from_slice(&(length as u32).to_be_bytes());
        let (piece, rest) = checkpoint.split_at_mut(FRONT + length);
        let (summed, sum) = piece.split_at_mut(FRONT + length - CHECKSUM);
        sum.copy_from_slice(&crc32c::crc32c(summed).to_be_bytes());
        checkpoint = rest;
    }
}

/// A segment between the gateways: 20 bytes of IPv4, 20 of TCP, some payload.
fn segment(to_server: bool, flags: u8, seq: u32, ack: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![
        0x45,
        0,
        0,
        (40 + payload.len()) as u8,
        0,
        0,
        0,
        0,
        64,
        6,
        0,
        0,
    ];
    let (gateway1, gateway2) = ([172, 16, 23, 1], [172, 16, 23, 2]);
    let (client, server) = (40000u16.to_be_bytes(), 9000u16.to_be_bytes());
    let (ends, ports) = if to_server {
        ([gateway1, gateway2], [client, server])
    } else {
        ([gateway2, gateway1], [server, client])
    };
    frame.extend(ends.as_flattened());
    frame.extend(ports.as_flattened());
    frame.extend(seq.to_be_bytes());
    frame.extend(ack.to_be_bytes());
    frame.extend([0x50, flags, 1, 0, 0, 0, 0, 0]);
    frame.extend(payload);
    frame
}

/// Any checkpoint.
pub fn checkpoint(data: &[u8]) {
    let Some((&flags, checkpoint)) = data.split_first() else {
        return;
    };
    let mut checkpoint = checkpoint.to_vec();
    if flags & SIGNED != 0 {
        sign(&mut checkpoint);
    }
    let number = |engine: &Engine, name: &str| engine.stats_json()[name].as_u64().unwrap_or(0);
    let mut first = engine(flags);
    let Ok(taken) = first.resume(&checkpoint, flags & SHARED != 0) else {
        assert_eq!(
            number(&first, "tracked"),
            0,
            "a refused checkpoint was taken over"
        );
        return;
    };
    assert_eq!(number(&first, "tracked"), taken as u64);

    // 1. What was taken over can be handed on.
    let again = first.checkpoint(true);
    let mut second = engine(flags);
    assert_eq!(second.resume(&again, false), Ok(taken));
    assert_eq!(second.checkpoint(true).len(), again.len());

    // 2. Packets of it are treated; what they are is for the engine's own target.
    let (ack, push, syn, fin) = (0x10, 0x18, 0x02, 0x11);
    let packets = [
        segment(true, push, 100, 1, b"GET / HTTP/1.0\r\n\r\n"),
        segment(false, ack, 1, 118, b""),
        segment(false, push, 1, 0x8000_0000, b"answer"),
        segment(
            true,
            push,
            0x7fff_fff0,
            1,
            b"PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n",
        ),
        segment(true, fin, 118, 7, b""),
        segment(true, syn, 5000, 0, b""),
        segment(false, ack, 1, 118, b""),
    ];
    for (slot, frame) in packets.iter().enumerate() {
        let meta = Meta {
            ts: 1_800_000_000_000_000_000 + slot as u64,
            orig_len: frame.len() as u32,
            link: Link::Raw,
            checksum: Checksum::Unknown,
            gso_size: 0,
        };
        second.push(slot as u64, &meta, &mut frame.clone(), &mut Nowhere);
        assert!(second.stats().balanced());
    }

    // 3. The end: every record is one.
    second.finish(&mut Nowhere);
    while second.close_some(100, &mut Nowhere) {}
    assert_eq!(number(&second, "tracked"), 0);
    for line in second.take_records().split_inclusive(|byte| *byte == b'\n') {
        let _: Value = serde_json::from_slice(line).expect("a record");
    }
}
