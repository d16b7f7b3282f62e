//! How values are predicted, in one place for both directions.
//!
//! A walk goes over the rows in stored order and hands each value to a [`Coder`] together with the values that it may
//! be equal to. The encoder's coder looks for the value among them and writes which one it was; the decoder's reads
//! that and gives the value back. FORMAT.md lists the candidates; their order is part of the format.

use super::shape::{Shape, Shapes};
use super::{Column, NO_CONTENT};
use crate::event::slot;
use crate::varint::{Cursor, DecodeError, Problem, put_signed, unzigzag, zigzag};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// A table of `N` predictions, a power of two. Keys that fall into the same slot share it, which costs accuracy and nothing
/// else. Tables are kept from one block to the next, since new memory costs more than to clear what is there.
pub(crate) struct Table<T, const N: usize> {
    slots: Box<[T; N]>,
}

impl<T: Copy + Default, const N: usize> Default for Table<T, N> {
    fn default() -> Self {
        let slots: Box<[T]> = vec![T::default(); N].into_boxed_slice();
        // As many as were made.
        Table { slots: slots.try_into().unwrap_or_else(|_| unreachable!()) }
    }
}

impl<T: Copy + Default, const N: usize> Table<T, N> {
    const SHIFT: u32 = u64::BITS - N.trailing_zeros();

    fn clear(&mut self) {
        self.slots.fill(T::default());
    }

    #[inline]
    fn at(&mut self, key: u64) -> &mut T {
        let slot = key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> Self::SHIFT;
        &mut self.slots[slot as usize & (N - 1)]
    }
}

/// Entries of most tables, and of those that FORMAT.md gives 13 bits.
const SMALL: usize = 1 << 12;
const LARGE: usize = 1 << 13;

/// The tables of all walks.
#[derive(Default)]
pub(crate) struct Tables {
    ret: RetTables,
    place: PlaceTables,
    args: ArgTables,
    captures: CaptureTables,
    refs: RefTables,
}

#[derive(Default)]
struct RetTables {
    tokens: Table<u8, SMALL>,
    by_thread: Table<u64, SMALL>,
    by_path: Table<RetPath, SMALL>,
}

#[derive(Default)]
struct PlaceTables {
    tokens: Table<PlaceTokens, SMALL>,
    ip_step: Table<u64, SMALL>,
    ip_own: Table<u64, SMALL>,
    sp_step: Table<u64, SMALL>,
    sp_site: Table<u64, SMALL>,
    sp_own: Table<u64, SMALL>,
}

#[derive(Default)]
struct ArgTables {
    tokens: Table<u8, LARGE>,
    by_thread: Table<ArgThread, LARGE>,
    by_path: Table<ArgPath, LARGE>,
}

#[derive(Default)]
struct CaptureTables {
    addr_tokens: Table<u8, SMALL>,
    addr_sp: Table<u64, SMALL>,
    addr_own: Table<u64, SMALL>,
    content_tokens: Table<u8, SMALL>,
    content_own: Table<u32, SMALL>,
    content_path: Table<u32, SMALL>,
    wanted_tokens: Table<u8, SMALL>,
    wanted_own: Table<u64, SMALL>,
}

#[derive(Default)]
struct RefTables {
    by_shape: Table<RefShape, SMALL>,
    fd_own: Table<u64, SMALL>,
    by_fd_of_thread: Table<u64, LARGE>,
    by_fd: Table<u64, SMALL>,
    by_slot: Table<u64, SMALL>,
}

/// What worked the last time for the instruction and the stack pointer of one shape.
#[derive(Clone, Copy, Default)]
struct PlaceTokens {
    ip: u8,
    sp: u8,
}

/// What the descriptor of one shape was, and what worked the last time for it and for its object.
#[derive(Clone, Copy, Default)]
struct RefShape {
    fd: u64,
    fd_token: u8,
    object_token: u8,
}

/// What the results of one path of shapes were: predictions with the same key stand together, and are found at once.
#[derive(Clone, Copy, Default)]
struct RetPath {
    value: u64,
    address_step: u64,
    own_step: u64,
}

/// What an argument of one path of shapes was, by itself and from the stack and instruction pointers.
#[derive(Clone, Copy, Default)]
struct ArgPath {
    value: u64,
    from_sp: u64,
    from_ip: u64,
}

/// What an argument of one thread and shape was, and how far it went from the one before.
#[derive(Clone, Copy, Default)]
struct ArgThread {
    value: u64,
    step: u64,
}

