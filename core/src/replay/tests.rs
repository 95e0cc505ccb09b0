//! Whole files through doubles of the engine. A frame's first byte tells the double what to do.

use crate::engine::Nanos;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;

use proptest::prelude::*;

use super::*;
use crate::io::chunks::CHUNK;
use crate::io::pcap::{FileHeader, Record, RECORD_HEADER};

/// Obeys the frames: see [`Scripted::push`].
#[derive(Default)]
struct Scripted {
    held: Vec<(u64, Meta, Vec<u8>)>,
    /// What holds are released by time, `None`: never.
    patience: Option<Nanos>,
    unclosed: usize,
}

impl Scripted {
    fn release(&mut self, out: &mut impl Output) {
        for (slot, meta, frame) in self.held.drain(..) {
            out.emit(slot, &meta, &frame);
            out.settle(slot);
        }
    }
}

impl Processor for Scripted {
    fn push(&mut self, slot: u64, meta: &Meta, frame: &mut [u8], out: &mut impl Output) -> Fate {
        let patience = self.patience;
        if let Some((_, first, _)) = self.held.first() {
            if patience.is_some_and(|patience| meta.ts - first.ts > patience) {
                self.release(out);
            }
        }
        let orig_len = meta.orig_len;
        let part = |start: usize, end: usize| Fate::Rewritten {
            start,
            end,
            orig_len: orig_len - (frame.len() - (end - start)) as u32,
        };
        let length = frame.len();
        match frame.first() {
            // Changed in place.
            Some(b'!') => {
                let fate = part(0, length);
                frame[0] = b'i';
                fate
            }
            // Shrinks from the front, from the back, to nothing.
            Some(b'<') => part(3, length),
            Some(b'>') => part(0, length - 2),
            Some(b'0') => part(length, length),
            Some(b'x') => Fate::Gone,
            // Several frames in its place.
            Some(b'm') => {
                for text in [&b"m1"[..], b"m22", b"m333"] {
                    out.emit(
                        slot,
                        &Meta {
                            orig_len: 99,
                            ..*meta
                        },
                        text,
                    );
                }
                Fate::Emitted
            }
            // One frame now, the rest later.
            Some(b'H') => {
                out.emit(slot, meta, b"H-first");
                self.held.push((slot, *meta, b"H-last".to_vec()));
                Fate::Held
            }
            Some(b'h') => {
                self.held.push((slot, *meta, frame.to_vec()));
                Fate::Held
            }
            Some(b'r') => {
                self.release(out);
                Fate::Pass
            }
            // Released in the wrong order.
            Some(b'R') => {
                self.held.reverse();
                self.release(out);
                Fate::Pass
            }
            // What was held is merged away.
            Some(b's') => {
                for (slot, ..) in self.held.drain(..) {
                    out.settle(slot);
                }
                Fate::Pass
            }
            _ => Fate::Pass,
        }
    }

    fn finish(&mut self, out: &mut impl Output) {
        self.release(out);
    }

    fn close_some(&mut self, count: usize, _: &mut impl Output) -> bool {
        self.unclosed = self.unclosed.saturating_sub(count);
        self.unclosed > 0
    }

    fn take_records(&mut self) -> Vec<u8> {
        Vec::new()
    }

    fn stats(&self) -> Value {
        json!({"packets": {"held": self.held.len()}})
    }
}

/// A directory that goes away with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("peeltap-replay-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Scratch(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const HEADER: FileHeader = FileHeader {
    big_endian: false,
    nanos: false,
    record_header: RECORD_HEADER,
    snaplen: 262_144,
    link_type: 1,
    plain_link: true,
};

/// Frames one millisecond apart.
fn pcap(header: &FileHeader, frames: &[&[u8]]) -> Vec<u8> {
    let mut bytes = header.emit().to_vec();
    for (index, frame) in frames.iter().enumerate() {
        let captured = frame.len() as u32;
        let record = Record {
            seconds: 1,
            fraction: index as u32 * 1000,
            captured,
            original: captured,
        };
        let mut head = [0; RECORD_HEADER];
        record.emit(&mut head, header.order());
        bytes.extend_from_slice(&head);
        bytes.extend_from_slice(frame);
    }
    bytes
}

