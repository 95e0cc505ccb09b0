#!/usr/bin/env bash
# Lines and branches of Python and lines of Rust that the tests reach, into coverage/.
# `make coverage` calls it; cargo-tarpaulin is built on first use, into .venv.
set -euo pipefail
cd "$(dirname "$0")/.."

mkdir -p coverage

# cargo-tarpaulin reads the compiler's coverage data by itself. LLVM's own tools would have to be of
# the very LLVM version that rustc was built with, which distributions do not package.
if [[ ! -x .venv/bin/cargo-tarpaulin ]]; then
    echo 'coverage: building cargo-tarpaulin, once; it takes some minutes' >&2
    cargo install cargo-tarpaulin --locked --quiet --root .venv
fi

echo '== Python: lines and branches =='
.venv/bin/pytest -q -n "${PYTEST_WORKERS:-2}" --dist loadgroup \
    --cov=pipeline --cov=reassembly --cov=suricata --cov-branch \
    --cov-report=term --cov-report=html:coverage/python --cov-report=xml:coverage/python.xml

echo '== Rust: lines, as reached by its own tests =='
# Its own target directory: instrumented code and ordinary code would replace each other in turns.
# Relative paths would be taken from the crate's directory.
CARGO_TARGET_DIR=$PWD/core/target/coverage .venv/bin/cargo-tarpaulin tarpaulin \
    --manifest-path core/Cargo.toml --engine llvm --skip-clean --out html lcov \
    --exclude-files 'tests/*' 'fuzz/*' 'examples/*' '*_tests.rs' --output-dir "$PWD/coverage" \
    >coverage/rust.log 2>&1 || { tail -n 40 coverage/rust.log >&2 && exit 1; }
sed -n '/Tested\/Total Lines/,$p' coverage/rust.log
