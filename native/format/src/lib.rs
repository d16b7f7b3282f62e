//! The contract of `trace`: what every part of the program, native or TypeScript, agrees on.
//!
//! The syscall table, the kinds of event, and the layout of the trace file. This crate depends on nothing, allocates
//! only in the codecs, and does no input or output. FORMAT.md beside it is the written specification of the file.
#![no_std]

extern crate alloc;

pub mod answers;
pub mod column;
pub mod event;
pub mod flags;
pub mod frame;
pub mod limits;
pub mod numbers;
pub mod procfs;
pub mod ring;
pub mod structs;
pub mod syscalls;
pub mod table;
pub mod usage;
pub mod varint;
