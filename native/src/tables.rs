//! Tables for JavaScript: batches of typed arrays into Parquet and SQLite files, on a thread of the pool.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use napi::bindgen_prelude::{
    AsyncTask, BigInt64Array, Either, Env, Float64Array, Int32Array, Null, Result, Task, Uint8Array, Uint32Array,
};
use napi_derive::napi;
use trace_engine::error::EngineError;
use trace_engine::reader::Trace;
use trace_tables::event::{EventRows, Meanings, Shape};
use trace_tables::parquet::{Options, ParquetWriter, Summary};
use trace_tables::sqlite::{SqliteFile, SqliteTable};
use trace_tables::{Column, ColumnBatch, ColumnType, Error, Growth, Values};

use crate::reader::{Failure, NativeTrace, Outcome, outcome};

/// A column of a table: `src/tables/table.ts` says what the types are.
#[napi(object, object_to_js = false)]
pub struct NativeColumn {
    pub name: String,
    pub r#type: String,
    pub nullable: bool,
}

/// The values of one column of a batch: one of the arrays, and what goes with it.
#[napi(object, object_to_js = false)]
pub struct NativeValues {
    pub ints: Option<Float64Array>,
    pub words: Option<BigInt64Array>,
    pub bools: Option<Uint8Array>,
    pub codes: Option<Uint32Array>,
    pub nulls: Option<Uint8Array>,
    /// Codes: whether a dictionary begins, where its new values end, and their bytes.
    pub restart: Option<bool>,
    pub ends: Option<Uint32Array>,
    pub bytes: Option<Uint8Array>,
}

/// A fact for the head of a file.
#[napi(object, object_to_js = false)]
pub struct NativeFact {
    pub key: String,
    pub value: String,
}

/// Which arguments of a syscall are of interest: `Shape` of `trace_tables::event`.
#[napi(object, object_to_js = false)]
pub struct NativeShape {
    pub name: String,
    pub path: i32,
    pub base: i32,
    pub fds: Vec<u8>,
    pub returns_fd: bool,
    pub addresses: Vec<u8>,
    pub transfers: bool,
}

/// What the numbers in events mean: `Meanings` of `trace_tables::event`.
#[napi(object, object_to_js = false)]
pub struct NativeMeanings {
    pub shapes: Vec<NativeShape>,
    pub x86_64: Int32Array,
    pub i386: Int32Array,
    pub x32: Int32Array,
    pub kinds: Vec<String>,
    pub errors: Vec<String>,
    pub signals: Vec<String>,
}

impl From<NativeMeanings> for Meanings {
    fn from(given: NativeMeanings) -> Meanings {
        let shapes: Vec<Shape> = given
            .shapes
            .into_iter()
            .map(|shape| Shape {
                name: shape.name,
                path: shape.path as i8,
                base: shape.base as i8,
                fds: shape.fds.into_iter().filter(|&k| k < 6).collect(),
                returns_fd: shape.returns_fd,
                addresses: shape.addresses.into_iter().filter(|&k| k < 6).collect(),
                transfers: shape.transfers,
            })
            .collect();
        let known = shapes.len() as i32;
        let rows = |rows: &[i32]| rows.iter().map(|&row| if row < known { row as i16 } else { -1 }).collect();
        Meanings {
            numbers: [rows(&given.x86_64), rows(&given.i386), rows(&given.x32)],
            shapes,
            kinds: given.kinds,
            errors: given.errors,
            signals: given.signals,
        }
    }
}

/// How the rows of a trace were written: all of them, or up to the damage.
#[napi(object, object_from_js = false)]
pub struct EventsWritten {
    pub damage: Either<Failure, Null>,
}

