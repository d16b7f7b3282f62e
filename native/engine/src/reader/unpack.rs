//! What is compressed in a trace, unpacked.

use trace_format::varint::Problem;

use crate::sys;

/// Decompresses, with a context that is made once.
#[derive(Default)]
pub(super) struct Unpacker(Option<zstd::bulk::Decompressor<'static>>);

impl Unpacker {
    /// Exactly `raw_len` bytes, which the caller has checked against a limit. What `out` held is forgotten.
    pub(super) fn unpack(&mut self, stored: &[u8], raw_len: u32, out: &mut Vec<u8>) -> Result<(), Problem> {
        let context = match &mut self.0 {
            Some(context) => context,
            none => {
                // It asks what the processor can do, each time.
                let new = sys::with_cpuid(zstd::bulk::Decompressor::new);
                none.insert(new.map_err(|_| Problem::Compressed)?)
            }
        };
        out.clear();
        out.reserve(raw_len as usize);
        context.decompress_to_buffer(stored, out).map_err(|_| Problem::Compressed)?;
        if out.len() != raw_len as usize {
            return Err(Problem::Ends { need: raw_len.into(), have: out.len() as u64 });
        }
        Ok(())
    }
}

/// The same where it is done once.
pub(super) fn decompress(stored: &[u8], raw_len: u32) -> Result<Vec<u8>, Problem> {
    let mut raw = Vec::new();
    Unpacker::default().unpack(stored, raw_len, &mut raw)?;
    Ok(raw)
}
