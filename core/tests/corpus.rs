//! Replays the corpora of core/fuzz through the fuzz targets, with any toolchain.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[path = "../fuzz/src/lib.rs"]
mod targets;

#[test]
fn every_corpus_holds() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let listed = |path: &Path| {
        let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        entries
            .map(|entry| entry.expect("an entry").path())
            .collect::<BTreeSet<_>>()
    };
    let known: BTreeSet<_> = targets::TARGETS
        .iter()
        .map(|(name, _)| corpora.join(name))
        .collect();
    assert_eq!(
        listed(&corpora),
        known,
        "each target has a corpus, and each corpus a target"
    );
    for (name, target) in targets::TARGETS {
        let inputs = listed(&corpora.join(name));
        assert!(!inputs.is_empty(), "{name}: an empty corpus");
        for input in inputs {
            println!("{}", input.display());
            target(&fs::read(&input).expect("a readable file"));
        }
    }
}
