//! What is written is read back by SQLite itself.

use rusqlite::Connection;
use trace_tables::sqlite::SqliteFile;
use trace_tables::{Column, ColumnBatch, ColumnType, Error, Growth, Values};

/// Run, integer, boolean, text, bytes.
type Row = (String, Option<i64>, bool, Option<String>, Option<Vec<u8>>);

fn column(name: &str, ty: ColumnType, nullable: bool) -> Column {
    Column { name: name.to_owned(), ty, nullable }
}

#[test]
fn all_types_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.sqlite");
    let file = SqliteFile::create(&path).unwrap();
    let columns = vec![
        column("n", ColumnType::Int, true),
        column("yes", ColumnType::Bool, false),
        column("te\"xt", ColumnType::Text, true),
        column("blob", ColumnType::Bytes, true),
    ];
    let constants = [("run".to_owned(), "o'ne".to_owned())];
    let mut table = file.table("t", columns, &constants).unwrap();
    let code = |codes: Vec<u32>, growth| ColumnBatch { values: Values::Code(codes), nulls: vec![0, 1], growth };
    let grow = |restart, value: &[u8]| Growth { restart, ends: vec![value.len() as u32], bytes: value.to_vec() };
    for (n, text, restart) in [(i64::MIN, "é", true), (7, "two", false), (i64::MAX, "three", true)] {
        let number = u32::from(n == 7);
        file.write(
            &mut table,
            &[
                ColumnBatch { values: Values::Int(vec![n, 0]), nulls: vec![0, 1], growth: Growth::default() },
                ColumnBatch { values: Values::Bool(vec![1, 0]), nulls: Vec::new(), growth: Growth::default() },
                code(vec![number, 99], grow(restart, text.as_bytes())),
                code(vec![number, 99], grow(restart, &[0, 255])),
            ],
        )
        .unwrap();
    }
    file.finish().unwrap();
    let connection = Connection::open(&path).unwrap();
    let mut select = connection.prepare("SELECT run, n, yes, \"te\"\"xt\", blob FROM t ORDER BY rowid").unwrap();
    let rows: Vec<Row> = select
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let full = |n, text: &str| ("o'ne".to_owned(), Some(n), true, Some(text.to_owned()), Some(vec![0, 255]));
    let empty = || ("o'ne".to_owned(), None, false, None, None);
    assert_eq!(rows, [full(i64::MIN, "é"), empty(), full(7, "two"), empty(), full(i64::MAX, "three"), empty()]);
}

#[test]
fn nothing_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.sqlite");
    std::fs::write(&path, "mine").unwrap();
    assert!(matches!(SqliteFile::create(&path), Err(Error::Io { doing: "create", .. })));
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    assert!(matches!(SqliteFile::create(&folder.path().join("no/x")), Err(Error::Io { doing: "create", .. })));
}
