//! Rows of table `event`, straight from the blocks of a trace: what `src/tables/event.ts` makes, at a tenth of the time.
//!
//! What a syscall's arguments mean is not known here: the caller says it, for each row of its own table of syscalls, and
//! hands over the texts of numbers. This module finds the values. A test holds it to the columns that TypeScript makes.

mod address;
mod facts;
mod path;
mod texts;

use trace_engine::error::EngineError;
use trace_engine::path::normal;
use trace_engine::reader::{LazyBlock, Trace};
use trace_format::column::{Columns, Projection};
use trace_format::event::{EventKind, Side, flag, slot};

use crate::table::{ColumnBatch, Growth, Values};
use address::address_text;
use facts::{Facts, Paths};
use path::{lossy, up_to_nul};
use texts::Texts;

/// Which arguments of a syscall are of interest: `RowShape` of `src/query/facts.ts`.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// Name of the syscall.
    pub name: String,
    /// The first path that the program gave, and the directory that it is relative to, as arguments; none: -1.
    pub path: i8,
    /// As above.
    pub base: i8,
    /// Arguments that are descriptors.
    pub fds: Vec<u8>,
    /// Whether the result is a descriptor.
    pub returns_fd: bool,
    /// Arguments that are socket addresses.
    pub addresses: Vec<u8>,
    /// Whether the result counts bytes that were transferred.
    pub transfers: bool,
}

/// What the caller knows of numbers.
#[derive(Clone, Debug, Default)]
pub struct Meanings {
    /// Shapes by row of the caller's table.
    pub shapes: Vec<Shape>,
    /// Rows by number of x86-64, of i386, and of x32 without its bit; -1: no such call.
    pub numbers: [Vec<i16>; 3],
    /// Names of event kinds by code.
    pub kinds: Vec<String>,
    /// Names of errors by number; what is empty has none.
    pub errors: Vec<String>,
    /// Names of signals by number; what is empty has none.
    pub signals: Vec<String>,
}

/// Set in numbers of the x32 convention.
const X32_BIT: i32 = 0x4000_0000;

impl Meanings {
    fn row(&self, arch: u8, number: i32) -> Option<usize> {
        let (table, number) = match (arch, number & X32_BIT != 0 && number > 0) {
            (1, _) => (1, number),
            (_, false) => (0, number),
            (_, true) => (2, number - X32_BIT),
        };
        let row = *self.numbers[table].get(usize::try_from(number).ok()?)?;
        usize::try_from(row).ok()
    }
}

/// A column of the table, by its name there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Seq,
    Kind,
    Time,
    Duration,
    Process,
    Thread,
    Pid,
    Tid,
    Name,
    Ret,
    Error,
    Path,
    PathResolved,
    PathBytes,
    Fd,
    FdPath,
    Bytes,
    Peer,
    Signal,
    ExitCode,
    ExitSignal,
    Partial,
}

impl Field {
    /// Whether its texts are those of captured paths.
    fn is_path(self) -> bool {
        matches!(self, Field::Path | Field::PathBytes | Field::PathResolved)
    }

    const NAMES: [(&'static str, Field); 22] = [
        ("seq", Field::Seq),
        ("kind", Field::Kind),
        ("time", Field::Time),
        ("dur", Field::Duration),
        ("proc", Field::Process),
        ("thread", Field::Thread),
        ("pid", Field::Pid),
        ("tid", Field::Tid),
        ("name", Field::Name),
        ("ret", Field::Ret),
        ("err", Field::Error),
        ("path", Field::Path),
        ("path_resolved", Field::PathResolved),
        ("path_bytes", Field::PathBytes),
        ("fd", Field::Fd),
        ("fd_path", Field::FdPath),
        ("bytes", Field::Bytes),
        ("peer", Field::Peer),
        ("signal", Field::Signal),
        ("exit_code", Field::ExitCode),
        ("exit_signal", Field::ExitSignal),
        ("partial", Field::Partial),
    ];
}

/// Makes the rows of a trace, a block at a time.
pub struct EventRows<'a> {
    trace: &'a Trace,
    meanings: Meanings,
    columns: Vec<(Field, Texts)>,
    block: usize,
    decoded: LazyBlock,
    facts: Facts,
    paths: Paths,
}

