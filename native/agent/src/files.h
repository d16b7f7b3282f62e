/* Files that calls open, give other names to, and map: what they stand for, and which of it the engine has to see to. */
#ifndef FILES_H
#define FILES_H

#include "writer.h"

/* Of the mode in a struct stat. */
enum { MODE = 24, FORMAT = 0170000, DIRECTORY = 0040000, REGULAR = 0100000, DEVICE = 0020000 };

static inline u32 format_of(const u8 *facts)
{
	return *(const u32 *)(facts + MODE) & FORMAT;
}

/*
 * What the bits of a new descriptor are. Some files of /proc show the agent; and whether others see what is written to a file, the
 * engine says, in a recording that is to be replayed.
 */
static u8 what_is_known(const u8 *facts, int writable, struct block *block)
{
	enum { RDEV = 40 };
	/* /dev/null, /dev/zero, /dev/urandom and their like never wait. */
	enum { MEMORY_DEVICES = 1 };
	static const char proc[] = "/proc/";
	u32 format = format_of(facts);
	u32 major = *(const u64 *)(facts + RDEV) >> 8 & 0xfff;
	int waits = format != DIRECTORY && format != REGULAR && !(format == DEVICE && major == MEMORY_DEVICES);
	u32 same = 0;

	while (same < sizeof(proc) - 1 && facts[STAT_BYTES + same] == (u8)proc[same])
		same++;
	if (same == sizeof(proc) - 1)
		return 0;
	if (!block->replayable)
		return KNOWN_IS;
	if (!writable)
		return KNOWN_IS | (waits ? KNOWN_WAITS : 0) | (format == REGULAR ? KNOWN_READS : 0);
	add_file(block->written, facts);
	return KNOWN_IS | (waits ? KNOWN_WAITS : 0) |
	       (has_file(block->seen, facts) || has_file(block->mapped, facts) ? KNOWN_WRITES_STOP : 0);
}

/* Whether a call that opens a file may open it for writing. */
static int opens_to_write(const struct frame *frame)
{
	enum { ACCESS = 3 };

	switch (frame->rax) {
	case NR_OPEN:
		return frame->args[1] & ACCESS;
	case NR_OPENAT:
		return frame->args[2] & ACCESS;
	default:
		return 1;
	}
}

/* Whether a file may be one of /proc: these have no size, no blocks, and are on no device. */
static int may_be_of_proc(const u8 *facts)
{
	enum { DEVICE = 0, SIZE = 48, BLOCKS = 64 };
	u64 device = *(const u64 *)(facts + DEVICE);

	return !(device >> 8 & 0xfff) && !*(const u64 *)(facts + SIZE) && !*(const u64 *)(facts + BLOCKS);
}

/* What is known of the absolute path that a call is given, the first that is captured of it: to which file it leads through links. */
static const struct name *find_name(const struct writer *writer, const struct block *block)
{
	const struct capture *given = (const struct capture *)(writer->record + 1);
	const u8 *path = (const u8 *)(given + 1);
	u64 hash = PATH_HASH_START;

	if (!block->names[0].number || block->asks || !writer->record->captures || given->status != WHOLE || *path != '/')
		return 0;
	for (; path < writer->at && *path; path++)
		hash = (hash ^ *path) * PATH_HASH_FACTOR;
	for (u32 i = 0; i < BLOCK_MOST_NAMES && block->names[i].number; i++)
		if (block->names[i].path == hash)
			return &block->names[i];
	return 0;
}

/* Whether a file is the one that a path was known to lead to, unchanged: neither it nor a link of it has another name then. */
static int is_as_known(const struct name *name, const u8 *facts)
{
	enum { DEV, INO, LINKS, CHANGED = 13, CHANGED_NS };
	const u64 *words = (const u64 *)facts;

	return words[DEV] == name->dev && words[INO] == name->ino && words[LINKS] == 1 && words[CHANGED] == name->seconds &&
	       words[CHANGED_NS] == name->nanoseconds;
}

/*
 * Makes a call in another form at first. Whether that was it; if not, nothing has been made. What the engine takes for a failure, of a
 * thread that it finds here, is in Ring::has_failed.
 */
static int attempt(const struct frame *other, struct block *block, u64 form, i64 *result)
{
	int is_made;

	block->tries = form;
	if (form == TRIES_IN_TURN) {
		/* The engine first says that others want the turn, and looks then. */
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (block->refuse & (REFUSE_TURNS | REFUSE_ALL)) {
			block->tries = 0;
			return 0;
		}
	}
	FENCE();
	*result = agent_call(other);
	FENCE();
	if (form == TRIES_FORM)
		is_made = *result != -TRIES_FORM_REFUSED && *result != -TRIES_FORM_UNKNOWN && *result != -TRIES_FORM_LINK;
	else
		is_made = *result && *result != -EINTR;
	if (!is_made) {
		block->phase = PHASE_ENTERED;
		FENCE();
	}
	block->tries = 0;
	FENCE();
	return is_made;
}

