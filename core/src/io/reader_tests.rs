use std::io::Read;

use proptest::prelude::*;

use super::*;
use crate::io::encode::{Encoder, Stamp};
use crate::io::Clock;

/// Gives a few bytes at a time; every third read is interrupted.
struct Trickle {
    bytes: Vec<u8>,
    pos: usize,
    piece: usize,
    calls: usize,
}

impl Read for Trickle {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.calls += 1;
        if self.calls.is_multiple_of(3) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let rest = &self.bytes[self.pos..];
        let count = rest.len().min(self.piece).min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.pos += count;
        Ok(count)
    }
}

fn reader(bytes: &[u8], piece: usize) -> Result<Reader, Error> {
    let trickle = Trickle {
        bytes: bytes.to_vec(),
        pos: 0,
        piece,
        calls: 0,
    };
    Reader::new("t", Source::new(Box::new(trickle), true), &mut || true)
}

/// Everything that a capture gives: time, interface, length on the wire, bytes.
type Seen = (Nanos, usize, u32, Vec<u8>);

fn drain(reader: &mut Reader) -> Vec<Seen> {
    let mut seen = Vec::new();
    loop {
        match reader.next() {
            Ok(Some(packet)) => {
                let frame = reader.frame_mut(&packet).to_vec();
                seen.push((packet.ts, packet.interface, packet.orig_len, frame));
            }
            Ok(None) => return seen,
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::Interrupted),
        }
    }
}

fn read(bytes: &[u8]) -> (Vec<Seen>, Option<String>) {
    let mut reader = reader(bytes, 7).unwrap();
    let seen = drain(&mut reader);
    (seen, reader.warning().map(str::to_owned))
}

/// A pcap file of these records: seconds, fraction, length on the wire, frame.
fn pcap(header: &FileHeader, records: &[(u32, u32, u32, &[u8])]) -> Vec<u8> {
    let mut bytes = header.emit().to_vec();
    for &(seconds, fraction, original, frame) in records {
        let record = Record {
            seconds,
            fraction,
            captured: frame.len() as u32,
            original,
        };
        let mut head = [0; RECORD_HEADER];
        record.emit(&mut head, header.order());
        bytes.extend_from_slice(&head);
        bytes.extend_from_slice(frame);
    }
    bytes
}

const LITTLE: FileHeader = FileHeader {
    big_endian: false,
    nanos: false,
    record_header: 16,
    snaplen: MAX_SNAPLEN,
    link_type: 1,
    plain_link: true,
};

/// A pcapng block of either byte order.
fn block(big_endian: bool, block_type: u32, body: &[&[u8]]) -> Vec<u8> {
    let order = Order { big_endian };
    let body = body.concat();
    let mut block = vec![0; 8];
    block.extend_from_slice(&body);
    block.resize(block.len().next_multiple_of(4) + 4, 0);
    let length = block.len();
    order.put_u32(&mut block[0..], block_type);
    order.put_u32(&mut block[4..], length as u32);
    order.put_u32(&mut block[length - 4..], length as u32);
    block
}

fn words(big_endian: bool, words: &[u32]) -> Vec<u8> {
    let mut bytes = vec![0; words.len() * 4];
    for (bytes, word) in bytes.chunks_exact_mut(4).zip(words) {
        Order { big_endian }.put_u32(bytes, *word);
    }
    bytes
}

fn section(big_endian: bool) -> Vec<u8> {
    let magic = words(big_endian, &[0x1a2b_3c4d]);
    let version: &[u8] = if big_endian {
        &[0, 1, 0, 0]
    } else {
        &[1, 0, 0, 0]
    };
    block(big_endian, pcapng::SECTION, &[&magic, version, &[0xff; 8]])
}

/// An interface block with an `if_tsresol` option.
fn interface(big_endian: bool, link_type: u16, resolution: u8) -> Vec<u8> {
    let mut head = vec![0; 4];
    Order { big_endian }.put_u16(&mut head, link_type);
    let mut option = vec![0; 12];
    Order { big_endian }.put_u16(&mut option[0..], 9);
    Order { big_endian }.put_u16(&mut option[2..], 1);
    option[4] = resolution;
    block(big_endian, 1, &[&head, &[0; 4], &option])
}

