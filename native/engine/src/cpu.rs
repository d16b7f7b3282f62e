//! Which processor this is, as far as a recording depends on it.

use std::arch::x86_64::__cpuid;

/// Vendor, family, model and stepping, as `GenuineIntel 6-143-8` (CPUID leaves 0 and 1).
#[must_use]
pub fn describe() -> String {
    let vendor = __cpuid(0);
    let name: Vec<u8> = [vendor.ebx, vendor.edx, vendor.ecx].into_iter().flat_map(u32::to_le_bytes).collect();
    let signature = __cpuid(1).eax;
    let (stepping, base_model, base_family) = (signature & 0xf, signature >> 4 & 0xf, signature >> 8 & 0xf);
    let family = if base_family == 0xf { base_family + (signature >> 20 & 0xff) } else { base_family };
    let model = if matches!(base_family, 6 | 0xf) { base_model | (signature >> 12 & 0xf0) } else { base_model };
    format!("{} {family}-{model}-{stepping}", String::from_utf8_lossy(&name).trim_end_matches('\0'))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_processor_has_a_name_and_numbers() {
        let text = super::describe();
        let (vendor, numbers) = text.split_once(' ').expect("two words");
        assert!(!vendor.is_empty());
        assert_eq!(numbers.split('-').filter(|part| part.parse::<u32>().is_ok()).count(), 3, "{text}");
    }
}
