//! Parquet: a folder of part files, for engines that read many of them as one table.
//!
//! Rows are sorted by time inside each row group, and row groups follow each other in time: a query over a short time reads
//! few of them. A call is known when it ends, so one that lasted long comes long after what began later. Such *late* rows,
//! which began before the row group written last, wait for a row group of their own rather than stretch the others.
//!
//! Integers are signed; times are plain INT64, since Spark refuses TIMESTAMP(NANOS).

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use parquet::basic::{LogicalType, Repetition, Type as PhysicalType};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{Type, TypePtr};

use crate::chunk::{ChunkEncoder, Rows};
use crate::error::Error;
use crate::group::{Checked, Chosen, Dictionary, Group, Waiting};
use crate::table::{Column, ColumnBatch, ColumnType};

/// Rows of a row group: what DuckDB hands to one thread.
pub const GROUP_ROWS: usize = 122_880;

/// Of zstd: higher ones take several times as long for a tenth of the bytes.
const LEVEL: i32 = 1;

/// Row groups of a part file.
const PART_GROUPS: usize = 64;

/// Bytes of values that only late rows still speak of, at which those are written.
const MAX_STALE_BYTES: usize = 64 << 20;

/// What is written, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The columns in their order.
    pub columns: Vec<Column>,
    /// The column of the time by which rows are sorted, which must not be nullable. None: rows stay in their order.
    pub time: Option<usize>,
    /// Columns whose values mostly grow by little from row to row: event numbers, times.
    pub ascending: Vec<usize>,
    /// Facts for the head of each file.
    pub facts: Vec<(String, String)>,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Rows in all.
    pub rows: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// How many files.
    pub parts: u32,
}

/// Writes `part-00000.parquet`, `part-00001.parquet`, ... into a folder that is there.
pub struct ParquetWriter {
    folder: PathBuf,
    options: Options,
    schema: TypePtr,
    properties: WriterPropertiesPtr,
    encoder: ChunkEncoder,
    dictionaries: Vec<Dictionary>,
    group: Group,
    late: Group,
    /// Least time of the row group that was written last.
    floor: i64,
    part: Option<Part>,
    summary: Summary,
}

struct Part {
    writer: SerializedFileWriter<Reporting>,
    failure: Failure,
    path: PathBuf,
    groups: usize,
}

impl ParquetWriter {
    /// Makes nothing yet: the first part is made with the first row group, or at the end.
    ///
    /// # Errors
    /// When the columns make no schema.
    pub fn new(folder: &Path, options: Options) -> Result<ParquetWriter, Error> {
        Ok(ParquetWriter {
            folder: folder.to_owned(),
            schema: schema(&options.columns)?,
            properties: properties(&options),
            encoder: ChunkEncoder::new(LEVEL).map_err(|error| broken(&error))?,
            dictionaries: options.columns.iter().map(|_| Dictionary::default()).collect(),
            group: Group::new(&options.columns),
            late: Group::new(&options.columns),
            floor: i64::MIN,
            part: None,
            summary: Summary::default(),
            options,
        })
    }

    /// Adds rows. They are in a file when [`ParquetWriter::finish`] has returned.
    ///
    /// # Errors
    /// When the batch does not fit the table, or a file cannot be written; the writer is of no use then.
    pub fn write(&mut self, batch: &[ColumnBatch]) -> Result<(), Error> {
        let columns = std::mem::take(&mut self.options.columns);
        let result = self.write_checked(&columns, batch);
        self.options.columns = columns;
        result
    }

    fn write_checked(&mut self, columns: &[Column], batch: &[ColumnBatch]) -> Result<(), Error> {
        let checked = Checked::new(columns, &mut self.dictionaries, batch)?;
        let mut from = 0;
        while from < checked.rows {
            let to = checked.rows.min(from + GROUP_ROWS - self.group.rows);
            self.add(&checked, from, to);
            from = to;
            if self.group.rows == GROUP_ROWS {
                self.flush(false)?;
            }
            if self.late.rows >= GROUP_ROWS {
                self.flush(true)?;
            }
        }
        if self.dictionaries.iter().map(Dictionary::stale).sum::<usize>() > MAX_STALE_BYTES {
            self.flush(false)?;
            self.flush(true)?;
        }
        Ok(())
    }

    fn add(&mut self, batch: &Checked, from: usize, to: usize) {
        let is_late = |row: &usize| self.options.time.is_some_and(|time| batch.ints(time)[*row] < self.floor);
        let late: Vec<usize> = (from..to).filter(is_late).collect();
        if late.is_empty() {
            self.group.add(batch, &self.dictionaries, &Chosen::All(from..to));
            return;
        }
        let rows: Vec<usize> = (from..to).filter(|row| !is_late(row)).collect();
        self.group.add(batch, &self.dictionaries, &Chosen::Some(&rows));
        self.late.add(batch, &self.dictionaries, &Chosen::Some(&late));
    }

    /// Writes the waiting rows as a row group.
    fn flush(&mut self, late: bool) -> Result<(), Error> {
        let mut group = std::mem::replace(if late { &mut self.late } else { &mut self.group }, Group::new(&[]));
        let result = if group.rows == 0 { Ok(()) } else { self.write_group(&group, late) };
        group.clear();
        *(if late { &mut self.late } else { &mut self.group }) = group;
        if self.group.rows == 0 && self.late.rows == 0 {
            self.dictionaries.iter_mut().for_each(Dictionary::forget);
        }
        result
    }