impl<'a> EventRows<'a> {
    /// Rows with the columns of those names; None when one of them is not known here.
    #[must_use]
    pub fn new(trace: &'a Trace, meanings: Meanings, columns: &[String]) -> Option<EventRows<'a>> {
        let field = |name: &String| Field::NAMES.iter().find(|(known, _)| known == name).map(|(_, field)| *field);
        let columns = columns.iter().map(|name| Some((field(name)?, Texts::default()))).collect::<Option<_>>()?;
        Some(EventRows {
            trace,
            meanings,
            columns,
            block: 0,
            decoded: LazyBlock::default(),
            facts: Facts::default(),
            paths: Paths::default(),
        })
    }

    /// The rows of the next block that has some; None at the end.
    ///
    /// # Errors
    /// When the block is damaged.
    pub fn next_batch(&mut self) -> Option<Result<Vec<ColumnBatch>, EngineError>> {
        while self.block < self.trace.blocks().len() {
            self.block += 1;
            match self.rows_of(self.block - 1) {
                Ok(rows) if rows.is_empty() => {}
                Ok(rows) => return Some(Ok(self.batch(&rows))),
                Err(error) => return Some(Err(error)),
            }
        }
        None
    }

    /// Decodes a block, and says which of its events are rows.
    fn rows_of(&mut self, number: usize) -> Result<Vec<u32>, EngineError> {
        let projection = Projection { results: true, args: true, contents: true, refs: true, ..Projection::CORE };
        self.trace.decode_lazily(number, projection, &mut self.decoded)?;
        let columns = &self.decoded.columns;
        // Parts of calls that the kernel restarted are no rows: the call that tells the whole is.
        let whole = |row: &u32| columns.flags[*row as usize] & flag::INTERRUPTED == 0;
        let rows: Vec<u32> = (0..columns.count).filter(whole).collect();
        self.facts.find(columns, &self.meanings);
        // What programs read and wrote is most of the bytes, and in no column.
        let wanted = self.facts.contents_shown(columns, &self.meanings);
        self.trace.fetch_contents(&mut self.decoded, |content| wanted.get(content) == Some(&true))?;
        Ok(rows)
    }

    fn batch(&mut self, rows: &[u32]) -> Vec<ColumnBatch> {
        if self.paths.begin_block(&self.decoded.columns) {
            self.columns.iter_mut().filter(|(field, _)| field.is_path()).for_each(|(_, texts)| texts.forget_keys());
        }
        let (trace, meanings, columns, facts) = (self.trace, &self.meanings, &self.decoded.columns, &self.facts);
        let block = Block { trace, meanings, columns, facts, rows };
        let paths = &mut self.paths;
        self.columns.iter_mut().map(|(field, texts)| block.column(*field, texts, paths)).collect()
    }
}

/// A decoded block, and which of its events are rows.
struct Block<'a> {
    trace: &'a Trace,
    meanings: &'a Meanings,
    columns: &'a Columns,
    facts: &'a Facts,
    rows: &'a [u32],
}

