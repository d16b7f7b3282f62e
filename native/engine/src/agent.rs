//! The agent in tracees, seen from the engine: what it is made of, how it gets into a process, which code is patched to
//! reach it, and the rings that it fills.
//!
//! The agent itself is `native/agent`; what both sides share is `trace_format::ring`. How its records become events is in
//! `record/agent.rs`.

pub mod clock;
pub mod code;
pub mod filter;
pub mod inject;
pub mod known;
pub mod remote;
pub mod ring;
mod sites;
pub mod stopped;
pub mod table;
pub mod twin;
pub mod window;

use std::ops::Range;
use std::sync::LazyLock;

use object::read::elf::{ElfFile64, ProgramHeader as _};
use object::{Object as _, ObjectSymbol as _};
use trace_format::ring as layout;

use self::window::Entries;

/// The agent's code and the addresses in it that the engine knows.
pub struct Image {
    pub text: Vec<u8>,
    pub entry: u64,
    pub entered: u64,
    /// The same for sites that read the time stamp counter.
    pub counter_entry: u64,
    counter_entered: u64,
    /// Behind the instruction that makes the program's calls.
    pub called: u64,
    /// The code that makes the agent's own calls, which begins where that ends; and behind its instruction.
    pub own_call: u64,
    pub own_called: u64,
    pub remote: u64,
    remote_end: u64,
    /// Where reads of the program's memory may fault, and where each goes on then.
    pub faults: [(u64, u64); 3],
    pub replay: Replay,
}

/// The part of the agent that answers calls in replay, as offsets from the start of the text: that can stand anywhere.
pub struct Replay {
    entry: u64,
    counter_entry: u64,
    /// Where reads and writes of the program's memory may fault, and where all of them go on then.
    pub faults: [u64; 3],
    pub failed: u64,
}

impl Image {
    /// Its first bytes, with what makes calls for the engine.
    #[must_use]
    pub fn begins(&self) -> &[u8] {
        let end = self.own_called.max(self.remote_end) - layout::BASE;
        &self.text[..(end as usize).min(self.text.len())]
    }

    /// Where the two instructions end that make calls.
    #[must_use]
    pub fn calls_end(&self) -> Range<u64> {
        self.called.min(self.own_called)..self.called.max(self.own_called) + 1
    }
}

impl Replay {
    /// Where sites lead when the text is at `base`.
    #[must_use]
    pub fn entries(&self, base: u64) -> Entries {
        Entries { call: base + self.entry, counter: base + self.counter_entry }
    }
}

impl Image {
    /// Whether an address is in the agent's code.
    #[must_use]
    pub fn covers(&self, ip: u64) -> bool {
        (layout::BASE..layout::BASE + layout::TEXT_BYTES).contains(&ip)
    }

    /// The same behind the beginning of its entries, where the block does not tell of the present call yet.
    #[must_use]
    pub fn is_within(&self, ip: u64) -> bool {
        self.covers(ip) && !(self.entry..self.entered).contains(&ip) && !self.enters_for_counter(ip)
    }

    /// Whether a thread there comes from a site that reads the counter, and its registers are still the program's.
    #[must_use]
    pub fn enters_for_counter(&self, ip: u64) -> bool {
        (self.counter_entry..self.counter_entered).contains(&ip)
    }

    /// Where sites lead in a recording.
    #[must_use]
    pub fn entries(&self) -> Entries {
        Entries { call: self.entry, counter: self.counter_entry }
    }
}

static IMAGE: LazyLock<Option<Image>> = LazyLock::new(|| parse(include_bytes!(concat!(env!("OUT_DIR"), "/agent.elf"))));

/// The agent; `None` when this program was built without a usable one, which a test rules out.
#[must_use]
pub fn image() -> Option<&'static Image> {
    IMAGE.as_ref()
}

fn parse(elf: &[u8]) -> Option<Image> {
    let file: ElfFile64<'_> = ElfFile64::parse(elf).ok()?;
    let endian = file.endian();
    let load = file.elf_program_headers().iter().find(|header| header.p_type(endian) == object::elf::PT_LOAD)?;
    let text = load.data(endian, elf).ok()?;
    let is_at_its_place = load.p_vaddr(endian) == layout::BASE && text.len() as u64 <= layout::TEXT_BYTES;
    let symbol = |name: &str| file.symbols().find(|symbol| symbol.name() == Ok(name)).map(|symbol| symbol.address());
    let string_failed = symbol("agent_string_failed")?;
    let offset = |name: &str| symbol(name).map(|address| address - layout::BASE);
    is_at_its_place.then_some(Image {
        text: text.to_vec(),
        entry: symbol("agent_entry")?,
        entered: symbol("agent_entered")?,
        counter_entry: symbol("agent_counter_entry")?,
        counter_entered: symbol("agent_counter_entered")?,
        called: symbol("agent_called")?,
        own_call: symbol("agent_own_call")?,
        own_called: symbol("agent_own_called")?,
        remote: symbol("agent_remote")?,
        remote_end: symbol("agent_remote_end")?,
        faults: [
            (symbol("agent_copy_reads")?, symbol("agent_copy_failed")?),
            (symbol("agent_string_reads")?, string_failed),
            (symbol("agent_string_reads_word")?, string_failed),
        ],
        replay: Replay {
            entry: offset("replay_entry")?,
            counter_entry: offset("replay_counter_entry")?,
            faults: [offset("replay_reads_word")?, offset("replay_reads_byte")?, offset("replay_tries")?],
            failed: offset("replay_failed")?,
        },
    })
}

#[cfg(test)]
mod tests {
    use iced_x86::{Decoder, DecoderOptions, Mnemonic, Register};

    use super::*;

    #[test]
    fn the_agent_makes_calls_in_two_places_and_touches_no_vector_register() {
        let image = image().expect("the agent was built");
        let start = image.text.as_slice();
        let mut calls = Vec::new();
        for instruction in &mut Decoder::with_ip(64, start, layout::BASE, DecoderOptions::NONE) {
            if instruction.mnemonic() == Mnemonic::Syscall {
                calls.push(instruction.next_ip());
            }
            for operand in 0..instruction.op_count() {
                let register = instruction.op_register(operand);
                assert!(!register.is_vector_register() && !register.is_st(), "{instruction:?}");
                assert!(register == Register::None || !register.is_mm(), "{instruction:?}");
            }
        }
        assert_eq!(calls, [image.called, image.own_called]);
    }
}
