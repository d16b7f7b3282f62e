/*
 * The agent: code that runs inside a tracee, makes the program's system calls for it, and writes down what crossed the
 * boundary. The engine (native/engine/src/agent) puts it there, tells it by a table which calls are its own, and gets all the
 * others; what is not surely right in here is left to the engine.
 *
 * House rules
 *  1. No C library, no allocation, no thread-local storage, no lock. All state is in the thread's block, found through %gs.
 *  2. No vector or floating-point register (-mgeneral-regs-only); memory is copied by `rep movsb`.
 *  3. A stack of its own. The program's may be tiny, and belongs to the program.
 *  4. The program's memory is read by agent_copy and agent_copy_string only: a pointer may be bad, which the engine turns into
 *     a short copy. Nothing of the program is ever written but what the kernel writes for it.
 *  5. A call is made by agent_call, once, after everything that could make this code give up. What follows cannot fail.
 *  6. It makes no call of its own that could wait, and none that changes the process.
 *  7. A signal finds a thread in here at any instruction. It is never delivered here: the engine moves the thread to before
 *     or behind the call (see entry.S). So there is no recursion, and the phase in the block has to be right at all times.
 *  8. Layouts are those of native/format/src/ring.rs, asserted below.
 */
#include "site.h"

struct frame {
	u64 rax;
	u64 args[6];
	u64 rbx, rbp, r12, r13, r14, r15;
	const u64 *site;
	u64 flags;
};

struct block {
	struct block *self;
	u64 stack, sp, leave;
	i64 result;
	u32 phase, refuse;
	u64 head, pending;
	u32 replayable, stale;
	u64 clock;
	u32 every, since;
	u64 taken, tries;
	u64 maps, asks;
	const u64 *site;
	u64 rcx, r11, processor;
	u64 counter, counter_time, counter_rate;
	u64 seen[FILES_BYTES / 8], mapped[FILES_BYTES / 8], written[FILES_BYTES / 8];
	struct part {
		u64 start, end;
	} code[BLOCK_CODE_PARTS], guarded[BLOCK_GUARDED_PARTS], last;
	u64 kept[BLOCK_KEPT_FILES][BLOCK_KEPT_WORDS];
	u64 waited[BLOCK_COUNTERS];
	u64 believes;
	u64 outputs[BLOCK_MOST_OUTPUTS][2];
	struct twin {
		u64 length, offset, moves;
	} twins[BLOCK_TWINS];
	u64 back[2], returning;
	struct name {
		u64 path, dev, ino, seconds, nanoseconds, number;
	} names[BLOCK_MOST_NAMES];
};

struct record {
	u32 size;
	u16 number;
	u8 captures, pad;
	u64 start, end;
	i64 result;
	u64 ip, sp;
	u64 args[6];
};

struct capture {
	u64 addr, wanted;
	u32 length;
	u8 slot, side, status, pad;
};

/* A pointer argument of a call. */
struct pointer {
	u8 slot, direction, shape, length, argument, omit;
	u16 size;
};

struct row {
	u8 kind, count, fds, sink, waits, pad[3];
	struct pointer pointers[TABLE_CAPTURES];
};

#define AT(type, member, offset) _Static_assert(__builtin_offsetof(struct type, member) == (offset), #type "." #member)
AT(frame, rax, FRAME_RAX);
AT(frame, args, FRAME_ARGS);
AT(frame, rbx, FRAME_RBX);
AT(frame, rbp, FRAME_RBP);
AT(frame, r12, FRAME_R12);
AT(frame, r13, FRAME_R13);
AT(frame, r14, FRAME_R14);
AT(frame, r15, FRAME_R15);
AT(frame, site, FRAME_SITE);
AT(frame, flags, FRAME_FLAGS);
_Static_assert(sizeof(struct frame) == FRAME_BYTES, "frame");
AT(block, self, BLOCK_SELF);
AT(block, stack, BLOCK_STACK);
AT(block, sp, BLOCK_SP);
AT(block, leave, BLOCK_LEAVE);
AT(block, result, BLOCK_RESULT);
AT(block, phase, BLOCK_PHASE);
AT(block, refuse, BLOCK_REFUSE);
AT(block, head, BLOCK_HEAD);
AT(block, pending, BLOCK_PENDING);
AT(block, replayable, BLOCK_REPLAYABLE);
AT(block, stale, BLOCK_STALE);
AT(block, clock, BLOCK_CLOCK);
AT(block, every, BLOCK_EVERY);
AT(block, since, BLOCK_SINCE);
AT(block, taken, BLOCK_TAKEN);
AT(block, tries, BLOCK_TRIES);
AT(block, maps, BLOCK_MAPS);
AT(block, asks, BLOCK_ASKS);
AT(block, site, BLOCK_SITE);
AT(block, rcx, BLOCK_RCX);
AT(block, r11, BLOCK_R11);
AT(block, processor, BLOCK_PROCESSOR);
AT(block, counter, BLOCK_COUNTER);
AT(block, counter_time, BLOCK_COUNTER_TIME);
AT(block, counter_rate, BLOCK_COUNTER_RATE);
AT(block, seen, BLOCK_SEEN);
AT(block, mapped, BLOCK_MAPPED);
AT(block, written, BLOCK_WRITTEN);
AT(block, code, BLOCK_CODE);
AT(block, guarded, BLOCK_GUARDED);
AT(block, last, BLOCK_LAST);
AT(block, kept, BLOCK_KEPT);
AT(block, waited, BLOCK_WAITED);
AT(block, believes, BLOCK_BELIEVES);
AT(block, outputs, BLOCK_OUTPUTS);
AT(block, twins, BLOCK_TWINS_AT);
AT(block, back, BLOCK_BACK);
AT(block, returning, BLOCK_RETURNING);
AT(block, names, BLOCK_NAMES);
_Static_assert(sizeof(struct name) == BLOCK_NAME_WORDS * 8, "name");
_Static_assert(sizeof(struct twin) == BLOCK_TWIN_BYTES, "twin");
_Static_assert(sizeof(struct block) == BLOCK_BYTES, "block");
AT(record, size, RECORD_SIZE);
AT(record, number, RECORD_NUMBER);
AT(record, captures, RECORD_CAPTURES);
AT(record, start, RECORD_START);
AT(record, end, RECORD_END);
AT(record, result, RECORD_RESULT);
AT(record, ip, RECORD_IP);
AT(record, sp, RECORD_SP);
AT(record, args, RECORD_ARGS);
_Static_assert(sizeof(struct record) == RECORD_BYTES, "record");
AT(capture, addr, CAPTURE_ADDR);
AT(capture, wanted, CAPTURE_WANTED);
AT(capture, length, CAPTURE_LENGTH);
AT(capture, slot, CAPTURE_SLOT);
AT(capture, side, CAPTURE_SIDE);
AT(capture, status, CAPTURE_STATUS);
_Static_assert(sizeof(struct capture) == CAPTURE_BYTES, "capture");
AT(row, kind, TABLE_KIND);
AT(row, count, TABLE_COUNT);
AT(row, fds, TABLE_FDS);
AT(row, sink, TABLE_SINK);
AT(row, waits, TABLE_WAITS);
AT(row, pointers, TABLE_FIRST);
_Static_assert(sizeof(struct pointer) == TABLE_CAPTURE_BYTES, "pointer");
_Static_assert(sizeof(struct row) == TABLE_ROW_BYTES, "row");
_Static_assert(SITE_AFTER == 0 && SITE_TRAP == 8 && SITE_IP == 16 && SITE_ENTRY == 24 && SITE_KIND == 32, "site");

