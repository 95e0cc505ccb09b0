//! Runs captures through the engine: what it costs without Python around it.
//!
//! `cargo run --release --example strip -- CONFIG.json OUT IN...`

use peeltap_core::engine::{Config, Engine};
use peeltap_core::replay::{Filters, Replay};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut names = std::env::args().skip(1);
    let usage = "usage: strip CONFIG.json OUT IN...";
    let config = std::fs::read(names.next().ok_or(usage)?)?;
    let output = names.next().ok_or(usage)?;
    let inputs: Vec<_> = names.collect();
    let mut replay = Replay::new(
        Engine::new(Config::from_json(&config)?),
        &inputs,
        Some(&output),
        Filters::None,
        64 << 20,
        &mut || true,
    )?;
    while replay.step(100_000)? {
        replay.take_records();
    }
    Ok(())
}
