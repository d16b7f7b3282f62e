//! Rows that wait for their row group to be full.

use std::ops::Range;

use crate::error::Error;
use crate::table::{Column, ColumnBatch, ColumnType, Growth, Values};

/// The values that the codes of a column speak of.
///
/// A column begins another dictionary from time to time; rows that still wait speak of the one before, so its values stay
/// until no row does.
#[derive(Default)]
pub(crate) struct Dictionary {
    ends: Vec<usize>,
    bytes: Vec<u8>,
    /// What codes of new rows count from.
    base: usize,
}

impl Dictionary {
    fn grow(&mut self, growth: &Growth) -> Result<(), Error> {
        if growth.restart {
            self.base = self.ends.len();
        }
        let start = self.bytes.len();
        let mut before = 0;
        for &end in &growth.ends {
            if end < before || end as usize > growth.bytes.len() {
                return Err(Error::Broken("the ends of a dictionary's values do not fit its bytes".to_owned()));
            }
            before = end;
            self.ends.push(start + end as usize);
        }
        self.bytes.extend_from_slice(&growth.bytes[..before as usize]);
        Ok(())
    }

    /// Bytes that are kept for rows of dictionaries before this one.
    pub(crate) fn stale(&self) -> usize {
        self.base.checked_sub(1).map_or(0, |last| self.ends[last])
    }

    /// Lets go of what only earlier rows spoke of.
    pub(crate) fn forget(&mut self) {
        let cut = self.stale();
        if self.base == 0 {
            return;
        }
        self.bytes.drain(..cut);
        self.ends.drain(..self.base);
        for end in &mut self.ends {
            *end -= cut;
        }
        self.base = 0;
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The value of a code of the dictionary that was begun last.
    pub(crate) fn of_code(&self, code: u32) -> &[u8] {
        self.value(self.base + code as usize)
    }

    /// The value with this number over all dictionaries that are kept.
    pub(crate) fn value(&self, number: usize) -> &[u8] {
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[number]]
    }
}

/// Waiting values of one column. What stands in place of nulls means nothing.
pub(crate) enum Waiting {
    Int(Vec<i64>),
    Bool(Vec<bool>),
    /// Numbers over all dictionaries that are kept.
    Code(Vec<u32>),
}

pub(crate) struct WaitingColumn {
    pub(crate) values: Waiting,
    /// 1 where the value is missing; empty for columns that cannot be null.
    pub(crate) nulls: Vec<u8>,
}

/// Rows of a batch that are added together.
pub(crate) enum Chosen<'a> {
    /// Those that follow each other.
    All(Range<usize>),
    /// These.
    Some(&'a [usize]),
}

impl Chosen<'_> {
    fn len(&self) -> usize {
        match self {
            Chosen::All(rows) => rows.len(),
            Chosen::Some(rows) => rows.len(),
        }
    }

    fn append<T: Copy, U>(&self, from: &[T], to: &mut Vec<U>, convert: impl Fn(T) -> U) {
        match self {
            Chosen::All(rows) => to.extend(from[rows.clone()].iter().map(|&value| convert(value))),
            Chosen::Some(rows) => to.extend(rows.iter().map(|&row| convert(from[row]))),
        }
    }
}

/// Rows of all columns.
pub(crate) struct Group {
    pub(crate) columns: Vec<WaitingColumn>,
    pub(crate) rows: usize,
}

impl Group {
    pub(crate) fn new(columns: &[Column]) -> Group {
        let waiting = |column: &Column| WaitingColumn {
            values: match column.ty {
                ColumnType::Int => Waiting::Int(Vec::new()),
                ColumnType::Bool => Waiting::Bool(Vec::new()),
                ColumnType::Text | ColumnType::Bytes => Waiting::Code(Vec::new()),
            },
            nulls: Vec::new(),
        };
        Group { columns: columns.iter().map(waiting).collect(), rows: 0 }
    }

