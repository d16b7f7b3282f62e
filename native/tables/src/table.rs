//! Rows of a table as columns: what a writer is given.

/// How the values of a column are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// Signed 64-bit integers.
    Int,
    /// True or false.
    Bool,
    /// UTF-8 text.
    Text,
    /// Bytes of any kind.
    Bytes,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What its values are.
    pub ty: ColumnType,
    /// Whether rows may lack a value.
    pub nullable: bool,
}

/// The values of one column of a batch, one entry per row.
#[derive(Clone, Debug)]
pub enum Values {
    /// Integers.
    Int(Vec<i64>),
    /// 0 or 1.
    Bool(Vec<u8>),
    /// Numbers of values in the dictionary that the column got last.
    Code(Vec<u32>),
}

impl Values {
    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Values::Int(values) => values.len(),
            Values::Bool(values) => values.len(),
            Values::Code(values) => values.len(),
        }
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a batch adds to the dictionary of a column of text or bytes.
#[derive(Clone, Debug, Default)]
pub struct Growth {
    /// Whether codes count from this growth on: what the dictionary held before is not spoken of any more.
    pub restart: bool,
    /// Where each new value ends in `bytes`.
    pub ends: Vec<u32>,
    /// The new values, one after the other.
    pub bytes: Vec<u8>,
}

/// The values of a column of a batch, with what its dictionary grew by.
#[derive(Clone, Debug)]
pub struct ColumnBatch {
    /// One entry per row; what stands where `nulls` says so means nothing.
    pub values: Values,
    /// 1 where a row lacks the value; empty when every row has it.
    pub nulls: Vec<u8>,
    /// Only of columns of text and bytes.
    pub growth: Growth,
}