fn enhanced(big_endian: bool, interface: u32, ticks: u64, frame: &[u8]) -> Vec<u8> {
    let length = frame.len() as u32;
    let fields = words(
        big_endian,
        &[
            interface,
            (ticks >> 32) as u32,
            ticks as u32,
            length,
            length,
        ],
    );
    block(big_endian, 6, &[&fields, frame])
}

#[test]
fn every_kind_of_pcap_is_read() {
    for big_endian in [false, true] {
        for (nanos, ts) in [(false, 5_000_007_000), (true, 5_000_000_007)] {
            let header = FileHeader {
                big_endian,
                nanos,
                ..LITTLE
            };
            let (seen, warning) = read(&pcap(&header, &[(5, 7, 60, b"ab"), (6, 0, 3, b"cde")]));
            assert_eq!(
                seen,
                [
                    (ts, 0, 60, b"ab".to_vec()),
                    (6_000_000_000, 0, 3, b"cde".to_vec())
                ]
            );
            assert_eq!(warning, None);
        }
    }
}

#[test]
fn kuznetsovs_records_have_a_longer_header() {
    let mut bytes = LITTLE.emit().to_vec();
    bytes[..4].copy_from_slice(b"\x34\xcd\xb2\xa1");
    for frame in [&b"one"[..], b"three"] {
        bytes.extend(words(
            false,
            &[1, 2, frame.len() as u32, 64, 0xeeee_eeee, 0xeeee_eeee],
        ));
        bytes.extend_from_slice(frame);
    }
    let (seen, warning) = read(&bytes);
    let frames: Vec<_> = seen.iter().map(|(.., frame)| frame.as_slice()).collect();
    assert_eq!((frames, warning), (vec![&b"one"[..], b"three"], None));
}

#[test]
fn sections_interfaces_and_other_blocks_are_read() {
    for big_endian in [false, true] {
        let simple = block(big_endian, 3, &[&words(big_endian, &[3]), b"spb"]);
        let bytes = [
            section(big_endian),
            interface(big_endian, 1, 6),
            interface(big_endian, 113, 9),
            block(big_endian, 4, &[b"names"]),
            enhanced(big_endian, 0, 1_000_001, b"micros"),
            enhanced(big_endian, 1, 1_000_000_002, b"nanos"),
            block(big_endian, 0x0bad, &[b"no such block"]),
            simple,
            // Damage within a block costs that block.
            enhanced(big_endian, 9, 0, b"no such interface"),
            block(
                big_endian,
                6,
                &[&words(big_endian, &[0, 0, 0, 99, 99]), b"short"],
            ),
            // Another section, in the other order, numbers its interfaces anew.
            section(!big_endian),
            interface(!big_endian, 101, 0x80 | 10),
            enhanced(!big_endian, 0, 1024 * 2, b"binary"),
        ]
        .concat();
        let mut reader = reader(&bytes, 5).unwrap();
        assert_eq!(
            drain(&mut reader),
            [
                (1_000_001_000, 0, 6, b"micros".to_vec()),
                (1_000_000_002, 1, 5, b"nanos".to_vec()),
                (1_000_000_000, 0, 3, b"spb".to_vec()),
                (2_000_000_000, 2, 6, b"binary".to_vec()),
            ]
        );
        let links: Vec<_> = reader
            .interfaces()
            .iter()
            .map(|one| one.link_type)
            .collect();
        assert_eq!(links, [1, 113, 101]);
        let skipped: Vec<_> = reader
            .skipped()
            .iter()
            .map(|(name, count)| (*name, *count))
            .collect();
        assert_eq!(
            skipped,
            [
                ("malformed_block", 1),
                ("name_resolution", 1),
                ("unknown_block", 1),
                ("unknown_interface", 1)
            ]
        );
        assert_eq!(reader.warning(), None);
    }
}

