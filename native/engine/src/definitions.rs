//! The records of DEFS frames: threads, objects, and facts about the recording.
//!
//! Each record is a tag, a length and a body; records with other tags are skipped. Paths share their beginning with
//! the path before, numbers are stored as distances.

use trace_format::limits;
use trace_format::varint::{Cursor, DecodeError, Problem, put, put_signed};

use crate::raw::{Definition, ObjectKind};

const THREAD: u8 = 1;
const OBJECT: u8 = 2;
const META: u8 = 3;

/// Longest beginning that a path takes over from the one before.
const MAX_SHARED: usize = 4096;
/// Bit of the kind byte: the object has a `created_by`.
const CREATED: u8 = 0x80;

const OBJECT_KINDS: [ObjectKind; 10] = [
    ObjectKind::Unknown,
    ObjectKind::File,
    ObjectKind::Dir,
    ObjectKind::Pipe,
    ObjectKind::Fifo,
    ObjectKind::Socket,
    ObjectKind::CharDevice,
    ObjectKind::BlockDevice,
    ObjectKind::Anon,
    ObjectKind::Memfd,
];

/// What the numbers of one frame's objects are relative to.
#[derive(Default)]
struct Before {
    path: Vec<u8>,
    dev: u64,
    ino: u64,
    created_by: u64,
}

/// A DEFS frame in the making.
#[derive(Default)]
pub(crate) struct Encoder {
    payload: Vec<u8>,
    body: Vec<u8>,
    before: Before,
    /// Definitions written in frames before this one.
    first: u64,
    count: u32,
    objects: u64,
    /// Bytes of paths and the like in the whole trace.
    text_bytes: u64,
}

impl Encoder {
    pub(crate) fn has_pending(&self) -> bool {
        self.count > 0
    }

    pub(crate) fn is_full(&self) -> bool {
        self.payload.len() >= limits::CLOSE_DEFS_BYTES as usize
    }

    /// The path of the object that was added last, as it is kept.
    pub(crate) fn last_path(&self) -> &[u8] {
        &self.before.path
    }

    /// Number of objects so far.
    pub(crate) fn objects(&self) -> u64 {
        self.objects
    }

    /// The text of a definition, within the limits of one field and of the trace.
    fn text<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let bytes = &bytes[..bytes.len().min(limits::MAX_DEFINITION_FIELD as usize)];
        self.text_bytes += bytes.len() as u64;
        if self.text_bytes > limits::MAX_DEFINITION_BYTES {
            self.text_bytes -= bytes.len() as u64;
            return &[];
        }
        bytes
    }

    pub(crate) fn add(&mut self, definition: &Definition) {
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        let tag = match definition {
            Definition::Thread { process, ordinal, tid, pid, parent, created_by } => {
                put(&mut body, (*process).into());
                put(&mut body, (*ordinal).into());
                put_signed(&mut body, (*tid).into());
                put_signed(&mut body, (*pid).into());
                put(&mut body, parent.map_or(0, |parent| u64::from(parent) + 1));
                put(&mut body, *created_by);
                THREAD
            }
            Definition::Object { kind, path, detail, dev, ino, created_by } => {
                self.objects += 1;
                let (path, detail) = (self.text(path), self.text(detail));
                let before = &mut self.before;
                body.push(*kind as u8 | if created_by.is_some() { CREATED } else { 0 });
                let shared = path.iter().zip(&before.path).take(MAX_SHARED).take_while(|(a, b)| a == b).count();
                put(&mut body, shared as u64);
                put(&mut body, (path.len() - shared) as u64);
                body.extend_from_slice(&path[shared..]);
                put(&mut body, detail.len() as u64);
                body.extend_from_slice(detail);
                put_signed(&mut body, dev.wrapping_sub(before.dev) as i64);
                put_signed(&mut body, ino.wrapping_sub(before.ino) as i64);
                (before.dev, before.ino) = (*dev, *ino);
                if let Some(created_by) = *created_by {
                    put_signed(&mut body, created_by.wrapping_sub(before.created_by) as i64);
                    before.created_by = created_by;
                }
                before.path.clear();
                before.path.extend_from_slice(path);
                OBJECT
            }
            Definition::Meta { key, value } => {
                let (key, value) = (self.text(key.as_bytes()), self.text(value));
                put(&mut body, key.len() as u64);
                body.extend_from_slice(key);
                body.extend_from_slice(value);
                META
            }
        };
        self.payload.push(tag);
        put(&mut self.payload, body.len() as u64);
        self.payload.extend_from_slice(&body);
        self.body = body;
        self.count += 1;
    }

    /// The pending definitions as payload of a frame: number of the first, how many. `None` when there are none.
    pub(crate) fn take_frame(&mut self, payload: &mut Vec<u8>) -> Option<(u64, u32)> {
        if self.count == 0 {
            return None;
        }
        payload.clear();
        payload.append(&mut self.payload);
        self.before = Before::default();
        let frame = (self.first, self.count);
        self.first += u64::from(self.count);
        self.count = 0;
        Some(frame)
    }
}