/*
 * Opens a file, in a way at first that fails when part of its path is a symbolic link: then the path is the file's name, and the
 * kernel need not be asked for that, which takes longer than to open it. Unless directories have other names by now than they had when
 * they were opened.
 */
static i64 open_file(const struct row *row, const struct frame *frame, struct block *block, const struct name *known_name, int *is_named)
{
	enum { CREATES = 0100, UNNAMED = 020000000, NO_SYMLINKS = 4, MODE = 07777 };
	int is_at = frame->rax == NR_OPENAT;
	const u64 *args = frame->args + is_at;
	u32 flags = args[1];
	struct {
		u64 flags, mode, resolve;
	} how = { flags, flags & CREATES ? args[2] & MODE : 0, NO_SYMLINKS };
	struct frame other;
	i64 result;

	if ((!is_at && frame->rax != NR_OPEN) || known_name || flags & UNNAMED || row->pointers[0].omit || block->asks)
		return agent_call(frame);
	other.rax = NR_OPENAT2;
	other.args[0] = is_at ? frame->args[0] : (u64)AT_FDCWD;
	other.args[1] = args[0];
	other.args[2] = (u64)&how;
	other.args[3] = sizeof(how);
	if (!attempt(&other, block, TRIES_FORM, &result))
		return agent_call(frame);
	*is_named = result >= 0;
	return result;
}

/* Asks what a new descriptor stands for, before anything can have closed it. */
static void identify(struct writer *writer, struct block *block, u32 fd, const struct name *name, int is_named, int writable)
{
	struct capture *capture = begin(writer, CAPTURE_OPENED, SIDE_OUT, 0, fd);
	u8 *facts = (u8 *)(capture + 1);
	char path[] = "/proc/thread-self/fd/\0\0\0\0\0\0\0\0\0\0\0";
	u32 at = sizeof("/proc/thread-self/fd/") - 1, digits = 1;
	i64 length;

	for (u32 rest = fd; rest >= 10; rest /= 10)
		digits++;
	for (u32 rest = fd, i = digits; i > 0; rest /= 10)
		path[at + --i] = '0' + rest % 10;
	if (agent_own_call(NR_FSTAT, fd, (u64)facts, 0, 0) < 0)
		return;
	writer->opened[0] = *(const u64 *)facts;
	writer->opened[1] = *(const u64 *)(facts + 8);
	facts[STAT_BYTES] = 0;
	length = 0;
	if (name && is_as_known(name, facts) && !may_be_of_proc(facts)) {
		capture->addr = name->number;
	} else if (!is_named || may_be_of_proc(facts)) {
		length = agent_own_call(NR_READLINK, (u64)path, (u64)(facts + STAT_BYTES), NAME_BYTES, 0);
		if (length <= 0 || length >= NAME_BYTES)
			return;
	}
	finish(writer, capture, STAT_BYTES + length, WHOLE);
	if (fd < RING_KNOWN_BYTES)
		known[fd] = what_is_known(facts, writable, block);
}

/* The same of two that a call has written. */
static void identify_both(struct writer *writer, struct block *block, u64 addr)
{
	u32 both[2];

	if (agent_copy(both, addr, sizeof(both)))
		return;
	identify(writer, block, both[0], 0, 0, 0);
	identify(writer, block, both[1], 0, 0, 0);
}

/*
 * Whether a call maps a file that was opened for reading, from its start on, in a way in which its content can be kept: PROT_READ and
 * not PROT_EXEC, MAP_PRIVATE and perhaps MAP_NORESERVE and MAP_POPULATE.
 */
static inline int maps_small_file(const struct frame *frame)
{
	const u64 *args = frame->args;

	return (args[2] & 5) == 1 && (args[3] & ~0xc000ull) == 2 && !args[5] && has((int)args[4], KNOWN_READS);
}

/* Whether a call maps something where the agent has mapped a file last, as a loader does with the parts of a library. */
static inline int is_in_last(const struct block *block, const u64 *args)
{
	return args[0] >= block->last.start && args[0] < block->last.end && args[1] <= block->last.end - args[0];
}

/*
 * Whether a call maps a file that was opened for reading, in a way in which it makes no difference who does it when its content is kept:
 * code that nobody may write to, or no code; MAP_PRIVATE, or MAP_SHARED only to be read, and perhaps MAP_DENYWRITE, MAP_NORESERVE and
 * MAP_POPULATE, and MAP_FIXED only where the same file was mapped.
 */
