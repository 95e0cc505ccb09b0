//! Bytes in and out of files; nothing else.