/// One direction of the walk.
pub(crate) trait Coder {
    /// `value` is the value when encoding and ignored when decoding. `last` is what worked the last time in this
    /// situation. The token goes to `column`, the distance of an unpredicted value to the column after it.
    fn value(
        &mut self,
        column: Column,
        last: &mut u8,
        exact: &[u64],
        bases: &[u64],
        value: u64,
    ) -> Result<u64, DecodeError>;
}

/// Writes tokens and distances.
pub(crate) struct Writer<'a> {
    pub columns: &'a mut [Vec<u8>],
}

impl Coder for Writer<'_> {
    #[inline]
    fn value(
        &mut self,
        column: Column,
        last: &mut u8,
        exact: &[u64],
        bases: &[u64],
        value: u64,
    ) -> Result<u64, DecodeError> {
        let tokens = &mut self.columns[column as usize];
        if exact[usize::from(*last)] == value {
            tokens.push(0);
        } else if let Some(index) = exact.iter().position(|&candidate| candidate == value) {
            *last = index as u8;
            tokens.push(index as u8 + 1);
        } else {
            let distance = |base: &u64| zigzag(value.wrapping_sub(*base) as i64);
            let best = (0..bases.len()).min_by_key(|&index| distance(&bases[index])).unwrap_or(0);
            tokens.push((exact.len() + 1 + best) as u8);
            put_signed(&mut self.columns[column as usize + 1], value.wrapping_sub(bases[best]) as i64);
        }
        Ok(value)
    }
}

/// Reads tokens and distances.
pub(crate) struct Reader<'a> {
    pub columns: [Cursor<'a>; super::COLUMNS],
}

impl Coder for Reader<'_> {
    #[inline]
    fn value(
        &mut self,
        column: Column,
        last: &mut u8,
        exact: &[u64],
        bases: &[u64],
        _value: u64,
    ) -> Result<u64, DecodeError> {
        let tokens = &mut self.columns[column as usize];
        let token = usize::from(tokens.u8()?);
        if token == 0 {
            return Ok(exact[usize::from(*last)]);
        }
        if let Some(&value) = exact.get(token - 1) {
            *last = token as u8 - 1;
            return Ok(value);
        }
        let Some(&base) = bases.get(token - 1 - exact.len()) else {
            return Err(tokens.fail(Problem::Invalid { value: token as u64 }));
        };
        let distance = unzigzag(self.columns[column as usize + 1].varint()?);
        Ok(base.wrapping_add(distance as u64))
    }
}

/// The skeleton of a block in stored order.
#[derive(Default)]
pub(crate) struct Skeleton {
    pub shapes: Shapes,
    /// Shape per stored row.
    pub shape: Vec<u32>,
    /// Stored rows of each thread, by local number.
    pub groups: Vec<Range<u32>>,
}

/// "No event before" in place of a shape.
const NO_SHAPE: u64 = 0xffff;

impl Skeleton {
    /// Calls `row` for each stored row with its position.
    #[inline]
    fn walk(&self, mut row: impl FnMut(&At<'_>, usize) -> Result<(), DecodeError>) -> Result<(), DecodeError> {
        for (thread, group) in self.groups.iter().enumerate() {
            let mut before = NO_SHAPE;
            for index in group.start as usize..group.end as usize {
                let number = u64::from(self.shape[index]);
                let at = At {
                    first: index == group.start as usize,
                    shape: &self.shapes.list[number as usize],
                    of_thread: (thread as u64) << 16 | number,
                    of_path: before << 16 | number,
                    of_shape: number,
                };
                row(&at, index)?;
                before = number;
            }
        }
        Ok(())
    }
}

/// Where the walk is, as keys of predictions.
struct At<'a> {
    /// The first row of its thread.
    first: bool,
    shape: &'a Shape,
    /// Thread and shape.
    of_thread: u64,
    /// Shape of the thread's event before, and shape.
    of_path: u64,
    of_shape: u64,
}

/// From here on a positive result counts as an address.
const ADDRESS: u64 = 1 << 20;

fn is_address(value: u64) -> bool {
    (ADDRESS..1 << 63).contains(&value)
}

