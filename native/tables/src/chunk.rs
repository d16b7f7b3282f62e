//! One column of a row group as a column chunk: a page of its dictionary, if it has one, and a page of data.
//!
//! The library's own column writer hashes every value. Texts come with their dictionary already, and of integers that
//! repeat only the first of a run has to be looked up; with 22 columns to a row that is most of the time of an export.

use std::borrow::Cow;

use bytes::Bytes;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;

use crate::encode::{IntDictionary, put_bools, put_deltas, put_hybrid, put_level, put_levels, width_of};
use crate::group::{Dictionary, Waiting, WaitingColumn};

/// Texts beyond this length are no bounds of a chunk.
const MAX_BOUND: usize = 64;

pub(crate) struct Chunk {
    pub(crate) bytes: Bytes,
    pub(crate) close: ColumnCloseResult,
}

/// What the pages of a chunk hold.
struct Content {
    /// Values of the dictionary page as `PLAIN` has them, and how many.
    dictionary: Option<(Vec<u8>, u32)>,
    encoding: Encoding,
    /// Levels and values.
    data: Vec<u8>,
    statistics: Statistics,
}

/// Encodes the columns of one file; keeps what is costly to make.
pub(crate) struct ChunkEncoder {
    zstd: zstd::bulk::Compressor<'static>,
    level: ZstdLevel,
    ints: IntDictionary,
    /// By number in a dictionary: its number in the chunk plus 1.
    numbers: Vec<u32>,
}

impl ChunkEncoder {
    pub(crate) fn new(level: i32) -> Result<ChunkEncoder> {
        Ok(ChunkEncoder {
            zstd: zstd::bulk::Compressor::new(level)?,
            level: ZstdLevel::try_new(level)?,
            ints: IntDictionary::new(),
            numbers: Vec::new(),
        })
    }

    /// The chunk of a column of `rows` rows in the order that is given, or their own. Values of an `ascending` column are
    /// stored as differences.
    pub(crate) fn chunk(
        &mut self,
        descriptor: &ColumnDescPtr,
        column: &WaitingColumn,
        dictionary: &Dictionary,
        rows: Rows,
        ascending: bool,
    ) -> Result<Chunk> {
        let mut data = Vec::new();
        let missing = column.nulls.iter().map(|&null| usize::from(null)).sum();
        let present = Present { nulls: &column.nulls, missing };
        if descriptor.max_def_level() > 0 {
            match missing {
                0 => put_level(&mut data, 1, rows.count),
                _ if missing == rows.count => put_level(&mut data, 0, rows.count),
                _ => put_levels(&mut data, &rows.of(&column.nulls).map(|null| u32::from(null ^ 1)).collect::<Vec<_>>()),
            }
        }
        let content = match &column.values {
            Waiting::Int(values) => self.int_content(&rows.present(values, present), ascending, missing, data),
            Waiting::Bool(values) => bool_content(&rows.present(values, present), missing, data),
            Waiting::Code(codes) => self.text_content(&rows.present(codes, present), dictionary, missing, data),
        };
        self.write(descriptor, rows.count, content)
    }

    fn int_content(&mut self, values: &[i64], ascending: bool, nulls: usize, mut data: Vec<u8>) -> Content {
        let bound = |found: Option<&i64>| found.copied();
        let (least, largest) = (bound(values.iter().min()), bound(values.iter().max()));
        let statistics = Statistics::int64(least, largest, None, Some(nulls as u64), false);
        let codes = if ascending || values.is_empty() { None } else { self.ints.codes(values) };
        let Some(codes) = codes else {
            put_deltas(&mut data, values);
            return Content { dictionary: None, encoding: Encoding::DELTA_BINARY_PACKED, data, statistics };
        };
        let distinct = self.ints.values();
        put_codes(&mut data, &codes, distinct.len());
        let page = distinct.iter().flat_map(|value| value.to_le_bytes()).collect();
        let dictionary = Some((page, distinct.len() as u32));
        Content { dictionary, encoding: Encoding::RLE_DICTIONARY, data, statistics }
    }

    fn text_content(&mut self, codes: &[u32], dictionary: &Dictionary, nulls: usize, mut data: Vec<u8>) -> Content {
        self.numbers.clear();
        self.numbers.resize(dictionary.len(), 0);
        let mut used: Vec<u32> = Vec::new();
        let mut own = Vec::with_capacity(codes.len());
        for &code in codes {
            let number = &mut self.numbers[code as usize];
            if *number == 0 {
                used.push(code);
                *number = used.len() as u32;
            }
            own.push(*number - 1);
        }
        let values = || used.iter().map(|&code| dictionary.value(code as usize));
        let bound = |found: Option<&[u8]>| {
            found.filter(|value| value.len() <= MAX_BOUND).map(|value| ByteArray::from(value.to_vec()))
        };
        let statistics =
            Statistics::byte_array(bound(values().min()), bound(values().max()), None, Some(nulls as u64), false);
        if used.is_empty() {
            return Content { dictionary: None, encoding: Encoding::PLAIN, data, statistics };
        }
        put_codes(&mut data, &own, used.len());
        let mut page = Vec::new();
        for value in values() {
            page.extend_from_slice(&(value.len() as u32).to_le_bytes());
            page.extend_from_slice(value);
        }
        let dictionary = Some((page, used.len() as u32));
        Content { dictionary, encoding: Encoding::RLE_DICTIONARY, data, statistics }
    }

