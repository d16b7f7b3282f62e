//! Tables of typed columns into files that other engines read.
//!
//! A writer is given batches of columns and does not know what they mean. The tables of a trace are made in TypeScript; the
//! columns of the largest one, of events, are filled in here too, since there the time of an export goes.

mod chunk;
mod encode;
mod error;
pub mod event;
mod group;
pub mod parquet;
pub mod sqlite;
mod table;

pub use error::Error;
pub use table::{Column, ColumnBatch, ColumnType, Growth, Values};
