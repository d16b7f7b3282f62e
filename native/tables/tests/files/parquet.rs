//! What is written is read back by the library's own reader: values, nulls, order, and row groups.

use std::fs::File;
use std::path::Path;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::statistics::Statistics;
use parquet::record::{Field, RowAccessor};
use trace_tables::parquet::{GROUP_ROWS, Options, ParquetWriter};
use trace_tables::{Column, ColumnBatch, ColumnType, Error, Growth, Values};

/// A small generator, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % limit
    }
}

fn column(name: &str, ty: ColumnType, nullable: bool) -> Column {
    Column { name: name.to_owned(), ty, nullable }
}

fn ints(values: Vec<i64>) -> ColumnBatch {
    ColumnBatch { values: Values::Int(values), nulls: Vec::new(), growth: Growth::default() }
}

fn options(columns: Vec<Column>, time: Option<usize>) -> Options {
    Options { ascending: time.into_iter().collect(), columns, time, facts: vec![("who".to_owned(), "test".to_owned())] }
}

fn readers(folder: &Path) -> Vec<SerializedFileReader<File>> {
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| SerializedFileReader::new(File::open(path).unwrap()).unwrap()).collect()
}

fn rows(folder: &Path) -> Vec<Vec<Field>> {
    let all = readers(folder);
    all.iter()
        .flat_map(|reader| reader.get_row_iter(None).unwrap().collect::<Vec<_>>())
        .map(|row| row.unwrap().get_column_iter().map(|(_, field)| field.clone()).collect())
        .collect()
}

/// Values of the columns of `all_values_come_back`.
#[derive(Default)]
struct Rows {
    n: Vec<i64>,
    maybe: Vec<i64>,
    yes: Vec<u8>,
    word: Vec<u32>,
    blob: Vec<u32>,
    wide: Vec<i64>,
}

/// Every type, with and without nulls, in runs and at random, over several batches and dictionaries.
#[test]
fn all_values_come_back() {
    for seed in 0..40 {
        let mut random = Random(seed);
        let folder = tempfile::tempdir().unwrap();
        let columns = vec![
            column("n", ColumnType::Int, false),
            column("maybe", ColumnType::Int, true),
            column("yes", ColumnType::Bool, false),
            column("word", ColumnType::Text, true),
            column("blob", ColumnType::Bytes, false),
            column("wide", ColumnType::Int, false),
        ];
        let mut writer = ParquetWriter::new(folder.path(), options(columns, None)).unwrap();
        let mut expected = Vec::new();
        let (mut words, mut blobs): (Vec<Vec<u8>>, Vec<Vec<u8>>) = (Vec::new(), Vec::new());
        for number in 0..random.below(6) {
            let count = random.below(400) as usize;
            let restart = number == 0 || random.below(2) == 0;
            let grow = |known: &mut Vec<Vec<u8>>, random: &mut Random, text: bool| {
                if restart {
                    known.clear();
                }
                let mut growth = Growth { restart, ..Growth::default() };
                for _ in 0..=random.below(20) {
                    let len = random.below(90) as usize;
                    let value: Vec<u8> = (0..len)
                        .map(|_| if text { b'a' + random.below(26) as u8 } else { random.below(256) as u8 })
                        .collect();
                    growth.bytes.extend_from_slice(&value);
                    growth.ends.push(growth.bytes.len() as u32);
                    known.push(value);
                }
                growth
            };
            let word_growth = grow(&mut words, &mut random, true);
            let blob_growth = grow(&mut blobs, &mut random, false);
            let run = 1 + random.below(60);
            let mut now = [0u64; 5];
            let mut batch = Rows::default();
            let (mut maybe_nulls, mut word_nulls) = (Vec::new(), Vec::new());
            for _ in 0..count {
                for (k, value) in now.iter_mut().enumerate() {
                    if random.below(run) == 0 {
                        *value = random.below([5, 3, 2, words.len() as u64, blobs.len() as u64][k]);
                    }
                }
                let wide = (random.below(u64::from(u32::MAX)) << 32 | random.below(u64::from(u32::MAX))) as i64;
                let (no_int, no_word) = (random.below(3) == 0, now[3] % 4 == 1);
                batch.n.push(now[0] as i64 - 2);
                batch.maybe.push(now[1] as i64);
                batch.yes.push(now[2] as u8);
                batch.word.push(if no_word { u32::MAX } else { now[3] as u32 });
                batch.blob.push(now[4] as u32);
                batch.wide.push(wide);
                maybe_nulls.push(u8::from(no_int));
                word_nulls.push(u8::from(no_word));
                expected.push(vec![
                    Field::Long(now[0] as i64 - 2),
                    if no_int { Field::Null } else { Field::Long(now[1] as i64) },
                    Field::Bool(now[2] != 0),
                    if no_word {
                        Field::Null
                    } else {
                        Field::Str(String::from_utf8(words[now[3] as usize].clone()).unwrap())
                    },
                    Field::Bytes(blobs[now[4] as usize].clone().into()),
                    Field::Long(wide),
                ]);
            }
            let code = |codes, nulls, growth| ColumnBatch { values: Values::Code(codes), nulls, growth };
            writer
                .write(&[
                    ints(batch.n),
                    ColumnBatch { nulls: maybe_nulls, ..ints(batch.maybe) },
                    ColumnBatch { values: Values::Bool(batch.yes), nulls: Vec::new(), growth: Growth::default() },
                    code(batch.word, word_nulls, word_growth),
                    code(batch.blob, Vec::new(), blob_growth),
                    ints(batch.wide),
                ])
                .unwrap();
        }
        let summary = writer.finish().unwrap();
        assert_eq!(summary.rows, expected.len() as u64);
        assert_eq!(rows(folder.path()), expected, "seed {seed}");
    }
}

