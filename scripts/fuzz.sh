#!/usr/bin/env bash
# Runs every fuzz target, or those named, for FUZZ_SECONDS each (default 10), FUZZ_JOBS at a time
# (default: one for each processor).
#
# The targets are those of core/fuzz and `eve`, the correction of EVE in Python (scripts/fuzz_eve.py).
# They start from the committed corpora and from what earlier runs on this machine found
# (core/fuzz/target/corpus). The stable toolchain will do. FUZZ_SANITIZER=address adds
# AddressSanitizer, for the little code that is unsafe, with the nightly toolchain; it takes twice as
# long to build and to run.
# libFuzzer needs a C++ compiler: where there is none this says so and replays the corpora.
# Exit code: 0 nothing found, 1 a target failed (its input is under core/fuzz/artifacts).
set -euo pipefail
root="$(cd "$(dirname "$0")/.." && pwd)"
cd "$root/core/fuzz"
export PATH="$root/.venv/bin:$HOME/.cargo/bin:$PATH"
seconds="${FUZZ_SECONDS:-10}"
jobs="${FUZZ_JOBS:-$(nproc)}"

if [[ $# -eq 0 ]]; then
    set -- eve fuzz_targets/*.rs
fi
targets=()
for target in "$@"; do
    targets+=("$(basename "$target" .rs)")
done

if ! command -v c++ >/dev/null; then
    echo 'fuzz: there is no C++ compiler: replaying the corpora instead (remedy: make setup)' >&2
    cargo test --manifest-path ../Cargo.toml --test corpus
    targets=(eve)
fi

toolchain=() sanitizer=()
if [[ -n ${FUZZ_SANITIZER:-} ]]; then
    toolchain=(+nightly) sanitizer=("-Zsanitizer=$FUZZ_SANITIZER")
fi
host="$(rustc "${toolchain[@]}" --version --verbose | sed -n 's/^host: //p')"
if [[ ${targets[*]} != eve ]]; then
    # What `cargo fuzz` passes, which so works here too and need not be installed; but for its one
    # codegen unit, which keeps all processors but one idle. With --target they bind the targets alone,
    # not build scripts.
    flags=(-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
        -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares
        --cfg fuzzing -Cdebug-assertions -Coverflow-checks "${sanitizer[@]}")
    RUSTFLAGS="${flags[*]}" cargo "${toolchain[@]}" build --release --bins --target "$host" --quiet
fi

fuzz() { # TARGET
    local target=$1 work="target/corpus/$1" runs
    if [[ $target == eve ]]; then
        python "$root/scripts/fuzz_eve.py" "$seconds"
        return
    fi
    # What the fuzzer finds goes to the first folder; the committed corpus is only read.
    mkdir -p "$work" "artifacts/$target"
    if ! "target/$host/release/$target" "$work" "corpus/$target" -max_total_time="$seconds" \
        -artifact_prefix="artifacts/$target/" -timeout=10 -rss_limit_mb=1024 -verbosity=0 \
        -print_final_stats=1 2>"$work.log"; then
        cat "$work.log" >&2
        return 1
    fi
    runs="$(sed -n 's/^stat::number_of_executed_units: *//p' "$work.log")"
    echo "fuzz: $target, $seconds s: $runs runs"
}

failures=0
running=0
for target in "${targets[@]}"; do
    if ((running == jobs)); then
        wait -n || failures=$((failures + 1))
        running=$((running - 1))
    fi
    { fuzz "$target" || { echo "fuzz: $target failed" >&2 && false; }; } &
    running=$((running + 1))
done
while ((running > 0)); do
    wait -n || failures=$((failures + 1))
    running=$((running - 1))
done
((failures == 0))