i64 agent_call(const struct frame *frame);
i64 agent_own_call(u64 number, u64 first, u64 second, u64 third, u64 fourth);
i64 agent_own_mapping(u64 number, u64 first, u64 second, u64 third, u64 fourth, u64 fifth);
_Noreturn void agent_return(const void *context);
u64 agent_copy(void *to, u64 from, u64 length);
i64 agent_copy_string(void *to, u64 from, u64 most);

enum { SIDE_IN, SIDE_OUT };
enum { WHOLE, TRUNCATED, UNREADABLE, OMITTED };
enum { NR_READ = 0, NR_WRITE = 1, NR_OPEN = 2, NR_FSTAT = 5, NR_POLL = 7, NR_MMAP = 9, NR_MUNMAP = 11, NR_READV = 19,
       NR_MREMAP = 25, NR_SENDTO = 44, NR_RECVFROM = 45,
       NR_SENDMSG = 46, NR_RECVMSG = 47, NR_GETSOCKNAME = 51, NR_FCNTL = 72,
       NR_RENAME = 82, NR_READLINK = 89, NR_RT_SIGPENDING = 127, NR_ARCH_PRCTL = 158, NR_CLOCK_GETTIME = 228, NR_EPOLL_WAIT = 232, NR_OPENAT = 257,
       NR_NEWFSTATAT = 262, NR_EPOLL_PWAIT = 281, NR_RENAMEAT2 = 316, NR_OPENAT2 = 437 };
enum { CLOCK_MONOTONIC = 1 };
enum { AT_FDCWD = -100 };
enum { ENOENT = 2, EINTR = 4, EBADF = 9, EACCES = 13, EFAULT = 14, ENOTDIR = 20, ENOSYS = 38 };
/* MAP_FIXED and MAP_FIXED_NOREPLACE */
enum { MAP_AT_ADDRESS = 0x100010, MAP_ANONYMOUS = 0x20 };
/* What is known of a descriptor: a struct stat, and a name of at most a page. */
enum { STAT_BYTES = 144, NAME_BYTES = 4096 };

static const u8 *const indexes = (const u8 *)RING_TABLE;
static const struct row *const rows = (const struct row *)(RING_TABLE + TABLE_NUMBERS);
static u8 *const known = (u8 *)RING_KNOWN;

#define FENCE() __asm__ volatile("" ::: "memory")

static inline u64 counter(void)
{
	u32 low, high;
	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (u64)high << 32 | low;
}

static inline int has(int fd, u8 bit)
{
	return fd >= 0 && fd < RING_KNOWN_BYTES && known[fd] & bit;
}

/*
 * The clock of a recording that is to be replayed. The counter traps there, and so would the vDSO: it is asked for by a call, which
 * costs as much as a cheap call of the program. So it is read around calls that may wait; and at each other one where they are far
 * apart, else once in so many, or when the engine says that it has become old. Else the time is that of the last reading.
 */
enum { FAR_APART_NS = 16000, APART_NS = 4000, SOMETIMES = 4, SELDOM = 16 };

static u64 read_clock(struct block *block)
{
	struct {
		u64 seconds, nanoseconds;
	} now;

	if (!agent_own_call(NR_CLOCK_GETTIME, CLOCK_MONOTONIC, (u64)&now, 0, 0))
		block->clock = now.seconds * 1000000000 + now.nanoseconds;
	return block->clock;
}

/* Whether a call waits for events, and hands out nothing when there are none. One with a signal mask lets signals in that are there already. */
static inline int waits_for_events(const struct frame *frame)
{
	return frame->rax == NR_EPOLL_WAIT || (frame->rax == NR_EPOLL_PWAIT && !frame->args[4]);
}

/* Whether a call of a socket is told not to wait. */
static inline int is_told_not_to_wait(const struct frame *frame)
{
	enum { MSG_DONTWAIT = 0x40 };

	switch (frame->rax) {
	case NR_SENDTO:
	case NR_RECVFROM:
		return frame->args[3] & MSG_DONTWAIT;
	case NR_SENDMSG:
	case NR_RECVMSG:
		return frame->args[2] & MSG_DONTWAIT;
	default:
		return 0;
	}
}

/* Whether the time that select(2) has is over at once. */
static int has_no_time(u64 addr)
{
	u64 time[2];

	return addr && !agent_copy(time, addr, sizeof(time)) && !time[0] && !time[1];
}

static int may_wait(const struct row *row, const struct frame *frame)
{
	if (row->waits >= 2)
		return has((int)frame->args[row->waits - 2], KNOWN_WAITS) && !is_told_not_to_wait(frame);
	if (row->kind == KIND_SELECT)
		return !has_no_time(frame->args[4]);
	if (row->kind == KIND_FUTEX)
		return (frame->args[1] & 0x7f) != 1;
	/* Some have a time that is over at once. */
	if (frame->rax == NR_POLL)
		return (u32)frame->args[2] != 0;
	return row->waits && !(waits_for_events(frame) && !(u32)frame->args[3]);
}

/* Whether a call tells the program what the clock here says, and so that. */
static inline int tells_clock(const struct block *block, const struct frame *frame)
{
	return block->replayable && frame->rax == NR_CLOCK_GETTIME && frame->args[0] == CLOCK_MONOTONIC;
}

/* The clock was read, which said `before` last: after how many calls it is to be read again. */
static void plan_next(struct block *block, u64 before)
{
	u64 since = block->clock - before;

	if (since > (u64)FAR_APART_NS * block->since)
		block->every = 1;
	else
		block->every = since > (u64)APART_NS * block->since ? SOMETIMES : SELDOM;
	block->since = 0;
}

/* The time before a call, which may tell it; whether it is to be asked for afterwards, too. */
static int begin_time(struct block *block, int waits, int tells, u64 *start)
{
	u64 before = block->clock;

	if (!block->replayable) {
		*start = counter();
		return 1;
	}
	block->since++;
	if (waits || ((block->stale || block->since >= block->every) && !tells)) {
		block->stale = 0;
		read_clock(block);
		plan_next(block, before);
	}
	*start = block->clock;
	return tells ? 0 : waits || block->every == 1;
}

static inline u64 end_time(struct block *block, int asks)
{
	if (!block->replayable)
		return counter();
	return asks ? read_clock(block) : block->clock;
}

/* A call was to tell what the clock says, in its only capture. When it has not, the clock is read. */
static void take_time(struct block *block, struct record *record, i64 result)
{
	const struct capture *told = (const struct capture *)(record + 1);
	const u64 *now = (const u64 *)(told + 1);
	u64 before = block->clock;

	if (result || record->captures != 1 || told->status != WHOLE)
		read_clock(block);
	else
		block->clock = now[0] * 1000000000 + now[1];
	if (block->clock < before)
		/* Somebody has written over it meanwhile. */
		block->clock = before;
	block->stale = 0;
	plan_next(block, before);
	record->start = record->end = block->clock;
}

static inline u8 *aligned(u8 *at)
{
	return (u8 *)(((u64)at + 7) & ~7ull);
}