/// Calls that lasted long come late; no other row group is stretched by them, and each is sorted.
#[test]
fn row_groups_follow_each_other_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let columns = vec![column("time", ColumnType::Int, false), column("k", ColumnType::Int, false)];
    let mut writer = ParquetWriter::new(folder.path(), options(columns, Some(0))).unwrap();
    let total = 3 * GROUP_ROWS as i64 + 1000;
    let mut random = Random(7);
    let mut late = 0;
    for from in (0..total).step_by(10_000) {
        let mut times: Vec<i64> =
            (from..total.min(from + 10_000)).map(|k| 100 * k + random.below(5000) as i64).collect();
        if from > GROUP_ROWS as i64 {
            times[17] = 5;
            late += 1;
        }
        let count = times.len() as i64;
        writer.write(&[ints(times), ints((from..from + count).collect())]).unwrap();
    }
    writer.finish().unwrap();
    let all = readers(folder.path());
    assert_eq!(all.len(), 1);
    let reader = &all[0];
    let mut ends = Vec::new();
    let mut seen = Vec::new();
    for number in 0..reader.num_row_groups() {
        let group = reader.get_row_group(number).unwrap();
        let metadata = group.metadata().column(0);
        let Some(Statistics::Int64(bounds)) = metadata.statistics() else { panic!("no bounds") };
        let rows: Vec<_> = group.get_row_iter(None).unwrap().map(Result::unwrap).collect();
        let times: Vec<i64> = rows.iter().map(|row| row.get_long(0).unwrap()).collect();
        seen.extend(rows.iter().map(|row| row.get_long(1).unwrap()));
        assert!(times.is_sorted(), "row group {number}");
        assert_eq!((bounds.min_opt(), bounds.max_opt()), (times.first(), times.last()));
        ends.push((times[0], times[times.len() - 1], times.len()));
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..total).collect::<Vec<_>>());
    let (wide, narrow): (Vec<_>, Vec<_>) = ends.into_iter().partition(|(_, _, rows)| *rows == late);
    assert_eq!(wide, [(5, 5, late)]);
    // Neighbours overlap by no more than the times are mixed.
    assert!(narrow.windows(2).all(|pair| pair[1].0 + 5000 >= pair[0].1), "{narrow:?}");
    assert_eq!(narrow.iter().filter(|(_, _, rows)| *rows == GROUP_ROWS).count(), 3);
}