#[test]
fn a_file_that_ends_early_gives_what_it_has() {
    let whole = pcap(&LITTLE, &[(1, 0, 4, b"abcd"), (2, 0, 4, b"efgh")]);
    let section = [
        section(false),
        interface(false, 1, 6),
        enhanced(false, 0, 1, b"abcd"),
    ]
    .concat();
    let one_block = section.len();
    let section = [section, enhanced(false, 0, 2, b"efgh")].concat();
    let cut = |bytes: &[u8], length: usize| {
        let (seen, warning) = read(&bytes[..length]);
        (seen.len(), warning)
    };
    #[rustfmt::skip]
    let cases = [
        (cut(&whole, whole.len()),       2, None),
        (cut(&whole, whole.len() - 1),   1, Some("t: cut or damaged at byte 44: a record of 20 or more bytes begins there, 19 are left; everything before it was read")),
        (cut(&whole, 44 + 3),            1, Some("t: cut or damaged at byte 44: a record of 16 or more bytes begins there, 3 are left; everything before it was read")),
        (cut(&whole, 44),                1, None),
        (cut(&whole, 24),                0, None),
        (cut(&section, section.len()),   2, None),
        (cut(&section, one_block + 5),   1, Some("t: cut or damaged at byte 96: a block of 12 or more bytes begins there, 5 are left; everything before it was read")),
        (cut(&section, one_block + 30),  1, Some("t: cut or damaged at byte 96: a block of 36 or more bytes begins there, 30 are left; everything before it was read")),
    ];
    for ((packets, warning), expected, text) in cases {
        assert_eq!((packets, warning.as_deref()), (expected, text));
    }
}

#[test]
fn a_length_that_lies_ends_the_capture_and_costs_no_memory() {
    let lying = |claimed: u32| {
        let mut bytes = pcap(&LITTLE, &[(1, 0, 2, b"ok")]);
        bytes.extend(words(false, &[2, 0, claimed, claimed]));
        bytes.extend_from_slice(&[0xaa; 100]);
        bytes
    };
    for claimed in [MAX_SNAPLEN + 1, u32::MAX, 1 << 31] {
        let (seen, warning) = read(&lying(claimed));
        assert_eq!(seen.len(), 1);
        assert!(warning
            .unwrap()
            .contains(&format!("at byte 42: a record claims {claimed} bytes")));
    }
    // The most that is believed is asked for as bytes come.
    let mut reader = reader(&lying(MAX_SNAPLEN), 1000).unwrap();
    drain(&mut reader);
    assert!(reader.warning().is_some());
    assert!(reader.source_mut().buffer_mut().len() < 2 << 20);

    for claimed in [u32::MAX, MAX_RECORD + 1, 8, 0] {
        let mut bytes = [section(false), interface(false, 1, 6)].concat();
        bytes.extend(words(false, &[6, claimed, 0, 0]));
        let (_, warning) = read(&bytes);
        let text = warning.unwrap();
        assert!(
            text.contains(&format!("a block claims {claimed} bytes")),
            "{text}"
        );
    }
}

#[test]
fn a_frame_larger_than_the_buffer_is_read_whole() {
    let header = FileHeader {
        snaplen: MAX_RECORD,
        ..LITTLE
    };
    let giant: Vec<u8> = (0..3_000_000u32).map(|number| number as u8).collect();
    let bytes = pcap(
        &header,
        &[(1, 0, 1, b"a"), (2, 0, 3_000_000, &giant), (3, 0, 1, b"z")],
    );
    let mut reader = reader(&bytes, 1 << 20).unwrap();
    let seen = drain(&mut reader);
    assert_eq!(seen.len(), 3);
    assert!(seen[1].3 == giant);
}

#[test]
fn what_is_not_a_capture_is_named() {
    #[rustfmt::skip]
    let cases: &[(&[u8], &str)] = &[
        (b"", "t: empty: 0 bytes, not even a capture's header"),
        (b"\xd4\xc3", "t: not a capture: it ends within the file header"),
        (b"#!/bin/sh\necho this is no capture\n", "t: not a capture: neither pcap nor pcapng"),
        (b"\x1f\x8b\x08\0", "t: compressed with gzip; unpack it on the way in: zcat FILE | peeltap replay -"),
        (b"\x28\xb5\x2f\xfd", "t: compressed with Zstandard; unpack it on the way in: zstdcat FILE | peeltap replay -"),
    ];
    for (bytes, text) in cases {
        assert_eq!(reader(bytes, 100).unwrap_err().to_string(), *text);
    }
}