/* Where captures go, and how far they may. */
struct writer {
	struct record *record;
	u8 *at, *end;
	u32 replayable;
	const struct block *block;
	/* Device and inode of the file that was opened, as in a struct stat. */
	u64 opened[2];
	/* What waits to take the place of the code that is mapped, from 1 on. */
	u64 twin;
};

/* A set of files, by device and inode in a struct stat. The engine adds to them at the same time. */
static inline u64 bit_of(const u8 *facts)
{
	const u64 *words = (const u64 *)facts;
	return (words[1] * FILES_INODE_FACTOR ^ words[0] * FILES_DEVICE_FACTOR) >> FILES_SHIFT;
}

static inline int has_file(const u64 *files, const u8 *facts)
{
	u64 bit = bit_of(facts);
	return *(volatile const u64 *)&files[bit / 64] >> bit % 64 & 1;
}

static inline void add_file(u64 *files, const u8 *facts)
{
	u64 bit = bit_of(facts);
	__atomic_fetch_or(&files[bit / 64], 1ull << bit % 64, __ATOMIC_SEQ_CST);
}

/* Room for a capture of that length: a multiple of 8 bytes behind its head. */
static inline int fits(const struct writer *writer, u64 length)
{
	u64 left = writer->end - writer->at;
	return left >= CAPTURE_BYTES + 8 && length <= left - CAPTURE_BYTES - 8;
}

static inline struct capture *begin(const struct writer *writer, u8 slot, u8 side, u64 addr, u64 wanted)
{
	struct capture *capture = (struct capture *)writer->at;
	capture->addr = addr;
	capture->wanted = wanted;
	capture->slot = slot;
	capture->side = side;
	return capture;
}

static inline void finish(struct writer *writer, struct capture *capture, u64 length, u8 status)
{
	capture->length = length;
	capture->status = status;
	writer->at = aligned((u8 *)(capture + 1) + length);
	writer->record->captures++;
}

/*
 * Copies bytes behind a pointer. The room has been looked at; what another thread has changed since, in the record itself, gets
 * no more than there is.
 */
static void take(struct writer *writer, u8 slot, u8 side, u64 addr, u64 length, int omit)
{
	struct capture *capture;
	u64 missing;

	if (!addr || !length)
		return;
	if (!fits(writer, 0))
		return;
	capture = begin(writer, slot, side, addr, length);
	if (omit || !fits(writer, length)) {
		finish(writer, capture, 0, omit ? OMITTED : TRUNCATED);
		return;
	}
	missing = agent_copy(capture + 1, addr, length);
	finish(writer, capture, length - missing, missing ? UNREADABLE : WHOLE);
}

static int take_string(struct writer *writer, u8 slot, u64 addr, int omit)
{
	struct capture *capture;
	i64 length;

	if (!addr)
		return 1;
	if (!fits(writer, RING_MOST_STRING + 8))
		return 0;
	capture = begin(writer, slot, SIDE_IN, addr, 0);
	if (omit) {
		finish(writer, capture, 0, OMITTED);
		return 1;
	}
	length = agent_copy_string(capture + 1, addr, RING_MOST_STRING);
	if (length > RING_MOST_STRING)
		return 0;
	capture->wanted = length < 0 ? -1 - length : length;
	finish(writer, capture, capture->wanted, length < 0 ? UNREADABLE : WHOLE);
	return 1;
}

/* Descriptors that a set of select(2) is taken to have at most, as in the engine's capture.rs. */
enum { MOST_BITS = 1 << 20 };

/* Bytes behind a pointer, when the call is about to be made (result < 0) or has come back. */
static inline u64 length_of(const struct pointer *pointer, const struct frame *frame, i64 result)
{
	u64 count = frame->args[pointer->argument];
	u32 word;

	switch (pointer->length) {
	case LENGTH_OWN:
		return pointer->size;
	case LENGTH_ARG32:
		count = (u32)count;
		break;
	case LENGTH_BITS:
		count = (u32)count > MOST_BITS ? MOST_BITS : (u32)count;
		count = (count + 63) / 64;
		break;
	case LENGTH_RESULT:
		if (result >= 0 && (u64)result < count)
			count = result;
		break;
	case LENGTH_POINTEE:
		if (!count || agent_copy(&word, count, sizeof(word)))
			word = 0;
		count = word;
		break;
	default:
		break;
	}
	if ((pointer->shape == SHAPE_SIZED || pointer->shape == SHAPE_ARRAY) && count > SHAPE_MOST)
		count = SHAPE_MOST;
	return count * pointer->size;
}

/* Whether the engine knows what a descriptor stands for, or it is none. */
static inline int is_known(int fd)
{
	return fd < 0 || (fd < RING_KNOWN_BYTES && known[fd]);
}

static inline int is_in(const struct part *parts, u32 count, u64 addr, u64 length)
{
	for (u32 i = 0; i < count; i++)
		if (addr < parts[i].end && parts[i].start < addr + length)
			return 1;
	return 0;
}

/* Whether memory is where there are jumps to the agent in the program's code. */
static inline int is_code(const struct block *block, u64 addr, u64 length)
{
	return is_in(block->code, BLOCK_CODE_PARTS, addr, length);
}

/* Whether memory is where the kernel must not touch it. The first part is there if any is. */
static inline int is_guarded(const struct block *block, u64 addr, u64 length)
{
	return block->guarded[0].end && is_in(block->guarded, BLOCK_GUARDED_PARTS, addr, length);
}

/* Addresses of strings and the strings, as the engine takes them; 0 when the call is for it, since there are many or some cannot be read. */
static int take_strings(struct writer *writer, u8 slot, u64 addr)
{
	/* With what else is captured there must be fewer than a byte can count. */
	enum { MOST = 200 };
	struct capture *capture = begin(writer, slot, SIDE_IN, addr, 0);
	u64 *pointers = (u64 *)(capture + 1), count = 0;

	if (!addr)
		return 1;
	if (is_guarded(writer->block, addr, MOST * sizeof(*pointers)))
		return 0;
	do {
		if (count == MOST || !fits(writer, (count + 1) * sizeof(*pointers)) ||
		    agent_copy(&pointers[count], addr + count * sizeof(*pointers), sizeof(*pointers)))
			return 0;
	} while (pointers[count++]);
	if (writer->record->captures + count > MOST)
		return 0;
	capture->wanted = count * sizeof(*pointers);
	finish(writer, capture, capture->wanted, WHOLE);
	for (u64 i = 0; i + 1 < count; i++) {
		const struct capture *string = (const struct capture *)writer->at;

		if (!pointers[i] || is_guarded(writer->block, pointers[i], 1) ||
		    !take_string(writer, slot, pointers[i], 0) || string->status != WHOLE)
			return 0;
	}
	return 1;
}

struct piece {
	u64 addr, length;
};

enum { MOST_PIECES = 64 };

/*
 * The table of a vector and, of a call that sends, the buffers behind it. How much room is needed for those that are filled, or -1 when the
 * call is for the engine.
 */