/// A dictionary that began again while rows waited forgets its earlier values with the row group that spoke of them, in the
/// middle of a batch.
#[test]
fn a_batch_over_two_row_groups_keeps_its_texts() {
    let folder = tempfile::tempdir().unwrap();
    let columns = vec![column("word", ColumnType::Text, false)];
    let mut writer = ParquetWriter::new(folder.path(), options(columns, None)).unwrap();
    let mut expected = Vec::new();
    let mut write = |words: &[&str], count: usize, restart: bool| {
        let mut growth = Growth { restart, ..Growth::default() };
        for word in words {
            growth.bytes.extend_from_slice(word.as_bytes());
            growth.ends.push(growth.bytes.len() as u32);
        }
        let codes: Vec<u32> = (0..count).map(|row| (row % words.len()) as u32).collect();
        expected.extend(codes.iter().map(|&code| Field::Str(words[code as usize].to_owned())));
        writer.write(&[ColumnBatch { values: Values::Code(codes), nulls: Vec::new(), growth }]).unwrap();
    };
    write(&["old", "older", "oldest"], 9, true);
    write(&["new", "newer", "newest"], GROUP_ROWS + 20, true);
    write(&["last"], 3, true);
    writer.finish().unwrap();
    let found: Vec<Field> = rows(folder.path()).into_iter().flatten().collect();
    assert_eq!(found.len(), expected.len());
    let wrong = found.iter().zip(&expected).position(|(found, expected)| found != expected);
    assert_eq!(wrong, None);
}

#[test]
fn a_table_without_rows_has_columns_and_facts() {
    let folder = tempfile::tempdir().unwrap();
    let columns = vec![column("a", ColumnType::Text, true), column("b", ColumnType::Int, false)];
    ParquetWriter::new(folder.path(), options(columns, None)).unwrap().finish().unwrap();
    let all = readers(folder.path());
    let metadata = all[0].metadata().file_metadata();
    assert_eq!(metadata.num_rows(), 0);
    assert_eq!(metadata.schema_descr().num_columns(), 2);
    let facts = metadata.key_value_metadata().unwrap();
    assert_eq!((facts[0].key.as_str(), facts[0].value.as_deref()), ("who", Some("test")));
}

#[test]
fn batches_that_do_not_fit_are_refused() {
    let text = |codes: Vec<u32>, growth| ColumnBatch { values: Values::Code(codes), nulls: Vec::new(), growth };
    let one = || Growth { restart: true, ends: vec![1], bytes: b"x".to_vec() };
    let cases: [Vec<ColumnBatch>; 6] = [
        vec![],
        vec![ints(vec![1]), ints(vec![1])],
        vec![ints(vec![1, 2]), text(vec![0], one())],
        vec![ints(vec![1]), text(vec![1], one())],
        vec![ints(vec![1]), text(vec![0], Growth { ends: vec![2], ..one() })],
        vec![ColumnBatch { nulls: vec![1], ..ints(vec![1]) }, text(vec![0], one())],
    ];
    for batch in cases {
        let folder = tempfile::tempdir().unwrap();
        let columns = vec![column("n", ColumnType::Int, false), column("t", ColumnType::Text, true)];
        let mut writer = ParquetWriter::new(folder.path(), options(columns, None)).unwrap();
        assert!(matches!(writer.write(&batch), Err(Error::Broken(_))), "{batch:?}");
    }
}

#[test]
fn a_file_that_cannot_be_made_is_told() {
    let columns = || vec![column("n", ColumnType::Int, false)];
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/full", folder.path().join("part-00000.parquet")).unwrap();
    let mut writer = ParquetWriter::new(folder.path(), options(columns(), None)).unwrap();
    writer.write(&[ints((0..1000).collect())]).unwrap();
    let exists = writer.finish().unwrap_err();
    assert!(matches!(exists, Error::Io { doing: "create", .. }), "{exists}");
    let missing = ParquetWriter::new(&folder.path().join("no"), options(columns(), None)).unwrap().finish();
    assert!(matches!(missing, Err(Error::Io { doing: "create", .. })));
}