/// Gives every batch of the events of a trace to `write`.
fn write_events(
    trace: &Trace,
    columns: &[String],
    meanings: Meanings,
    mut write: impl FnMut(&[ColumnBatch]) -> Done<()>,
) -> Done<Option<EngineError>> {
    let broken = EngineError::Broken { part: "writer of tables" };
    let mut rows = EventRows::new(trace, meanings, columns).ok_or(broken)?;
    while let Some(batch) = rows.next_batch() {
        match batch {
            Ok(batch) => write(&batch)?,
            Err(damage) => return Ok(Some(damage)),
        }
    }
    Ok(None)
}

fn events_written(damage: Option<EngineError>) -> EventsWritten {
    EventsWritten { damage: damage.map_or(Either::B(Null), |error| Either::A((&error).into())) }
}

/// What was written.
#[napi(object, object_from_js = false)]
pub struct Written {
    pub rows: f64,
    pub bytes: f64,
    pub parts: u32,
}

impl From<Summary> for Written {
    fn from(summary: Summary) -> Written {
        Written { rows: summary.rows as f64, bytes: summary.bytes as f64, parts: summary.parts }
    }
}

type Done<T> = std::result::Result<T, EngineError>;

pub(crate) fn engine_error(error: Error) -> EngineError {
    match error {
        Error::Io { doing, path, source } => EngineError::Io { doing, path, source },
        Error::Broken(_) => EngineError::Broken { part: "writer of tables" },
    }
}

fn column_of(column: NativeColumn) -> Column {
    let ty = match column.r#type.as_str() {
        "bool" => ColumnType::Bool,
        "text" => ColumnType::Text,
        "bytes" => ColumnType::Bytes,
        _ => ColumnType::Int,
    };
    Column { name: column.name, ty, nullable: column.nullable }
}

/// Typed arrays of JavaScript as they are taken over on the pool's thread.
fn batch_of(values: &[NativeValues]) -> Vec<ColumnBatch> {
    values.iter().map(column_batch).collect()
}

fn column_batch(given: &NativeValues) -> ColumnBatch {
    let values = if let Some(ints) = &given.ints {
        Values::Int(ints.iter().map(|&value| value as i64).collect())
    } else if let Some(words) = &given.words {
        Values::Int(words.to_vec())
    } else if let Some(bools) = &given.bools {
        Values::Bool(bools.to_vec())
    } else {
        Values::Code(given.codes.as_ref().map(|codes| codes.to_vec()).unwrap_or_default())
    };
    let growth = Growth {
        restart: given.restart.unwrap_or(false),
        ends: given.ends.as_ref().map(|ends| ends.to_vec()).unwrap_or_default(),
        bytes: given.bytes.as_ref().map(|bytes| bytes.to_vec()).unwrap_or_default(),
    };
    ColumnBatch { values, nulls: given.nulls.as_ref().map(|nulls| nulls.to_vec()).unwrap_or_default(), growth }
}

/// Part files of one table of one trace.
#[napi]
pub struct NativeParquet {
    writer: Arc<Mutex<ParquetWriter>>,
}

/// Begins to write a table as Parquet into a folder that is there. `time` and `ascending` are numbers of columns.
///
/// # Errors
/// When the columns make no schema, which is a mistake of the program.
#[napi]
pub fn write_parquet(
    folder: String,
    columns: Vec<NativeColumn>,
    time: Option<u32>,
    ascending: Vec<u32>,
    facts: Vec<NativeFact>,
) -> Result<NativeParquet> {
    let options = Options {
        columns: columns.into_iter().map(column_of).collect(),
        time: time.map(|column| column as usize),
        ascending: ascending.into_iter().map(|column| column as usize).collect(),
        facts: facts.into_iter().map(|fact| (fact.key, fact.value)).collect(),
    };
    let writer = ParquetWriter::new(&PathBuf::from(folder), options)
        .map_err(|error| napi::Error::from_reason(error.to_string()))?;
    Ok(NativeParquet { writer: Arc::new(Mutex::new(writer)) })
}

