//! Wire formats: one header family a file.