static i64 take_pieces(struct writer *writer, const struct pointer *pointer, u64 addr, u64 count)
{
	const struct capture *table = (const struct capture *)writer->at;
	const struct piece *pieces = (const struct piece *)(table + 1);
	u64 total = 0;

	if (!addr || count > MOST_PIECES || !fits(writer, count * sizeof(*pieces)))
		return -1;
	take(writer, pointer->slot, SIDE_IN, addr, count * sizeof(*pieces), 0);
	if (!count)
		return 0;
	if (table->status != WHOLE)
		return -1;
	for (u64 i = 0; i < count; i++) {
		if (!pointer->omit && pieces[i].length > RING_BUFFER_BYTES)
			return -1;
		if (is_guarded(writer->block, pieces[i].addr, pieces[i].length))
			return -1;
		total += pointer->omit ? 0 : pieces[i].length;
		if (pointer->direction == DIRECTION_OUT)
			continue;
		if (!fits(writer, pointer->omit ? 0 : pieces[i].length) ||
		    is_code(writer->block, pieces[i].addr, pieces[i].length))
			return -1;
		take(writer, pointer->slot, SIDE_IN, pieces[i].addr, pieces[i].length, pointer->omit);
	}
	return total + count * (CAPTURE_BYTES + 8);
}

/* The buffers that a call has filled, of a vector whose table is in this capture. */
static void take_filled(struct writer *writer, const struct pointer *pointer, const struct capture *table, u64 count,
			i64 result)
{
	const struct piece *pieces = (const struct piece *)(table + 1);
	u64 left = result;

	for (u64 i = 0; i < count && i < MOST_PIECES && left; i++) {
		u64 length = pieces[i].length < left ? pieces[i].length : left;
		take(writer, pointer->slot, SIDE_OUT, pieces[i].addr, length, pointer->omit);
		left -= length;
	}
}

/* struct msghdr, recvmsg(2). */
struct message {
	u64 name;
	u32 name_length, pad;
	u64 pieces, count, control, control_length;
	u32 flags, pad2;
};

/* What is taken at most of a name, and of control data, as in the engine's capture.rs. */
enum { MOST_NAME = 4096, MOST_CONTROL = 64 << 10 };

/* Whether no descriptors come with messages of a socket: those of other families than AF_UNIX have none to give. */
static int brings_no_descriptors(u32 fd)
{
	enum { AF_INET = 2, AF_INET6 = 10, AF_NETLINK = 16 };
	u16 address[64];
	u32 length = sizeof(address);

	if (agent_own_call(NR_GETSOCKNAME, fd, (u64)address, (u64)&length, 0) < 0)
		return 0;
	return address[0] == AF_INET || address[0] == AF_INET6 || address[0] == AF_NETLINK;
}

/* What a message that is to be sent, or received, consists of. As take_pieces(). */
static i64 take_message(struct writer *writer, const struct pointer *pointer, const struct frame *frame)
{
	u64 addr = frame->args[pointer->slot];
	const struct capture *head = (const struct capture *)writer->at;
	const struct message *message = (const struct message *)(head + 1);
	const struct block *block = writer->block;
	int receives = pointer->direction == DIRECTION_OUT;
	u64 name_length, control_length;
	i64 total = 0;

	if (!addr || is_guarded(block, addr, sizeof(*message)) || !fits(writer, sizeof(*message)))
		return -1;
	take(writer, pointer->slot, SIDE_IN, addr, sizeof(*message), 0);
	if (head->status != WHOLE)
		return -1;
	name_length = message->name_length < MOST_NAME ? message->name_length : MOST_NAME;
	name_length = message->name ? name_length : 0;
	control_length = message->control ? message->control_length : 0;
	if (control_length && (!receives || control_length > MOST_CONTROL || !brings_no_descriptors(frame->args[0])))
		return -1;
	if (is_guarded(block, message->name, name_length) || is_guarded(block, message->control, control_length))
		return -1;
	if (!receives && name_length) {
		if (!fits(writer, name_length) || is_code(block, message->name, name_length))
			return -1;
		take(writer, pointer->slot, SIDE_IN, message->name, name_length, 0);
	}
	if (message->count)
		total = take_pieces(writer, pointer, message->pieces, message->count);
	return total < 0 ? -1 : total + (i64)(sizeof(*message) + name_length + control_length + 3 * (CAPTURE_BYTES + 8));
}

/* What has come with a message whose header is the record's first capture, and the table of its buffers the second. */
static void take_received(struct writer *writer, const struct pointer *pointer, u64 addr, i64 result)
{
	const struct capture *head = (const struct capture *)(writer->record + 1), *told;
	const struct message *before = (const struct message *)(head + 1), *message;
	u32 length;

	told = (const struct capture *)writer->at;
	take(writer, pointer->slot, SIDE_OUT, addr, sizeof(*message), 0);
	message = (const struct message *)(told + 1);
	if (told->status != WHOLE)
		return;
	/* The kernel says how long the name is, also when there is less room for it. */
	length = message->name_length < before->name_length ? message->name_length : before->name_length;
	take(writer, pointer->slot, SIDE_OUT, message->name, length < MOST_NAME ? length : MOST_NAME, 0);
	take_filled(writer, pointer, (const struct capture *)((const u8 *)(head + 1) + sizeof(*message)), before->count, result);
	take(writer, pointer->slot, SIDE_OUT, message->control,
	     message->control_length < MOST_CONTROL ? message->control_length : MOST_CONTROL, 0);
}

/* Whether the engine knows what all descriptors of a struct pollfd array stand for. */
static int polls_known(u64 addr, u64 length)
{
	struct {
		int fd;
		u32 events;
	} entry;

	if (!addr || length > MOST_PIECES * sizeof(entry))
		return !length;
	for (u64 at = 0; at < length; at += sizeof(entry))
		if (agent_copy(&entry, addr + at, sizeof(entry)) || !is_known(entry.fd))
			return 0;
	return 1;
}

/* The same of a set of select(2). */
static int selects_known(u64 addr, u64 length)
{
	u64 word;

	if (!addr)
		return 1;
	for (u64 at = 0; at < length; at += sizeof(word)) {
		if (agent_copy(&word, addr + at, sizeof(word)))
			return 0;
		for (; word; word &= word - 1)
			if (!is_known(at * 8 + __builtin_ctzll(word)))
				return 0;
	}
	return 1;
}

/* How many descriptors a call makes, of which the agent asks what they stand for. */
static inline u32 made_by(const struct row *row)
{
	return row->kind == KIND_PAIR ? 2 : row->kind == KIND_OPEN || row->kind == KIND_MAKE;
}