    fn write(&mut self, descriptor: &ColumnDescPtr, rows: usize, content: Content) -> Result<Chunk> {
        let mut sink = TrackedWrite::new(Vec::new());
        let mut pages = SerializedPageWriter::new(&mut sink);
        let mut encodings = vec![Encoding::RLE, content.encoding];
        let mut sizes = (0, 0);
        let mut dictionary_offset = None;
        if let Some((values, count)) = content.dictionary {
            encodings.push(Encoding::PLAIN);
            let buf = self.compress(&values)?;
            let page = Page::DictionaryPage { buf, num_values: count, encoding: Encoding::PLAIN, is_sorted: false };
            let spec = pages.write_page(CompressedPage::new(page, values.len()))?;
            sizes = (spec.compressed_size, spec.uncompressed_size);
            dictionary_offset = Some(spec.offset as i64);
        }
        let page = Page::DataPage {
            buf: self.compress(&content.data)?,
            num_values: rows as u32,
            encoding: content.encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let spec = pages.write_page(CompressedPage::new(page, content.data.len()))?;
        sizes = (sizes.0 + spec.compressed_size, sizes.1 + spec.uncompressed_size);
        let metadata = ColumnChunkMetaData::builder(descriptor.clone())
            .set_compression(Compression::ZSTD(self.level))
            .set_encodings(encodings)
            .set_total_compressed_size(sizes.0 as i64)
            .set_total_uncompressed_size(sizes.1 as i64)
            .set_num_values(rows as i64)
            .set_data_page_offset(spec.offset as i64)
            .set_dictionary_page_offset(dictionary_offset)
            .set_statistics(content.statistics)
            .build()?;
        let bytes: Bytes = sink.into_inner()?.into();
        let close = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: rows as u64,
            metadata,
            bloom_filter: None,
            column_index: None,
            offset_index: None,
        };
        Ok(Chunk { bytes, close })
    }

    fn compress(&mut self, bytes: &[u8]) -> Result<Bytes> {
        self.zstd.compress(bytes).map(Bytes::from).map_err(ParquetError::from)
    }
}

fn bool_content(values: &[bool], nulls: usize, mut data: Vec<u8>) -> Content {
    put_bools(&mut data, values);
    let (least, largest) = (values.iter().min().copied(), values.iter().max().copied());
    let statistics = Statistics::boolean(least, largest, None, Some(nulls as u64), false);
    Content { dictionary: None, encoding: Encoding::PLAIN, data, statistics }
}

/// Numbers in a dictionary of `count` values, with their width in front.
fn put_codes(data: &mut Vec<u8>, codes: &[u32], count: usize) {
    let width = width_of(count.saturating_sub(1) as u64);
    data.push(width as u8);
    put_hybrid(data, codes, width);
}

/// The rows of a row group in the order in which they are written.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) count: usize,
    /// None: as they are.
    pub(crate) order: Option<&'a [u32]>,
}

impl Rows<'_> {
    fn of<T: Copy>(self, values: &[T]) -> impl Iterator<Item = T> {
        (0..self.count).map(move |k| values[self.order.map_or(k, |order| order[k] as usize)])
    }

    /// The values that are there.
    fn present<'a, T: Copy>(self, values: &'a [T], present: Present) -> Cow<'a, [T]> {
        match (self.order, present.missing) {
            (_, missing) if missing == self.count => Cow::Borrowed(&[]),
            (None, 0) => Cow::Borrowed(&values[..self.count]),
            (Some(_), 0) => Cow::Owned(self.of(values).collect()),
            (_, missing) => {
                // Written in any case, and kept where it is a value: no branch.
                let mut found = vec![values[0]; self.count];
                let mut count = 0;
                for (null, value) in self.of(present.nulls).zip(self.of(values)) {
                    found[count] = value;
                    count += usize::from(null ^ 1);
                }
                found.truncate(self.count - missing);
                Cow::Owned(found)
            }
        }
    }
}

/// Which rows lack a value, if any may, and how many do.
#[derive(Clone, Copy)]
struct Present<'a> {
    nulls: &'a [u8],
    missing: usize,
}
