//! Copies captures through [`PassThrough`]: what reading and writing cost without the engine.
//!
//! `cargo run --release --example passthrough -- OUT IN...`

use peeltap_core::replay::{Filters, PassThrough, Replay};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut names = std::env::args().skip(1);
    let output = names.next().ok_or("usage: passthrough OUT IN...")?;
    let inputs: Vec<_> = names.collect();
    let mut replay = Replay::new(
        PassThrough::default(),
        &inputs,
        Some(&output),
        Filters::None,
        64 << 20,
        &mut || true,
    )?;
    while replay.step(100_000)? {}
    for warning in replay.warnings() {
        eprintln!("{warning}");
    }
    Ok(())
}
