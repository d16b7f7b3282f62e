//! bpf(2): what `union bpf_attr` points to and which descriptors it names; the union itself is taken by its length.

use super::{Site, When};

/// Commands by their numbers, linux/bpf.h.
mod command {
    pub const MAP_CREATE: i32 = 0;
    pub const MAP_LOOKUP_ELEM: i32 = 1;
    pub const MAP_GET_NEXT_KEY: i32 = 4;
    pub const PROG_LOAD: i32 = 5;
    pub const OBJ_PIN: i32 = 6;
    pub const OBJ_GET: i32 = 7;
    pub const PROG_ATTACH: i32 = 8;
    pub const PROG_DETACH: i32 = 9;
    pub const PROG_TEST_RUN: i32 = 10;
    pub const OBJ_GET_INFO_BY_FD: i32 = 15;
    pub const PROG_QUERY: i32 = 16;
    pub const RAW_TRACEPOINT_OPEN: i32 = 17;
    pub const BTF_LOAD: i32 = 18;
    pub const TASK_FD_QUERY: i32 = 20;
    pub const MAP_LOOKUP_AND_DELETE_ELEM: i32 = 21;
    pub const MAP_FREEZE: i32 = 22;
    pub const MAP_LOOKUP_BATCH: i32 = 24;
    pub const MAP_DELETE_BATCH: i32 = 27;
    pub const LINK_CREATE: i32 = 28;
    pub const LINK_UPDATE: i32 = 29;
    pub const ITER_CREATE: i32 = 33;
    pub const LINK_DETACH: i32 = 34;
    pub const PROG_BIND_MAP: i32 = 35;
}

/// Most of a program, a type description or an answer that is taken.
const MOST: u64 = 1 << 20;

pub fn bpf(site: &mut Site<'_, '_>) {
    let operation = site.call.int(0);
    for offset in descriptors(operation) {
        // What lies beyond the size that the program gives does not exist.
        if offset + 4 <= site.arg(2) {
            let fd = site.u32_at(*offset);
            site.mentions(u64::from(fd));
        }
    }
    match site.when {
        When::Entry => read(site, operation),
        When::Exit(_) => written(site, operation),
    }
}

fn read(site: &mut Site<'_, '_>, operation: i32) {
    match operation {
        command::PROG_LOAD => {
            let (count, code, license) = (u64::from(site.u32_at(4)), site.u64_at(8), site.u64_at(16));
            site.also_reads(code, count.min(1 << 16) * 8);
            site.also_reads_string(license);
        }
        command::OBJ_PIN | command::OBJ_GET | command::RAW_TRACEPOINT_OPEN => {
            let name = site.u64_at(0);
            site.also_reads_string(name);
        }
        command::OBJ_GET_INFO_BY_FD => {
            let (length, info) = (u64::from(site.u32_at(4)), site.u64_at(8));
            site.also_reads(info, length.min(4096));
        }
        command::BTF_LOAD => {
            let (types, length) = (site.u64_at(0), u64::from(site.u32_at(16)));
            site.also_sends(types, length.min(MOST));
        }
        _ => {}
    }
}

fn written(site: &mut Site<'_, '_>, operation: i32) {
    match operation {
        command::OBJ_GET_INFO_BY_FD => {
            let (length, info) = (u64::from(site.u32_at(4)), site.u64_at(8));
            site.also_writes(info, length.min(4096));
        }
        command::PROG_QUERY => {
            let (ids, count) = (site.u64_at(16), u64::from(site.u32_at(24)));
            site.also_writes(ids, count.min(4096) * 4);
        }
        command::TASK_FD_QUERY => {
            let (length, name) = (u64::from(site.u32_at(12)), site.u64_at(16));
            site.also_writes(name, length.min(4096));
        }
        _ => {}
    }
}

/// Where a command's descriptors are in the union.
fn descriptors(operation: i32) -> &'static [u64] {
    match operation {
        command::MAP_CREATE => &[20, 48],
        command::PROG_LOAD => &[72, 112],
        command::OBJ_PIN | command::OBJ_GET | command::RAW_TRACEPOINT_OPEN => &[8],
        command::PROG_ATTACH => &[0, 4, 16],
        command::TASK_FD_QUERY => &[4],
        command::LINK_UPDATE => &[0, 4, 12],
        command::MAP_LOOKUP_ELEM..=command::MAP_GET_NEXT_KEY
        | command::MAP_LOOKUP_AND_DELETE_ELEM
        | command::MAP_FREEZE
        | command::PROG_DETACH
        | command::PROG_TEST_RUN
        | command::OBJ_GET_INFO_BY_FD
        | command::PROG_QUERY
        | command::ITER_CREATE
        | command::LINK_DETACH => &[0],
        command::MAP_LOOKUP_BATCH..=command::MAP_DELETE_BATCH => &[36],
        command::LINK_CREATE | command::PROG_BIND_MAP => &[0, 4],
        _ => &[],
    }
}
