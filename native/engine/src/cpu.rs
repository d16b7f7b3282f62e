//! Which processor this is, as far as a recording depends on it.

pub mod features;

use trace_format::event::Trap;

use crate::sys::cpuid;

/// Vendor, family, model and stepping, as `GenuineIntel 6-143-8` (CPUID leaves 0 and 1).
#[must_use]
pub fn describe() -> String {
    let vendor = cpuid(0, 0);
    let name: Vec<u8> = [vendor.ebx, vendor.edx, vendor.ecx].into_iter().flat_map(u32::to_le_bytes).collect();
    let signature = cpuid(1, 0).eax;
    let (stepping, base_model, base_family) = (signature & 0xf, signature >> 4 & 0xf, signature >> 8 & 0xf);
    let family = if base_family == 0xf { base_family + (signature >> 20 & 0xff) } else { base_family };
    let model = if matches!(base_family, 6 | 0xf) { base_model | (signature >> 12 & 0xf0) } else { base_model };
    format!("{} {family}-{model}-{stepping}", String::from_utf8_lossy(&name).trim_end_matches('\0'))
}

/// Whether this processor has an instruction.
#[must_use]
pub fn has(instruction: Trap) -> bool {
    /// Of leaf 7 ecx.
    const RDPID: u32 = 1 << 22;
    match instruction {
        Trap::Rdrand => std::is_x86_feature_detected!("rdrand"),
        Trap::Rdseed => std::is_x86_feature_detected!("rdseed"),
        Trap::Rdpid => cpuid(0, 0).eax >= 7 && cpuid(7, 0).ecx & RDPID != 0,
        Trap::Rdtsc | Trap::Rdtscp | Trap::Cpuid | Trap::Guard => true,
    }
}

/// A random number of the processor, of so many bytes (2, 4 or 8), as `rdrand` or `rdseed` gives it, and the carry flag: whether it had
/// one. None on a processor that has not the instruction.
#[must_use]
pub fn draw(seed: bool, width: u8) -> (u64, bool) {
    if !has(if seed { Trap::Rdseed } else { Trap::Rdrand }) {
        return (0, false);
    }
    let (value, carry): (u64, u8);
    // SAFETY: the processor has the instruction, which writes one register and the flags.
    unsafe {
        if seed {
            std::arch::asm!("rdseed {}", "setc {}", out(reg) value, out(reg_byte) carry, options(nomem, nostack));
        } else {
            std::arch::asm!("rdrand {}", "setc {}", out(reg) value, out(reg_byte) carry, options(nomem, nostack));
        }
    }
    let mask = if width >= 8 { u64::MAX } else { (1 << (u32::from(width) * 8)) - 1 };
    (value & mask, carry != 0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn random_numbers_have_the_width_that_was_asked_for() {
        for seed in [false, true] {
            for _ in 0..64 {
                assert!(super::draw(seed, 2).0 <= 0xffff);
                assert!(super::draw(seed, 4).0 <= 0xffff_ffff);
            }
        }
    }

    #[test]
    fn the_processor_has_a_name_and_numbers() {
        let text = super::describe();
        let (vendor, numbers) = text.split_once(' ').expect("two words");
        assert!(!vendor.is_empty());
        assert_eq!(numbers.split('-').filter(|part| part.parse::<u32>().is_ok()).count(), 3, "{text}");
    }
}
