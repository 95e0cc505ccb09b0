//! The engine: scripts of packets and waits, and what has to hold at each step.
//!
//! [`script`] turns the input's bytes into steps, with [`frames`] and [`streams`]; [`oracle`] judges
//! every packet that comes out; the accounts and the bounds are looked at here.

mod frames;
mod oracle;
mod script;
mod streams;

use peeltap_core::engine::{Config, Engine};
use serde_json::Value;

use oracle::Watch;
use script::{Limits, Script, Step, TUPLES};

/// The engine's configuration of a script.
fn config(script: &Script) -> Config {
    let Script {
        flags,
        limits,
        depth,
        ..
    } = script;
    let choose = |bit: u8, set: &'static str, unset: &'static str| {
        if flags & 1 << bit != 0 {
            set
        } else {
            unset
        }
    };
    let gateway = |from: &str, to: &str| {
        format!(
            r#"{{"from": "{from}", "to": "{to}", "required": {}, "depth": {depth},
                "headers": ["proxy-v2", "proxy-v1", "magic", "sslproxy"]}}"#,
            choose(5, "true", "false"),
        )
    };
    let Limits {
        connections,
        half_open,
        hold_packets,
        hold_bytes,
        hold_total_bytes,
        ..
    } = limits;
    let Limits {
        fragments,
        hold,
        idle,
        ..
    } = limits;
    let json = format!(
        r#"{{"mode": "{}", "midstream": "{}", "other": "{}", "superframes": "{}", "announce": {},
            "codecs": {}, "gateways": [{}, {}],
            "limits": {{"connections": {connections}, "half_open": {half_open},
                "hold_packets": {hold_packets}, "hold_bytes": {hold_bytes},
                "hold_seconds": {hold}, "hold_total_bytes": {hold_total_bytes},
                "fragments": {fragments}, "fragment_seconds": {hold},
                "idle_seconds": {idle}, "half_open_seconds": {idle}, "closed_seconds": {idle}}}}}"#,
        choose(0, "restore", "strip"),
        choose(1, "drop", "pass"),
        choose(2, "drop", "pass"),
        choose(3, "segment", "keep"),
        announces(script),
        streams::CODECS,
        gateway("172.16.23.1", "172.16.23.2"),
        gateway("fd00:23::1", "fd00:23::2"),
    );
    Config::from_json(json.as_bytes()).expect("a sound configuration")
}

fn announces(script: &Script) -> bool {
    script.flags >> 6 == 3
}

/// Prints a script that failed, where a panic unwinds (libFuzzer's does not).
struct Transcript<'a>(&'a Script, usize);

impl Drop for Transcript<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Transcript(script, step) = self;
            eprintln!(
                "flags {:#b}, depth {}, {:?}, streams {:?}",
                script.flags, script.depth, script.limits, script.streams
            );
            for (at, done) in script.steps.iter().take(*step + 1).enumerate() {
                eprintln!("{at}: {done:?}");
            }
        }
    }
}

/// A script: see [`script`].
pub fn engine(data: &[u8]) {
    let script = Script::new(data);
    let mut engine = Engine::new(config(&script));
    let mut watch = Watch::new(&script, Script::first_seq(data));
    let mut transcript = Transcript(&script, 0);
    let mut records = 0;
    for (at, step) in script.steps.iter().enumerate() {
        transcript.1 = at;
        match step {
            Step::Push(input) => {
                let slot = watch.begin(at, input);
                let mut frame = input.frame.clone();
                let fate = engine.push(slot, &input.meta, &mut frame, &mut watch);
                watch.end(input, &frame, fate);
            }
            Step::Advance(now) => {
                engine.advance(*now, &mut watch);
                if !script.leaps {
                    not_too_long(&script, &watch, *now);
                }
            }
        }
        bounded(&script, &engine, &watch);
        let made = engine.take_records();
        records += lines(&made);
        watch.recorded_early(&made);
    }
    engine.finish(&mut watch);
    while engine.close_some(3, &mut watch) {}
    bounded(&script, &engine, &watch);
    let made = engine.take_records();
    records += lines(&made);
    let stats = Value::Object(engine.stats_json());
    watch.finish(&made);
    assert_eq!(
        (stats["tracked"].as_u64(), stats["held_bytes"].as_u64()),
        (Some(0), Some(0))
    );
    let verdicts = stats["connections"].as_object().into_iter().flatten();
    let verdicts: u64 = verdicts.filter_map(|(_, count)| count.as_u64()).sum();
    if !announces(&script) {
        assert_eq!(
            records, verdicts,
            "each connection has one verdict and one record"
        );
    }
}

fn lines(records: &[u8]) -> u64 {
    records.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// Accounts and bounds, after each step.
fn bounded(script: &Script, engine: &Engine, watch: &Watch) {
    let stats = engine.stats();
    assert!(stats.balanced(), "{stats:?}");
    assert_eq!(stats.held, watch.held_in_all(), "packets held, slots held");
    assert_eq!(stats.frames_out, watch.frames());

    let limits = &script.limits;
    if limits.connections >= TUPLES.len() && limits.hold_total_bytes > 1 << 20 {
        return; // No script comes near these, and to ask costs more than a packet.
    }
    let all = engine.stats_json();
    let number = |name: &str| all[name].as_u64().expect("a number") as usize;
    assert!(number("half_open") <= limits.half_open);
    assert!(number("tracked") - number("half_open") <= limits.connections);
    assert!(
        number("held_bytes") <= limits.hold_total_bytes,
        "bytes held in all"
    );
    let (packets, fragments) = watch.held();
    assert!(
        packets <= limits.hold_packets,
        "{packets} packets of one connection wait"
    );
    // The last fragment's slot becomes the datagram's, and may wait on for its header.
    assert!(fragments <= limits.fragments + limits.hold_packets * TUPLES.len());
}

/// No packet waits for its header longer than allowed, once the time is told.
fn not_too_long(script: &Script, watch: &Watch, now: u64) {
    if let Some(step) = watch.oldest_held() {
        if let Step::Push(input) = &script.steps[step] {
            let due = input.meta.ts + script.limits.hold * 1_000_000_000;
            assert!(due > now, "held from step {step} on, and still at {now}");
        }
    }
}