static inline int maps_file(const struct frame *frame, const struct block *block)
{
	const u64 *args = frame->args;
	u64 flags = args[3] & ~0xc800ull;
	int is_private = (args[2] & 6) != 6 && (flags & ~0x10ull) == 2, is_read = args[2] == 1 && flags == 1;

	return (is_private || is_read) && has((int)args[4], KNOWN_READS) &&
	       (!(args[3] & MAP_AT_ADDRESS) || is_in_last(block, args));
}

/* Whether a call maps memory of no file that is private and no code, where there was none, or where the agent has mapped a file last. */
static inline int maps_private(const struct frame *frame, const struct block *block)
{
	const u64 *args = frame->args;

	return !(args[2] & 4) && (args[3] & 0x2f) == 0x22 &&
	       (!(args[3] & MAP_AT_ADDRESS) || ((args[3] & ~0xc000ull) == 0x32 && is_in_last(block, args)));
}

/*
 * Whether a file is one whose content the engine has, in this state; `code`: and one in whose code it has nothing to change: more than 1 by
 * the number of what waits to take its place.
 */
static u64 is_kept(const struct block *block, const u8 *facts, u64 code)
{
	/* Device, inode, size, times of the last changes: members of struct stat in words */
	static const u8 words[BLOCK_KEPT_WORDS - 1] = { 0, 1, 6, 11, 12, 13, 14 };

	for (u32 i = 0; i < BLOCK_KEPT_FILES; i++) {
		volatile const u64 *kept = block->kept[i];
		u32 same = 0;

		while (same < sizeof words && kept[same] == ((const u64 *)facts)[words[same]])
			same++;
		if (same == sizeof words)
			return code ? kept[same] : 1;
	}
	return 0;
}

/*
 * Takes what a file is that is about to be mapped, in a recording that is to be replayed, when the agent may do that: the process may
 * not write to it without a stop, and its content is kept already; or nobody may write to it, and it is small enough to be taken here.
 * `size` is how many bytes of that there are. 0 when the call is for the engine.
 */
static int take_mapped(struct writer *writer, const struct block *block, const struct frame *frame, u64 *size)
{
	enum { SIZE = 48 };
	struct capture *capture = begin(writer, CAPTURE_MAPPED, SIDE_IN, 0, STAT_BYTES);
	u8 *facts = (u8 *)(capture + 1);
	u64 kept;

	/* The last of them is that of a twin. */
	if (!fits(writer, STAT_BYTES + 2 * CAPTURE_BYTES + 8 + RING_MOST_MAPPED))
		return 0;
	if (agent_own_call(NR_FSTAT, frame->args[4], (u64)facts, 0, 0) < 0 || format_of(facts) != REGULAR ||
	    has_file(block->written, facts))
		return 0;
	*size = 0;
	kept = is_kept(block, facts, frame->args[2] & 4);
	writer->twin = kept > 1 ? kept - 1 : 0;
	if (!kept) {
		*size = *(const u64 *)(facts + SIZE);
		if (!block->maps || !maps_small_file(frame) || !*size || *size > RING_MOST_MAPPED || *size > frame->args[1])
			return 0;
	}
	finish(writer, capture, STAT_BYTES, WHOLE);
	return 1;
}

/*
 * Code with jumps to the agent takes the place of a library's that has just been mapped, where that waits for it, with its trampolines where
 * nothing is. What has been begun is noted before, for a signal may find the thread here.
 */
static void put_twin(struct writer *writer, struct block *block, const struct frame *frame, u64 addr)
{
	enum { READ_AND_EXECUTE = 5, PRIVATE = 2, MAYMOVE = 1, FIXED = 2, NOREPLACE = 0x100000 };
	u64 number = writer->twin - 1;
	struct twin *twin = &block->twins[number % BLOCK_TWINS];
	u64 code = RING_LENT + number * (RING_LENT_CODE + RING_AREA_BYTES), place = addr - RING_DISTANCE;
	u64 length = (frame->args[1] + 4095) & ~4095ull;
	u32 part = 0;

	/* What is read there is the engine's then. */
	while (part < BLOCK_CODE_PARTS && block->code[part].end)
		part++;
	if (part == BLOCK_CODE_PARTS || number >= BLOCK_TWINS || frame->args[2] != READ_AND_EXECUTE || !length ||
	    length != twin->length || frame->args[5] != twin->offset || addr <= (u64)RING_DISTANCE + RING_RESERVED_END)
		return;
	twin->length = 0;
	if ((u64)agent_own_mapping(NR_MMAP, place, RING_AREA_BYTES, 0, PRIVATE | MAP_ANONYMOUS | NOREPLACE, -1) != place)
		return;
	twin->moves = place;
	FENCE();
	if ((u64)agent_own_mapping(NR_MREMAP, code + RING_LENT_CODE, RING_AREA_BYTES, RING_AREA_BYTES, MAYMOVE | FIXED, place) !=
		    place ||
	    (u64)agent_own_mapping(NR_MREMAP, code, length, length, MAYMOVE | FIXED, addr) != addr) {
		/* What the engine was told of is there for as long as that is. */
		twin->moves = 0;
		FENCE();
		agent_own_call(NR_MUNMAP, place, RING_AREA_BYTES, 0, 0);
	} else {
		block->code[part].start = addr;
		block->code[part].end = addr + length;
		finish(writer, begin(writer, CAPTURE_TWIN, SIDE_OUT, addr, number), 0, WHOLE);
		writer->record->size = writer->at - (u8 *)writer->record;
	}
	FENCE();
	twin->moves = 0;
}