/// A thread of the trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Process number as shown, from 1.
    pub process: u32,
    /// 1 for the first thread of the process.
    pub ordinal: u32,
    /// Kernel's number of the thread.
    pub tid: i32,
    /// Kernel's number of the process.
    pub pid: i32,
    /// Index of the thread that made it.
    pub parent: Option<u32>,
    /// Event number at which it appeared.
    pub created_by: u64,
}

/// An object of the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object<'a> {
    /// What kind of file.
    pub kind: ObjectKind,
    /// As /proc/PID/fd shows it.
    pub path: &'a [u8],
    /// Protocol and addresses of a socket.
    pub detail: &'a [u8],
    /// Device.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
    /// Event number of the call that made it.
    pub created_by: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct ObjectRow {
    kind: ObjectKind,
    path_end: u32,
    detail_end: u32,
    dev: u64,
    ino: u64,
    created_by: u64,
}

/// Everything that events refer to by index.
#[derive(Debug, Default)]
pub struct Definitions {
    threads: Vec<Thread>,
    objects: Vec<ObjectRow>,
    text: Vec<u8>,
    meta: Vec<(String, Vec<u8>)>,
    meta_bytes: u64,
}

const NOT_CREATED: u64 = u64::MAX;

impl Definitions {
    /// The threads by index.
    #[must_use]
    pub fn threads(&self) -> &[Thread] {
        &self.threads
    }

    /// How many objects there are.
    #[must_use]
    pub fn object_count(&self) -> usize {
        self.objects.len()
    }