/* Takes what the kernel will read, and looks whether there is room for what it will write. */
static int take_inputs(struct writer *writer, const struct row *row, const struct frame *frame)
{
	u64 room = 0;

	for (u32 i = 0; i < row->count; i++) {
		const struct pointer *pointer = &row->pointers[i];
		u64 addr = frame->args[pointer->slot], length;
		i64 total;

		if (pointer->shape == SHAPE_STRING) {
			if (is_guarded(writer->block, addr, 1) ||
			    !take_string(writer, pointer->slot, addr, pointer->omit))
				return 0;
			continue;
		}
		if (pointer->shape == SHAPE_STRINGS) {
			if (!take_strings(writer, pointer->slot, addr))
				return 0;
			continue;
		}
		if (pointer->shape == SHAPE_ABSENT) {
			if (addr)
				return 0;
			continue;
		}
		if (pointer->shape == SHAPE_IOVEC || pointer->shape == SHAPE_MESSAGE) {
			total = pointer->shape == SHAPE_IOVEC ?
					take_pieces(writer, pointer, addr, frame->args[pointer->argument]) :
					take_message(writer, pointer, frame);
			if (total < 0)
				return 0;
			room += pointer->direction == DIRECTION_OUT ? total : 0;
			continue;
		}
		length = length_of(pointer, frame, -1);
		if (length > RING_BUFFER_BYTES || is_guarded(writer->block, addr, length))
			return 0;
		if (pointer->direction != DIRECTION_IN)
			room += length + CAPTURE_BYTES + 8;
		if (pointer->direction != DIRECTION_OUT) {
			if (!fits(writer, length) || is_code(writer->block, addr, length))
				return 0;
			if (row->kind == KIND_POLL && pointer->slot == 0 && !polls_known(addr, length))
				return 0;
			if (pointer->length == LENGTH_BITS && !selects_known(addr, length))
				return 0;
			take(writer, pointer->slot, SIDE_IN, addr, length, pointer->omit);
		}
	}
	room += made_by(row) * (CAPTURE_BYTES + STAT_BYTES + NAME_BYTES + 8);
	return fits(writer, room);
}

/* How many bytes the program has room for, by the record's first capture; all where it has not said that. */
static u64 room_told(const struct writer *writer, const struct pointer *pointer)
{
	const struct capture *told = (const struct capture *)(writer->record + 1);
	u32 room;

	if (writer->at < (const u8 *)(told + 1) + sizeof(room) || told->slot != pointer->argument || told->side != SIDE_IN ||
	    told->status != WHOLE)
		return ~0ull;
	room = *(const u32 *)(told + 1);
	return (u64)room * pointer->size;
}