/// The results.
pub(crate) fn walk_ret(
    coder: &mut impl Coder,
    tables: &mut Tables,
    skeleton: &Skeleton,
    ret: &mut [u64],
) -> Result<(), DecodeError> {
    let RetTables { tokens, by_thread, by_path } = &mut tables.ret;
    tokens.clear();
    by_thread.clear();
    by_path.clear();
    let (mut address, mut before) = (0u64, 0u64);
    skeleton.walk(|at, index| {
        if at.first {
            (address, before) = (0, 0);
        }
        let thread = by_thread.at(at.of_thread);
        let path = by_path.at(at.of_path);
        let own = *thread;
        let exact = [
            own,
            path.value,
            address.wrapping_add(path.address_step),
            own.wrapping_add(path.own_step),
            before,
            before.wrapping_add(1),
        ];
        let value = coder.value(Column::RetToken, tokens.at(at.of_shape), &exact, &[0, address, own], ret[index])?;
        ret[index] = value;
        path.own_step = value.wrapping_sub(own);
        path.value = value;
        *thread = value;
        before = value;
        if is_address(value) {
            path.address_step = value.wrapping_sub(address);
            address = value;
        }
        Ok(())
    })
}

/// The instruction and stack pointers.
pub(crate) fn walk_place(
    coder: &mut impl Coder,
    tables: &mut Tables,
    skeleton: &Skeleton,
    ip: &mut [u64],
    sp: &mut [u64],
) -> Result<(), DecodeError> {
    let PlaceTables { tokens, ip_step, ip_own, sp_step, sp_site, sp_own } = &mut tables.place;
    tokens.clear();
    for table in [&mut *ip_step, &mut *ip_own, &mut *sp_step, &mut *sp_site, &mut *sp_own] {
        table.clear();
    }
    let (mut ip_before, mut sp_before, mut step_before) = (0u64, 0u64, 0u64);
    skeleton.walk(|at, index| {
        if at.first {
            (ip_before, sp_before, step_before) = (0, 0, 0);
        }
        let thread = ip_own.at(at.of_thread);
        let next = ip_step.at(at.of_path ^ step_before << 32);
        let own = *thread;
        let exact = [ip_before.wrapping_add(*next), own, ip_before, 0];
        let bases = [ip_before, own];
        let tokens = tokens.at(at.of_shape);
        let value = coder.value(Column::IpToken, &mut tokens.ip, &exact, &bases, ip[index])?;
        ip[index] = value;
        let mut step = 0;
        if value != 0 {
            step = value.wrapping_sub(ip_before);
            *next = step;
            *thread = value;
            ip_before = value;
            step_before = step;
        }

        let site = step << 16 ^ at.of_shape;
        let by_step = sp_step.at(site);
        let by_site = sp_site.at(at.of_path);
        let by_place = sp_own.at(value ^ (at.of_thread >> 16) << 48);
        let exact = [sp_before.wrapping_add(*by_step), sp_before.wrapping_add(*by_site), *by_place, sp_before, 0];
        let value = coder.value(Column::SpToken, &mut tokens.sp, &exact, &[sp_before], sp[index])?;
        sp[index] = value;
        if value != 0 {
            let step = value.wrapping_sub(sp_before);
            *by_step = step;
            *by_site = step;
            *by_place = value;
            sp_before = value;
        }
        Ok(())
    })
}

/// What a walk over arguments, captures or references may look at.
pub(crate) struct Known<'a> {
    pub ret: &'a [u64],
    pub ip: &'a [u64],
    pub sp: &'a [u64],
    pub args: &'a [[u64; 6]],
}

/// Results, places and arguments of a block's rows in stored order.
#[derive(Default)]
pub(crate) struct Rows {
    pub ret: Vec<u64>,
    pub ip: Vec<u64>,
    pub sp: Vec<u64>,
    pub args: Vec<[u64; 6]>,
}

impl Rows {
    /// All of them.
    pub fn known(&self) -> Known<'_> {
        Known { ret: &self.ret, ip: &self.ip, sp: &self.sp, args: &self.args }
    }

    /// What comes before the arguments, and these.
    pub fn split_args(&mut self) -> (Known<'_>, &mut Vec<[u64; 6]>) {
        let Rows { ret, ip, sp, args } = self;
        (Known { ret, ip, sp, args: &[] }, args)
    }
}

/// The rows of a block in stored order: thread by thread.
#[derive(Default)]
pub(crate) struct Stored {
    pub skeleton: Skeleton,
    /// Row number per stored row.
    pub order: Vec<u32>,
    pub rows: Rows,
    pub captures: Captures,
    pub refs: Refs,
}

