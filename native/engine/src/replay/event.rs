//! One event of a decoded block: a view that copies nothing.

use trace_format::column::{Columns, NO_CONTENT};
use trace_format::event::{EventKind, Side, slot};

/// The event in row `row` of a block.
#[derive(Clone, Copy)]
pub struct Event<'a> {
    columns: &'a Columns,
    row: usize,
}

/// Captured memory of an event.
#[derive(Clone, Copy, Debug)]
pub struct Captured<'a> {
    pub slot: u8,
    pub side: u8,
    pub addr: u64,
    pub bytes: &'a [u8],
}

impl Captured<'_> {
    /// Memory of the program at entry, which has to be equal in replay.
    #[must_use]
    pub fn is_input(&self) -> bool {
        self.side == Side::In as u8 && self.addr != 0 && self.slot != slot::LAYOUT && !self.bytes.is_empty()
    }

    /// What replay has to map.
    #[must_use]
    pub fn is_layout(&self) -> bool {
        self.side == Side::In as u8 && self.slot == slot::LAYOUT
    }

    /// Memory of the program that the kernel has written.
    #[must_use]
    pub fn is_output(&self) -> bool {
        self.side == Side::Out as u8 && self.addr != 0 && !self.bytes.is_empty()
    }
}

fn pair(words: &[u32], index: usize) -> u64 {
    match words.get(index * 2..index * 2 + 2) {
        Some(pair) => u64::from(pair[0]) | u64::from(pair[1]) << 32,
        None => 0,
    }
}

impl<'a> Event<'a> {
    #[must_use]
    pub fn new(columns: &'a Columns, row: usize) -> Event<'a> {
        Event { columns, row }
    }

    #[must_use]
    pub fn seq(&self) -> u64 {
        self.columns.first_seq + self.row as u64
    }

    #[must_use]
    pub fn kind(&self) -> EventKind {
        EventKind::from_code(self.columns.kind[self.row]).unwrap_or(EventKind::Note)
    }

    #[must_use]
    pub fn thread(&self) -> u32 {
        self.columns.thread[self.row]
    }

    #[must_use]
    pub fn flags(&self) -> u8 {
        self.columns.flags[self.row]
    }

    #[must_use]
    pub fn arch(&self) -> u8 {
        self.columns.arch[self.row]
    }

    #[must_use]
    pub fn code(&self) -> i32 {
        self.columns.code[self.row]
    }

    #[must_use]
    pub fn ret(&self) -> i64 {
        match self.columns.ret.get(self.row * 2..self.row * 2 + 2) {
            Some(pair) => i64::from(pair[0] as u32) | i64::from(pair[1]) << 32,
            None => 0,
        }
    }

    /// How many arguments mean something.
    #[must_use]
    pub fn nargs(&self) -> usize {
        usize::from(self.columns.nargs[self.row]).min(6)
    }

    #[must_use]
    pub fn arg(&self, index: usize) -> u64 {
        pair(&self.columns.args, self.row * 6 + index)
    }

    #[must_use]
    pub fn args(&self) -> [u64; 6] {
        std::array::from_fn(|index| self.arg(index))
    }

    #[must_use]
    pub fn ip(&self) -> u64 {
        pair(&self.columns.ip, self.row)
    }

    #[must_use]
    pub fn sp(&self) -> u64 {
        pair(&self.columns.sp, self.row)
    }

    /// Nanoseconds since the start of the recording, when it began.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.columns.start.get(self.row).map_or(0, |start| *start as u64)
    }

    /// Nanoseconds since the start of the recording, when it ended.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start() + self.columns.duration.get(self.row).map_or(0, |duration| *duration as u64)
    }

    pub fn captures(&self) -> impl Iterator<Item = Captured<'a>> + use<'a> {
        let columns = self.columns;
        let range = match columns.cap_start.get(self.row..self.row + 2) {
            Some(ends) => ends[0] as usize..ends[1] as usize,
            None => 0..0,
        };
        range.map(move |at| Captured {
            slot: columns.cap_slot[at],
            side: columns.cap_side[at],
            addr: pair(&columns.cap_addr, at),
            bytes: content(columns, columns.cap_content[at]),
        })
    }

    /// The bytes of the first capture in that slot and side.
    #[must_use]
    pub fn captured(&self, slot: u8, side: Side) -> Option<&'a [u8]> {
        self.captures().find(|capture| capture.slot == slot && capture.side == side as u8).map(|capture| capture.bytes)
    }

    /// Slot, descriptor and object of the event's references.
    pub fn refs(&self) -> impl Iterator<Item = (u8, i32, u32)> + use<'a> {
        let columns = self.columns;
        let range = match columns.ref_start.get(self.row..self.row + 2) {
            Some(ends) => ends[0] as usize..ends[1] as usize,
            None => 0..0,
        };
        range.map(move |at| (columns.ref_slot[at], columns.ref_fd[at], columns.ref_object[at]))
    }
}

fn content(columns: &Columns, index: u32) -> &[u8] {
    if index == NO_CONTENT {
        return &[];
    }
    match columns.content_start.get(index as usize..index as usize + 2) {
        Some(ends) => columns.bytes.get(ends[0] as usize..ends[1] as usize).unwrap_or_default(),
        None => &[],
    }
}