    fn write_group(&mut self, group: &Group, late: bool) -> Result<(), Error> {
        let order = self.options.time.and_then(|time| order_by(&group.columns[time].values));
        if !late
            && let Some(time) = self.options.time
            && let Waiting::Int(times) = &group.columns[time].values
        {
            self.floor = times.iter().copied().min().unwrap_or(self.floor);
        }
        let mut part = match self.part.take() {
            Some(part) => part,
            None => self.begin()?,
        };
        let ascending = &self.options.ascending;
        write_row_group(&mut part.writer, &mut self.encoder, group, order.as_deref(), &self.dictionaries, ascending)
            .map_err(|error| part.failure.explain(&part.path, &error))?;
        part.groups += 1;
        self.summary.rows += group.rows as u64;
        if part.groups == PART_GROUPS {
            self.end(part)?;
        } else {
            self.part = Some(part);
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<Part, Error> {
        let path = self.folder.join(format!("part-{:05}.parquet", self.summary.parts));
        let file = File::create_new(&path).map_err(|source| Error::io("create", &path, source))?;
        let failure = Failure::default();
        let reporting = Reporting { file, failure: failure.clone() };
        let writer = SerializedFileWriter::new(reporting, self.schema.clone(), self.properties.clone())
            .map_err(|error| failure.explain(&path, &error))?;
        self.summary.parts += 1;
        Ok(Part { writer, failure, path, groups: 0 })
    }

    fn end(&mut self, mut part: Part) -> Result<(), Error> {
        let explain = |failure: &Failure, error: &ParquetError| failure.explain(&part.path, error);
        part.writer.finish().map_err(|error| explain(&part.failure, &error))?;
        self.summary.bytes += part.writer.bytes_written() as u64;
        Ok(())
    }

    /// Writes what waits, and the end of the last file. A table without rows has a file too, which says its columns.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn finish(&mut self) -> Result<Summary, Error> {
        self.flush(false)?;
        self.flush(true)?;
        if self.part.is_none() && self.summary.parts == 0 {
            self.part = Some(self.begin()?);
        }
        if let Some(part) = self.part.take() {
            self.end(part)?;
        }
        // Whoever holds the writer may keep it for long: what it needed to write goes now.
        (self.group, self.late) = (Group::new(&[]), Group::new(&[]));
        self.dictionaries.clear();
        Ok(self.summary)
    }
}

fn broken(error: &ParquetError) -> Error {
    Error::Broken(error.to_string())
}

fn schema(columns: &[Column]) -> Result<TypePtr, Error> {
    let fields: Result<Vec<TypePtr>, ParquetError> = columns
        .iter()
        .map(|column| {
            let repetition = if column.nullable { Repetition::OPTIONAL } else { Repetition::REQUIRED };
            let (physical, logical) = match column.ty {
                ColumnType::Int => (PhysicalType::INT64, None),
                ColumnType::Bool => (PhysicalType::BOOLEAN, None),
                ColumnType::Text => (PhysicalType::BYTE_ARRAY, Some(LogicalType::String)),
                ColumnType::Bytes => (PhysicalType::BYTE_ARRAY, None),
            };
            Type::primitive_type_builder(&column.name, physical)
                .with_repetition(repetition)
                .with_logical_type(logical)
                .build()
                .map(Arc::new)
        })
        .collect();
    let fields = fields.map_err(|error| broken(&error))?;
    Type::group_type_builder("row").with_fields(fields).build().map(Arc::new).map_err(|error| broken(&error))
}

fn properties(options: &Options) -> WriterPropertiesPtr {
    let facts = options.facts.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())).collect();
    let sorting = |time: usize| vec![SortingColumn { column_idx: time as i32, descending: false, nulls_first: false }];
    let builder = WriterProperties::builder()
        .set_created_by(concat!("trace version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_offset_index_disabled(true)
        .set_key_value_metadata(Some(facts))
        .set_sorting_columns(options.time.map(sorting));
    Arc::new(builder.build())
}

/// The rows by time, and of one time in the order in which they came. None: they are in that order.
fn order_by(times: &Waiting) -> Option<Vec<u32>> {
    let Waiting::Int(times) = times else { return None };
    if times.is_sorted() {
        return None;
    }
    let mut order: Vec<u32> = (0..times.len() as u32).collect();
    order.sort_by_key(|&row| times[row as usize]);
    Some(order)
}

fn write_row_group(
    writer: &mut SerializedFileWriter<Reporting>,
    encoder: &mut ChunkEncoder,
    group: &Group,
    order: Option<&[u32]>,
    dictionaries: &[Dictionary],
    ascending: &[usize],
) -> Result<(), ParquetError> {
    let descriptors = writer.schema_descr().columns().to_vec();
    let mut row_group = writer.next_row_group()?;
    let rows = Rows { count: group.rows, order };
    for (k, (column, dictionary)) in group.columns.iter().zip(dictionaries).enumerate() {
        let chunk = encoder.chunk(&descriptors[k], column, dictionary, rows, ascending.contains(&k))?;
        row_group.append_column(&chunk.bytes, chunk.close)?;
    }
    row_group.close()?;
    Ok(())
}

/// A file that keeps what the system said of a failed write, which the library turns into a text.
struct Reporting {
    file: File,
    failure: Failure,
}

#[derive(Clone, Default)]
struct Failure(Arc<Mutex<Option<io::Error>>>);

impl Failure {
    fn keep(&self, error: &io::Error) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let copy = error.raw_os_error().map_or_else(|| io::Error::from(error.kind()), io::Error::from_raw_os_error);
        kept.get_or_insert(copy);
    }

    fn explain(&self, path: &Path, error: &ParquetError) -> Error {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        kept.map_or_else(|| broken(error), |source| Error::io("write", path, source))
    }
}

impl Write for Reporting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes).inspect_err(|error| self.failure.keep(error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
