//! Every size that a trace file may have. A writer stays within them; a reader refuses what is beyond them, before it
//! allocates anything.

/// Raw and stored bytes of one frame.
pub const MAX_FRAME_BYTES: u32 = 64 << 20;

/// Events of one EVENTS frame.
pub const MAX_BLOCK_EVENTS: u32 = 32_768;

/// Captures of one EVENTS frame. A writer closes the block at half of it, and one event adds at most 65,535.
pub const MAX_BLOCK_CAPTURES: u32 = 1 << 19;

/// References of one EVENTS frame. A writer closes the block at half of it, and one event adds at most 65,535.
pub const MAX_BLOCK_REFS: u32 = 1 << 19;

/// Captured bytes of one event. A writer cuts what is beyond and marks the capture as truncated.
pub const MAX_EVENT_BYTES: u32 = 64 << 20;

/// Distinct captured bytes of one EVENTS frame at which a writer closes the block.
pub const CLOSE_BLOCK_BYTES: u32 = 16 << 20;

/// Distinct captured bytes of one EVENTS frame.
pub const MAX_BLOCK_BYTES: u32 = CLOSE_BLOCK_BYTES + MAX_EVENT_BYTES;

/// Bytes of short contents, kept inside the EVENTS frame, at which a writer closes the block.
pub const CLOSE_INLINE_BYTES: u32 = 4 << 20;

/// Contents shorter than this are kept inside the EVENTS frame; the others are stored once per trace.
pub const INLINE_BELOW: u32 = 64;

/// Bytes of one chunk of a content; only the last chunk of a content is shorter.
pub const CHUNK_BYTES: u32 = 256 << 10;

/// Bytes of chunks at which a writer closes a CONTENT frame.
pub const CLOSE_CONTENT_BYTES: u32 = 1 << 20;

/// Raw bytes of one CONTENT frame: the chunks and the table of their lengths.
pub const MAX_CONTENT_FRAME_BYTES: u32 = 2 << 20;

/// Bytes of definitions at which a writer closes a DEFS frame.
pub const CLOSE_DEFS_BYTES: u32 = 1 << 20;

/// Raw bytes of one DEFS frame.
pub const MAX_DEFS_FRAME_BYTES: u32 = 4 << 20;

/// Bytes of one path, detail, key or value of a definition. A writer cuts what is beyond.
pub const MAX_DEFINITION_FIELD: u32 = 1 << 20;

/// Bytes of all paths and details, and of all facts. A writer leaves out the texts that are beyond it.
pub const MAX_DEFINITION_BYTES: u64 = 512 << 20;

/// Threads of one trace.
pub const MAX_THREADS: u32 = 1 << 22;

/// Objects of one trace.
pub const MAX_OBJECTS: u32 = 1 << 24;

/// Distinct keys of facts about the recording.
pub const MAX_META: u32 = 1 << 12;

/// Bytes of one piece of a packed file.
pub const OBJECT_PIECE_BYTES: u32 = 1 << 20;

/// Bytes of one packed file.
pub const MAX_OBJECT_FILE_BYTES: u64 = 1 << 40;

/// Stacks of one STACKS frame.
pub const MAX_FRAME_STACKS: u32 = 1 << 14;

/// Frames of one stack.
pub const MAX_STACK_DEPTH: u32 = 1024;

/// Entries of each table of a STACKS frame: files, strings, places, functions.
pub const MAX_STACK_TABLE: u32 = 1 << 20;

/// Samples of one SAMPLES frame.
pub const MAX_FRAME_SAMPLES: u32 = 1 << 14;

/// Pieces of memory of one sample, and bytes of one piece.
pub const MAX_SAMPLE_PIECES: u32 = 1 << 16;
pub const MAX_SAMPLE_BYTES: u32 = 8 << 20;

/// Bytes of one name or path in a STACKS frame.
pub const MAX_STACK_STRING: u32 = 1 << 13;

/// Paths of a USAGE frame, and bytes of all of them. A writer that meets more leaves the frame out.
pub const MAX_USAGE_PATHS: u32 = 1 << 19;
pub const MAX_USAGE_TEXT: u32 = 64 << 20;

/// Latest moment of an event in nanoseconds since the start: what a double holds exactly (104 days).
pub const MAX_TIME_NS: u64 = 1 << 53;

/// Longest unit of time.
pub const MAX_TICK_NS: u32 = 1_000_000_000;