fn open(path: &str) -> Reader {
    let source = Source::from_file(reader::open(path).unwrap());
    Reader::new(path, source, &mut || true).unwrap()
}

/// Reads a capture back: time in milliseconds after the first second, length on the wire, frame.
fn packets(path: &str) -> Vec<(u64, u32, String)> {
    let mut reader = open(path);
    let mut packets = Vec::new();
    while let Some(packet) = reader.next().unwrap() {
        let frame = String::from_utf8_lossy(reader.frame_mut(&packet)).into_owned();
        packets.push((
            (packet.ts - 1_000_000_000) / 1_000_000,
            packet.orig_len,
            frame,
        ));
    }
    assert_eq!(reader.warning(), None);
    packets
}

fn start(
    processor: Scripted,
    inputs: &[String],
    output: Option<&str>,
    filters: Filters,
) -> Result<Replay<Scripted>, Error> {
    Replay::new(processor, inputs, output, filters, 0, &mut || true)
}

fn run(processor: Scripted, inputs: &[String], output: &str, window: usize) -> Replay<Scripted> {
    let mut replay = Replay::new(
        processor,
        inputs,
        Some(output),
        Filters::None,
        window,
        &mut || true,
    )
    .unwrap();
    while replay.step(3).unwrap() {}
    assert!(!replay.step(3).unwrap());
    assert_eq!(replay.stats()["packets"]["held"], 0);
    replay
}

/// In place, and by copy: the same packets must come out.
const OUTPUTS: [&str; 2] = ["out.pcap", "out.pcapng"];

#[test]
fn frames_leave_in_order_whatever_becomes_of_them() {
    /// Time in milliseconds, length on the wire, frame.
    type Expected = &'static [(u64, u32, &'static str)];
    #[rustfmt::skip]
    let cases: &[(&[&str], Expected)] = &[
        (&[], &[]),
        (&["a", "b"], &[(0, 1, "a"), (1, 1, "b")]),
        (&["a", "!b", "c"], &[(0, 1, "a"), (1, 2, "ib"), (2, 1, "c")]),
        (&["a", "<12rest", "b"], &[(0, 1, "a"), (1, 4, "rest"), (2, 1, "b")]),
        (&["<12rest", "<12rest"], &[(0, 4, "rest"), (1, 4, "rest")]),
        (&["a", ">rest", "b"], &[(0, 1, "a"), (1, 3, ">re"), (2, 1, "b")]),
        (&["a", "0rest", "b"], &[(0, 1, "a"), (1, 0, ""), (2, 1, "b")]),
        (&["a", "x", "x", "b", "x"], &[(0, 1, "a"), (3, 1, "b")]),
        (&["a", "m", "b"], &[(0, 1, "a"), (1, 99, "m1"), (1, 99, "m22"), (1, 99, "m333"), (2, 1, "b")]),
        (&["a", "h1", "b", "h3", "r", "c"], &[(0, 1, "a"), (1, 2, "h1"), (2, 1, "b"), (3, 2, "h3"), (4, 1, "r"), (5, 1, "c")]),
        (&["h0", "h1", "b", "R"], &[(0, 2, "h0"), (1, 2, "h1"), (2, 1, "b"), (3, 1, "R")]),
        (&["h0", "a", "s", "b"], &[(1, 1, "a"), (2, 1, "s"), (3, 1, "b")]),
        (&["a", "H", "b", "r"], &[(0, 1, "a"), (1, 1, "H-first"), (1, 1, "H-last"), (2, 1, "b"), (3, 1, "r")]),
        // Still held at the end.
        (&["h0", "m", "h2"], &[(0, 2, "h0"), (1, 99, "m1"), (1, 99, "m22"), (1, 99, "m333"), (2, 2, "h2")]),
    ];
    for (frames, expected) in cases {
        let frames: Vec<_> = frames.iter().map(|frame| frame.as_bytes()).collect();
        for (name, big_endian) in [(OUTPUTS[0], false), (OUTPUTS[0], true), (OUTPUTS[1], false)] {
            let scratch = Scratch::new();
            let header = FileHeader {
                big_endian,
                ..HEADER
            };
            let input = scratch.write("in.pcap", &pcap(&header, &frames));
            let output = scratch.path(name);
            run(Scripted::default(), &[input], &output, 0);
            // A frame's length on the wire is never read as less than what there is of it.
            let expected: Vec<_> = expected
                .iter()
                .map(|&(ts, orig_len, text)| (ts, orig_len.max(text.len() as u32), text.to_owned()))
                .collect();
            assert_eq!(packets(&output), expected, "{frames:?} {name}");
        }
    }
}

