//! Text in, trace file out.

use std::io::BufRead;
use std::path::Path;

use trace_format::event::{EventKind, Side, Status};
use trace_format::frame::VERSION;
use trace_format::limits;

use super::line::{Words, number, position};
use super::{KINDS, OBJECT_KINDS, SIDES, SLOTS, STATUSES};
use crate::error::EngineError;
use crate::pack::Pieces;
use crate::raw::{Definition, RawBatch, RawCapture, RawEvent, RawRef};
use crate::writer::{BlockWriter, Options, Summary};

/// Bytes of a batch at which it is handed on.
const BATCH_BYTES: usize = 512 << 10;

/// Bytes of one line; a capture of the largest size fits with every byte escaped.
const MAX_LINE: u64 = limits::MAX_EVENT_BYTES as u64 * 4 + 4096;

/// Makes a trace file of its text form. `options` says what the text does not: whether to replace a file.
///
/// # Errors
/// When a line is wrong, with its number; when a file cannot be read or written. A file that was begun is left cut.
pub fn assemble(text: &mut impl BufRead, path: &Path, options: &Options) -> Result<Summary, EngineError> {
    let mut assembler = Assembler::new(path, options);
    let mut line = Vec::new();
    let mut number = 0u64;
    loop {
        line.clear();
        number += 1;
        let read = std::io::Read::take(&mut *text, MAX_LINE + 1)
            .read_until(b'\n', &mut line)
            .map_err(|source| EngineError::io("read the text for", path, source))?;
        let wrong = |message| EngineError::Text { line: number, message };
        if read == 0 {
            break;
        }
        if read as u64 > MAX_LINE {
            return Err(wrong(format!("the line is longer than {MAX_LINE} bytes")));
        }
        let content = line.trim_ascii();
        if content.is_empty() || content[0] == b'#' {
            continue;
        }
        assembler.line(&line).map_err(|problem| problem.at(number))?;
    }
    assembler.finish().map_err(|problem| problem.at(number))
}

/// What is wrong with a line, or what went wrong on the way.
enum Trouble {
    Line(String),
    Other(EngineError),
}

impl Trouble {
    fn at(self, line: u64) -> EngineError {
        match self {
            Trouble::Line(message) => EngineError::Text { line, message },
            Trouble::Other(error) => error,
        }
    }
}

impl From<String> for Trouble {
    fn from(message: String) -> Trouble {
        Trouble::Line(message)
    }
}

impl From<EngineError> for Trouble {
    fn from(error: EngineError) -> Trouble {
        Trouble::Other(error)
    }
}

struct Assembler<'a> {
    path: &'a Path,
    options: Options,
    /// Lines of the header that have been seen.
    seen: [bool; 4],
    writer: Option<BlockWriter>,
    batch: RawBatch,
    threads: u32,
    objects: u32,
    events: u64,
    event_bytes: usize,
    packed: Option<Pieces>,
}

const HEADER: [&str; 4] = ["trace", "tick", "start", "id"];