impl Block<'_> {
    fn column(&self, field: Field, texts: &mut Texts, paths: &mut Paths) -> ColumnBatch {
        let columns = self.columns;
        let threads = self.trace.definitions().threads();
        let thread = |i: usize| &threads[columns.thread[i] as usize];
        match field {
            Field::Seq => self.ints(|i| Some(columns.first_seq as i64 + i as i64)),
            Field::Time => self.ints(|i| Some(columns.start[i] as i64)),
            Field::Duration => self.ints(|i| self.is_call(i).then(|| columns.duration[i] as i64)),
            Field::Pid => self.ints(|i| Some(thread(i).pid.into())),
            Field::Tid => self.ints(|i| Some(thread(i).tid.into())),
            Field::Ret => self.ints(|i| self.ret(i)),
            Field::Fd => self.ints(|i| self.fd(i)),
            Field::Bytes => self.ints(|i| self.bytes(i)),
            Field::ExitCode => self.ints(|i| self.exit(i)?.0),
            Field::Partial => {
                let partial = |&row: &u32| u8::from(columns.flags[row as usize] & flag::PARTIAL != 0);
                let values = Values::Bool(self.rows.iter().map(partial).collect());
                ColumnBatch { values, nulls: Vec::new(), growth: Growth::default() }
            }
            Field::Kind => self.keyed(texts, |i| Some(columns.kind[i].into()), |kind| self.kind_name(kind)),
            Field::Process => {
                let name = |index: usize| format!("p{}", threads[index].process);
                self.keyed(texts, |i| Some(columns.thread[i] as usize), name)
            }
            Field::Thread => {
                let name = |index: usize| format!("p{}.{}", threads[index].process, threads[index].ordinal);
                self.keyed(texts, |i| Some(columns.thread[i] as usize), name)
            }
            Field::Name => self.names(texts),
            Field::Error => self.keyed(texts, |i| self.errno(i), |errno| named(&self.meanings.errors, errno)),
            Field::Signal => self.keyed(texts, |i| self.signal(i), |number| named(&self.meanings.signals, number)),
            Field::ExitSignal => self.keyed(texts, |i| self.exit(i)?.1, |number| named(&self.meanings.signals, number)),
            Field::FdPath => self.fd_paths(texts),
            Field::Path => self.paths(texts, paths),
            Field::PathBytes => self.path_bytes(texts, paths),
            Field::PathResolved => self.resolved_paths(texts, paths),
            Field::Peer => self.peers(texts),
        }
    }

    fn ints(&self, value: impl Fn(usize) -> Option<i64>) -> ColumnBatch {
        let mut nulls = Nulls::new(self.rows.len());
        let values = self.rows.iter().enumerate().map(|(k, &row)| nulls.or_zero(k, value(row as usize))).collect();
        ColumnBatch { values: Values::Int(values), nulls: nulls.0, growth: Growth::default() }
    }

    fn codes(&self, texts: &mut Texts, mut code: impl FnMut(&mut Texts, usize) -> Option<u32>) -> ColumnBatch {
        let restart = texts.begin_batch();
        let mut nulls = Nulls::new(self.rows.len());
        let mut values = Vec::with_capacity(self.rows.len());
        for (k, &row) in self.rows.iter().enumerate() {
            values.push(nulls.or_zero(k, code(texts, row as usize)));
        }
        ColumnBatch { values: Values::Code(values), nulls: nulls.0, growth: texts.growth(restart) }
    }

    /// Texts that depend on a small number only, which are made once for each.
    fn keyed(
        &self,
        texts: &mut Texts,
        key: impl Fn(usize) -> Option<usize>,
        text: impl Fn(usize) -> String,
    ) -> ColumnBatch {
        self.codes(texts, |texts, i| {
            let key = key(i)?;
            texts.keyed(key, |_| Some(text(key).into_bytes()))
        })
    }

    fn is_call(&self, i: usize) -> bool {
        self.columns.kind[i] == EventKind::Call as u8
    }

    fn row(&self, i: usize) -> Option<usize> {
        usize::try_from(self.facts.syscalls[i]).ok()
    }

    fn shape(&self, i: usize) -> Option<&Shape> {
        self.row(i).map(|row| &self.meanings.shapes[row])
    }

    fn succeeded(&self, i: usize) -> bool {
        self.columns.flags[i] & (flag::ERROR | flag::NO_RETURN | flag::NO_RESULT) == 0
    }

    fn kind_name(&self, kind: usize) -> String {
        self.meanings.kinds.get(kind).cloned().unwrap_or_else(|| kind.to_string())
    }

    fn ret(&self, i: usize) -> Option<i64> {
        let flags = self.columns.flags[i];
        if !self.is_call(i) || flags & (flag::NO_RETURN | flag::NO_RESULT) != 0 {
            return None;
        }
        let (low, high) = (self.columns.ret[2 * i], self.columns.ret[2 * i + 1]);
        Some(match (flags & flag::ERROR != 0, self.columns.arch[i]) {
            (true, _) => -1,
            (false, 1) => low.into(),
            (false, _) => i64::from(high) << 32 | i64::from(low as u32),
        })
    }

    fn errno(&self, i: usize) -> Option<usize> {
        if !self.is_call(i) || self.columns.flags[i] & flag::ERROR == 0 {
            return None;
        }
        let errno = -i64::from(self.columns.ret[2 * i]);
        (0..4096).contains(&errno).then_some(errno as usize)
    }

    fn signal(&self, i: usize) -> Option<usize> {
        let kind = self.columns.kind[i];
        let number = self.columns.code[i];
        let has = kind == EventKind::Signal as u8 || kind == EventKind::Stop as u8;
        (has && (0..4096).contains(&number)).then_some(number as usize)
    }

    /// Exit code or signal of the end of a thread, from its wait status.
    fn exit(&self, i: usize) -> Option<(Option<i64>, Option<usize>)> {
        if self.columns.kind[i] != EventKind::Exit as u8 {
            return None;
        }
        let status = self.columns.code[i];
        let signal = (status & 0x7f) as usize;
        let is_killed = signal != 0 && signal != 0x7f && status != 0xffff;
        Some(if is_killed { (None, Some(signal)) } else { (Some((status >> 8 & 0xff).into()), None) })
    }

    fn bytes(&self, i: usize) -> Option<i64> {
        if !self.shape(i)?.transfers || !self.succeeded(i) {
            return None;
        }
        let high = if self.columns.arch[i] == 1 { 0 } else { self.columns.ret[2 * i + 1] };
        (high >= 0).then(|| i64::from(high) << 32 | i64::from(self.columns.ret[2 * i] as u32))
    }

    /// References of event `i`: slot, descriptor, object.
    fn refs(&self, i: usize) -> impl Iterator<Item = (u8, i32, usize)> {
        let columns = self.columns;
        let range = columns.ref_start[i] as usize..columns.ref_start[i + 1] as usize;
        range.map(|r| (columns.ref_slot[r], columns.ref_fd[r], columns.ref_object[r] as usize))
    }

    fn object_in(&self, i: usize, slot: u8) -> Option<usize> {
        self.refs(i).find(|(own, _, _)| *own == slot).map(|(_, _, object)| object)
    }

    /// The first object that the event refers to, without the working directory.
    fn object(&self, i: usize) -> Option<usize> {
        self.refs(i).find(|(own, _, _)| *own != slot::CWD).map(|(_, _, object)| object)
    }

    fn fd(&self, i: usize) -> Option<i64> {
        let shape = if self.is_call(i) { self.shape(i) } else { return None };
        let own = shape.into_iter().flat_map(|shape| {
            let arguments = shape.fds.iter().map(|&k| self.columns.args[12 * i + 2 * usize::from(k)] as i32);
            let made = (shape.returns_fd && self.succeeded(i)).then(|| self.columns.ret[2 * i]);
            arguments.chain(made)
        });
        let nested = self.refs(i).filter(|(own, _, _)| *own == slot::NESTED).map(|(_, fd, _)| fd);
        own.chain(nested).find(|&fd| fd >= 0).map(i64::from)
    }

    /// What the first capture in a slot holds.
    fn capture(&self, i: usize, slot: u8, side: Side) -> Option<Content> {
        let columns = self.columns;
        let range = columns.cap_start[i] as usize..columns.cap_start[i + 1] as usize;
        let mut captures = range.filter(|&c| columns.cap_slot[c] == slot && columns.cap_side[c] == side as u8);
        let content = columns.cap_content[captures.next()?] as usize;
        Some(Content((content + 1 < columns.content_start.len()).then_some(content)))
    }

    fn content(&self, content: Content) -> &[u8] {
        let columns = self.columns;
        let range =
            |content: usize| columns.content_start[content] as usize..columns.content_start[content + 1] as usize;
        content.0.map_or(&[], |content| &columns.bytes[range(content)])
    }

    fn names(&self, texts: &mut Texts) -> ColumnBatch {
        self.codes(texts, |texts, i| {
            if !self.is_call(i) {
                return None;
            }
            match self.row(i) {
                Some(row) => texts.keyed(row, |_| Some(self.meanings.shapes[row].name.clone().into_bytes())),
                None => Some(texts.code(format!("syscall_0x{:x}", self.columns.code[i] as u32).as_bytes())),
            }
        })
    }

    fn fd_paths(&self, texts: &mut Texts) -> ColumnBatch {
        let definitions = self.trace.definitions();
        self.codes(texts, |texts, i| {
            let object = if self.is_call(i) { self.object(i)? } else { return None };
            texts.keyed(object, |_| definitions.object(object).map(|object| lossy(object.path).into_owned()))
        })
    }

    /// Texts of the event's captured paths. Those of one path are made once.
    fn paths(&self, texts: &mut Texts, paths: &mut Paths) -> ColumnBatch {
        self.codes(texts, |texts, i| {
            let content = self.facts.given(i)?;
            let bytes = up_to_nul(self.content(content));
            let text = || without_mark(bytes);
            match paths.number(content, bytes) {
                Some(number) => texts.keyed(number, |_| Some(text().into_owned())),
                None => Some(texts.code(&text())),
            }
        })
    }

    fn path_bytes(&self, texts: &mut Texts, paths: &mut Paths) -> ColumnBatch {
        self.codes(texts, |texts, i| {
            let content = self.facts.given(i)?;
            let bytes = up_to_nul(self.content(content));
            let own = || std::str::from_utf8(bytes).is_err().then(|| bytes.to_vec());
            match paths.number(content, bytes) {
                Some(number) => texts.keyed(number, |_| own()),
                None => own().map(|bytes| texts.code(&bytes)),
            }
        })
    }

    fn resolved_paths(&self, texts: &mut Texts, paths: &mut Paths) -> ColumnBatch {
        self.codes(texts, |texts, i| {
            let resolved = self.facts.resolved(i);
            let content = resolved.or_else(|| self.facts.given(i))?;
            let bytes = up_to_nul(self.content(content));
            let is_given = resolved.is_none();
            if is_given && is_relative(bytes) {
                let directory = self.trace.definitions().object(self.base(i)?)?.path;
                return match paths.relative(bytes, self.base(i)?, directory) {
                    Some(key) => texts.keyed(key, |_| Some(joined(directory, bytes))),
                    None => Some(texts.code(&joined(directory, bytes))),
                };
            }
            let text = || if is_given { normal(&without_mark(bytes)) } else { without_mark(bytes).into_owned() };
            match paths.absolute(content, bytes, is_given) {
                Some(key) => texts.keyed(key, |_| Some(text())),
                None => Some(texts.code(&text())),
            }
        })
    }

    /// The directory that a relative path begins at.
    fn base(&self, i: usize) -> Option<usize> {
        let slot = self.shape(i).and_then(|shape| u8::try_from(shape.base).ok());
        slot.and_then(|slot| self.object_in(i, slot)).or_else(|| self.object_in(i, slot::CWD))
    }

    fn peers(&self, texts: &mut Texts) -> ColumnBatch {
        let mut known = Known::new(self.columns);
        let definitions = self.trace.definitions();
        self.codes(texts, |texts, i| {
            let shape = self.shape(i)?;
            for &k in &shape.addresses {
                let Some(content) = self.capture(i, k, Side::Out).or_else(|| self.capture(i, k, Side::In)) else {
                    continue;
                };
                let code = known.get(content, || address_text(self.content(content)).map(|text| texts.code(&text)));
                if code.is_some() {
                    return code;
                }
            }
            let objects = self.refs(i).filter(|(own, _, _)| *own != slot::CWD).map(|(_, _, object)| object);
            objects
                .into_iter()
                .find_map(|object| texts.keyed(object, |_| other_end(&lossy(definitions.object(object)?.detail))))
        })
    }
}