    /// The object with this index.
    #[must_use]
    pub fn object(&self, index: usize) -> Option<Object<'_>> {
        let row = self.objects.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.objects[before].detail_end) as usize;
        let (path_end, detail_end) = (row.path_end as usize, row.detail_end as usize);
        Some(Object {
            kind: row.kind,
            path: &self.text[start..path_end],
            detail: &self.text[path_end..detail_end],
            dev: row.dev,
            ino: row.ino,
            created_by: (row.created_by != NOT_CREATED).then_some(row.created_by),
        })
    }

    /// Facts about the recording, in the order in which their keys appeared.
    #[must_use]
    pub fn meta(&self) -> &[(String, Vec<u8>)] {
        &self.meta
    }

    /// The value of a fact.
    #[must_use]
    pub fn meta_value(&self, key: &str) -> Option<&[u8]> {
        self.meta.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_slice())
    }

    /// Adds the definitions of one frame.
    pub(crate) fn add_frame(&mut self, payload: &[u8], count: u32) -> Result<(), DecodeError> {
        let mut cursor = Cursor::new(payload, "definitions");
        let mut before = Before::default();
        for _ in 0..count {
            let tag = cursor.u8()?;
            let len = cursor.bounded(limits::MAX_DEFS_FRAME_BYTES.into())? as usize;
            let body = cursor.take(len)?;
            match tag {
                THREAD => self.add_thread(Cursor::new(body, "thread"))?,
                OBJECT => self.add_object(Cursor::new(body, "object"), &mut before)?,
                META => self.add_meta(Cursor::new(body, "fact"))?,
                _ => {}
            }
        }
        cursor.end()
    }

    fn add_thread(&mut self, mut body: Cursor) -> Result<(), DecodeError> {
        let known = self.threads.len() as u64;
        if known == u64::from(limits::MAX_THREADS) {
            return Err(body.fail(Problem::TooLarge { value: known + 1, limit: known }));
        }
        let number = |value: i64, body: &Cursor| {
            i32::try_from(value).map_err(|_| body.fail(Problem::Invalid { value: value as u64 }))
        };
        let thread = Thread {
            process: body.bounded(u32::MAX.into())? as u32,
            ordinal: body.bounded(u32::MAX.into())? as u32,
            tid: body.signed().and_then(|tid| number(tid, &body))?,
            pid: body.signed().and_then(|pid| number(pid, &body))?,
            parent: body.bounded(known)?.checked_sub(1).map(|parent| parent as u32),
            created_by: body.varint()?,
        };
        self.threads.push(thread);
        Ok(())
    }

    fn add_object(&mut self, mut body: Cursor, before: &mut Before) -> Result<(), DecodeError> {
        let known = self.objects.len() as u64;
        if known == u64::from(limits::MAX_OBJECTS) {
            return Err(body.fail(Problem::TooLarge { value: known + 1, limit: known }));
        }
        let kind = body.u8()?;
        let shared = body.bounded(before.path.len().min(MAX_SHARED) as u64)? as usize;
        let len = body.bounded(limits::MAX_DEFINITION_FIELD.into())? as usize;
        let rest = body.take(len)?;
        before.path.truncate(shared);
        before.path.extend_from_slice(rest);
        let len = body.bounded(limits::MAX_DEFINITION_FIELD.into())? as usize;
        let detail = body.take(len)?;
        let total = (self.text.len() + before.path.len() + detail.len()) as u64;
        if total > limits::MAX_DEFINITION_BYTES {
            return Err(body.fail(Problem::TooLarge { value: total, limit: limits::MAX_DEFINITION_BYTES }));
        }
        before.dev = before.dev.wrapping_add(body.signed()? as u64);
        before.ino = before.ino.wrapping_add(body.signed()? as u64);
        let mut created_by = NOT_CREATED;
        if kind & CREATED != 0 {
            before.created_by = before.created_by.wrapping_add(body.signed()? as u64);
            created_by = before.created_by;
        }
        self.text.extend_from_slice(&before.path);
        let path_end = self.text.len() as u32;
        self.text.extend_from_slice(detail);
        self.objects.push(ObjectRow {
            kind: OBJECT_KINDS.get(usize::from(kind & !CREATED)).copied().unwrap_or(ObjectKind::Unknown),
            path_end,
            detail_end: self.text.len() as u32,
            dev: before.dev,
            ino: before.ino,
            created_by,
        });
        Ok(())
    }

    fn add_meta(&mut self, mut body: Cursor) -> Result<(), DecodeError> {
        let len = body.bounded(limits::MAX_DEFINITION_FIELD.into())? as usize;
        let key = String::from_utf8_lossy(body.take(len)?).into_owned();
        let value = body.take(body.left().min(limits::MAX_DEFINITION_FIELD as usize))?.to_vec();
        self.meta_bytes += (key.len() + value.len()) as u64;
        if self.meta_bytes > limits::MAX_DEFINITION_BYTES {
            let (value, limit) = (self.meta_bytes, limits::MAX_DEFINITION_BYTES);
            return Err(body.fail(Problem::TooLarge { value, limit }));
        }
        if let Some((_, old)) = self.meta.iter_mut().find(|(name, _)| *name == key) {
            *old = value;
        } else if self.meta.len() < limits::MAX_META as usize {
            self.meta.push((key, value));
        } else {
            let limit = limits::MAX_META.into();
            return Err(body.fail(Problem::TooLarge { value: u64::from(limits::MAX_META) + 1, limit }));
        }
        Ok(())
    }
}
