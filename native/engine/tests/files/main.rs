//! Trace files and the formats beside them, written and read: one program for all of these tests, as each one is linked for a long
//! time. Those of tests/*.rs change or measure their whole process, and are programs of their own.

mod common;
mod counting;
mod golden;
mod hostile;
mod hostile_elf;
mod pack;
mod roundtrip;
mod text;
mod usage;