#[napi]
impl NativeParquet {
    /// Adds rows.
    #[napi]
    pub fn write(&self, batch: Vec<NativeValues>) -> AsyncTask<WriteParquet> {
        AsyncTask::new(WriteParquet { writer: Arc::clone(&self.writer), batch })
    }

    /// Adds all events of a trace as rows of table `event`; every column must be one of that table.
    #[napi]
    pub fn write_events(
        &self,
        trace: &NativeTrace,
        columns: Vec<String>,
        meanings: NativeMeanings,
    ) -> Result<AsyncTask<ParquetEvents>> {
        let (writer, trace) = (Arc::clone(&self.writer), trace.opened()?);
        Ok(AsyncTask::new(ParquetEvents { writer, trace, columns, meanings: meanings.into() }))
    }

    /// Ends the last file.
    #[napi]
    pub fn finish(&self) -> AsyncTask<FinishParquet> {
        AsyncTask::new(FinishParquet { writer: Arc::clone(&self.writer) })
    }
}

pub struct WriteParquet {
    writer: Arc<Mutex<ParquetWriter>>,
    batch: Vec<NativeValues>,
}

impl Task for WriteParquet {
    type Output = Done<()>;
    type JsValue = Outcome<bool>;

    fn compute(&mut self) -> Result<Self::Output> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(writer.write(&batch_of(&self.batch)).map_err(engine_error))
    }

    fn resolve(&mut self, _env: Env, output: Self::Output) -> Result<Self::JsValue> {
        Ok(outcome(output, |()| true))
    }
}

pub struct ParquetEvents {
    writer: Arc<Mutex<ParquetWriter>>,
    trace: Arc<Trace>,
    columns: Vec<String>,
    meanings: Meanings,
}

impl Task for ParquetEvents {
    type Output = Done<Option<EngineError>>;
    type JsValue = Outcome<EventsWritten>;

    fn compute(&mut self) -> Result<Self::Output> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let meanings = std::mem::take(&mut self.meanings);
        Ok(write_events(&self.trace, &self.columns, meanings, |batch| writer.write(batch).map_err(engine_error)))
    }

    fn resolve(&mut self, _env: Env, output: Self::Output) -> Result<Self::JsValue> {
        Ok(outcome(output, events_written))
    }
}

pub struct FinishParquet {
    writer: Arc<Mutex<ParquetWriter>>,
}

impl Task for FinishParquet {
    type Output = Done<Summary>;
    type JsValue = Outcome<Written>;

    fn compute(&mut self) -> Result<Self::Output> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(writer.finish().map_err(engine_error))
    }

    fn resolve(&mut self, _env: Env, output: Self::Output) -> Result<Self::JsValue> {
        Ok(outcome(output, Written::from))
    }
}

/// A database file, and its tables by number.
struct Database {
    file: Option<SqliteFile>,
    tables: Vec<SqliteTable>,
}

impl Database {
    fn run<T>(
        &mut self,
        step: impl FnOnce(&SqliteFile, &mut Vec<SqliteTable>) -> std::result::Result<T, Error>,
    ) -> Done<T> {
        let file = self.file.as_ref().ok_or(EngineError::Broken { part: "writer of tables" })?;
        step(file, &mut self.tables).map_err(engine_error)
    }

    fn write(&mut self, table: u32, batch: &[ColumnBatch]) -> Done<()> {
        self.run(|file, tables| match tables.get_mut(table as usize) {
            Some(table) => file.write(table, batch),
            None => Err(Error::Broken("no such table".to_owned())),
        })
    }
}

/// A SQLite file that is being made. Its methods are called one after the other.
#[napi]
pub struct NativeSqlite {
    database: Arc<Mutex<Database>>,
}

/// Begins to write a SQLite file, which must not be there.
#[napi]
pub fn write_sqlite(path: String) -> Outcome<NativeSqlite> {
    let made = SqliteFile::create(&PathBuf::from(path)).map_err(engine_error);
    outcome(made, |file| {
        let database = Database { file: Some(file), tables: Vec::new() };
        NativeSqlite { database: Arc::new(Mutex::new(database)) }
    })
}

