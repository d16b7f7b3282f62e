//! Tables written to files, and read back by the libraries of others: one program, as each one is linked for a long time.

mod parquet;
mod sqlite;