#[test]
fn captures_are_merged_by_time_and_equal_times_by_place() {
    let files = [
        pcap(
            &LITTLE,
            &[(1, 0, 1, b"a"), (5, 0, 1, b"b"), (4, 0, 1, b"c")],
        ),
        pcap(
            &LITTLE,
            &[(1, 0, 1, b"d"), (4, 0, 1, b"e"), (9, 0, 1, b"f")],
        ),
        pcap(&LITTLE, &[]),
        pcap(&LITTLE, &[(0, 0, 1, b"g"), (5, 0, 1, b"h")]),
    ];
    let readers = files
        .iter()
        .map(|bytes| reader(bytes, 11).unwrap())
        .collect();
    let mut merge = Merge::new(readers);
    let mut order = String::new();
    loop {
        match merge.peek() {
            Ok(Some((index, packet))) => {
                order.push(char::from(merge.reader_mut(index).frame_mut(&packet)[0]));
                merge.take(index);
            }
            Ok(None) => break,
            Err(error) => assert!(error.is_interrupted()),
        }
    }
    // `b` at 5 comes before `c` at 4 in its own file, and so in the merge.
    assert_eq!(order, "gadebchf");
}

/// What the encoder wrote for packets of one interface, as a file.
fn encoded(name: &str, interface: &Interface, packets: &[(u64, u32, Vec<u8>)]) -> Vec<u8> {
    let mut encoder = Encoder::new(name, &[interface]);
    let mut bytes = encoder.begin();
    let (number, announced) = encoder.add_interface("t", interface).unwrap();
    bytes.extend(announced);
    for (ticks, orig_len, frame) in packets {
        let ts = interface.clock.nanos(*ticks);
        let stamp = Stamp {
            ts,
            ticks: *ticks,
            interface: number,
        };
        let start = bytes.len();
        bytes.resize(start + encoder.record_len(frame.len()), 0xee);
        encoder.emit(&mut bytes[start..], &stamp, *orig_len, frame);
    }
    bytes
}

fn packets() -> impl Strategy<Value = Vec<(u64, u32, Vec<u8>)>> {
    let frame = proptest::collection::vec(any::<u8>(), 0..300);
    // Up to the year 2106 in nanoseconds, and in microseconds.
    let ticks = 0u64..4_294_967_295_000_000;
    let packet = (ticks, 300u32..2000, frame);
    proptest::collection::vec(packet, 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_written_is_read(packets in packets(), piece in 1usize..400, pcapng: bool, nanos: bool, link_type in prop::sample::select(vec![0u16, 1, 101, 113, 276])) {
        let clock = if nanos { Clock::NANOS } else { Clock::MICROS };
        let interface = Interface { link_type, snaplen: 0, clock, name: None };
        let name = if pcapng { "o.pcapng" } else { "o.pcap" };
        let bytes = encoded(name, &interface, &packets);
        let mut reader = reader(&bytes, piece).unwrap();
        let expected: Vec<Seen> = packets
            .iter()
            .map(|(ticks, orig_len, frame)| (clock.nanos(*ticks), 0, *orig_len, frame.clone()))
            .collect();
        prop_assert_eq!(drain(&mut reader), expected);
        prop_assert_eq!(reader.warning(), None);
        prop_assert_eq!(&reader.interfaces()[0].clock, &clock);
        prop_assert_eq!(reader.interfaces()[0].link_type, link_type);
    }

    #[test]
    fn any_clock_survives_pcapng(ticks: u64, resolution: u8, offset: i64) {
        let interface = Interface { link_type: 1, snaplen: 0, clock: Clock { resolution, offset }, name: None };
        let bytes = encoded("o.pcapng", &interface, &[(ticks, 1, b"x".to_vec())]);
        let mut reader = reader(&bytes, 1000).unwrap();
        let packet = loop {
            if let Ok(packet) = reader.next() {
                break packet.unwrap();
            }
        };
        prop_assert_eq!(packet.ticks, ticks);
        prop_assert_eq!(reader.interfaces()[0].clock, interface.clock);
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, start in 0usize..4, piece in 1usize..50) {
        let starts: [&[u8]; 4] = [&[], b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\x3c\x4d", b"\x0a\x0d\x0d\x0a"];
        if let Ok(mut reader) = reader(&[starts[start], &bytes].concat(), piece) {
            drain(&mut reader);
        }
    }

    #[test]
    fn no_damage_panics(packets in packets(), pcapng: bool, damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), cut: prop::sample::Index) {
        let interface = Interface { link_type: 1, snaplen: 0, clock: Clock::NANOS, name: Some("eth0".into()) };
        let name = if pcapng { "o.pcapng" } else { "o.pcap" };
        let mut bytes = encoded(name, &interface, &packets);
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cut.index(bytes.len()));
        if let Ok(mut reader) = reader(&bytes, 1000) {
            drain(&mut reader);
        }
    }
}