#[napi]
impl NativeSqlite {
    /// Makes a table unless it is there, with `constants` in front of its columns. Its number, for `write`.
    #[napi]
    #[allow(clippy::needless_pass_by_value, reason = "a string of JavaScript is handed over whole")]
    pub fn table(&self, name: String, columns: Vec<NativeColumn>, constants: Vec<NativeFact>) -> Outcome<u32> {
        let mut database = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        let columns = columns.into_iter().map(column_of).collect();
        let constants: Vec<_> = constants.into_iter().map(|fact| (fact.key, fact.value)).collect();
        let added = database.run(|file, tables| {
            tables.push(file.table(&name, columns, &constants)?);
            Ok(tables.len() as u32 - 1)
        });
        outcome(added, |number| number)
    }

    /// Adds rows to a table.
    #[napi]
    pub fn write(&self, table: u32, batch: Vec<NativeValues>) -> AsyncTask<WriteSqlite> {
        AsyncTask::new(WriteSqlite { database: Arc::clone(&self.database), table, batch })
    }

    /// Adds all events of a trace to a table that has the columns of table `event`, or some of them.
    #[napi]
    pub fn write_events(
        &self,
        table: u32,
        trace: &NativeTrace,
        columns: Vec<String>,
        meanings: NativeMeanings,
    ) -> Result<AsyncTask<SqliteEvents>> {
        let (database, trace) = (Arc::clone(&self.database), trace.opened()?);
        Ok(AsyncTask::new(SqliteEvents { database, table, trace, columns, meanings: meanings.into() }))
    }

    /// Ends the file.
    #[napi]
    pub fn finish(&self) -> AsyncTask<FinishSqlite> {
        AsyncTask::new(FinishSqlite { database: Arc::clone(&self.database) })
    }
}

pub struct WriteSqlite {
    database: Arc<Mutex<Database>>,
    table: u32,
    batch: Vec<NativeValues>,
}

impl Task for WriteSqlite {
    type Output = Done<()>;
    type JsValue = Outcome<bool>;

    fn compute(&mut self) -> Result<Self::Output> {
        let mut database = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(database.write(self.table, &batch_of(&self.batch)))
    }

    fn resolve(&mut self, _env: Env, output: Self::Output) -> Result<Self::JsValue> {
        Ok(outcome(output, |()| true))
    }
}

pub struct SqliteEvents {
    database: Arc<Mutex<Database>>,
    table: u32,
    trace: Arc<Trace>,
    columns: Vec<String>,
    meanings: Meanings,
}

impl Task for SqliteEvents {
    type Output = Done<Option<EngineError>>;
    type JsValue = Outcome<EventsWritten>;

    fn compute(&mut self) -> Result<Self::Output> {
        let mut database = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        let (number, meanings) = (self.table, std::mem::take(&mut self.meanings));
        Ok(write_events(&self.trace, &self.columns, meanings, |batch| database.write(number, batch)))
    }

    fn resolve(&mut self, _env: Env, output: Self::Output) -> Result<Self::JsValue> {
        Ok(outcome(output, events_written))
    }
}

pub struct FinishSqlite {
    database: Arc<Mutex<Database>>,
}

impl Task for FinishSqlite {
    type Output = Done<()>;
    type JsValue = Outcome<bool>;

    fn compute(&mut self) -> Result<Self::Output> {
        let mut database = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        let file = database.file.take().ok_or(EngineError::Broken { part: "writer of tables" });
        Ok(file.and_then(|file| file.finish().map_err(engine_error)))
    }

    fn resolve(&mut self, _env: Env, output: Self::Output) -> Result<Self::JsValue> {
        Ok(outcome(output, |()| true))
    }
}