#[test]
fn a_file_that_passes_is_copied_byte_for_byte() {
    for (big_endian, nanos) in [(false, false), (false, true), (true, false), (true, true)] {
        let scratch = Scratch::new();
        let header = FileHeader {
            big_endian,
            nanos,
            ..HEADER
        };
        let frame = [b'p'; 1400];
        let bytes = pcap(&header, &vec![&frame[..]; 2000]);
        let input = scratch.write("in.pcap", &bytes);
        let output = scratch.path("out.pcap");
        let replay = run(Scripted::default(), &[input], &output, 0);
        assert!(fs::read(&output).unwrap() == bytes);
        assert_eq!(replay.progress().packets.load(Ordering::Relaxed), 2000);
        assert_eq!(
            replay.progress().bytes.load(Ordering::Relaxed),
            bytes.len() as u64
        );
        assert_eq!(replay.bytes_total(), Some(bytes.len() as u64));
    }
}

#[test]
fn a_frame_larger_than_a_chunk_passes_in_place() {
    let scratch = Scratch::new();
    let header = FileHeader {
        snaplen: 4 << 20,
        ..HEADER
    };
    let giant = vec![b'g'; 3 * CHUNK];
    let bytes = pcap(&header, &[b"a", &giant, b"h", &giant, b"r", b"z"]);
    let input = scratch.write("in.pcap", &bytes);
    let output = scratch.path("out.pcap");
    run(Scripted::default(), &[input], &output, 0);
    assert!(fs::read(&output).unwrap() == bytes);
}

#[test]
fn the_window_is_bounded_and_a_packet_held_beyond_it_is_late() {
    let frame = [b'p'; 1400];
    for name in OUTPUTS {
        let scratch = Scratch::new();
        // One that is held for ever, one for a short time near the end.
        let mut frames = vec![&b"h-early"[..]];
        frames.extend(std::iter::repeat_n(&frame[..], 20_000));
        frames.extend([&b"h-near"[..], b"p"]);
        let input = scratch.write("in.pcap", &pcap(&HEADER, &frames));
        let output = scratch.path(name);
        let mut replay =
            start(Scripted::default(), &[input], Some(&output), Filters::None).unwrap();
        let mut most = 0;
        while replay.step(100).unwrap() {
            most = most.max(replay.state.sink.chunks.alive());
        }
        assert!(most <= LEAST_WINDOW + 2 * CHUNK, "{most}");
        assert_eq!(replay.stats()["capture"]["late"], 1);
        let frames: Vec<_> = packets(&output)
            .into_iter()
            .map(|(.., frame)| frame)
            .collect();
        assert_eq!(frames.len(), 20_003);
        let place = |text: &str| frames.iter().position(|frame| frame == text).unwrap();
        assert_eq!(place("h-near"), 20_000);
        assert!(place("h-early") > 20_000);
    }
}

#[test]
fn what_is_released_later_stands_in_its_place() {
    for name in OUTPUTS {
        let scratch = Scratch::new();
        let mut frames = vec![&b"h"[..]];
        frames.extend(vec![&b"p"[..]; 100]);
        let input = scratch.write("in.pcap", &pcap(&HEADER, &frames));
        let output = scratch.path(name);
        let processor = Scripted {
            patience: Some(30_000_000),
            ..Scripted::default()
        };
        let mut replay = start(processor, &[input], Some(&output), Filters::None).unwrap();
        // Released by time, not by the end.
        assert!(replay.step(50).unwrap());
        assert!(replay.processor.held.is_empty());
        while replay.step(50).unwrap() {}
        assert_eq!(packets(&output)[0].2, "h");
    }
}

