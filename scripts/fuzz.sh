#!/usr/bin/env bash
# Runs every fuzz target of core/fuzz, or those named, for FUZZ_SECONDS each (default 10).
#
# With the nightly toolchain the targets also run under AddressSanitizer; the stable one does without.
# libFuzzer needs a C++ compiler: where there is none this says so and replays the committed corpora.
# Exit code: 0 nothing found, 1 a target failed (its input is under core/fuzz/artifacts).
set -euo pipefail
cd "$(dirname "$0")/../core/fuzz"
export PATH="$HOME/.cargo/bin:$PATH"
seconds="${FUZZ_SECONDS:-10}"

if ! command -v c++ >/dev/null; then
    echo 'fuzz: there is no C++ compiler: replaying the corpora instead (remedy: make setup)' >&2
    exec cargo test --manifest-path ../Cargo.toml --test corpus
fi
toolchain=+nightly sanitizer=-Zsanitizer=address
if ! cargo +nightly --version >/dev/null 2>&1; then
    toolchain=+$(rustup show active-toolchain 2>/dev/null | cut -d' ' -f1)
    sanitizer=
fi
# Where there is no rustup, cargo takes no toolchain either.
command -v rustup >/dev/null || toolchain=

# shellcheck disable=SC2086  # an empty toolchain is no argument
host="$(rustc $toolchain --version --verbose | sed -n 's/^host: //p')"
# What `cargo fuzz` passes, which so works here too and need not be installed. With --target they
# bind the targets alone, not build scripts.
export RUSTFLAGS='-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
 -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Cdebug-assertions
 -Coverflow-checks -Ccodegen-units=1'
RUSTFLAGS="${RUSTFLAGS//$'\n'/} $sanitizer"
# shellcheck disable=SC2086
cargo $toolchain build --release --bins --target "$host" --quiet

if [[ $# -eq 0 ]]; then
    set -- fuzz_targets/*.rs
fi
failed=()
for target in "$@"; do
    target="$(basename "$target" .rs)"
    # What the fuzzer finds goes to the first folder; the committed corpus is only read.
    work="target/corpus/$target"
    mkdir -p "$work" "artifacts/$target"
    echo "fuzz: $target, $seconds s"
    if ! "target/$host/release/$target" "$work" "corpus/$target" -max_total_time="$seconds" \
        -artifact_prefix="artifacts/$target/" -timeout=10 -rss_limit_mb=1024 -verbosity=0 \
        -print_final_stats=1 2>"$work.log"; then
        cat "$work.log" >&2
        failed+=("$target")
        continue
    fi
    sed -n 's/^stat::number_of_executed_units: */  runs: /p' "$work.log"
done
if [[ ${#failed[@]} -gt 0 ]]; then
    echo "fuzz: failed: ${failed[*]}" >&2
    exit 1
fi