/// The arguments; those beyond the shape's number stay as they are.
#[allow(clippy::similar_names, reason = "ip and sp are what they are called")]
pub(crate) fn walk_args(
    coder: &mut impl Coder,
    tables: &mut Tables,
    skeleton: &Skeleton,
    known: &Known,
    args: &mut [[u64; 6]],
) -> Result<(), DecodeError> {
    let ArgTables { tokens, by_thread, by_path } = &mut tables.args;
    tokens.clear();
    by_thread.clear();
    by_path.clear();
    let (mut ret_before, mut address, mut first_before) = (0u64, 0u64, 0u64);
    skeleton.walk(|at, index| {
        if at.first {
            (ret_before, address, first_before) = (0, 0, 0);
        }
        let (ret, ip, sp) = (known.ret[index], known.ip[index], known.sp[index]);
        let row = &mut args[index];
        for (k, place) in row[..usize::from(at.shape.nargs)].iter_mut().enumerate() {
            let of_thread = at.of_thread << 4 | k as u64;
            let of_path = at.of_path << 4 | k as u64;
            let of_shape = at.of_shape << 4 | k as u64;
            let thread = by_thread.at(of_thread);
            let path = by_path.at(of_path);
            let own = thread.value;
            let exact = [
                own,
                path.value,
                sp.wrapping_add(path.from_sp),
                ip.wrapping_add(path.from_ip),
                ret_before,
                first_before,
                ret,
                own.wrapping_add(thread.step),
                address,
            ];
            let bases = [own, sp, 0, address];
            let value = coder.value(Column::ArgToken, tokens.at(of_shape), &exact, &bases, *place)?;
            *place = value;
            *thread = ArgThread { value, step: value.wrapping_sub(own) };
            *path = ArgPath { value, from_sp: value.wrapping_sub(sp), from_ip: value.wrapping_sub(ip) };
        }
        ret_before = ret;
        first_before = row[0];
        if is_address(ret) {
            address = ret;
        }
        Ok(())
    })
}

/// The captures in stored order.
#[derive(Default)]
pub(crate) struct Captures {
    pub addr: Vec<u64>,
    pub wanted: Vec<u64>,
    pub content: Vec<u32>,
}

/// The value in an argument slot or the result.
fn in_slot(slot: u8, args: &[u64; 6], ret: u64) -> u64 {
    match slot {
        0..=5 => args[usize::from(slot)],
        slot::RET => ret,
        _ => 0,
    }
}