impl<'a> Assembler<'a> {
    fn new(path: &'a Path, options: &Options) -> Self {
        Assembler {
            path,
            options: options.clone(),
            seen: [false; 4],
            writer: None,
            batch: RawBatch::default(),
            threads: 0,
            objects: 0,
            events: 0,
            event_bytes: 0,
            packed: None,
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Trouble> {
        let mut words = Words::new(line);
        let first = words.word("the kind of line")?;
        if let Some(place) = HEADER.iter().position(|name| *name == first) {
            self.header_line(place, &mut words)?;
            return Ok(words.end()?);
        }
        if self.writer.is_none() {
            if let Some(place) = self.seen.iter().position(|seen| !seen) {
                return Err(format!("a line {:?} must come first", HEADER[place]).into());
            }
            self.writer = Some(BlockWriter::create(self.path, &self.options)?);
        }
        match first {
            "capture" | "ref" | "event" | "meta" | "thread" | "object" if self.packed.is_some() => {
                return Err(format!("{first} after the packed files").into());
            }
            "meta" => self.meta(&mut words)?,
            "thread" => self.thread(&mut words)?,
            "object" => self.object(&mut words)?,
            "event" => {
                self.hand_on(false);
                self.event(&mut words)?;
            }
            "capture" => self.capture(&mut words)?,
            "ref" => self.reference(&mut words)?,
            "packed" => {
                self.hand_on(true);
                self.end_packed()?;
                let hash = words.word("a hash")?;
                let hash = blake3::Hash::from_hex(hash).map_err(|_| format!("{hash:?} is no hash of 64 digits"))?;
                let total: u64 = number(words.word("a length")?, "length")?;
                if total > limits::MAX_OBJECT_FILE_BYTES {
                    return Err(format!("{total} bytes, the limit is {}", limits::MAX_OBJECT_FILE_BYTES).into());
                }
                self.packed = Some(Pieces::new(*hash.as_bytes(), total));
            }
            "bytes" => {
                let packed = self.packed.as_mut().ok_or_else(|| "bytes without a line packed".to_owned())?;
                let mut bytes = Vec::new();
                words.bytes("bytes", &mut bytes)?;
                if let Some(writer) = &mut self.writer {
                    packed.add(&bytes, writer.sink());
                }
            }
            other => return Err(format!("unknown kind of line {other:?}").into()),
        }
        Ok(words.end()?)
    }

    fn header_line(&mut self, place: usize, words: &mut Words) -> Result<(), String> {
        if std::mem::replace(&mut self.seen[place], true) {
            return Err(format!("a second line {:?}", HEADER[place]));
        }
        let word = words.word(HEADER[place])?;
        match place {
            0 => {
                let version: u16 = number(word, "version")?;
                if version != VERSION.0 {
                    return Err(format!("version {version}, this program reads {}", VERSION.0));
                }
            }
            1 => {
                self.options.tick_ns = number(word, "tick")?;
                if self.options.tick_ns == 0 || self.options.tick_ns > limits::MAX_TICK_NS {
                    return Err(format!("tick {word} is not between 1 and {}", limits::MAX_TICK_NS));
                }
            }
            2 => self.options.start_realtime_ns = Some(number(word, "start")?),
            _ => {
                let wrong = || format!("id {word:?} is not of 32 hexadecimal digits");
                if word.len() != 32 || !word.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return Err(wrong());
                }
                let id = u128::from_str_radix(word, 16).map_err(|_| wrong())?;
                self.options.id = Some(id.to_be_bytes());
            }
        }
        Ok(())
    }

    fn meta(&mut self, words: &mut Words) -> Result<(), String> {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        words.bytes("a key", &mut key)?;
        words.bytes("a value", &mut value)?;
        let key = String::from_utf8(key).map_err(|_| "the key is not UTF-8".to_owned())?;
        self.batch.definitions.push(Definition::Meta { key, value });
        Ok(())
    }

    fn thread(&mut self, words: &mut Words) -> Result<(), String> {
        expect_number(words, "thread", self.threads.into())?;
        let thread = Definition::Thread {
            process: words.number("process")?,
            ordinal: words.number("ordinal")?,
            tid: words.number("tid")?,
            pid: words.number("pid")?,
            parent: words.optional("parent")?,
            created_by: words.number("created")?,
        };
        if let Definition::Thread { parent: Some(parent), .. } = thread
            && parent >= self.threads
        {
            return Err(format!("parent {parent} is not defined before"));
        }
        self.threads += 1;
        self.batch.definitions.push(thread);
        Ok(())
    }

    fn object(&mut self, words: &mut Words) -> Result<(), String> {
        expect_number(words, "object", self.objects.into())?;
        let names = OBJECT_KINDS.map(|(_, name)| name);
        let kind = OBJECT_KINDS[usize::from(words.name("kind", &names)?)].0;
        let (dev, ino) = (words.number("dev")?, words.number("ino")?);
        let created_by = words.optional("created")?;
        let (mut path, mut detail) = (Vec::new(), Vec::new());
        words.bytes("a path", &mut path)?;
        words.bytes("a detail", &mut detail)?;
        self.objects += 1;
        self.batch.definitions.push(Definition::Object { kind, path, detail, dev, ino, created_by });
        Ok(())
    }

    fn event(&mut self, words: &mut Words) -> Result<(), String> {
        expect_number(words, "event", self.events)?;
        let kind = position(words.word("the kind of event")?, "kind", &KINDS)?;
        let kind = EventKind::from_code(kind).ok_or("no such kind")?;
        let thread = words.number("thread")?;
        if thread >= self.threads {
            return Err(format!("thread {thread} is not defined"));
        }
        let mut event = RawEvent {
            kind,
            thread,
            code: words.number("code")?,
            arch: words.number("arch")?,
            flags: words.number("flags")?,
            start: words.number("start")?,
            end: words.number("end")?,
            entry_seq: 0,
            nargs: 0,
            args: [0; 6],
            ret: 0,
            ip: 0,
            sp: 0,
            captures: 0,
            refs: 0,
        };
        let span: u32 = words.number("span")?;
        event.entry_seq = self.events.checked_sub(span.into()).ok_or("the span begins before event 0")?;
        event.ret = words.number("ret")?;
        event.ip = words.number("ip")?;
        event.sp = words.number("sp")?;
        for text in words.value("args")?.split(',').filter(|text| !text.is_empty()) {
            let place = event.args.get_mut(usize::from(event.nargs)).ok_or("more than 6 arguments")?;
            *place = number(text, "argument")?;
            event.nargs += 1;
        }
        if event.end < event.start || event.end > limits::MAX_TIME_NS {
            return Err(format!("end {} is before the start or too late", event.end));
        }
        self.events += 1;
        self.event_bytes = 0;
        self.batch.events.push(event);
        Ok(())
    }

    fn capture(&mut self, words: &mut Words) -> Result<(), String> {
        let slot = words.name("slot", &SLOTS)?;
        let side = Side::from_code(words.name("side", &SIDES)?).ok_or("no such side")?;
        let status = Status::from_code(words.name("status", &STATUSES)?).ok_or("no such status")?;
        let (addr, wanted) = (words.number("addr")?, words.number("wanted")?);
        let event = self.batch.events.last_mut().ok_or("capture before any event")?;
        let before = self.batch.bytes.len();
        words.bytes("bytes", &mut self.batch.bytes)?;
        let len = self.batch.bytes.len() - before;
        self.event_bytes += len;
        if self.event_bytes > limits::MAX_EVENT_BYTES as usize {
            return Err(format!("more than {} bytes in one event", limits::MAX_EVENT_BYTES));
        }
        event.captures = event.captures.checked_add(1).ok_or("more than 65535 captures")?;
        self.batch.captures.push(RawCapture { slot, side, status, addr, wanted, len: len as u32 });
        Ok(())
    }

    fn reference(&mut self, words: &mut Words) -> Result<(), String> {
        let slot = words.name("slot", &SLOTS)?;
        let (fd, object) = (words.number("fd")?, words.number("object")?);
        if object >= self.objects {
            return Err(format!("object {object} is not defined"));
        }
        let event = self.batch.events.last_mut().ok_or("ref before any event")?;
        event.refs = event.refs.checked_add(1).ok_or("more than 65535 references")?;
        self.batch.refs.push(RawRef { slot, fd, object });
        Ok(())
    }

    /// Hands the batch on when it is large enough.
    fn hand_on(&mut self, now: bool) {
        let large = self.batch.bytes.len() >= BATCH_BYTES || self.batch.events.len() >= 4096;
        if (now || large)
            && let Some(writer) = &mut self.writer
        {
            writer.push_batch(&self.batch);
            self.batch.clear();
        }
    }

    fn end_packed(&mut self) -> Result<(), String> {
        if let (Some(packed), Some(writer)) = (self.packed.take(), &mut self.writer)
            && !packed.end(writer.sink())
        {
            return Err("the bytes of the packed file before do not have its length and hash".to_owned());
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Summary, Trouble> {
        if let Some(place) = self.seen.iter().position(|seen| !seen) {
            return Err(format!("the text ends without a line {:?}", HEADER[place]).into());
        }
        if self.writer.is_none() {
            self.writer = Some(BlockWriter::create(self.path, &self.options)?);
        }
        self.hand_on(true);
        self.end_packed()?;
        let Some(writer) = self.writer else { return Err("nothing was written".to_owned().into()) };
        let mut summary = writer.finish();
        match summary.failure.take() {
            Some(failure) => Err(failure.into()),
            None => Ok(summary),
        }
    }
}

/// The number of a definition or event, which only says where one is.
fn expect_number(words: &mut Words, what: &str, expected: u64) -> Result<(), String> {
    let found: u64 = number(words.word("a number")?, what)?;
    if found == expected { Ok(()) } else { Err(format!("{what} {expected} expected, found {found}")) }
}
