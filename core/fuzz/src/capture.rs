//! Captures: files of any bytes, and filter programs of any instructions.

use std::io::Cursor;

use peeltap_core::engine::Nanos;
use peeltap_core::io::encode::{Encoder, Stamp};
use peeltap_core::io::filter::Filter;
use peeltap_core::io::reader::Reader;
use peeltap_core::io::source::Source;
use peeltap_core::io::Interface;

/// A packet's time, ticks, interface, length on the wire, bytes.
type Seen = (Nanos, u64, usize, u32, Vec<u8>);

fn read(bytes: Vec<u8>) -> Option<(Vec<Interface>, Vec<Seen>)> {
    let source = Source::new(Box::new(Cursor::new(bytes)), false);
    let mut reader = Reader::new("fuzz", source, &mut || true).ok()?;
    let mut packets = Vec::new();
    while let Some(packet) = reader.next().expect("a cursor does not fail") {
        let frame = reader.frame_mut(&packet).to_vec();
        packets.push((
            packet.ts,
            packet.ticks,
            packet.interface,
            packet.orig_len,
            frame,
        ));
    }
    Some((reader.interfaces().to_vec(), packets))
}

/// Any file: what can be read of it, pcapng keeps without loss.
pub fn captures(data: &[u8]) {
    let Some((interfaces, packets)) = read(data.to_vec()) else {
        return;
    };
    let mut encoder = Encoder::new("out.pcapng", &[]);
    let mut written = encoder.begin();
    for interface in &interfaces {
        let added = encoder.add_interface("fuzz", interface);
        written.extend(added.expect("pcapng takes every interface").1);
    }
    for (ts, ticks, interface, orig_len, frame) in &packets {
        let stamp = Stamp {
            ts: *ts,
            ticks: *ticks,
            interface: *interface as u32,
        };
        let start = written.len();
        written.resize(start + encoder.record_len(frame.len()), 0);
        encoder.emit(&mut written[start..], &stamp, *orig_len, frame);
    }
    let (_, again) = read(written).expect("our own pcapng");
    assert!(again == packets);
}

/// Any program, on any frame: instructions of 8 bytes behind their number, then the frame.
pub fn filters(data: &[u8]) {
    let Some((count, rest)) = data.split_first() else {
        return;
    };
    let (program, frame) = rest.split_at(rest.len().min(usize::from(*count) * 8));
    let program: Vec<_> = program
        .chunks_exact(8)
        .map(|bytes| {
            let code = u16::from_le_bytes([bytes[0], bytes[1]]);
            let k = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
            (code, bytes[2], bytes[3], k)
        })
        .collect();
    if let Ok(filter) = Filter::new(&program) {
        filter.accepts(frame, frame.len() as u32);
    }
}