/// The captures. A content that equals the number of those seen so far is new; it is a decode error when a content
/// is beyond that, and when the number of contents at the end is not that of `lens`. Without `known` only the contents
/// are walked: nothing of them is predicted from addresses and lengths.
pub(crate) fn walk_captures(
    coder: &mut impl Coder,
    tables: &mut Tables,
    skeleton: &Skeleton,
    known: Option<&Known>,
    lens: &[u32],
    captures: &mut Captures,
) -> Result<(), DecodeError> {
    let tables = &mut tables.captures;
    if known.is_some() {
        tables.addr_tokens.clear();
        tables.addr_sp.clear();
        tables.addr_own.clear();
        tables.wanted_tokens.clear();
        tables.wanted_own.clear();
    }
    tables.content_tokens.clear();
    tables.content_own.clear();
    tables.content_path.clear();
    let CaptureTables {
        addr_tokens,
        addr_sp,
        addr_own,
        content_tokens,
        content_own,
        content_path,
        wanted_tokens,
        wanted_own,
    } = tables;
    let mut next = 0usize;
    let mut fresh = 0u64;
    let (mut addr_before, mut wanted_before) = (0u64, 0u64);
    skeleton.walk(|at, index| {
        for (j, signature) in skeleton.shapes.signatures[at.shape.capture_range()].iter().enumerate() {
            let j = j.min(15) as u64;
            let (of_thread, of_path, of_shape) = (at.of_thread << 4 | j, at.of_path << 4 | j, at.of_shape << 4 | j);
            let slot = signature >> 4;
            if let Some(known) = known {
                let sp = known.sp[index];
                let home = in_slot(slot, &known.args[index], known.ret[index]);
                let exact = [
                    home,
                    addr_before.wrapping_add(wanted_before),
                    sp.wrapping_add(*addr_sp.at(of_path)),
                    *addr_own.at(of_thread),
                    addr_before,
                    0,
                ];
                let bases = [home, addr_before, sp];
                let tokens = addr_tokens.at(of_shape);
                let addr = coder.value(Column::AddrToken, tokens, &exact, &bases, captures.addr[next])?;
                captures.addr[next] = addr;
                *addr_sp.at(of_path) = addr.wrapping_sub(sp);
                *addr_own.at(of_thread) = addr;
                addr_before = addr;
            }

            let own = content_own.at(of_thread);
            let path = content_path.at(of_path);
            let content = coder.value(
                Column::ContentToken,
                content_tokens.at(of_shape),
                &[fresh, (*own).into(), NO_CONTENT.into(), (*path).into()],
                &[fresh],
                captures.content[next].into(),
            )?;
            let limit = lens.len() as u64;
            let len = if content == u64::from(NO_CONTENT) {
                0
            } else if content > fresh || content >= limit {
                let problem = Problem::TooLarge { value: content, limit: limit.min(fresh) };
                return Err(DecodeError { reading: "content of a capture", offset: next as u64, problem });
            } else {
                fresh = fresh.max(content + 1);
                u64::from(lens[content as usize])
            };
            captures.content[next] = content as u32;
            *own = content as u32;
            *path = content as u32;

            if let Some(known) = known {
                let own = wanted_own.at(of_shape);
                let after = known.args[index].get(usize::from(slot) + 1).copied().unwrap_or(0);
                let wanted = coder.value(
                    Column::WantedToken,
                    wanted_tokens.at(of_shape),
                    &[len, known.ret[index], after, *own],
                    &[len],
                    captures.wanted[next],
                )?;
                captures.wanted[next] = wanted;
                *own = wanted;
                wanted_before = wanted;
            }
            next += 1;
        }
        Ok(())
    })?;
    if fresh != lens.len() as u64 {
        let problem = Problem::Invalid { value: lens.len() as u64 };
        return Err(DecodeError { reading: "number of contents", offset: fresh, problem });
    }
    Ok(())
}

/// The references in stored order.
#[derive(Default)]
pub(crate) struct Refs {
    pub fd: Vec<u64>,
    pub object: Vec<u64>,
}

/// The references.
pub(crate) fn walk_refs(
    coder: &mut impl Coder,
    tables: &mut Tables,
    skeleton: &Skeleton,
    known: &Known,
    object_base: u64,
    refs: &mut Refs,
) -> Result<(), DecodeError> {
    let RefTables { by_shape, fd_own, by_fd_of_thread, by_fd, by_slot } = &mut tables.refs;
    by_shape.clear();
    fd_own.clear();
    by_fd_of_thread.clear();
    by_fd.clear();
    by_slot.clear();
    let mut fresh = object_base;
    let mut before = 0u64;
    let mut next = 0usize;
    skeleton.walk(|at, index| {
        let (ret, args) = (known.ret[index], &known.args[index]);
        for (j, &slot) in skeleton.shapes.signatures[at.shape.ref_range()].iter().enumerate() {
            let j = j.min(15) as u64;
            let (of_thread, of_shape) = (at.of_thread << 4 | j, at.of_shape << 4 | j);
            // Descriptors are ints: the register's upper half means nothing.
            let home = in_slot(slot, args, ret) as i32 as u64;
            let shape = by_shape.at(of_shape);
            let own = fd_own.at(of_thread);
            let exact = [home, *own, shape.fd];
            let fd = coder.value(Column::FdToken, &mut shape.fd_token, &exact, &[home, 0], refs.fd[next])?;
            refs.fd[next] = fd;
            *own = fd;
            shape.fd = fd;

            let of_fd = (at.of_thread >> 16) << 32 | fd & 0xffff_ffff;
            let of_slot = (at.of_thread >> 16) << 4 | u64::from(slot);
            let (thread_fd, any_fd, slot) = (by_fd_of_thread.at(of_fd), by_fd.at(fd), by_slot.at(of_slot));
            let exact = [*thread_fd, fresh, *any_fd, *slot, before];
            let object = coder.value(
                Column::ObjectToken,
                &mut shape.object_token,
                &exact,
                &[fresh, before],
                refs.object[next],
            )?;
            refs.object[next] = object;
            *thread_fd = object;
            *any_fd = object;
            *slot = object;
            before = object;
            if object >= fresh {
                fresh = object.wrapping_add(1);
            }
            next += 1;
        }
        Ok(())
    })
}