/// Whether the path does not begin at the root.
fn is_relative(bytes: &[u8]) -> bool {
    bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes).first() != Some(&b'/')
}

/// A relative path behind the directory that it begins at.
fn joined(directory: &[u8], bytes: &[u8]) -> Vec<u8> {
    let (directory, given) = (lossy(directory), without_mark(bytes));
    if given.is_empty() { directory.into_owned() } else { normal(&[&directory, &b"/"[..], &given].concat()) }
}

/// The text as JavaScript decodes it: without a byte order mark.
fn without_mark(bytes: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    lossy(bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes))
}

/// What stands between `->` and `]`.
fn other_end(detail: &[u8]) -> Option<Vec<u8>> {
    let starts = detail.windows(2).enumerate().filter(|(_, pair)| *pair == b"->").map(|(at, _)| at + 2);
    let text = starts.into_iter().find_map(|start| {
        let end = detail[start..].iter().position(|&byte| byte == b']')?;
        Some(&detail[start..start + end])
    })?;
    (!text.is_empty()).then(|| text.to_vec())
}

fn named(names: &[String], number: usize) -> String {
    names.get(number).filter(|name| !name.is_empty()).cloned().unwrap_or_else(|| number.to_string())
}

/// Which rows lack a value; empty until one does.
struct Nulls(Vec<u8>, usize);

impl Nulls {
    fn new(rows: usize) -> Nulls {
        Nulls(Vec::new(), rows)
    }

    fn or_zero<T: Default>(&mut self, row: usize, value: Option<T>) -> T {
        if value.is_none() {
            self.0.resize(self.1, 0);
            self.0[row] = 1;
        }
        value.unwrap_or_default()
    }
}

/// The content of a capture by its number in the block; None for a capture without bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Content(Option<usize>);

/// Codes of the contents of one block.
struct Known {
    codes: Vec<u32>,
}

impl Known {
    const UNKNOWN: u32 = u32::MAX;
    const NONE: u32 = u32::MAX - 1;

    /// The last place is that of captures without bytes.
    fn new(columns: &Columns) -> Known {
        Known { codes: vec![Self::UNKNOWN; columns.content_start.len().max(1)] }
    }

    fn get(&mut self, content: Content, make: impl FnOnce() -> Option<u32>) -> Option<u32> {
        let place = content.0.unwrap_or(self.codes.len() - 1);
        if self.codes[place] == Self::UNKNOWN {
            self.codes[place] = make().unwrap_or(Self::NONE);
        }
        Some(self.codes[place]).filter(|&code| code != Self::NONE)
    }
}
