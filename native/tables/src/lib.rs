//! Tables of typed columns into files that other engines read.
//!
//! A writer is given batches of columns and knows neither traces nor JavaScript; what the rows mean is said where the
//! tables are made.

mod chunk;
mod encode;
mod error;
mod group;
pub mod parquet;
pub mod sqlite;
mod table;

pub use error::Error;
pub use table::{Column, ColumnBatch, ColumnType, Growth, Values};