static void take_outputs(struct writer *writer, const struct row *row, const struct frame *frame, i64 result)
{
	for (u32 i = 0; i < row->count; i++) {
		const struct pointer *pointer = &row->pointers[i];
		u64 length, room;

		if (pointer->direction == DIRECTION_IN)
			continue;
		if (pointer->shape == SHAPE_IOVEC)
			take_filled(writer, pointer, (const struct capture *)(writer->record + 1),
				    frame->args[pointer->argument], result);
		else if (pointer->shape == SHAPE_MESSAGE)
			take_received(writer, pointer, frame->args[pointer->slot], result);
		else {
			length = length_of(pointer, frame, result);
			room = pointer->length == LENGTH_POINTEE ? room_told(writer, pointer) : length;
			take(writer, pointer->slot, SIDE_OUT, frame->args[pointer->slot], length < room ? length : room,
			     pointer->omit);
		}
	}
}

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
	if (name && is_as_known(name, facts)) {
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

/* Whether the call makes another descriptor of one that is known. */
static inline int duplicates(const struct row *row, const u64 *args)
{
	return row->kind == KIND_DUP || (row->kind == KIND_FCNTL && ((u32)args[1] == 0 || (u32)args[1] == 1030));
}

/* Whether a range of memory has part of the agent's pages. */
static inline int is_ours(u64 addr, u64 length)
{
	return addr < RING_RESERVED_END && (addr >= RING_BASE || length > RING_BASE - addr);
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

/* Whether an option of a socket is a filter, a program that is elsewhere in memory: SO_ATTACH_FILTER, SO_ATTACH_REUSEPORT_CBPF. */
static inline int leads_to_program(const u64 *args)
{
	enum { SOL_SOCKET = 1, FILTER = 26, REUSEPORT_FILTER = 51 };

	return (u32)args[1] == SOL_SOCKET && ((u32)args[2] == FILTER || (u32)args[2] == REUSEPORT_FILTER);
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
 * Whether a call closes what is not open: programs close all numbers that there may be, before they execute another one, and give free
 * numbers to what they have.
 */
static int closes_nothing(u64 fd)
{
	enum { F_GETFD = 1 };

	return agent_own_call(NR_FCNTL, fd, F_GETFD, 0, 0) == -EBADF;
}

/* How execve(2) fails when the way to its program does already, as that of any file; 0 where there is something. */
static i64 exec_error(const struct frame *frame)
{
	u64 facts[STAT_BYTES / 8];
	i64 result = agent_own_call(NR_NEWFSTATAT, (u64)AT_FDCWD, frame->args[0], (u64)facts, 0);

	return result == -ENOENT || result == -ENOTDIR || result == -EACCES ? result : 0;
}

/* Whether this call of a kind is the agent's. */
static inline int admits(const struct row *row, const struct frame *frame, const struct block *block)
{
	const u64 *args = frame->args;

	for (u32 slots = row->fds; slots; slots &= slots - 1) {
		u32 slot = __builtin_ctz(slots);

		if (is_known((int)args[slot]))
			continue;
		if ((row->kind != KIND_CLOSE && (row->kind != KIND_DUP || slot != 1)) || !closes_nothing(args[slot]))
			return 0;
	}
	if (row->sink && has((int)args[row->sink - 1], KNOWN_WRITES_STOP))
		return 0;
	if (block->refuse & REFUSE_DESCRIPTORS && (row->fds || row->kind == KIND_POLL || row->kind == KIND_SELECT))
		return 0;
	switch (row->kind) {
	case KIND_OPEN:
		if (block->replayable && truncates_mapped(frame, block))
			return 0;
		/* fall through */
	case KIND_DUP:
	case KIND_MAKE:
	case KIND_PAIR:
		return !(block->refuse & REFUSE_OPENS);
	case KIND_FCNTL:
		/* F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK, F_SETLK; F_DUPFD, F_DUPFD_CLOEXEC */
		if ((u32)args[1] - 1 < 6)
			return 1;
		return duplicates(row, args) && !(block->refuse & REFUSE_OPENS);
	case KIND_MAP:
		/* Where nothing is to be replayed, the engine tells of code as it is mapped. */
		if (block->replayable ? !maps_file(frame, block) && !maps_private(frame, block) : args[2] & 4)
			return 0;
		return !is_ours(args[0], args[1]);
	case KIND_PROTECT:
		return !(args[2] & 4) && !is_ours(args[0], args[1]) && !is_guarded(block, args[0], args[1]);
	case KIND_UNMAP:
		return !is_ours(args[0], args[1]);
	case KIND_REMAP:
		return remaps_own(block, args);
	case KIND_MOVE:
		return !block->replayable || !may_be_output(block, args[row->sink - 1]);
	case KIND_RENAME:
		return renames_no_directory(frame);
	case KIND_OPTION:
		return !leads_to_program(args);
	case KIND_END:
		return !(block->refuse & REFUSE_ENDS);
	case KIND_OWN:
		/* ARCH_SET_FS; or the limits of the process itself, and no new ones */
		return frame->rax == NR_ARCH_PRCTL ? args[0] == 0x1002 : !(int)args[0] && !args[2];
	case KIND_FUTEX:
		if (is_guarded(block, args[0], sizeof(u32)))
			return 0;
		/* FUTEX_WAKE, or FUTEX_WAIT and FUTEX_WAIT_BITSET without a timeout. */
		switch (args[1] & 0x7f) {
		case 1:
			return 1;
		case 0:
		case 9:
			return !args[3];
		default:
			return 0;
		}
	default:
		return 1;
	}
}

struct polled {
	u32 fd;
	u16 events, found;
};

enum { POLLIN = 1, POLLPRI = 2, POLLOUT = 4, POLLERR = 8, POLLHUP = 16 };

/* Whether a descriptor is ready to be read from, or written to. */
static int is_ready(u32 fd, u16 events)
{
	struct polled entry = { fd, events, 0 };

	return agent_own_call(NR_POLL, (u64)&entry, 1, 0, 0) == 1;
}

/* Whether poll(2) finds something at once: it is asked for a copy, since it writes to its table whatever it finds. */
static int finds_at_once(u64 addr, u64 count)
{
	enum { MOST = 16 };
	struct polled entries[MOST];

	return count <= MOST && !agent_copy(entries, addr, count * sizeof(entries[0])) &&
	       agent_own_call(NR_POLL, (u64)entries, count, 0, 0) > 0;
}

/* The same of select(2), whose sets are looked at by poll(2): only of few descriptors. */
static int selects_at_once(const struct frame *frame)
{
	enum { MOST = 64 };
	/* What makes a descriptor a member of each set, select(2). */
	static const u16 asked[3] = { POLLIN, POLLOUT, POLLPRI }, found[3] = { POLLIN | POLLHUP | POLLERR, POLLOUT | POLLERR, POLLPRI };
	u32 count = frame->args[0];

	if (count > MOST)
		return 0;
	for (u32 set = 0; set < 3; set++) {
		u64 addr = frame->args[1 + set], word;

		if (!addr)
			continue;
		if (agent_copy(&word, addr, sizeof(word)))
			return 0;
		for (word &= count == MOST ? ~0ull : (1ull << count) - 1; word; word &= word - 1) {
			struct polled entry = { __builtin_ctzll(word), asked[set], 0 };

			if (agent_own_call(NR_POLL, (u64)&entry, 1, 0, 0) == 1 && entry.found & found[set])
				return 1;
		}
	}
	return 0;
}

/* Whether a message is so small that there is room for it in a socket that can be written to. */
static int is_small_message(u64 addr)
{
	enum { MOST = 8, SMALL = 4096 };
	struct piece pieces[MOST];
	struct message message;
	u64 total = 0;

	if (agent_copy(&message, addr, sizeof(message)) || message.count > MOST ||
	    agent_copy(pieces, message.pieces, message.count * sizeof(pieces[0])))
		return 0;
	for (u64 i = 0; i < message.count; i++)
		total += pieces[i].length < SMALL ? pieces[i].length : SMALL + 1;
	return total <= SMALL;
}

/*
 * Whether a call that may wait surely does not: others wait for this thread's turn then, who cannot have it before the engine knows. One
 * of another program may be faster, and take what was there: the engine sees to that.
 */
static int comes_back(const struct row *row, const struct frame *frame, struct block *block)
{
	enum { F_GETFL = 3, O_NONBLOCK = 04000, MSG_WAITALL = 0x100, PIPE_BUF = 4096, OFTEN = 32 };
	const u64 *args = frame->args;
	u32 word, fd;
	i64 flags;

	if (row->kind == KIND_FUTEX)
		return !agent_copy(&word, args[0], sizeof(word)) && word != (u32)args[2];
	if (frame->rax == NR_POLL)
		return finds_at_once(args[0], args[1]);
	if (row->kind == KIND_SELECT)
		return selects_at_once(frame);
	if (row->waits < 2)
		return 0;
	fd = args[row->waits - 2];
	/*
	 * As it was a moment ago. Who else has the socket may have said otherwise: then the engine sees to it as to one whose bytes another
	 * has taken.
	 */
	if (has(fd, KNOWN_NO_WAIT) && block->believes) {
		block->believes--;
		return 1;
	}
	block->believes = OFTEN;
	flags = agent_own_call(NR_FCNTL, fd, F_GETFL, 0, 0);
	if (flags >= 0 && fd < RING_KNOWN_BYTES && known[fd])
		known[fd] = (known[fd] & ~KNOWN_NO_WAIT) | (flags & O_NONBLOCK ? KNOWN_NO_WAIT : 0);
	if (flags < 0 || flags & O_NONBLOCK)
		return 1;
	switch (frame->rax) {
	case NR_RECVFROM:
		if (args[3] & MSG_WAITALL)
			return 0;
		/* fall through */
	case NR_READ:
	case NR_READV:
		return is_ready(fd, POLLIN);
	case NR_RECVMSG:
		return !(args[2] & MSG_WAITALL) && is_ready(fd, POLLIN);
	case NR_SENDMSG:
		return is_small_message(args[1]) && is_ready(fd, POLLOUT);
	case NR_WRITE:
	case NR_SENDTO:
		/* For so much there is room then, pipe(7). */
		return args[2] <= PIPE_BUF && is_ready(fd, POLLOUT);
	default:
		return 0;
	}
}

/* Whether a call says if those about its descriptor are to wait: F_SETFL, FIONBIO. */
static inline int says_whether_to_wait(const struct row *row, const struct frame *frame)
{
	enum { F_SETFL = 4, FIONBIO = 0x5421 };

	return (row->kind == KIND_FCNTL && (u32)frame->args[1] == F_SETFL) ||
	       (row->kind == KIND_IOCTL && (u32)frame->args[1] == FIONBIO);
}

/*
 * Waits for events without giving the turn up: not at all, or until somebody wants it. Whether some came; if not, the engine makes the call
 * with its whole time, to which this adds little.
 */
static int wait_in_turn(const struct frame *frame, struct block *block, i64 *result)
{
	enum { SMALL_PART = 16 };
	int time = frame->args[3];
	struct frame other;

	other.rax = frame->rax;
	for (u32 i = 0; i < 6; i++)
		other.args[i] = frame->args[i];
	other.args[3] = 0;
	if (attempt(&other, block, TRIES_NO_WAIT, result))
		return 1;
	other.args[3] = time < 0 ? time : time / SMALL_PART;
	if (*result || !other.args[3] || !attempt(&other, block, TRIES_IN_TURN, result))
		return 0;
	read_clock(block);
	return 1;
}

/*
 * The row of a call whose command says what is behind its pointer: `made` of `row`, or 0 when the call is the engine's. Sizes are
 * those of ioctl_tty(2) and fcntl(2), as in the engine's irregular/ioctl.rs.
 */
static const struct row *by_command(const struct row *row, const struct frame *frame, struct row *made)
{
	enum { F_GETLK = 5, F_SETLK = 6, FLOCK_BYTES = 32 };
	enum { TCGETS = 0x5401, TIOCGPGRP = 0x540f, TIOCGWINSZ = 0x5413, FIONREAD = 0x541b, FIONBIO = 0x5421,
	       FIONCLEX = 0x5450, FIOCLEX = 0x5451, FICLONE = 0x40049409 };
	struct pointer *pointer = &made->pointers[0];
	u32 command = frame->args[1];

	made->kind = row->kind;
	made->count = 1;
	made->fds = row->fds;
	made->sink = made->waits = 0;
	pointer->slot = 2;
	pointer->direction = DIRECTION_OUT;
	pointer->shape = SHAPE_BYTES;
	pointer->length = LENGTH_OWN;
	pointer->omit = row->pointers[0].omit;
	if (row->kind == KIND_FCNTL) {
		if (command != F_GETLK && command != F_SETLK)
			made->count = 0;
		pointer->size = FLOCK_BYTES;
		pointer->direction = command == F_GETLK ? DIRECTION_IN_OUT : DIRECTION_IN;
		return made;
	}
	switch (command) {
	case TCGETS:
		pointer->size = 36;
		return made;
	case TIOCGWINSZ:
		pointer->size = 8;
		return made;
	case FIONBIO:
		pointer->direction = DIRECTION_IN;
		/* fall through */
	case TIOCGPGRP:
	case FIONREAD:
		pointer->size = 4;
		return made;
	case FICLONE:
		/* It writes to the file. */
		made->sink = 1;
		/* fall through */
	case FIONCLEX:
	case FIOCLEX:
		made->count = 0;
		return made;
	default:
		return 0;
	}
}

/* Whether what is behind a pointer points on. */
static inline int is_nested(const struct pointer *pointer)
{
	return pointer->shape == SHAPE_IOVEC || pointer->shape == SHAPE_MESSAGE;
}

/*
 * What a call that failed may have changed all the same, as the engine takes it (capture.rs): what is there of memory that is not
 * there as a whole, and what the call was given to read and to write.
 */
static void take_after_error(struct writer *writer, const struct row *row, const struct frame *frame, i64 result)
{
	for (u32 i = 0; result == -EFAULT && i < row->count; i++) {
		const struct pointer *pointer = &row->pointers[i];
		u64 addr = frame->args[pointer->slot], length = length_of(pointer, frame, -1);
		struct capture *capture;

		if (pointer->direction != DIRECTION_OUT || is_nested(pointer) || !addr || pointer->omit)
			continue;
		if (length > SHAPE_MOST)
			length = SHAPE_MOST;
		if (!length || !fits(writer, length))
			continue;
		capture = begin(writer, pointer->slot, SIDE_OUT, addr, 0);
		capture->wanted = length - agent_copy(capture + 1, addr, length);
		if (capture->wanted)
			finish(writer, capture, capture->wanted, WHOLE);
	}
	for (u32 i = 0; i < row->count; i++) {
		const struct pointer *pointer = &row->pointers[i];

		if (pointer->direction == DIRECTION_IN_OUT && !is_nested(pointer))
			take(writer, pointer->slot, SIDE_OUT, frame->args[pointer->slot], length_of(pointer, frame, 0),
			     pointer->omit);
	}
}

/* A record at the head, with room as far as the buffer goes, or up to what the engine has not taken yet. */
static void begin_record(struct writer *writer, const struct block *block)
{
	u8 *buffer = (u8 *)block + RING_HEAD_BYTES;
	u64 at = block->head % RING_BUFFER_BYTES;
	u64 room = RING_BUFFER_BYTES - (block->head - block->taken);

	writer->record = (struct record *)(buffer + at);
	writer->at = (u8 *)(writer->record + 1);
	writer->end = buffer + (room < RING_BUFFER_BYTES - at ? at + room : RING_BUFFER_BYTES);
	writer->replayable = block->replayable;
	writer->block = block;
	writer->opened[0] = writer->opened[1] = 0;
	writer->twin = 0;
}

/* Goes on at the start of the buffer, if the engine has taken what was there. */
static int begin_lap(struct block *block)
{
	u64 at = block->head % RING_BUFFER_BYTES, next = block->head - at + RING_BUFFER_BYTES;

	if (!at || next - block->taken >= RING_BUFFER_BYTES)
		return 0;
	*(u64 *)((u8 *)block + RING_HEAD_BYTES + at) = RECORD_END_OF_LAP;
	FENCE();
	block->head = next;
	return 1;
}

static inline int has_lapped(const struct block *block)
{
	return block->head % RING_BUFFER_BYTES >= RING_SHORT_LAP && block->head - block->taken <= RING_NEARLY_ALL;
}

/* Writes down which site a record is of, and that there are no captures yet. */
static inline void say_site(struct record *record, const struct block *block, const struct frame *frame, u16 number)
{
	record->number = number;
	record->captures = 0;
	record->ip = ip_of(frame->site);
	record->sp = block->sp;
}

/* Writes down what is known of a call before it is made; 0 when there is no room, or it is for the engine. */
static int take_call(struct writer *writer, struct block *block, const struct row *row, const struct frame *frame, u64 *content)
{
	struct record *record;

	begin_record(writer, block);
	if (writer->end < writer->at + CAPTURE_BYTES + 8)
		return 0;
	block->pending = block->head;
	record = writer->record;
	say_site(record, block, frame, frame->rax);
	for (u32 i = 0; i < 6; i++)
		record->args[i] = frame->args[i];
	if (row->kind == KIND_MAP && writer->replayable && !(frame->args[3] & MAP_ANONYMOUS))
		return take_mapped(writer, block, frame, content);
	return take_inputs(writer, row, frame);
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

/*
 * What a call surely results in that need not be made: one that the recorder has fail, that closes nothing, or executes nothing where to
 * execute something is the engine's. 0 of all others.
 */
static inline i64 known_result(const struct row *row, const struct frame *frame, const struct block *block)
{
	if (row->kind == KIND_REFUSED)
		return -ENOSYS;
	if (row->kind == KIND_EXEC)
		return block->refuse & REFUSE_EXECS ? exec_error(frame) : 0;
	return row->kind == KIND_CLOSE && !is_known((int)frame->args[0]) ? -EBADF : 0;
}

/* As if the call had been made. */
static i64 answer_call(struct block *block, i64 result)
{
	block->result = result;
	FENCE();
	block->phase = PHASE_CALLED;
	return result;
}

static int leave(struct block *block)
{
	block->phase = PHASE_LEFT;
	return 1;
}

/* The thread has left by rt_sigreturn(2) last: its record is complete. */
static inline void end_return(struct block *block)
{
	u64 size = block->returning;

	if (!size)
		return;
	block->returning = 0;
	FENCE();
	block->head += size;
	FENCE();
}

/* What rt_sigreturn(2) reads, of a frame that is 8 bytes below: struct ucontext (asm/ucontext.h, asm/sigcontext.h). */
struct context {
	u64 flags, link, stack[3], r8_to_r15[8], rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags;
	u16 cs, gs, fs, ss;
	u64 fault[4], state, reserved[8], mask;
};
_Static_assert(sizeof(struct context) == 304, "context");

/*
 * Whether a handler comes back to the place that it has interrupted, and nothing happens on the way that the engine has to know of: signals
 * that come as soon as they are let in, steps, and calls that are made again.
 */
static int comes_from_handler(const struct block *block, struct context *context)
{
	enum { CS_64 = 0x33, TRAP_FLAG = 0x100, SET_BYTES = 8, FIRST_RESTART = -516, LAST_RESTART = -512 };
	u64 pending = 0;

	if (!block->back[0] || agent_copy(context, block->sp, sizeof(*context)))
		return 0;
	if (context->rip != block->back[0] || context->cs != CS_64 || context->eflags & TRAP_FLAG)
		return 0;
	if ((i64)context->rax >= FIRST_RESTART && (i64)context->rax <= LAST_RESTART)
		return 0;
	return !block->replayable || (!agent_own_call(NR_RT_SIGPENDING, (u64)&pending, SET_BYTES, 0, 0) && !pending);
}

/* Leaves by rt_sigreturn(2), with a copy of the context: what the program has in memory stays as it is. 1 when the call is the engine's. */
static __attribute__((noinline)) int return_from_handler(const struct row *row, struct frame *frame, struct block *block)
{
	struct context context;
	struct writer writer;
	u64 unused;
	int asks;

	if (!comes_from_handler(block, &context) || !take_call(&writer, block, row, frame, &unused) || !fits(&writer, sizeof(context.mask)))
		return leave(block);
	asks = begin_time(block, 0, 0, &writer.record->start);
	take(&writer, 0, SIDE_IN, block->sp + __builtin_offsetof(struct context, mask), sizeof(context.mask), row->pointers[0].omit);
	writer.record->end = end_time(block, asks);
	writer.record->result = context.rax;
	writer.record->size = writer.at - (u8 *)writer.record;
	context.rip = block->back[1];
	FENCE();
	block->phase = PHASE_RETURNING;
	FENCE();
	block->returning = writer.record->size;
	agent_return(&context);
}

/* What is behind the number of the processor, as rdtscp gives it: the limit of a segment that the kernel has for this. */
static inline u32 processor(void)
{
	u32 limit, selector = 0x7b;

	__asm__("lsl %1, %0" : "=r"(limit) : "r"(selector) : "cc");
	return limit;
}

/* The time stamp counter, which traps where it is recorded: as the engine tells it, from the same clock. */
static u64 counter_at(const struct block *block, u64 time)
{
	unsigned __int128 grown = (unsigned __int128)(time - block->counter_time) * block->counter_rate;

	return block->counter + (u64)(grown >> 32);
}

/* Whether threads have waited for others behind this address, and others want the turn now. */
static int is_waited_at(const struct block *block, u64 ip)
{
	u32 i = 0;

	if (!(block->refuse & REFUSE_TURNS))
		return 0;
	while (i < BLOCK_COUNTERS && block->waited[i] != ip)
		i++;
	return i < BLOCK_COUNTERS;
}

/* rdtsc or rdtscp: 0 when it was answered, 1 when it is the engine's. */
int agent_count(struct frame *frame, struct block *block)
{
	u64 kind = frame->site[SITE_KIND / 8];
	struct record *record;
	struct writer writer;

	end_return(block);
	if (!block->replayable || !block->counter_rate || block->refuse & REFUSE_ALL ||
	    is_waited_at(block, ip_of(frame->site)))
		return leave(block);
	if (has_lapped(block))
		begin_lap(block);
	begin_record(&writer, block);
	if (writer.end < writer.at && begin_lap(block))
		begin_record(&writer, block);
	if (writer.end < writer.at)
		return leave(block);
	record = writer.record;
	block->pending = block->head;
	FENCE();
	block->phase = PHASE_ANSWERING;
	record->size = RECORD_BYTES;
	say_site(record, block, frame, RECORD_INSTRUCTIONS | kind);
	record->start = record->end = read_clock(block);
	block->result = record->result = counter_at(block, record->start);
	block->processor = record->args[0] = kind == SITE_RDTSCP ? processor() : 0;
	FENCE();
	block->head += RECORD_BYTES;
	FENCE();
	/* The engine does the same for a thread that has come as far as here. */
	frame->rax = (u32)block->result;
	frame->args[2] = (u64)block->result >> 32;
	if (kind == SITE_RDTSCP)
		block->rcx = block->processor;
	block->phase = PHASE_DONE;
	return 0;
}

/* 0 when the call has been made and its result is in the frame, 1 when it is the engine's. */
int agent_handle(struct frame *frame, struct block *block)
{
	u64 number = frame->rax;
	const struct row *row;
	struct row made;
	struct writer writer;
	struct record *record;
	const struct name *name = 0;
	i64 result, answer;
	u32 size;
	u64 content = 0;
	int waits, asks, tells, is_named = 0, in_turn = 0;

	end_return(block);
	if (number >= TABLE_NUMBERS || !indexes[number] || block->refuse & REFUSE_ALL)
		return leave(block);
	row = &rows[indexes[number]];
	if (row->kind == KIND_FCNTL || row->kind == KIND_IOCTL)
		row = by_command(row, frame, &made);
	if (!row || !admits(row, frame, block))
		return leave(block);
	answer = known_result(row, frame, block);
	if (row->kind == KIND_EXEC && !answer && block->refuse & REFUSE_EXECS)
		return leave(block);
	waits = may_wait(row, frame);
	if (waits && block->refuse & REFUSE_WAITS) {
		in_turn = waits_for_events(frame);
		if (!in_turn && !comes_back(row, frame, block))
			return leave(block);
		waits = 0;
	}
	if (has_lapped(block))
		begin_lap(block);
	if (row->kind == KIND_RETURN)
		return return_from_handler(row, frame, block);
	if (!take_call(&writer, block, row, frame, &content) &&
	    (!begin_lap(block) || !take_call(&writer, block, row, frame, &content)))
		return leave(block);
	record = writer.record;
	if ((u32)frame->args[0] < RING_KNOWN_BYTES) {
		if (row->kind == KIND_CLOSE)
			known[(u32)frame->args[0]] = 0;
		else if (says_whether_to_wait(row, frame))
			known[(u32)frame->args[0]] &= ~KNOWN_NO_WAIT;
	}
	record->size = writer.at - (u8 *)record;
	tells = tells_clock(block, frame);
	asks = begin_time(block, waits, tells, &record->start);
	FENCE();
	if (in_turn) {
		if (!wait_in_turn(frame, block, &result))
			return leave(block);
	} else if (row->kind == KIND_OPEN) {
		name = find_name(&writer, block);
		result = open_file(row, frame, block, name, &is_named);
	} else {
		result = answer ? answer_call(block, answer) : agent_call(frame);
	}
	record->end = end_time(block, asks);
	if (result >= 0 || result < -4095) {
		take_outputs(&writer, row, frame, result);
		if (content)
			take_content(&writer, block, result, content);
		if (writer.twin)
			put_twin(&writer, block, frame, result);
		if (row->kind == KIND_MAP && block->replayable && !(frame->args[3] & (MAP_ANONYMOUS | MAP_AT_ADDRESS))) {
			block->last.start = result;
			block->last.end = result + (frame->args[1] + 4095) / 4096 * 4096;
		} else if (row->kind == KIND_UNMAP && frame->args[0] < block->last.end &&
			   frame->args[0] + frame->args[1] > block->last.start) {
			block->last.start = block->last.end = 0;
		}
		if (row->kind == KIND_OPEN)
			identify(&writer, block, result, name, is_named, opens_to_write(frame));
		else if (row->kind == KIND_MAKE)
			identify(&writer, block, result, 0, 0, 0);
		else if (row->kind == KIND_PAIR)
			identify_both(&writer, block, frame->args[row->pointers[0].slot]);
		else if (duplicates(row, frame->args) && result < RING_KNOWN_BYTES)
			known[result] = known[(u32)frame->args[0]];
	} else if (block->replayable) {
		take_after_error(&writer, row, frame, result);
	}
	if (tells)
		take_time(block, record, result);
	record->result = result;
	frame->rax = result;
	size = writer.at - (u8 *)record;
	record->size = size;
	FENCE();
	block->head += size;
	FENCE();
	if (row->kind == KIND_OPEN && result >= 0)
		look_again(block, &writer, result);
	block->phase = PHASE_DONE;
	return 0;
}
