//! SQLite: all tables in one file, for `sqlite3` and everything that speaks it.
//!
//! The file is made anew and is of no use before the end, so nothing is journalled: whoever makes it throws it away when
//! it fails.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, Statement};

use crate::error::Error;
use crate::group::Dictionary;
use crate::table::{Column, ColumnBatch, ColumnType, Values};

/// A database file that is being made.
pub struct SqliteFile {
    path: PathBuf,
    connection: Connection,
}

/// Names of a table and its columns, and what the values are.
pub struct SqliteTable {
    columns: Vec<Column>,
    insert: String,
    dictionaries: Vec<Dictionary>,
    /// Values of the first columns, the same in every row.
    constants: Vec<String>,
    rows: u64,
}

impl SqliteFile {
    /// Makes the file, which must not be there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(path: &Path) -> Result<SqliteFile, Error> {
        // SQLite would open what is there, and its message has no errno.
        std::fs::File::create_new(path).map_err(|source| Error::io("create", path, source))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)
            .map_err(|error| Error::Broken(format!("cannot open {}: {error}", path.display())))?;
        let file = SqliteFile { path: path.to_owned(), connection };
        file.run(
            "PRAGMA page_size = 16384; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; \
             PRAGMA locking_mode = EXCLUSIVE; PRAGMA temp_store = MEMORY; BEGIN",
        )?;
        Ok(file)
    }

    /// Runs statements that give no rows.
    fn run(&self, sql: &str) -> Result<(), Error> {
        self.connection.execute_batch(sql).map_err(|error| self.explain(&error))
    }

    /// Makes a table, unless it is there. Columns named by `constants` come first, as text.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn table(
        &self,
        name: &str,
        columns: Vec<Column>,
        constants: &[(String, String)],
    ) -> Result<SqliteTable, Error> {
        let mut parts: Vec<String> =
            constants.iter().map(|(name, _)| format!("{} TEXT NOT NULL", quoted(name))).collect();
        parts.extend(columns.iter().map(definition));
        let table = quoted(name);
        self.run(&format!("CREATE TABLE IF NOT EXISTS {table} ({}) STRICT", parts.join(", ")))?;
        let places = vec!["?"; parts.len()].join(", ");
        Ok(SqliteTable {
            insert: format!("INSERT INTO {table} VALUES ({places})"),
            dictionaries: columns.iter().map(|_| Dictionary::default()).collect(),
            constants: constants.iter().map(|(_, value)| value.clone()).collect(),
            columns,
            rows: 0,
        })
    }

    /// Adds rows to a table of this file.
    ///
    /// # Errors
    /// When the batch does not fit the table, or the file cannot be written.
    pub fn write(&self, table: &mut SqliteTable, batch: &[ColumnBatch]) -> Result<(), Error> {
        let checked = crate::group::Checked::new(&table.columns, &mut table.dictionaries, batch)?;
        let mut insert = self.connection.prepare_cached(&table.insert).map_err(|error| self.explain(&error))?;
        for (k, value) in table.constants.iter().enumerate() {
            insert.raw_bind_parameter(k + 1, value).map_err(|error| self.explain(&error))?;
        }
        let first = table.constants.len() + 1;
        for row in 0..checked.rows {
            for (k, (column, batch)) in table.columns.iter().zip(batch).enumerate() {
                let value = value_of(column, batch, &table.dictionaries[k], row);
                bind(&mut insert, first + k, value).map_err(|error| self.explain(&error))?;
            }
            insert.raw_execute().map_err(|error| self.explain(&error))?;
        }
        table.rows += checked.rows as u64;
        drop(insert);
        // Every batch says its codes at once: none of them is spoken of later than its dictionary.
        table.dictionaries.iter_mut().for_each(Dictionary::forget);
        Ok(())
    }

    /// Makes the file whole.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(self) -> Result<(), Error> {
        self.run("COMMIT")
    }

    /// The system's error where there is one: a full disk is told as such.
    fn explain(&self, error: &rusqlite::Error) -> Error {
        // SAFETY: the handle is that of an open connection, and the call only reads a number of it.
        let errno = unsafe { rusqlite::ffi::sqlite3_system_errno(self.connection.handle()) };
        let full = error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull);
        let system = error.sqlite_error_code() == Some(rusqlite::ErrorCode::SystemIoFailure) && errno != 0;
        match (full, system) {
            (_, true) => Error::io("write", &self.path, io::Error::from_raw_os_error(errno)),
            (true, _) => Error::io("write", &self.path, io::Error::from(io::ErrorKind::StorageFull)),
            _ => Error::Broken(format!("cannot write {}: {error}", self.path.display())),
        }
    }
}

/// An identifier, whatever is in it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn definition(column: &Column) -> String {
    let ty = match column.ty {
        ColumnType::Int | ColumnType::Bool => "INTEGER",
        ColumnType::Text => "TEXT",
        ColumnType::Bytes => "BLOB",
    };
    format!("{} {ty}{}", quoted(&column.name), if column.nullable { "" } else { " NOT NULL" })
}

fn value_of<'a>(column: &Column, batch: &'a ColumnBatch, dictionary: &'a Dictionary, row: usize) -> ValueRef<'a> {
    if batch.nulls.get(row) == Some(&1) {
        return ValueRef::Null;
    }
    match &batch.values {
        Values::Int(values) => ValueRef::Integer(values[row]),
        Values::Bool(values) => ValueRef::Integer(i64::from(values[row] != 0)),
        Values::Code(codes) => {
            let bytes = dictionary.of_code(codes[row]);
            if column.ty == ColumnType::Text { ValueRef::Text(bytes) } else { ValueRef::Blob(bytes) }
        }
    }
}

fn bind(statement: &mut Statement, place: usize, value: ValueRef) -> rusqlite::Result<()> {
    statement.raw_bind_parameter(place, ToSqlOutput::Borrowed(value))
}