#[test]
fn connections_are_closed_a_few_a_step() {
    let scratch = Scratch::new();
    let input = scratch.write("in.pcap", &pcap(&HEADER, &[b"p"]));
    let processor = Scripted {
        unclosed: 10,
        ..Scripted::default()
    };
    let mut replay = start(processor, &[input], None, Filters::None).unwrap();
    let mut left = Vec::new();
    while replay.step(4).unwrap() {
        left.push(replay.processor.unclosed);
    }
    assert_eq!(left, [6, 2]);
}

#[test]
fn filtered_packets_are_counted_and_never_pushed() {
    // ldb [0]; jeq 'x', 1, 0; ret 0 unless 'x'... : takes frames that begin with `p`.
    let program = [
        (0x30, 0, 0, 0),
        (0x15, 0, 1, u32::from(b'p')),
        (0x06, 0, 0, 1),
        (0x06, 0, 0, 0),
    ];
    for name in OUTPUTS {
        for filters in [
            Filters::one(&program).unwrap(),
            Filters::by_link_type([(1, program.to_vec())].into()).unwrap(),
        ] {
            let scratch = Scratch::new();
            let input = scratch.write("in.pcap", &pcap(&HEADER, &[b"p1", b"x", b"h", b"p2", b""]));
            let output = scratch.path(name);
            let inputs = [input];
            let mut replay = start(Scripted::default(), &inputs, Some(&output), filters).unwrap();
            while replay.step(100).unwrap() {}
            let frames: Vec<_> = packets(&output)
                .into_iter()
                .map(|(.., frame)| frame)
                .collect();
            assert_eq!(frames, ["p1", "p2"]);
            assert_eq!(replay.stats()["capture"]["filtered"], 3);
            assert_eq!(replay.stats()["capture"]["packets"], 5);
        }
    }
    let scratch = Scratch::new();
    let inputs = [scratch.write("in.pcap", &pcap(&HEADER, &[b"p"]))];
    let others = Filters::by_link_type([(113, program.to_vec())].into()).unwrap();
    let error = start(Scripted::default(), &inputs, None, others)
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        "the filter cannot be applied to frames of Ethernet (1)"
    );
}

#[test]
fn inputs_of_several_link_types_need_pcapng() {
    let scratch = Scratch::new();
    let cooked = FileHeader {
        link_type: 113,
        ..HEADER
    };
    let inputs = [
        scratch.write("a.pcap", &pcap(&HEADER, &[b"p-ethernet"])),
        scratch.write("b.pcap", &pcap(&cooked, &[b"p-cooked"])),
    ];
    let output = scratch.path("out.pcap");
    let error = start(Scripted::default(), &inputs, Some(&output), Filters::None);
    let text = error.err().unwrap().to_string();
    assert!(
        text.contains(
            "b.pcap: its frames begin as Linux cooked v1 (113), those before as Ethernet"
        ) && text.ends_with("a name that ends in .pcapng"),
        "{text}"
    );
    let output = scratch.path("out.pcapng");
    run(Scripted::default(), &inputs, &output, 0);
    let frames: Vec<_> = packets(&output)
        .into_iter()
        .map(|(.., frame)| frame)
        .collect();
    assert_eq!(frames, ["p-ethernet", "p-cooked"]);
}

#[test]
fn precision_of_the_finest_input_is_kept() {
    let scratch = Scratch::new();
    let nanos = FileHeader {
        nanos: true,
        ..HEADER
    };
    let inputs = [
        scratch.write("a.pcap", &pcap(&HEADER, &[b"a"])),
        scratch.write("b.pcap", &pcap(&nanos, &[b"b", b"c"])),
    ];
    for name in OUTPUTS {
        let output = scratch.path(name);
        run(Scripted::default(), &inputs, &output, 0);
        let mut reader = open(&output);
        let mut seen = Vec::new();
        while let Some(packet) = reader.next().unwrap() {
            seen.push(packet.ts);
        }
        // The second file's fractions are nanoseconds: 0 and 1000.
        assert_eq!(seen, [1_000_000_000, 1_000_000_000, 1_000_001_000]);
    }
}