    pub(crate) fn clear(&mut self) {
        for column in &mut self.columns {
            column.nulls.clear();
            match &mut column.values {
                Waiting::Int(values) => values.clear(),
                Waiting::Bool(values) => values.clear(),
                Waiting::Code(values) => values.clear(),
            }
        }
        self.rows = 0;
    }

    /// Adds the rows of the list. The dictionaries say where the codes of the batch count from now: that changes within
    /// a batch, when one of them forgets what only written rows spoke of.
    pub(crate) fn add(&mut self, batch: &Checked, dictionaries: &[Dictionary], rows: &Chosen) {
        self.rows += rows.len();
        let given = batch.columns.iter().zip(&batch.batches).zip(dictionaries);
        for (waiting, ((column, batch), dictionary)) in self.columns.iter_mut().zip(given) {
            match batch.nulls {
                _ if !column.nullable => {}
                [] => waiting.nulls.resize(self.rows, 0),
                nulls => rows.append(nulls, &mut waiting.nulls, |null| u8::from(null != 0)),
            }
            match (&mut waiting.values, &batch.values) {
                (Waiting::Int(to), Values::Int(from)) => rows.append(from, to, |value| value),
                (Waiting::Bool(to), Values::Bool(from)) => rows.append(from, to, |value| value != 0),
                (Waiting::Code(to), Values::Code(from)) => {
                    let base = dictionary.base as u32;
                    rows.append(from, to, |code| code.wrapping_add(base));
                }
                _ => unreachable!("the batch was checked against the table"),
            }
        }
    }
}

/// A batch that fits the table.
pub(crate) struct Checked<'a> {
    pub(crate) rows: usize,
    columns: &'a [Column],
    batches: Vec<CheckedColumn<'a>>,
}

struct CheckedColumn<'a> {
    values: &'a Values,
    nulls: &'a [u8],
}

impl<'a> Checked<'a> {
    /// Grows the dictionaries and makes sure that everything the rows speak of is there.
    pub(crate) fn new(
        columns: &'a [Column],
        dictionaries: &mut [Dictionary],
        batch: &'a [ColumnBatch],
    ) -> Result<Checked<'a>, Error> {
        let broken = |column: &Column, what: &str| Error::Broken(format!("column {}: {what}", column.name));
        if batch.len() != columns.len() {
            return Err(Error::Broken(format!("a batch of {} columns for {}", batch.len(), columns.len())));
        }
        let rows = batch.first().map_or(0, |column| column.values.len());
        let mut batches = Vec::with_capacity(columns.len());
        for ((column, dictionary), given) in columns.iter().zip(dictionaries).zip(batch) {
            let nulls = given.nulls.as_slice();
            if given.values.len() != rows || !(nulls.is_empty() || nulls.len() == rows) {
                return Err(broken(column, "another number of rows than the first column"));
            }
            if !column.nullable && nulls.contains(&1) {
                return Err(broken(column, "a row without a value"));
            }
            match (column.ty, &given.values) {
                (ColumnType::Int, Values::Int(_)) | (ColumnType::Bool, Values::Bool(_)) => {}
                (ColumnType::Text | ColumnType::Bytes, Values::Code(codes)) => {
                    dictionary.grow(&given.growth)?;
                    let known = dictionary.len() - dictionary.base;
                    let wrong = |(row, &code): (usize, &u32)| {
                        code as usize >= known && nulls.get(row).is_none_or(|&null| null == 0)
                    };
                    if codes.iter().enumerate().any(wrong) {
                        return Err(broken(column, "a code that the dictionary does not have"));
                    }
                }
                _ => return Err(broken(column, "values of another type")),
            }
            batches.push(CheckedColumn { values: &given.values, nulls });
        }
        Ok(Checked { rows, columns, batches })
    }

    /// The integers of a column without nulls.
    pub(crate) fn ints(&self, column: usize) -> &[i64] {
        match self.batches[column].values {
            Values::Int(values) => values,
            _ => &[],
        }
    }
}