/* Takes the content of a file that has been mapped. */
static void take_content(struct writer *writer, struct block *block, u64 addr, u64 size)
{
	const struct capture *facts = (const struct capture *)(writer->record + 1);
	struct capture *capture = begin(writer, CAPTURE_CONTENT, SIDE_OUT, addr, size);
	u64 missing = agent_copy(capture + 1, addr, size);

	finish(writer, capture, size - missing, missing ? UNREADABLE : WHOLE);
	add_file(block->mapped, (const u8 *)(facts + 1));
}

/*
 * Whether a call gives another name to what surely is no directory: of those the engine is told before anything is opened by a path that
 * begins there.
 */
static int renames_no_directory(const struct frame *frame)
{
	enum { EXCHANGE = 2, NOFOLLOW = 0x100 };
	int is_at = frame->rax != NR_RENAME;
	u64 from = is_at ? frame->args[0] : (u64)AT_FDCWD, facts[STAT_BYTES / 8];

	if (frame->rax == NR_RENAMEAT2 && frame->args[4] & EXCHANGE)
		return 0;
	return agent_own_call(NR_NEWFSTATAT, from, frame->args[is_at], (u64)facts, NOFOLLOW) < 0 ||
	       format_of((const u8 *)facts) != DIRECTORY;
}

/*
 * Whether a call may empty a file that somebody has mapped: the engine looks after those, before they are changed. One that is made by the
 * call, or replaces another meanwhile, nobody has mapped.
 */
static int truncates_mapped(const struct frame *frame, const struct block *block)
{
	enum { TRUNC = 01000, NOFOLLOW = 0400000, AT_NOFOLLOW = 0x100 };
	int is_at = frame->rax != NR_OPEN;
	u64 flags = frame->args[is_at + 1], from = is_at ? frame->args[0] : (u64)AT_FDCWD, facts[STAT_BYTES / 8];

	if (!(flags & TRUNC))
		return 0;
	if (agent_own_call(NR_NEWFSTATAT, from, frame->args[is_at], (u64)facts, flags & NOFOLLOW ? AT_NOFOLLOW : 0) < 0)
		return 0;
	return has_file(block->seen, (const u8 *)facts) || has_file(block->mapped, (const u8 *)facts);
}

/*
 * Whether mremap(2) moves or resizes only what is the program's own: nothing that has jumps to the agent, which would lead elsewhere from
 * another place, nor the file that was mapped last, in which more may be mapped.
 */
static int remaps_own(const struct block *block, const u64 *args)
{
	enum { MAYMOVE = 1 };

	return args[1] && args[2] && !(args[3] & ~(u64)MAYMOVE) && !is_ours(args[0], args[1]) && !is_code(block, args[0], args[1]) &&
	       !is_guarded(block, args[0], args[1]) && !is_in(&block->last, 1, args[0], args[1]);
}

/* Whether a descriptor may stand for output of the first program: what is moved there has to be looked at before. */
static int may_be_output(const struct block *block, u64 fd)
{
	u64 facts[STAT_BYTES / 8];

	if (agent_own_call(NR_FSTAT, fd, (u64)facts, 0, 0) < 0)
		return 0;
	for (u32 i = 0; i < BLOCK_MOST_OUTPUTS; i++)
		if (block->outputs[i][0] == facts[0] && block->outputs[i][1] == facts[1])
			return 1;
	return 0;
}

/*
 * Others may have mapped a file while it was opened for writing: the engine says so first, and then looks which descriptors there are in
 * complete records.
 */
static void look_again(const struct block *block, const struct writer *writer, u64 fd)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (fd < RING_KNOWN_BYTES && known[fd] && block->replayable && has_file(block->seen, (const u8 *)writer->opened))
		known[fd] |= KNOWN_WRITES_STOP;
}

#endif