#[test]
fn frames_of_an_unknown_link_type_pass_unread() {
    let wifi = FileHeader {
        link_type: 105,
        ..HEADER
    };
    for name in OUTPUTS {
        let scratch = Scratch::new();
        let input = scratch.write("in.pcap", &pcap(&wifi, &[b"x", b"h"]));
        let output = scratch.path(name);
        let replay = run(Scripted::default(), &[input], &output, 0);
        let frames: Vec<_> = packets(&output)
            .into_iter()
            .map(|(.., frame)| frame)
            .collect();
        assert_eq!(frames, ["x", "h"]);
        assert_eq!(replay.stats()["capture"]["unknown_link"], 2);
        assert_eq!(replay.warnings().len(), 1);
    }
}

#[test]
fn a_cut_file_gives_everything_up_to_the_cut() {
    for name in OUTPUTS {
        let scratch = Scratch::new();
        let bytes = pcap(&HEADER, &[b"one", b"h-two", b"three"]);
        let input = scratch.write("in.pcap", &bytes[..bytes.len() - 1]);
        let output = scratch.path(name);
        let replay = run(Scripted::default(), &[input], &output, 0);
        let frames: Vec<_> = packets(&output)
            .into_iter()
            .map(|(.., frame)| frame)
            .collect();
        assert_eq!(frames, ["one", "h-two"]);
        assert_eq!(replay.stats()["capture"]["truncated"], true);
        let warnings = replay.warnings();
        let text = "in.pcap: cut or damaged at byte 64: a record of 21 or more bytes begins there";
        assert!(warnings[0].contains(text), "{warnings:?}");
    }
}

#[test]
fn an_input_is_never_the_output() {
    let scratch = Scratch::new();
    let bytes = pcap(&HEADER, &[b"p"]);
    let input = scratch.write("in.pcap", &bytes);
    let link = scratch.path("link.pcap");
    std::os::unix::fs::symlink(&input, &link).unwrap();
    for output in [&input, &link] {
        let inputs = [input.clone()];
        let error = start(Scripted::default(), &inputs, Some(output), Filters::None);
        let text = error.err().unwrap().to_string();
        assert!(
            text.contains("the output is the same file as the input"),
            "{text}"
        );
        assert!(fs::read(&input).unwrap() == bytes);
    }
}

#[test]
fn an_output_that_was_longer_is_replaced_whole() {
    let scratch = Scratch::new();
    let bytes = pcap(&HEADER, &[b"p"]);
    let input = scratch.write("in.pcap", &bytes);
    let output = scratch.write("out.pcap", &[0xaa; 100_000]);
    run(Scripted::default(), &[input], &output, 0);
    assert_eq!(fs::read(&output).unwrap(), bytes);
    assert!(fs::metadata(&output).unwrap().len() == bytes.len() as u64);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Both ways agree, and what they write can be read, for any script.
    #[test]
    fn both_ways_write_the_same_packets(
        script in proptest::collection::vec(("[!<>0xmHhrRsp]", 4usize..2000), 0..400),
        step in 1u64..50,
    ) {
        let frames: Vec<Vec<u8>> = script
            .iter()
            .map(|(command, length)| {
                let mut frame = vec![b'.'; *length];
                frame[0] = command.as_bytes()[0];
                frame
            })
            .collect();
        let frames: Vec<_> = frames.iter().map(Vec::as_slice).collect();
        let scratch = Scratch::new();
        let inputs = [scratch.write("in.pcap", &pcap(&HEADER, &frames))];
        let mut seen = Vec::new();
        for name in OUTPUTS {
            let output = scratch.path(name);
            let mut replay =
                start(Scripted::default(), &inputs, Some(&output), Filters::None).unwrap();
            while replay.step(step).unwrap() {}
            seen.push(packets(&output));
        }
        prop_assert!(seen[0] == seen[1]);
        prop_assert!(seen[0].is_sorted_by_key(|packet| packet.0));
    }
}
